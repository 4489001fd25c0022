"""The graphs of a bundle that answers prompts: torch modules of plain tensors, and what each is checked with."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import GPT2LMHeadModel

from quantize.models.audio_language.audio_stages import unit
from quantize.models.audio_language.mapper import Mapper
from quantize.models.audio_language.projection import AudioTower
from quantize.models.graph_modules import GraphSpec, Inputs

_CHECKED_STEPS = 8


class SoundPrefixGraph(nn.Module):
    """waveform (B, samples) → audio_embedding (B, E), prefix (B, P, D)."""

    def __init__(self, tower: AudioTower, mapper: Mapper, normalise: bool) -> None:
        super().__init__()
        self.tower, self.mapper, self.normalise = tower, mapper, normalise

    def forward(self, waveform: Tensor) -> tuple[Tensor, Tensor]:
        embedding = self.tower(waveform)
        embedding = unit(embedding) if self.normalise else embedding
        return embedding, self.mapper(embedding)


class PrefixDecoderGraph(nn.Module):
    """GPT-2 over a prefix of vectors, over tokens, or over both; see :mod:`edge_aac.models.prefix_search`.

    The new keys and values are attended to beside the cache instead of being joined with it, so that a step copies none
    of it.

    Args:
        gpt: in evaluation mode.
    """

    no_bias: Tensor

    def __init__(self, gpt: GPT2LMHeadModel) -> None:
        super().__init__()
        config = gpt.config
        self.gpt = gpt.transformer
        self.heads, self.layers = config.n_head, config.n_layer
        self.head_size, self.width = config.n_embd // config.n_head, config.n_embd
        self._scales = [
            (self.head_size**-0.5 if config.scale_attn_weights else 1.0)
            / (layer + 1 if config.scale_attn_by_inverse_layer_idx else 1)
            for layer in range(self.layers)
        ]
        # A product with a bias takes the table of tokens as it is: without one the graph would hold it transposed, too.
        self.register_buffer("no_bias", torch.zeros(config.vocab_size))

    @property
    def input_names(self) -> list[str]:
        """Of :meth:`forward`, in order."""
        cache = (f"self_{name}_{layer}" for name in ("keys", "values") for layer in range(self.layers))
        return ["prefix", "token_ids", "step", *cache]

    def forward(self, prefix: Tensor, token_ids: Tensor, step: Tensor, *cache: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        x = torch.cat([prefix, self.gpt.wte(token_ids)], dim=1)
        places = torch.arange(x.shape[1], device=x.device)
        x = x + self.gpt.wpe(places + step)
        capacity = cache[0].shape[2]
        unwritten = _barred(torch.arange(capacity, device=x.device) >= step)
        later = _barred(places[None, :] > places[:, None])
        new_keys, new_values = [], []
        blocks: Any = self.gpt.h
        for layer, block in enumerate(blocks):
            attention = block.attn
            joint = block.ln_1(x) @ attention.c_attn.weight + attention.c_attn.bias
            queries, keys, values = (self._by_head(part) for part in joint.split(self.width, dim=2))
            queries = queries * self._scales[layer]
            past = queries @ cache[layer].transpose(-1, -2) + unwritten
            present = queries @ keys.transpose(-1, -2) + later
            weights = torch.cat([past, present], dim=-1).softmax(dim=-1)
            attended = weights[..., :capacity] @ cache[self.layers + layer] + weights[..., capacity:] @ values
            merged = attended.transpose(1, 2).flatten(2)
            x = x + merged @ attention.c_proj.weight + attention.c_proj.bias
            mlp = block.mlp
            inner = mlp.act(block.ln_2(x) @ mlp.c_fc.weight + mlp.c_fc.bias)
            x = x + inner @ mlp.c_proj.weight + mlp.c_proj.bias
            new_keys.append(keys)
            new_values.append(values)
        logits = functional.linear(self.gpt.ln_f(x[:, -1]), self.gpt.wte.weight, self.no_bias)
        return logits, torch.stack(new_keys), torch.stack(new_values)

    def _by_head(self, part: Tensor) -> Tensor:
        """(R, S, D) → (R, heads, S, head_size)."""
        return part.unflatten(2, (self.heads, self.head_size)).transpose(1, 2)


def _barred(where: Tensor) -> Tensor:
    """−∞ where True, else 0."""
    return torch.zeros(where.shape, device=where.device).masked_fill(where, float("-inf"))


def sound_prefix_spec(tower: AudioTower, mapper: Mapper, normalise: bool, clips: Tensor) -> GraphSpec:
    """The encoder of a sound, one at a time, checked on clips (B, samples)."""
    module = SoundPrefixGraph(tower, mapper, normalise).eval()
    return one_at_a_time(module, {"waveform": clips}, ("audio_embedding", "prefix"))


def one_at_a_time(module: nn.Module, inputs: Inputs, outputs: tuple[str, ...]) -> GraphSpec:
    """A graph of fixed shapes, checked on each row of its inputs.

    A batch would save nothing, and ranges that INT8 finds over a run would make its rows depend on each other.
    """
    count = len(next(iter(inputs.values())))
    rows = [{name: part[row : row + 1].contiguous() for name, part in inputs.items()} for row in range(count)]
    return GraphSpec(module, rows[0], outputs, {}, lambda: iter(rows))


@torch.no_grad()
def prefix_decoder_spec(gpt: GPT2LMHeadModel, prefixes: Tensor, beams: int) -> GraphSpec:
    """The decoder, checked on a prefix, on a prefix with tokens, and along texts that are drawn behind one.

    Args:
        gpt: in evaluation mode.
        prefixes: (B, P, D), at least one.
        beams: texts side by side.
    """
    decoder = PrefixDecoderGraph(gpt).eval()
    walk = _Walk(decoder, prefixes[0], beams)
    example = walk.reading([1, 2])
    rows = {0: "rows"}
    cache = {name: {**rows, 2: "capacity"} for name in decoder.input_names[3:]}
    new = {1: "rows", 3: "new"}
    return GraphSpec(
        decoder,
        example,
        ("logits", "new_keys", "new_values"),
        {
            "prefix": {**rows, 1: "vectors"},
            "token_ids": {**rows, 1: "tokens"},
            **cache,
            "logits": rows,
            "new_keys": new,
            "new_values": new,
        },
        walk.inputs,
    )


class _Walk:
    """Texts that are drawn at random behind a prefix. One cache serves every step: what a step writes, none before it
    reads."""

    def __init__(self, decoder: PrefixDecoderGraph, prefix: Tensor, beams: int) -> None:
        self._decoder, self._prefix, self._beams = decoder, prefix, beams
        self._written = len(prefix)
        capacity = self._written + _CHECKED_STEPS
        self._cache = torch.zeros(2 * decoder.layers, beams, decoder.heads, capacity, decoder.head_size)
        self._tokens: list[Tensor] = []
        generator = torch.Generator().manual_seed(0)
        logits, *new = decoder(*self.reading([]).values())
        self._keep(new, 0)
        logits = logits.expand(beams, -1)
        for step in range(_CHECKED_STEPS):
            self._tokens.append(torch.multinomial(logits.softmax(dim=-1), 1, generator=generator))
            logits, *new = decoder(*self._step(step).values())
            self._keep(new, self._written + step)

    def inputs(self) -> Iterator[Inputs]:
        """Of every run."""
        yield self.reading([])
        yield self.reading([3, 1, 2])
        yield from (self._step(step) for step in range(_CHECKED_STEPS))

    def reading(self, token_ids: Sequence[int]) -> dict[str, Tensor]:
        """Of the run that reads the prefix and tokens behind it."""
        tokens = torch.tensor([token_ids], dtype=torch.long).view(1, -1)
        return self._named(self._prefix[None], tokens, 0, self._cache[:, :1])

    def _step(self, step: int) -> dict[str, Tensor]:
        nothing = self._prefix.new_zeros(self._beams, 0, self._prefix.shape[1])
        return self._named(nothing, self._tokens[step], self._written + step, self._cache)

    def _named(self, prefix: Tensor, tokens: Tensor, step: int, cache: Tensor) -> dict[str, Tensor]:
        values = (prefix, tokens, torch.tensor([step]), *(part.contiguous() for part in cache))
        return dict(zip(self._decoder.input_names, values, strict=True))

    def _keep(self, new: Sequence[Tensor], at: int) -> None:
        joint = torch.cat(list(new))
        self._cache[:, :, :, at : at + joint.shape[3]] = joint
