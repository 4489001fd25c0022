"""GPT-2 and CLIP's text model from ``transformers``, empty until a checkpoint fills them, and their tokenizers."""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypeVar

import torch
from tokenizers import Tokenizer
from torch import nn
from transformers import (
    AutoModel,
    AutoModelForCausalLM,
    BertConfig,
    CLIPTextConfig,
    CLIPTokenizerFast,
    GPT2Config,
    GPT2LMHeadModel,
    GPT2Model,
    GPT2TokenizerFast,
    PretrainedConfig,
)

from edge_aac.errors import ConfigError, DataError, InputMissingError
from edge_aac.models.tokens import load_tokenizer, max_token_id
from quantize.models.audio_language.gpt2_text import Gpt2Text
from quantize.models.weight_files import read_json

_Config = TypeVar("_Config", bound=PretrainedConfig)

# What GPT-2's and CLIP's attention does where nothing is said: plain, so that graphs do not depend on this machine.
_PLAIN = {"attn_implementation": "eager"}


def gpt2_config(folder: Path) -> GPT2Config:
    """Sizes from ``config.json``; GPT-2's own where there is none.

    Raises:
        InputMissingError, DataError: the file cannot be read or is not JSON.
        ConfigError: it is another kind of model's.
    """
    return _config(GPT2Config, read_json(folder / "config.json", optional=True), folder)


def clip_text_config(folder: Path) -> CLIPTextConfig:
    """Sizes of CLIP's text model from ``config.json``, of CLIP or of that part; those of ViT-B/16 where there is none.

    Errors as above.
    """
    table = read_json(folder / "config.json", optional=True)
    if table.get("model_type") == "clip":
        table = table.get("text_config") or {}
    return _config(CLIPTextConfig, table, folder)


def _config(kind: type[_Config], table: dict[str, Any], folder: Path) -> _Config:
    if (found := table.get("model_type", kind.model_type)) != kind.model_type:
        raise ConfigError(f"{folder} has a {found!r} model; it must be {kind.model_type}: put the right folder there")
    try:
        return kind.from_dict({**table, "use_cache": True} if kind is GPT2Config else table)
    except (TypeError, ValueError, AttributeError) as error:
        raise ConfigError(f"{folder}: config.json makes no {kind.model_type} ({error}): fetch it again") from error


def text_gpt2(config: GPT2Config) -> GPT2Model:
    """GPT-2 without its head."""
    model: GPT2Model = AutoModel.from_config(config, **_PLAIN)
    return model


def writing_gpt2(config: GPT2Config) -> GPT2LMHeadModel:
    """GPT-2 with its head."""
    model: GPT2LMHeadModel = AutoModelForCausalLM.from_config(config, **_PLAIN)
    return model


def clip_text_model(config: CLIPTextConfig) -> nn.Module:
    """CLIP's text model: embeddings, encoder and final layer norm."""
    return AutoModel.from_config(config, **_PLAIN).text_model


def fill_constants(model: nn.Module, source: Path) -> None:
    """Compute the buffers that are no weights: on "meta" they were not.

    Raises:
        ConfigError: this version of transformers has others.
    """
    for path, buffer in list(model.named_buffers()):
        if not buffer.is_meta:
            continue
        parent, _, name = path.rpartition(".")
        shape = buffer.shape
        if name == "bias":
            values = torch.ones(shape, dtype=torch.bool).tril()
        elif name == "masked_bias":
            values = torch.tensor(-1e4)
        elif name == "position_ids":
            values = torch.arange(shape[-1]).expand(shape).clone()
        elif name == "token_type_ids":
            values = torch.zeros(shape, dtype=torch.long)
        else:
            raise ConfigError(f"{source}: this version of transformers computes {path} by itself: install another")
        model.get_submodule(parent).register_buffer(name, values, persistent=False)


