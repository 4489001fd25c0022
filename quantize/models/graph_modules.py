"""The graphs of a bundle as torch modules of plain tensors, and what each is checked with."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice, pairwise
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils import parametrize
from torch.nn.utils.fusion import fuse_conv_bn_eval, fuse_linear_bn_eval

from edge_aac.bundle.sureness import SOUNDS
from quantize.models.captioner import Captioner
from quantize.models.familiarity import Familiarity
from quantize.models.sureness import Sureness

Inputs = Mapping[str, Tensor]

CHECK_CANDIDATES = 6


class StemGraph(nn.Module):
    """patches (P, frames, 128) → vectors (P, D), of a captioner whose encoder hears patches of time."""

    def __init__(self, captioner: Captioner) -> None:
        super().__init__()
        self.captioner = captioner

    def forward(self, patches: Tensor) -> Tensor:
        encoder = self.captioner.encoder
        assert encoder.patch_stem is not None, "the captioner has no patches"
        return encoder.tokens(encoder.patch_stem.vectors(patches))


class EncoderGraph(nn.Module):
    """fbank (B, 998, 128) → cross_keys, cross_values (B, layers, heads, T, head_size), audio_embedding (B, E).

    Of a captioner whose encoder hears patches of time, vectors (B, patches, D) of a :class:`StemGraph` take the
    filter bank's place.
    """

    def __init__(self, captioner: Captioner) -> None:
        super().__init__()
        self.captioner = captioner

    def forward(self, given: Tensor) -> tuple[Tensor, ...]:
        return self.outputs(self.captioner.memory(self.hidden(given))[0])

    def hidden(self, given: Tensor) -> Tensor:
        """BEATs' states (B, T, D)."""
        encoder = self.captioner.encoder
        return encoder(given)[0] if encoder.patch_stem is None else encoder.encoder(given, None)

    def outputs(self, memory: Tensor) -> tuple[Tensor, ...]:
        """What follows from the memory (B, T', D)."""
        cross = self.captioner.decoder.cross_keys_values(self.captioner.positioned(memory))
        return *cross, self.captioner.audio_embedding(memory)


class JudgingEncoderGraph(EncoderGraph):
    """The same, with what decides on names besides: familiarity (B,), sounds (B, S), or both in this order."""

    def __init__(self, captioner: Captioner, familiarity: Familiarity | None, sureness: Sureness | None) -> None:
        super().__init__(captioner)
        self.familiarity = familiarity
        self.sureness = sureness

    def forward(self, given: Tensor) -> tuple[Tensor, ...]:
        hidden = self.hidden(given)
        memory = self.captioner.memory(hidden)[0]
        outputs = self.outputs(memory)
        if self.familiarity is not None:
            outputs = (*outputs, self.familiarity(hidden, self.captioner.encoder.predictor(hidden)))
        return outputs if self.sureness is None else (*outputs, self.sureness(memory))


class PaddedEncoderGraph(EncoderGraph):
    """The same for a model that was trained on padded batches, as the published one.

    fbank, frame_padding (B, 998), True = padding → the three outputs, memory_padding (B, T).
    """

    def forward(self, fbank: Tensor, frame_padding: Tensor) -> tuple[Tensor, ...]:  # type: ignore[override]
        memory, padding, audio_embedding = self.captioner.encode(fbank, frame_padding)
        cross = self.captioner.decoder.cross_keys_values(self.captioner.positioned(memory))
        return *cross, audio_embedding, cast(Tensor, padding)


