"""Cnn14 (Kong et al., *PANNs*, 2020, arXiv 1912.10211) as Microsoft's CLAP of 2022 runs it."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from quantize.models.audio_language.projection import Projection
from quantize.models.htsat.front_end import LogMel

BLOCKS = 6


@dataclass(frozen=True)
class Cnn14Sizes:
    """Sizes of Cnn14; the filter bank comes with the weights, so no band is a setting.

    Attributes:
        fft: samples of a frame.
        hop: samples from frame to frame.
        mel_bins: columns of the filter bank.
        widths: channels of each block.
        out_dim: width of the embedding before its projection.
        classes: AudioSet's, of the head that scores them.
    """

    fft: int
    hop: int
    mel_bins: int
    widths: tuple[int, ...]
    out_dim: int
    classes: int


class ConvBlock(nn.Module):
    """Two convolutions of 3 × 3 with batch norms, and a mean over ``pool`` × ``pool`` places."""

    def __init__(self, in_channels: int, channels: int, pool: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, channels, 3, padding=1, bias=False)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn1, self.bn2 = nn.BatchNorm2d(channels), nn.BatchNorm2d(channels)
        self.pool = pool

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, T, M) → (B, C', T // pool, M // pool)."""
        x = functional.relu(self.bn1(self.conv1(x)))
        x = functional.relu(self.bn2(self.conv2(x)))
        return functional.avg_pool2d(x, self.pool)


class Cnn14(LogMel):
    """The audio encoder. It is its front end, too, because the published keys lie side by side.

    Args:
        sizes: its sizes, of six blocks; all but the last halve time and frequency.
    """

    def __init__(self, sizes: Cnn14Sizes) -> None:
        super().__init__(sizes.fft, sizes.hop, sizes.mel_bins)
        self.sizes = sizes
        last = len(sizes.widths)
        for number, (before, width) in enumerate(zip((1, *sizes.widths), sizes.widths, strict=False), start=1):
            self.add_module(f"conv_block{number}", ConvBlock(before, width, 1 if number == last else 2))
        self.fc1 = nn.Linear(sizes.widths[-1], sizes.out_dim)
        self.fc_audioset = nn.Linear(sizes.out_dim, sizes.classes)

    def forward(self, waveform: Tensor) -> Tensor:
        """The embedding (B, out_dim) of waveforms (B, N), not negative."""
        return self.of_log_mel(self.log_mel(self.spectrogram(waveform)))

    def of_log_mel(self, log_mel: Tensor) -> Tensor:
        """The same of a log-mel (B, 1, T, mel_bins) in dB."""
        x = self.normalise(log_mel)
        for block in self._blocks():
            x = block(x)
        return self._pooled(x)

    def stages(self, waveform: Tensor) -> dict[str, Tensor]:
        """Every stage by its name, for waveforms (B, N).

        Returns:
            spectrogram (B, 1, T, bins), logmel and bn0 (B, 1, T, mel_bins), ``conv_blockN`` (B, C, T', M'), latent
            (B, out_dim), and clipwise (B, classes), AudioSet's classes as probabilities.
        """
        found = {"spectrogram": self.spectrogram(waveform)}
        found["logmel"] = self.log_mel(found["spectrogram"])
        x = found["bn0"] = self.normalise(found["logmel"])
        for number, block in enumerate(self._blocks(), start=1):
            x = found[f"conv_block{number}"] = block(x)
        found["latent"] = self._pooled(x)
        found["clipwise"] = torch.sigmoid(self.fc_audioset(found["latent"]))
        return found

    def _blocks(self) -> list[nn.Module]:
        return [self.get_submodule(f"conv_block{number + 1}") for number in range(len(self.sizes.widths))]

    def _pooled(self, x: Tensor) -> Tensor:
        """Mean over frequency, then the largest and the mean over time added up."""
        in_time = x.mean(dim=3)
        return functional.relu(self.fc1(in_time.amax(dim=2) + in_time.mean(dim=2)))


class CnnTower(nn.Module):
    """Waveforms to embeddings, (B, N) → (B, D), not normalised.

    Args:
        sizes: of Cnn14.
        dim: D.
    """

    def __init__(self, sizes: Cnn14Sizes, dim: int) -> None:
        super().__init__()
        self.base = Cnn14(sizes)
        self.projection = Projection(sizes.out_dim, dim)

    @property
    def front_end(self) -> LogMel:
        """What makes the log-mel."""
        return self.base

    def forward(self, waveform: Tensor) -> Tensor:
        """See above."""
        return self.projection(self.base(waveform))

    def stages(self, waveform: Tensor) -> dict[str, Tensor]:
        """Cnn14's stages (:meth:`Cnn14.stages`) and ``embedding``."""
        found = self.base.stages(waveform)
        found["embedding"] = self.projection(found["latent"])
        return found
