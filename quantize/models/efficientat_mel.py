"""The mel front end of EfficientAT's "mn" taggers, as their evaluation computes it.

Facts from the code of Schmid, Koutini & Widmer, *Efficient Large-Scale Audio Tagging via Transformer-to-CNN Knowledge
Distillation* (arXiv 2211.04772), at its published commit a425fdc.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

TAGGER_RATE = 32_000
"""Sample rate in Hz: window and hop are counted in samples, so the weights know no other."""

_FFT = 1024
_WINDOW = 800
_PRE_EMPHASIS = 0.97
# Evaluation's upper edge: half the rate, less half of the 2000 Hz by which training draws it.
_HIGHEST_HZ = 15_000.0
_FLOOR = 1e-5
_SHORTEST = _FFT // 2 + 2
"""Samples below which reflected padding is impossible."""


class TaggerMel(nn.Module):
    """Waveform to log mel spectrogram.

    Args:
        mel_bins: number of mel filters.
        hop: samples at 32 kHz from frame to frame.
    """

    bank: Tensor
    window: Tensor

    def __init__(self, mel_bins: int = 128, hop: int = 320) -> None:
        super().__init__()
        self.mel_bins, self.hop = mel_bins, hop
        self.register_buffer("bank", mel_bank(mel_bins), persistent=False)
        self.register_buffer("window", torch.hann_window(_WINDOW, periodic=False), persistent=False)

    def power(self, waveform: Tensor) -> Tensor:
        """Power spectrogram (B, 513, T) of waveforms (B, N) after pre-emphasis, T = 1 + (N - 1) // hop."""
        emphasised = waveform[:, 1:] - _PRE_EMPHASIS * waveform[:, :-1]
        spectrum = torch.stft(
            emphasised, _FFT, self.hop, _WINDOW, self.window, center=True, pad_mode="reflect", return_complex=True
        )
        return spectrum.real.square() + spectrum.imag.square()

    def forward(self, waveform: Tensor) -> Tensor:
        """Compute the features of the network.

        Args:
            waveform: mono at 32 kHz in [-1, 1], float32, shape (B, N); one shorter than 514 samples is followed by
                silence up to that.

        Returns:
            Shape (B, mel bins, T).
        """
        if waveform.shape[-1] < _SHORTEST:
            waveform = nn.functional.pad(waveform, (0, _SHORTEST - waveform.shape[-1]))
        mel = self.bank @ self.power(waveform)
        return ((mel + _FLOOR).log() + 4.5) / 5.0


def mel_bank(mel_bins: int) -> Tensor:
    """Triangular filters that are linear on Kaldi's mel scale, 1127·ln(1 + f/700), from 0 to 15 kHz; no area norm.

    Returns:
        Shape (mel_bins, 513), float32; the column of half the rate is zero.
    """

    def mel_of(hertz: Tensor) -> Tensor:
        return 1127.0 * torch.log1p(hertz / 700.0)

    highest = 1127.0 * math.log1p(_HIGHEST_HZ / 700.0)
    step = highest / (mel_bins + 1)
    left = step * torch.arange(mel_bins, dtype=torch.float64)[:, None]
    bins = mel_of(TAGGER_RATE / _FFT * torch.arange(_FFT // 2, dtype=torch.float64))[None]
    rising, falling = (bins - left) / step, (left + 2 * step - bins) / step
    bank = torch.minimum(rising, falling).clamp(min=0.0)
    return nn.functional.pad(bank, (0, 1)).float()
