"""A stem whose output for a stretch of sound depends on that stretch alone: patches of time, each one vector.

A window is cut into patches of ``stem_frames`` frames at a hop of ``stem_hop_frames``. Each goes by itself through
MobileNetV3's blocks (:mod:`quantize.models.inverted_residual`), so that while streaming a patch is computed once,
however many windows hold it.
"""

from __future__ import annotations

from torch import Tensor, nn

from quantize.models.config import BeatsConfig
from quantize.models.inverted_residual import BLOCKS, STEM_CHANNELS, InvertedResidual, convolved, rounded

_HALVING = 2
_FIRST_KERNEL, _FIRST_STRIDE = 5, (2, 4)


class PatchStem(nn.Module):
    """One convolutional network over every patch of time.

    Attributes:
        frames: F, frames of one patch.
        hop: frames from the start of a patch to the start of the next.

    Args:
        config: with ``stem_width`` above 0.
    """

    def __init__(self, config: BeatsConfig) -> None:
        super().__init__()
        self.frames, self.hop = config.stem_frames, config.stem_hop_frames
        channels = rounded(STEM_CHANNELS * config.stem_width)
        layers: list[nn.Module] = [convolved(1, channels, _FIRST_KERNEL, _FIRST_STRIDE, act=True)]
        for block in BLOCKS:
            layer = InvertedResidual(block, channels, config.stem_width, _HALVING if block.halves else 1)
            layers.append(layer)
            channels = layer.out_channels
        layers.append(convolved(channels, 6 * channels, 1, act=True))
        self.features = nn.Sequential(*layers)
        self.dropout = nn.Dropout(config.dropout)
        self.project = nn.Linear(6 * channels, config.patch_embed_dim)

    def forward(self, fbank: Tensor) -> Tensor:
        """Cut filter banks into patches, and give the vector of each.

        Frames at the end that fill no patch are left out; a window of any number of half seconds has none.

        Args:
            fbank: (B, 1, frames, mel), of at least one patch.

        Returns:
            (B, patch_embed_dim, patches, 1), as any stem's maps.
        """
        vectors = self.vectors(self.cut(fbank[:, 0]).flatten(0, 1))
        return vectors.view(len(fbank), -1, vectors.shape[1]).transpose(1, 2).unsqueeze(3)

    def cut(self, fbank: Tensor) -> Tensor:
        """(B, frames, mel) → its patches, (B, patches, frames of a patch, mel)."""
        return fbank.unfold(1, self.frames, self.hop).transpose(2, 3)

    def vectors(self, patches: Tensor) -> Tensor:
        """The vector of each patch: (P, frames of a patch, mel) → (P, patch_embed_dim)."""
        return self.project(self.dropout(self.features(patches.unsqueeze(1)).mean((2, 3))))

    def padding(self, frame_padding: Tensor) -> Tensor:
        """Follow a padding mask: a patch is padding when all its frames are.

        Args:
            frame_padding: (B, frames), True = padding.

        Returns:
            (B, patches).
        """
        return frame_padding.unfold(1, self.frames, self.hop).all(dim=-1)
