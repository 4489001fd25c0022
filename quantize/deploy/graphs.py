"""The three graphs of a bundle as torch modules of plain tensors."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from quantize.models.captioner import Captioner
from quantize.models.instructor import TextEmbedder


class EncoderGraph(nn.Module):
    """fbank (B, 998, 128) → cross_keys, cross_values (B, layers, heads, T, head_size), audio_embedding (B, E)."""

    def __init__(self, captioner: Captioner) -> None:
        super().__init__()
        self.captioner = captioner

    def forward(self, fbank: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        memory, _, audio_embedding = self.captioner.encode(fbank)
        return *self.captioner.decoder.cross_keys_values(self.captioner.positioned(memory)), audio_embedding


class DecoderGraph(nn.Module):
    """One step of N candidates; see :meth:`quantize.models.decoder.BartDecoder.step`."""

    def __init__(self, captioner: Captioner) -> None:
        super().__init__()
        self.captioner = captioner

    def forward(  # noqa: PLR0913, PLR0917 - the inputs of the graph
        self,
        token_ids: Tensor,
        step: Tensor,
        self_keys: Tensor,
        self_values: Tensor,
        cross_keys: Tensor,
        cross_values: Tensor,
    ) -> tuple[Tensor, Tensor, Tensor]:
        model = self.captioner
        hidden, keys, values = model.decoder.step(token_ids, step, (self_keys, self_values), (cross_keys, cross_values))
        logits = model.lm_head(hidden[:, 0]) + model.final_logits_bias
        return logits, keys, values


@dataclass(frozen=True)
class GraphSpec:
    """How one graph is exported and with what it is checked.

    Attributes:
        module: in evaluation mode.
        inputs: one example of every input, in order.
        outputs: names in order.
        dynamic_axes: input or output → {axis: name}.
        checks: more inputs, of other sizes on the dynamic axes.
    """

    module: nn.Module
    inputs: Mapping[str, Tensor]
    outputs: tuple[str, ...]
    dynamic_axes: Mapping[str, Mapping[int, str]]
    checks: tuple[Mapping[str, Tensor], ...] = field(default=())


@torch.no_grad()
def encoder_spec(captioner: Captioner, fbanks: Tensor) -> GraphSpec:
    """The encoder, checked on real windows ``fbanks`` (at least two, (B, 998, 128))."""
    outputs = ("cross_keys", "cross_values", "audio_embedding")
    return GraphSpec(
        EncoderGraph(captioner).eval(),
        {"fbank": fbanks[:1]},
        outputs,
        {name: {0: "windows"} for name in ("fbank", *outputs)},
        ({"fbank": fbanks},),
    )


@torch.no_grad()
def decoder_spec(captioner: Captioner, fbank: Tensor, capacity: int) -> GraphSpec:
    """The decoding step, checked along whole captions of a real window ``fbank`` (1, 998, 128)."""
    cross_keys, cross_values, _ = EncoderGraph(captioner).eval()(fbank)
    decoder = DecoderGraph(captioner).eval()
    steps = list(_walk(decoder, capacity, cross_keys[0], cross_values[0], candidates=6))
    cache_axes = {1: "candidates"}
    return GraphSpec(
        decoder,
        steps[1],
        ("logits", "new_keys", "new_values"),
        {
            "token_ids": {0: "candidates"},
            "self_keys": cache_axes,
            "self_values": cache_axes,
            "logits": {0: "candidates"},
            "new_keys": cache_axes,
            "new_values": cache_axes,
        },
        (*steps, *_walk(decoder, capacity, cross_keys[0], cross_values[0], candidates=1)),
    )


def _walk(
    decoder: DecoderGraph, capacity: int, cross_keys: Tensor, cross_values: Tensor, candidates: int
) -> Iterator[dict[str, Tensor]]:
    """Inputs of every step while ``candidates`` captions are drawn at random, until the cache is full."""
    layers, heads, _, head_size = cross_keys.shape
    keys = torch.zeros(layers, candidates, heads, capacity, head_size)
    values = torch.zeros_like(keys)
    generator = torch.Generator().manual_seed(0)
    tokens = torch.full((candidates, 1), decoder.captioner.config.decoder.start_token_id)
    for step in range(capacity):
        inputs = {
            "token_ids": tokens,
            "step": torch.tensor([step]),
            "self_keys": keys.clone(),
            "self_values": values.clone(),
            "cross_keys": cross_keys,
            "cross_values": cross_values,
        }
        yield inputs
        logits, new_keys, new_values = decoder(*inputs.values())
        keys[:, :, :, step], values[:, :, :, step] = new_keys[:, :, :, 0], new_values[:, :, :, 0]
        tokens = torch.multinomial(logits.softmax(dim=-1), 1, generator=generator)


@torch.no_grad()
def text_embedder_spec(text_embedder: TextEmbedder, token_ids: Tensor, attention_mask: Tensor) -> GraphSpec:
    """The text embedder, checked on captions of different lengths, (N, S) each."""
    axes = {0: "texts", 1: "tokens"}
    whole = {"token_ids": token_ids, "attention_mask": attention_mask}
    length = int(attention_mask[0].sum())
    one = {name: value[:1, :length] for name, value in whole.items()}
    return GraphSpec(
        text_embedder.eval(),
        whole,
        ("embedding",),
        {"token_ids": axes, "attention_mask": axes, "embedding": {0: "texts"}},
        (whole, one),
    )


def fold_weight_norm(module: nn.Module) -> None:
    """Replace weight-normed convolutions by plain ones with the same weights: a graph has no use for the two parts."""
    for part in module.modules():
        if parametrize.is_parametrized(part, "weight"):
            parametrize.remove_parametrizations(part, "weight", leave_parametrized=True)