class DecoderGraph(nn.Module):
    """One step of N candidates of each of W windows; see :meth:`quantize.models.decoder.BartDecoder.step`.

    Every layer's cache and cross-attention is an input of its own (:attr:`input_names`): out of one tensor for all
    layers the graph would have to copy each layer's part, at every step.
    """

    def __init__(self, captioner: Captioner) -> None:
        super().__init__()
        self.captioner = captioner
        self.layers = len(captioner.decoder.layers)

    @property
    def input_names(self) -> list[str]:
        names = ("self_keys", "self_values", "cross_keys", "cross_values")
        states = (f"{name}_{layer}" for name in names for layer in range(self.layers))
        return ["token_ids", "step", "memory_padding", *states]

    def forward(
        self, token_ids: Tensor, step: Tensor, memory_padding: Tensor, *states: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        count = self.layers
        self_keys, self_values, cross_keys, cross_values = (
            states[start : start + count] for start in range(0, 4 * count, count)
        )
        model = self.captioner
        cache, cross = (self_keys, self_values), (cross_keys, cross_values)
        hidden, keys, values = model.decoder.step(token_ids, step, cache, cross, memory_padding)
        # One product with the token table as it is: as a product and a sum the graph would hold it transposed as well.
        logits = functional.linear(hidden[:, 0], model.lm_head.weight, model.final_logits_bias[0])
        return logits, keys, values


@dataclass(frozen=True)
class GraphSpec:
    """How one graph is exported and with what it is checked.

    Attributes:
        module: in evaluation mode.
        inputs: one example of every input, in order.
        outputs: names in order.
        dynamic_axes: input or output → {axis: name}.
        checks: gives inputs of all sizes on the dynamic axes, the same each time it is called. What it gives is good
            until it gives the next.
        halves: whether the module's weights were rounded to FP16 and are to be stored so.
    """

    module: nn.Module
    inputs: Inputs
    outputs: tuple[str, ...]
    dynamic_axes: Mapping[str, Mapping[int, str]]
    checks: Callable[[], Iterator[Inputs]]
    halves: bool = False


@torch.no_grad()
def stem_spec(captioner: Captioner, fbanks: Tensor) -> GraphSpec:
    """The stem of a captioner that hears patches, checked on all patches of windows ``fbanks`` ((B, 998, 128)).

    Args:
        captioner: in evaluation mode.
        fbanks: of windows that differ.
    """
    stem = captioner.encoder.patch_stem
    assert stem is not None, "the captioner has no patches"
    whole = {"patches": stem.cut(fbanks).flatten(0, 1).contiguous()}
    one = {"patches": whole["patches"][:1]}
    axes = {name: {0: "patches"} for name in ("patches", "vectors")}
    return GraphSpec(StemGraph(captioner).eval(), one, ("vectors",), axes, lambda: iter((one, whole)))


@torch.no_grad()
def encoder_input(captioner: Captioner, fbanks: Tensor) -> Tensor:
    """What the encoder's graph is given of windows (B, 998, 128): themselves, or their patches' vectors."""
    stem = captioner.encoder.patch_stem
    if stem is None:
        return fbanks
    vectors = StemGraph(captioner).eval()(stem.cut(fbanks).flatten(0, 1))
    return vectors.unflatten(0, (len(fbanks), -1))


@torch.no_grad()
def encoder_spec(
    captioner: Captioner,
    fbanks: Tensor,
    takes_padding: bool = False,
    familiarity: Familiarity | None = None,
    sureness: Sureness | None = None,
) -> GraphSpec:
    """The encoder, checked on windows ``fbanks`` (at least two, (B, 998, 128)).

    Args:
        captioner: in evaluation mode.
        fbanks: of windows that differ.
        takes_padding: whether the model was trained with a mask of the padding.
        familiarity: of a model that was not: the graph gives it, too.
        sureness: of such a model: the graph gives its confidences, too.
    """
    module = EncoderGraph(captioner)
    patched = captioner.encoder.patch_stem is not None
    inputs = {"vectors" if patched else "fbank": encoder_input(captioner, fbanks)}
    outputs: tuple[str, ...] = ("cross_keys", "cross_values", "audio_embedding")
    if takes_padding:
        assert not patched, "no model of patches is trained on padded batches"
        # None of the first window is padding, and of each of the others more than of the one before.
        starts = torch.linspace(fbanks.shape[1], fbanks.shape[1] / 3, len(fbanks)).long()
        inputs["frame_padding"] = torch.arange(fbanks.shape[1]) >= starts[:, None]
        outputs = (*outputs, "memory_padding")
        module = PaddedEncoderGraph(captioner)
    elif familiarity is not None or sureness is not None:
        judging = {"familiarity": familiarity, SOUNDS: sureness}
        outputs = (*outputs, *(name for name, part in judging.items() if part is not None))
        module = JudgingEncoderGraph(captioner, familiarity, sureness)
    one = {name: tensor[:1] for name, tensor in inputs.items()}
    return GraphSpec(
        module.eval(),
        one,
        outputs,
        {name: {0: "windows"} for name in (*inputs, *outputs)},
        lambda: iter((one, inputs)),
    )


Cross = tuple[Tensor, Tensor]
"""Cross-attention keys and values of W windows, (W, layers, heads, T, head_size) each."""


@torch.no_grad()
def cross_attention(captioner: Captioner, fbanks: Tensor) -> Cross:
    """What the decoding step is checked with, of real windows (W, 998, 128)."""
    keys, values, _ = EncoderGraph(captioner).eval()(encoder_input(captioner, fbanks))
    return keys, values


@torch.no_grad()
def decoder_spec(captioner: Captioner, cross: Cross, length: int) -> GraphSpec:
    """The decoding step, checked along captions of ``length`` tokens that are drawn for two windows, and for one.

    Args:
        captioner: in evaluation mode.
        cross: of two windows at least; of the second, the last third is taken for padding.
        length: of the longest captions, the start token included.
    """
    decoder = DecoderGraph(captioner).eval()
    one, two = ((cross[0][:count], cross[1][:count]) for count in (1, 2))
    walks = [_Walk(decoder, length, two, CHECK_CANDIDATES), _Walk(decoder, length // 2, one, 1)]
    example = next(islice(walks[0].inputs(), 1, None))
    axes = {"self": {0: "rows", 2: "capacity"}, "cross": {0: "windows", 2: "memory_steps"}}
    states = {name: axes[name.partition("_")[0]] for name in decoder.input_names if name.startswith(("self", "cross"))}
    rows = {1: "rows"}
    return GraphSpec(
        decoder,
        example,
        ("logits", "new_keys", "new_values"),
        {
            "token_ids": {0: "rows"},
            "memory_padding": {0: "windows", 1: "memory_steps"},
            **states,
            "logits": {0: "rows"},
            "new_keys": rows,
            "new_values": rows,
        },
        lambda: (inputs for walk in walks for inputs in walk.inputs()),
    )


class _Walk:
    """Inputs of every step while ``candidates`` captions a window are drawn at random, until the cache is full.

    Only the tokens and the new positions are kept: the cache of each step is filled again when it is asked for.
    """

    def __init__(self, decoder: DecoderGraph, length: int, cross: Cross, candidates: int) -> None:
        windows, layers, heads, memory_steps, head_size = cross[0].shape
        rows = windows * candidates
        self._names = decoder.input_names
        self._shape = (layers, rows, heads, length, head_size)
        self._cross = cross
        # All of the first window is sound, and less of each that follows.
        starts = torch.linspace(memory_steps, memory_steps * 2 / 3, windows).ceil().long()
        self._padding = torch.arange(memory_steps) >= starts[:, None]
        self._tokens = [torch.full((rows, 1), decoder.captioner.config.decoder.start_token_id)]
        self._written: list[tuple[Tensor, Tensor]] = []
        generator = torch.Generator().manual_seed(0)
        for inputs in self.inputs():
            logits, keys, values = decoder(*inputs.values())
            self._written.append((keys[:, :, :, 0], values[:, :, :, 0]))
            self._tokens.append(torch.multinomial(logits.softmax(dim=-1), 1, generator=generator))

    def inputs(self) -> Iterator[Inputs]:
        keys, values = torch.zeros(self._shape), torch.zeros(self._shape)
        cross = [states.transpose(0, 1).contiguous() for states in self._cross]
        for step in range(self._shape[3]):
            given = (self._tokens[step], torch.tensor([step]), self._padding)
            yield dict(zip(self._names, (*given, *keys, *values, *cross[0], *cross[1]), strict=True))
            keys[:, :, :, step], values[:, :, :, step] = self._written[step]


@torch.no_grad()
def text_embedder_spec(text_embedder: nn.Module, token_ids: Tensor, attention_mask: Tensor) -> GraphSpec:
    """A text embedder (ours, INSTRUCTOR's or another's: (N, S) tokens and mask → (N, E)), checked on captions.

    Args:
        text_embedder: gives unit length.
        token_ids: (N, S), of captions of different lengths.
        attention_mask: (N, S).
    """
    axes = {0: "texts", 1: "tokens"}
    whole = {"token_ids": token_ids, "attention_mask": attention_mask}
    length = int(attention_mask[0].sum())
    one = {name: value[:1, :length] for name, value in whole.items()}
    return GraphSpec(
        text_embedder.eval(),
        whole,
        ("embedding",),
        {"token_ids": axes, "attention_mask": axes, "embedding": {0: "texts"}},
        lambda: iter((whole, one)),
    )


@torch.no_grad()
def fold_batch_norm(captioner: Captioner) -> None:
    """Put each batch norm into what comes before it, in place: of the stem, the Conformer and the embedding head.

    Args:
        captioner: in evaluation mode.
    """
    for part in list(captioner.encoder.patch_embedding.modules()):
        if isinstance(part, nn.Sequential):
            for number, (layer, norm) in enumerate(pairwise(list(part))):
                if isinstance(layer, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
                    part[number], part[number + 1] = fuse_conv_bn_eval(layer, norm), nn.Identity()
    for layer in captioner.postencoder.layers:
        module = layer.conv_module
        depthwise, normed = module.depthwise_conv, module.batch_norm
        if isinstance(depthwise, nn.Conv1d) and isinstance(normed, nn.BatchNorm1d):
            module.depthwise_conv, module.batch_norm = fuse_conv_bn_eval(depthwise, normed), nn.Identity()
    head = captioner.encoder_embed_mlp
    if isinstance(head.bn, nn.BatchNorm1d):
        head.fc1 = fuse_linear_bn_eval(head.fc1, head.bn)
        head.register_module("bn", nn.Identity())


def fold_weight_norm(module: nn.Module) -> None:
    """Replace weight-normed convolutions by plain ones with the same weights: a graph has no use for the two parts."""
    for part in module.modules():
        if parametrize.is_parametrized(part, "weight"):
            parametrize.remove_parametrizations(part, "weight", leave_parametrized=True)
