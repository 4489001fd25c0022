"""Text embedder: a T5 encoder, masked mean pooling, a projection and L2 normalisation.

The construction of INSTRUCTOR (Su et al., 2022), whose published weights :func:`load_instructor_weights` reads; the
embedded one is small, has no instruction, and is trained together with the audio encoder.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from tokenizers import Tokenizer
from torch import Tensor, nn
from torch.nn import functional
from transformers import T5Config, T5EncoderModel

from edge_aac.errors import ConfigError, DataError, InputMissingError
from edge_aac.models.tokens import load_tokenizer, to_arrays
from quantize.models.checkpoint import fit_state, unfilled
from quantize.models.config import TextEmbedderConfig
from quantize.models.weight_files import read_json, read_state

CAPTION_INSTRUCTION = "Represent the audio caption: "
"""What the published captioner was trained with; the space at its end belongs to it."""

_BATCH_TEXTS = 32

_PIPELINES = (("Transformer", "Pooling", "Dense", "Normalize"), ("Transformer", "Pooling", "Normalize"))

# The names that sentence-transformers writes; a class is never imported by a name in a file.
_ACTIVATIONS: dict[str, type[nn.Module]] = {
    "torch.nn.modules.linear.Identity": nn.Identity,
    "torch.nn.modules.activation.Tanh": nn.Tanh,
    "torch.nn.modules.activation.ReLU": nn.ReLU,
    "torch.nn.modules.activation.GELU": nn.GELU,
}


class TextEmbedder(nn.Module):
    """Token ids in, unit-length sentence embeddings out.

    Args:
        transformer: gives a hidden state for each token.
        dense: from its width to that of the embedding.
        unpooled_tokens: the first so many tokens, an instruction's, are attended to but left out of the mean.
    """

    def __init__(self, transformer: T5EncoderModel, dense: nn.Module, unpooled_tokens: int = 0) -> None:
        super().__init__()
        self.transformer = transformer
        self.dense = dense
        self.unpooled_tokens = unpooled_tokens

    @classmethod
    def from_config(cls, config: TextEmbedderConfig) -> TextEmbedder:
        """One with random weights."""
        transformer = T5EncoderModel(
            T5Config(
                vocab_size=config.vocab_size,
                d_model=config.dim,
                d_kv=config.head_dim,
                num_heads=config.heads,
                d_ff=config.ffn_dim,
                num_layers=config.layers,
                feed_forward_proj="gated-gelu",
                dropout_rate=config.dropout,
                pad_token_id=config.pad_token_id,
                use_cache=False,
            )
        )
        return cls(transformer, nn.Linear(config.dim, config.embedding_dim, bias=False))

    def forward(self, token_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Embed texts.

        Args:
            token_ids: (N, S) int64.
            attention_mask: (N, S), 1 where a token stands, 0 for padding.

        Returns:
            (N, embedding_dim), L2-normalised.
        """
        hidden = self.transformer(input_ids=token_ids, attention_mask=attention_mask).last_hidden_state
        # Slicing the states, not the mask alone: the mean is over what follows the instruction.
        hidden = hidden[:, self.unpooled_tokens :]
        weights = attention_mask[:, self.unpooled_tokens :].unsqueeze(-1).to(hidden.dtype)
        pooled = (hidden * weights).sum(dim=1) / weights.sum(dim=1).clamp(min=1.0)
        return functional.normalize(self.dense(pooled), dim=-1)


@dataclass(frozen=True)
class Instructor:
    """INSTRUCTOR as published: weights and tokenizer.

    Attributes:
        transformer: T5 encoder of any size.
        dense: projection, its activation included.
        tokenizer: neither pads nor cuts.
        dim: of the embedding.
    """

    transformer: T5EncoderModel
    dense: nn.Module
    tokenizer: Tokenizer
    dim: int

    def embed(
        self, texts: Sequence[str], instruction: str = CAPTION_INSTRUCTION
    ) -> np.ndarray[tuple[int, int], np.dtype[np.float32]]:
        """Unit-length embeddings, (N, dim) float32, of texts under an instruction."""
        embedder = self.embedder(instruction)
        rows = [np.zeros((0, self.dim), np.float32)]
        for start in range(0, len(texts), _BATCH_TEXTS):
            arrays = to_arrays(self.tokenizer, texts[start : start + _BATCH_TEXTS], instruction)
            token_ids, mask = (torch.from_numpy(array) for array in arrays)
            with torch.no_grad():
                rows.append(embedder(token_ids, mask).numpy())
        return np.concatenate(rows)

    def embedder(self, instruction: str) -> TextEmbedder:
        """The module for texts that begin with ``instruction``.

        As published, as many tokens are left out of the mean as the instruction without outer spaces has by itself,
        its end token not counted.
        """
        bare = instruction.strip()
        unpooled = len(self.tokenizer.encode(bare).ids) - 1 if bare else 0
        return TextEmbedder(self.transformer, self.dense, unpooled).eval()


