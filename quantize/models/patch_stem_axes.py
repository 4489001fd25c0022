"""Which tensor of a teacher's patch stem becomes which of a student's, and what their axes run over."""

from __future__ import annotations

from dataclasses import dataclass, field

from torch import nn

from quantize.models.inverted_residual import InvertedResidual, SqueezeLayers
from quantize.models.patch_stem import PatchStem
from quantize.models.width import Axes

_NORM = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")


def patch_stem_sources(
    teacher: PatchStem, student: PatchStem, stem: str, patch: str
) -> tuple[dict[str, str], dict[str, Axes]]:
    """Names in the stems, and the labels of the teacher's axes.

    Both have the same blocks; a width may leave out a block's expansion, or make a sum of it. Then nothing is taken.

    Args:
        teacher, student: the stems; patches of other lengths or hops make no difference, their features are the same.
        stem: name of the stem in the captioner.
        patch: label of the channels that the stem gives.

    Returns:
        Student's name → teacher's name, empty where their blocks differ in kind; axes by the teacher's names.
    """
    one, other = _read(teacher, stem, patch), _read(student, stem, patch)
    if one.axes.keys() != other.axes.keys() or one.sums != other.sums:
        return {}, {}
    return {name: name for name in other.axes}, one.axes


@dataclass
class _Labels:
    """Axes by the name of a tensor, and which blocks add what they were given."""

    axes: dict[str, Axes] = field(default_factory=dict)
    sums: list[bool] = field(default_factory=list)

    def convolution(self, name: str, layer: nn.Module, given: str, out: str) -> str:
        """Label a convolution and its norm; returns the label of what they give."""
        assert isinstance(layer, nn.Sequential) and isinstance(layer[0], nn.Conv2d)
        depthwise = layer[0].groups > 1
        out = given if depthwise else out
        self.axes[f"{name}.0.weight"] = (out, "" if depthwise else given, "", "")
        self.axes |= {f"{name}.1.{vector}": (out,) for vector in _NORM}
        return out

    def squeeze(self, name: str, channels: str) -> None:
        for part in ("fc1", "fc2"):
            out, given = (f"{name}.channel", channels) if part == "fc1" else (channels, f"{name}.channel")
            layer = f"{name}.conc_se_layers.0.{part}"
            self.axes |= {f"{layer}.weight": (out, given), f"{layer}.bias": (out,)}


def _read(module: PatchStem, stem: str, patch: str) -> _Labels:
    found = _Labels()
    # Of the sound itself there is one channel, which always stays.
    channels = ""
    for number, layer in enumerate(module.features):
        name = f"{stem}.features.{number}"
        if not isinstance(layer, InvertedResidual):
            channels = found.convolution(name, layer, channels, f"{name}.channel")
            continue
        out = channels if layer.adds else f"{name}.channel"
        current = channels
        for step, part in enumerate(layer.block):
            inside = f"{name}.block.{step}"
            if isinstance(part, SqueezeLayers):
                found.squeeze(inside, current)
            else:
                last = step == len(layer.block) - 1
                current = found.convolution(inside, part, current, out if last else f"{inside}.channel")
        found.sums.append(layer.adds)
        channels = out
    found.axes |= {f"{stem}.project.weight": (patch, channels), f"{stem}.project.bias": (patch,)}
    return found
