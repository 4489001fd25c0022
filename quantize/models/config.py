"""Sizes of every module. The published 217 M model and the embedded one differ in these numbers only."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, Literal

from pydantic import TypeAdapter, ValidationError

from edge_aac.errors import ConfigError, first_complaint

WINDOW_FRAMES = 998
_WIDEST_STEM = 4.0  # of the published networks of these blocks


def at_least_one(settings: object, *names: str) -> None:
    """Refuse settings of which one of these is below 1.

    Raises:
        ConfigError: it names the first.
    """
    for name in names:
        if not getattr(settings, name) >= 1:  # of NaN no comparison holds
            raise ConfigError(f"{name} is {getattr(settings, name)}; it must be at least 1")


def not_negative(settings: object, *names: str) -> None:
    """Refuse settings of which one of these is below 0. Errors as above."""
    for name in names:
        if not getattr(settings, name) >= 0:
            raise ConfigError(f"{name} is {getattr(settings, name)}; it must not be negative")


def above_zero(settings: object, *names: str) -> None:
    """Refuse settings of which one of these is 0 or less. Errors as above."""
    for name in names:
        if not getattr(settings, name) > 0:
            raise ConfigError(f"{name} is {getattr(settings, name)}; it must be above 0")


def within(settings: object, name: str, low: float, high: float) -> None:
    """Refuse settings of which this one lies outside a range. Errors as above."""
    if not low <= getattr(settings, name) <= high:
        raise ConfigError(f"{name} is {getattr(settings, name)}; it must lie in {low} to {high}")


def ascending(settings: object, *names: str) -> None:
    """Refuse settings of which one of these is a range that ends below its beginning. Errors as above."""
    for name in names:
        low, high = getattr(settings, name)
        if not low <= high:
            raise ConfigError(f"{name} is {[low, high]}; it must begin with the lesser of the two")


def probabilities(settings: object, name: str) -> None:
    """Refuse settings of which this one is no list of probabilities with the sum 1. Errors as above."""
    values: Sequence[float] = getattr(settings, name)
    if not all(value >= 0 for value in values) or not math.isclose(sum(values), 1.0, rel_tol=0.0, abs_tol=1e-8):
        raise ConfigError(f"{name} is {list(values)}; it must be probabilities with the sum 1")


@dataclass(frozen=True)
class BeatsConfig:
    """The audio encoder. Defaults: BEATs iter3+ as published.

    ``conv_stem`` and ``stem_width`` choose the stem; without either it is the published patch embedding (one strided
    convolution over ``patch_size`` × ``patch_size`` patches). ``conv_stem`` holds the output channels of convolutions
    with the strides ``conv_stem_strides`` ((time, mel) each) and the odd kernel sizes ``conv_stem_kernels`` (empty: 3
    each), followed by one that folds the mel axis into the channels. ``stem_width`` above 0 is the factor of the
    channels of a network that gives one vector a patch of time: ``stem_frames`` frames at a hop of ``stem_hop_frames``
    (98 and 50: 1 s at a hop of 0.5 s), see :mod:`quantize.models.patch_stem`.
    ``run_layers`` is the index of the hidden state that the captioner reads; the layers above it are never run,
    but DeepNorm's α counts ``layers``. Of 0 layers, position convolution and layer norm are left.
    """

    patch_size: int = 16
    conv_stem: tuple[int, ...] = ()
    conv_stem_strides: tuple[tuple[int, int], ...] = ()
    conv_stem_kernels: tuple[int, ...] = ()
    stem_width: float = 0.0
    stem_frames: int = 98
    stem_hop_frames: int = 50
    mel_bins: int = 128
    patch_embed_dim: int = 512
    layers: int = 12
    run_layers: int = 10
    dim: int = 768
    ffn_dim: int = 3072
    heads: int = 12
    conv_pos: int = 128
    conv_pos_groups: int = 16
    relative_buckets: int = 320
    relative_max_distance: int = 800
    dropout: float = 0.0
    classes: int = 527

    def __post_init__(self) -> None:
        at_least_one(self, "patch_size", "mel_bins", "patch_embed_dim", "dim", "ffn_dim", "heads")
        not_negative(self, "layers")
        at_least_one(self, "conv_pos", "conv_pos_groups", "relative_buckets", "classes")
        within(self, "dropout", 0.0, 1.0)
        if self.dim % self.heads:
            raise ConfigError(f"BEATs width {self.dim} is not a multiple of its {self.heads} heads")
        if self.dim % self.conv_pos_groups:
            raise ConfigError(f"BEATs width {self.dim} is not a multiple of its {self.conv_pos_groups} conv_pos_groups")
        if len(self.conv_stem) != len(self.conv_stem_strides):
            raise ConfigError("conv_stem and conv_stem_strides must have the same length")
        if self.conv_stem_kernels and len(self.conv_stem_kernels) != len(self.conv_stem):
            raise ConfigError("conv_stem_kernels must be left out or have the length of conv_stem")
        if not all(kernel % 2 for kernel in self.conv_stem_kernels):
            raise ConfigError("conv_stem_kernels must be odd")
        self._check_patches()
        if not 0 <= self.run_layers <= self.layers:
            raise ConfigError(f"run_layers {self.run_layers} must lie within 0..{self.layers}")

    def _check_patches(self) -> None:
        within(self, "stem_width", 0.0, _WIDEST_STEM)
        at_least_one(self, "stem_frames", "stem_hop_frames")
        if not self.stem_width:
            return
        if self.conv_stem:
            raise ConfigError("conv_stem and stem_width are two kinds of stem: leave one of them out")
        if self.stem_hop_frames > self.stem_frames:
            raise ConfigError(
                f"stem_hop_frames {self.stem_hop_frames} is more than stem_frames {self.stem_frames}: sound between "
                "two patches would not be heard"
            )
        if self.stem_frames > WINDOW_FRAMES or (WINDOW_FRAMES - self.stem_frames) % self.stem_hop_frames:
            raise ConfigError(
                f"patches of stem_frames {self.stem_frames} at a hop of stem_hop_frames {self.stem_hop_frames} do not "
                f"fill the {WINDOW_FRAMES} frames of a window: stem_frames and a multiple of stem_hop_frames must add "
                f"up to {WINDOW_FRAMES}"
            )

    @property
    def stem_kernels(self) -> tuple[int, ...]:
        """Kernel size of each convolution of the stem."""
        return self.conv_stem_kernels or (3,) * len(self.conv_stem)


@dataclass(frozen=True)
class ConformerConfig:
    """The post-encoder, as ``transformers``' Wav2Vec2-Conformer. Defaults: as published."""

    layers: int = 2
    heads: int = 12
    ffn_dim: int = 1536
    depthwise_kernel: int = 31
    conv_pos: int = 128
    conv_pos_groups: int = 16
    layer_norm_eps: float = 1e-5
    max_positions: int = 1536
    dropout: float = 0.1

    def __post_init__(self) -> None:
        at_least_one(self, "heads", "ffn_dim", "depthwise_kernel", "conv_pos", "conv_pos_groups", "max_positions")
        within(self, "dropout", 0.0, 1.0)
        if not self.depthwise_kernel % 2:
            raise ConfigError(f"depthwise_kernel is {self.depthwise_kernel}; it must be odd")