def load_instructor_weights(folder: Path) -> Instructor:
    """INSTRUCTOR, or another T5 encoder in the layout of sentence-transformers, its weights mapped from the file.

    Raises:
        InputMissingError: a part of it is not there.
        ConfigError: it is built otherwise (not T5, other pooling).
        DataError: a file is damaged, holds code, or does not fit.
    """
    parts = pipeline_parts(folder, _PIPELINES)
    root = folder / parts["Transformer"]
    table = read_json(root / "config.json")
    if table.get("model_type") != "t5":
        raise ConfigError(
            f"{root} is a {table.get('model_type')!r} model; the text embedder must be T5, as INSTRUCTOR is"
        )
    transformer = unfilled(lambda: T5EncoderModel(T5Config.from_dict({**table, "use_cache": False})), root)
    state = read_state(root)
    # A whole T5 may lie there; its decoder is not used.
    decoder = ("decoder.", "lm_head.")
    fit_state(transformer, {name: tensor for name, tensor in state.items() if not name.startswith(decoder)}, root)
    pooling = read_json(folder / parts["Pooling"] / "config.json")
    modes = {name for name, chosen in pooling.items() if name.startswith("pooling_mode_") and chosen is True}
    if modes != {"pooling_mode_mean_tokens"}:
        raise ConfigError(f"{folder} pools by {', '.join(sorted(modes)) or 'nothing'}; only the mean is supported")
    tokenizer = part_tokenizer(root, transformer.config.vocab_size)
    width = transformer.config.d_model
    dense, dim = dense_part(folder / parts["Dense"], width) if "Dense" in parts else (nn.Identity(), width)
    return Instructor(transformer.eval(), dense.eval(), tokenizer, dim)


def pipeline_parts(folder: Path, known: Sequence[Sequence[str]]) -> dict[str, str]:
    """Kind of module → its folder, of a model in the layout of sentence-transformers.

    Args:
        folder: holds ``modules.json``.
        known: pipelines, kinds of modules in order, that the caller runs; the longest first.

    Raises:
        InputMissingError: there is no list of modules.
        ConfigError: it lists another pipeline, or files outside the folder.
        DataError: it is damaged.
    """
    path = folder / "modules.json"
    if not path.is_file():
        raise InputMissingError(f"{folder} has no modules.json: give a folder in the layout of sentence-transformers")
    listed = read_json(path, kind=list)
    if not all(isinstance(module, dict) and {"path", "type"} <= module.keys() for module in listed):
        raise ConfigError(f"{path} does not list modules with their path and type: fetch it again")
    paths = [module["path"] for module in listed]
    if not all(
        isinstance(name, str) and not Path(name).is_absolute() and ".." not in Path(name).parts for name in paths
    ):
        raise ConfigError(f"{path} names folders outside its own: fetch it again")
    kinds = [str(module["type"]).rpartition(".")[2] for module in listed]
    if kinds not in map(list, known):
        raise ConfigError(f"{path} lists {', '.join(kinds)}; supported is {', '.join(known[0])}")
    return dict(zip(kinds, paths, strict=True))


def dense_part(folder: Path, width: int) -> tuple[nn.Module, int]:
    """A projection from ``width`` with its activation, and how many dimensions it gives.

    Raises:
        InputMissingError: its configuration or weights are not there.
        ConfigError: its sizes or its activation cannot be used.
        DataError: its weights do not fit.
    """
    path = folder / "config.json"
    table = read_json(path)
    activation = table.get("activation_function", "torch.nn.modules.linear.Identity")
    if not isinstance(activation, str) or activation not in _ACTIVATIONS:
        raise ConfigError(f"{path}: unknown activation {activation!r}; known are {', '.join(_ACTIVATIONS)}")
    try:
        sizes = int(table["in_features"]), int(table["out_features"])
    except (KeyError, TypeError, ValueError) as error:
        raise ConfigError(f"{path} lacks in_features or out_features: fetch it again") from error
    if sizes[0] != width:
        raise ConfigError(f"{path}: in_features is {sizes[0]}, the transformer's width {width}: they must be equal")
    linear = unfilled(lambda: nn.Linear(*sizes, bias=bool(table.get("bias", True))), folder)
    fit_state(linear, {name.removeprefix("linear."): tensor for name, tensor in read_state(folder).items()}, folder)
    return nn.Sequential(linear, _ACTIVATIONS[activation]()), sizes[1]


def part_tokenizer(root: Path, vocab_size: int) -> Tokenizer:
    """The tokenizer beside a transformer of ``vocab_size`` tokens; it neither pads nor cuts.

    Raises:
        InputMissingError: it is not there.
        DataError: it cannot be read, or has more tokens than the transformer.
    """
    path = root / "tokenizer.json"
    if not path.is_file():
        raise InputMissingError(f"{root} has no tokenizer.json: fetch it again")
    tokenizer = load_tokenizer(path)
    if tokenizer.get_vocab_size() > vocab_size:
        raise DataError(
            f"the tokenizer in {root} has {tokenizer.get_vocab_size()} tokens, its model {vocab_size}: fetch both anew"
        )
    tokenizer.no_padding()
    # The reference embeds 70 tokens whole although its sentence_bert_config.json names 64; T5 has no longest text.
    tokenizer.no_truncation()
    return tokenizer
