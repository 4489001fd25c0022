"""MobileNetV3's inverted residual blocks as EfficientAT lays them out, at any width.

Facts from Howard et al., *Searching for MobileNetV3* (2019), and from EfficientAT's code at commit a425fdc; attribute
names follow its published weights.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

_EPSILON = 1e-3


@dataclass(frozen=True)
class Block:
    """An inverted residual block of a network of width 1."""

    kernel: int
    expanded: int
    out: int
    squeezes: bool
    hard_swish: bool
    halves: bool


STEM_CHANNELS = 16
# Table 2 (large) of MobileNetV3 (Howard et al., 2019).
BLOCKS = (
    Block(3, 16, 16, False, False, False),
    Block(3, 64, 24, False, False, True),
    Block(3, 72, 24, False, False, False),
    Block(5, 72, 40, True, False, True),
    Block(5, 120, 40, True, False, False),
    Block(5, 120, 40, True, False, False),
    Block(3, 240, 80, False, True, True),
    Block(3, 200, 80, False, True, False),
    Block(3, 184, 80, False, True, False),
    Block(3, 184, 80, False, True, False),
    Block(3, 480, 112, True, True, False),
    Block(3, 672, 112, True, True, False),
    Block(5, 672, 160, True, True, True),
    Block(5, 960, 160, True, True, False),
    Block(5, 960, 160, True, True, False),
)


def rounded(channels: float) -> int:
    """The multiple of 8 nearest to a number of channels, one more where it would lose over a tenth of them."""
    nearest = max(8, int(channels + 4) // 8 * 8)
    return nearest if nearest >= 0.9 * channels else nearest + 8


class Squeeze(nn.Module):
    """Scales each channel by what all of them hold on average over frequency and time."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        squeezed = rounded(channels // 4)
        self.fc1 = nn.Linear(channels, squeezed)
        self.fc2 = nn.Linear(squeezed, channels)

    def forward(self, x: Tensor) -> Tensor:
        scale = self.fc2(self.fc1(x.mean((2, 3))).relu()).sigmoid()
        return x * scale[:, :, None, None]


class SqueezeLayers(nn.Module):
    """Several squeezes side by side; published models have one."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conc_se_layers = nn.ModuleList([Squeeze(channels)])

    def forward(self, x: Tensor) -> Tensor:
        return self.conc_se_layers[0](x)


class InvertedResidual(nn.Module):
    """Expands, convolves each channel by itself, and projects back.

    Attributes:
        out_channels: channels that it gives.
        adds: whether what it was given is added to that.
    """

    def __init__(self, block: Block, channels: int, width: float, stride: int) -> None:
        super().__init__()
        expanded, self.out_channels = rounded(block.expanded * width), rounded(block.out * width)
        layers: list[nn.Module] = []
        if expanded != channels:
            layers.append(convolved(channels, expanded, 1, act=block.hard_swish))
        layers.append(convolved(expanded, expanded, block.kernel, stride, expanded, act=block.hard_swish))
        if block.squeezes:
            layers.append(SqueezeLayers(expanded))
        layers.append(convolved(expanded, self.out_channels, 1))
        self.block = nn.Sequential(*layers)
        self.adds = stride == 1 and channels == self.out_channels

    def forward(self, x: Tensor) -> Tensor:
        return x + self.block(x) if self.adds else self.block(x)


def convolved(
    channels: int, out: int, kernel: int, stride: int | tuple[int, int] = 1, groups: int = 1, act: bool | None = None
) -> nn.Sequential:
    """A convolution, its normalisation, and hard-swish (``act`` is True), ReLU (False) or nothing (None)."""
    layers: list[nn.Module] = [
        nn.Conv2d(channels, out, kernel, stride, (kernel - 1) // 2, groups=groups, bias=False),
        nn.BatchNorm2d(out, eps=_EPSILON),
    ]
    if act is not None:
        layers.append(nn.Hardswish(inplace=True) if act else nn.ReLU(inplace=True))
    return nn.Sequential(*layers)