@dataclass(frozen=True)
class DecoderConfig:
    """The BART decoder. Defaults: as published (``facebook/bart-base`` vocabulary, 16 heads of 48)."""

    vocab_size: int = 50265
    layers: int = 6
    heads: int = 16
    ffn_dim: int = 3072
    max_positions: int = 128
    pad_token_id: int = 1
    start_token_id: int = 2
    eos_token_id: int = 2
    dropout: float = 0.1

    def __post_init__(self) -> None:
        at_least_one(self, "vocab_size", "layers", "heads", "ffn_dim", "max_positions")
        within(self, "dropout", 0.0, 1.0)


@dataclass(frozen=True)
class CaptionerConfig:
    """The whole captioner: BEATs → strided convolution → Conformer → BART decoder, and the audio embedding.

    ``pooling`` is how the memory becomes the audio embedding's input: "mean" over time, as published, or "attention":
    a mean with weights that a learnt linear scorer gives each step. ``sounds`` above 0 is the number of sounds whose
    presence a classifier tells at each step of the memory (:meth:`quantize.models.captioner.Captioner.sound_logits`).
    """

    beats: BeatsConfig = field(default_factory=BeatsConfig)
    conformer: ConformerConfig = field(default_factory=ConformerConfig)
    decoder: DecoderConfig = field(default_factory=DecoderConfig)
    downsample_rate: int = 3
    max_memory_positions: int = 512
    embedding_ffn_dim: int = 3072
    embedding_dim: int = 768
    pooling: Literal["mean", "attention"] = "mean"
    sounds: int = 0

    def __post_init__(self) -> None:
        not_negative(self, "sounds")
        at_least_one(self, "downsample_rate", "max_memory_positions", "embedding_ffn_dim", "embedding_dim")
        for name, parts in (
            ("Conformer's {} heads", self.conformer.heads),
            ("Conformer's {} conv_pos_groups", self.conformer.conv_pos_groups),
            ("decoder's {} heads", self.decoder.heads),
        ):
            if self.beats.dim % parts:
                raise ConfigError(f"the width {self.beats.dim} is not a multiple of the {name.format(parts)}")
        ids = (self.decoder.pad_token_id, self.decoder.start_token_id, self.decoder.eos_token_id)
        if max(ids) >= self.decoder.vocab_size:
            raise ConfigError(f"token id {max(ids)} lies outside the decoder's vocabulary of {self.decoder.vocab_size}")
        if self.memory_steps < 1:
            raise ConfigError("a 10 s window gives no memory steps: lower patch_size or downsample_rate")
        if self.memory_steps > self.max_memory_positions:
            raise ConfigError(
                f"a 10 s window gives {self.memory_steps} memory steps, but max_memory_positions is "
                f"{self.max_memory_positions}: raise it, or downsample_rate"
            )

    @property
    def memory_steps(self) -> int:
        """Length of the memory of a 10 s window."""
        return self.memory_steps_of(WINDOW_FRAMES)

    def memory_steps_of(self, frames: int) -> int:
        """Length of the memory of so many frames of 10 ms; below 1 where they are too few."""
        beats, steps = self.beats, frames
        if beats.conv_stem:
            for stride, _ in beats.conv_stem_strides:
                steps = -(-steps // stride)
        elif beats.stem_width:
            steps = (steps - beats.stem_frames) // beats.stem_hop_frames + 1
        else:
            steps = (steps // beats.patch_size) * (beats.mel_bins // beats.patch_size)
        return (steps - self.downsample_kernel) // self.downsample_rate + 1

    @property
    def downsample_kernel(self) -> int:
        """Kernel of the strided convolution: 1.5 × its rate, ties to even (3 → 4)."""
        return round(1.5 * self.downsample_rate)


@dataclass(frozen=True)
class TextEmbedderConfig:
    """A T5 encoder under mean pooling, a projection and L2 normalisation, as INSTRUCTOR is built."""

    vocab_size: int = 32128
    dim: int = 1024
    head_dim: int = 64
    heads: int = 16
    ffn_dim: int = 2816
    layers: int = 24
    embedding_dim: int = 768
    pad_token_id: int = 0
    dropout: float = 0.1

    def __post_init__(self) -> None:
        at_least_one(self, "vocab_size", "dim", "head_dim", "heads", "ffn_dim", "layers", "embedding_dim")
        within(self, "dropout", 0.0, 1.0)


def captioner_config(table: Mapping[str, Any]) -> CaptionerConfig:
    """Build a :class:`CaptionerConfig` from nested tables, as a recipe or a checkpoint holds them.

    Raises:
        ConfigError: a key is unknown.
    """
    rooms = {"beats": BeatsConfig, "conformer": ConformerConfig, "decoder": DecoderConfig}
    plain = {key: value for key, value in table.items() if key not in rooms}
    built = {key: config_from(kind, table.get(key, {})) for key, kind in rooms.items()}
    config: CaptionerConfig = config_from(CaptionerConfig, {**plain, **built})
    return config


def config_from(kind: type[Any], table: Mapping[str, Any]) -> Any:
    """One frozen config from a table; unknown keys and values of a wrong type are refused by name."""
    known = {f.name for f in fields(kind)}
    if unknown := sorted(set(table) - known):
        raise ConfigError(f"unknown setting {unknown[0]!r} in {kind.__name__}; known are: {', '.join(sorted(known))}")
    try:
        return TypeAdapter(kind).validate_python(dict(table))
    except ValidationError as error:
        raise ConfigError(f"unusable setting in {kind.__name__}: {first_complaint(error)}") from error