def gpt2_of(folder: Path) -> tuple[GPT2Config, Gpt2Text]:
    """The sizes of GPT-2 and its tokenizer as the published code sets it up, both from its folder.

    Raises:
        InputMissingError, ConfigError, DataError: as :func:`gpt2_config`, :func:`gpt2_tokenizer` and :class:`Gpt2Text`.
    """
    config = gpt2_config(folder)
    return config, Gpt2Text(gpt2_tokenizer(folder, config.vocab_size), folder)


def bert_of(folder: Path) -> tuple[BertConfig, Tokenizer]:
    """The sizes of BERT, those of bert-base where ``config.json`` is missing, and its tokenizer, both from its folder.

    Raises:
        InputMissingError: the tokenizer is not there.
        ConfigError: the folder is another kind of model's.
        DataError: the tokenizer cannot be read, has more tokens than the model, or does not begin a text with [CLS].
    """
    config = _config(BertConfig, read_json(folder / "config.json", optional=True), folder)
    path = folder / "tokenizer.json"
    if not path.is_file():
        raise InputMissingError(f"{folder} has no tokenizer.json: put it there")
    tokenizer = load_tokenizer(path)
    if (largest := max_token_id(tokenizer)) >= config.vocab_size:
        raise DataError(f"the tokenizer in {folder} has the token {largest}, its model {config.vocab_size}: fetch both")
    tokenizer.no_padding()
    tokenizer.no_truncation()
    first, last = (tokenizer.token_to_id(token) for token in ("[CLS]", "[SEP]"))
    if None in (first, last) or tokenizer.encode("").ids != [first, last]:
        raise DataError(
            f"the tokenizer in {folder} does not put [CLS] and [SEP] around a text as BERT's: fetch it anew"
        )
    return config, tokenizer


def gpt2_tokenizer(folder: Path, vocabulary: int) -> Tokenizer:
    """GPT-2's byte-level BPE; it neither pads nor cuts.

    Raises:
        InputMissingError: it is not there.
        DataError: it cannot be read, has more tokens than the model, or is another's.
    """
    tokenizer = _tokenizer(folder, GPT2TokenizerFast, vocabulary)
    return _demand_tokens(tokenizer, folder, "GPT-2", "<|endoftext|>")


def clip_tokenizer(folder: Path, vocabulary: int) -> Tokenizer:
    """CLIP's BPE, lower case; it neither pads nor cuts. Errors as above."""
    tokenizer = _tokenizer(folder, CLIPTokenizerFast, vocabulary)
    return _demand_tokens(tokenizer, folder, "CLIP", "<|startoftext|>", "<|endoftext|>")


def _tokenizer(folder: Path, kind: type[Any], vocabulary: int) -> Tokenizer:
    whole, pair = folder / "tokenizer.json", (folder / "vocab.json", folder / "merges.txt")
    if whole.is_file():
        tokenizer = load_tokenizer(whole)
    elif all(part.is_file() for part in pair):
        try:
            tokenizer = kind(vocab_file=str(pair[0]), merges_file=str(pair[1])).backend_tokenizer
        except Exception as error:  # tokenizers raises plain Exception
            reason = " ".join(str(error).split())[:200]
            raise DataError(f"cannot read the tokenizer in {folder} ({reason}): fetch it again") from error
    else:
        raise InputMissingError(f"{folder} has neither tokenizer.json nor vocab.json with merges.txt: put them there")
    if (largest := max_token_id(tokenizer)) >= vocabulary:
        raise DataError(f"the tokenizer in {folder} has the token {largest}, its model {vocabulary}: fetch both anew")
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return tokenizer


def _demand_tokens(tokenizer: Tokenizer, folder: Path, whose: str, *tokens: str) -> Tokenizer:
    if missing := [token for token in tokens if tokenizer.token_to_id(token) is None]:
        raise DataError(f"the tokenizer in {folder} is not {whose}'s, it has no {missing[0]}: put the right one there")
    return tokenizer
