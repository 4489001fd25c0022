"""Which tensor of a teacher's stem becomes which of a student's, and what their axes run over."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from torch import nn

from quantize.models.beats import Beats, ConvStem
from quantize.models.patch_stem import PatchStem
from quantize.models.patch_stem_axes import patch_stem_sources
from quantize.models.width import Axes

_STEM = "encoder.patch_embedding"
_PATCH = "encoder.patch"

Spacing = Callable[[int, int], list[int | None]]
Place = tuple[int, str, int, str]
"""Stage, kind of part, which one of that kind in the stage, name within it."""


def stem_sources(teacher: Beats, student: Beats, spacing: Spacing) -> tuple[dict[str, str], dict[str, Axes]]:
    """Names in the stems, and the labels of the teacher's axes.

    Args:
        teacher, student: whole encoders.
        spacing: which of a stage's residual blocks stay.

    Returns:
        Student's name → teacher's name, empty where the stems differ in kind (square patches, convolutions or patches
        of time; another patch, other kernels or strides); axes by the teacher's names.
    """
    have, want = teacher.config, student.config
    if isinstance(teacher.patch_embedding, PatchStem) and isinstance(student.patch_embedding, PatchStem):
        return patch_stem_sources(teacher.patch_embedding, student.patch_embedding, _STEM, _PATCH)
    if not (isinstance(teacher.patch_embedding, ConvStem) and isinstance(student.patch_embedding, ConvStem)):
        name = f"{_STEM}.weight"
        convolved = all(isinstance(beats.patch_embedding, nn.Conv2d) for beats in (teacher, student))
        alike = convolved and have.patch_size == want.patch_size
        return ({name: name} if alike else {}), {}
    one, other = _read(teacher.patch_embedding), _read(student.patch_embedding)
    if (len(one.shapes), len(other.shapes)) != (len(have.conv_stem), len(want.conv_stem)) or one.shapes != other.shapes:
        return {}, {}
    sources = {}
    for place, name in other.names.items():
        stage, kind, number, local = place
        counts = one.counts[stage, kind], other.counts[stage, kind]
        chosen = spacing(*counts)[number]
        if chosen is not None and (source := one.names.get((stage, kind, chosen, local))):
            sources[name] = source
    return sources, one.axes


@dataclass
class _Stem:
    """Names by place, axes by name, how many parts of a kind a stage has, each stage's kernel and stride."""

    names: dict[Place, str] = field(default_factory=dict)
    axes: dict[str, Axes] = field(default_factory=dict)
    counts: Counter[tuple[int, str]] = field(default_factory=Counter)
    shapes: list[tuple[tuple[int, ...], tuple[int, ...]]] = field(default_factory=list)


def _read(stem: ConvStem) -> _Stem:
    """A stage begins at each convolution that stands by itself; what is composed is a residual block of its stage."""
    found = _Stem()
    channels = ""
    for path, part in _parts(stem, _STEM):
        if part is stem.fold:
            stage, kind = -1, "fold"
            axes = {"weight": (_PATCH, channels, "", ""), "bias": (_PATCH,)}
        elif isinstance(part, nn.Conv2d):
            before, channels = channels, f"{_STEM}.{len(found.shapes)}.channel"
            stage, kind = len(found.shapes), "convolution"
            axes = {"weight": (channels, before, "", ""), "bias": (channels,)}
            found.shapes.append((part.kernel_size, part.stride))
        else:
            stage, kind = len(found.shapes) - 1, type(part).__name__
            axes = _block_axes(part, path, channels)
        number = found.counts[stage, kind]
        found.counts[stage, kind] += 1
        for local, _ in (*part.named_parameters(), *part.named_buffers()):
            name = f"{path}.{local}"
            found.names[stage, kind, number, local] = name
            if local in axes:
                found.axes[name] = axes[local]
    return found


def _parts(module: nn.Module, path: str) -> Iterator[tuple[str, nn.Module]]:
    """What stands in the stem and in its sequences and lists, with its name."""
    for name, part in module.named_children():
        inside = f"{path}.{name}"
        if isinstance(part, nn.Sequential | nn.ModuleList):
            yield from _parts(part, inside)
        else:
            yield inside, part


def _block_axes(block: nn.Module, path: str, channels: str) -> dict[str, Axes]:
    """A norm, or a residual block: stage's channels go in and come out, channels of its own between convolutions."""
    convolutions = [part for part in block.modules() if isinstance(part, nn.Conv2d)]
    axes: dict[str, Axes] = {}
    current, met = channels, 0
    for name, part in block.named_modules():
        prefix = f"{name}." if name else ""
        if isinstance(part, nn.Conv2d):
            met += 1
            before = current
            if part.groups == 1:
                current = channels if met == len(convolutions) else f"{path}.{met}.channel"
                axes[f"{prefix}weight"] = (current, before, "", "")
            elif part.groups == part.in_channels == part.out_channels:
                axes[f"{prefix}weight"] = (current, "", "", "")
            axes[f"{prefix}bias"] = (current,)
        elif isinstance(part, nn.BatchNorm2d):
            vectors = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
            axes |= {f"{prefix}{vector}": (current,) for vector in vectors}
    return axes
