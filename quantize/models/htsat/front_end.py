"""Waveform to log-mel as HTSAT and Cnn14 hear it (the front end of torchlibrosa; Kong et al., *PANNs*, 2020)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

_FLOOR = 1e-10
"""Of the mel power: silence is −100 dB exactly."""


class LogMel(nn.Module):
    """The front end. Its Fourier transform and its filter bank are weights of the checkpoint, taken as they are.

    Args:
        fft: samples of a frame.
        hop: samples from frame to frame.
        mel_bins: number of mel filters.
    """

    def __init__(self, fft: int, hop: int, mel_bins: int) -> None:
        super().__init__()
        self.fft, self.hop = fft, hop
        bins = fft // 2 + 1

        def basis() -> nn.Conv1d:
            return nn.Conv1d(1, bins, fft, stride=hop, bias=False)

        self.spectrogram_extractor = nn.ModuleDict(
            {"stft": nn.ModuleDict({"conv_real": basis(), "conv_imag": basis()})}
        )
        self.logmel_extractor = nn.ParameterDict({"melW": nn.Parameter(torch.zeros(bins, mel_bins))})
        self.bn0 = nn.BatchNorm2d(mel_bins)

    def spectrogram(self, waveform: Tensor) -> Tensor:
        """Power spectrogram (B, 1, T, fft // 2 + 1) of waveforms (B, N), T = N // hop + 1, both ends reflected."""
        half = self.fft // 2
        padded = functional.pad(waveform[:, None], (half, half), mode="reflect")
        stft: nn.ModuleDict = self.spectrogram_extractor["stft"]  # type: ignore[assignment]
        power = stft["conv_real"](padded).square() + stft["conv_imag"](padded).square()
        return power.transpose(1, 2)[:, None]

    def log_mel(self, spectrogram: Tensor) -> Tensor:
        """Mel power in dB, (B, 1, T, mel_bins), of a power spectrogram: 10·log10, reference 1, no upper bound."""
        mel = spectrogram @ self.logmel_extractor["melW"]
        return 10.0 * mel.clamp(min=_FLOOR).log10()

    def normalise(self, log_mel: Tensor) -> Tensor:
        """Batch norm over the mel bins, (B, 1, T, mel_bins); it stands in place of any other normalisation."""
        return self.bn0(log_mel.transpose(1, 3)).transpose(1, 3)
