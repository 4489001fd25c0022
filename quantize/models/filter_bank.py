"""The runtime's filter bank (:mod:`edge_aac.audio.features`) in torch, for graphs that take sound as it is."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional

from edge_aac.audio.features import (
    FBANK_MEAN,
    FBANK_SCALE,
    FFT_SIZE,
    FRAME_LENGTH_SAMPLES,
    FRAME_SHIFT_SAMPLES,
    NUM_MEL_BINS,
    PRE_EMPHASIS,
    mel_edges,
    mel_of,
    povey_window,
)
from edge_aac.timebase import SAMPLE_RATE

_INT16_SCALE = 2.0**15
_FLOOR = float(np.finfo(np.float32).eps)


class FilterBankGraph(nn.Module):
    """Waveforms to normalised log-mel filter banks, as the captioner hears them.

    All up to the power of each frequency is one linear map of a frame, and so one convolution: the mean taken off,
    pre-emphasis, window and Fourier transform. Its numbers are constants, no weights: they are not to be rounded.
    """

    def __init__(self) -> None:
        super().__init__()
        basis = _frame_map()
        self._basis = torch.from_numpy(basis[:, None].astype(np.float32))
        self._triangles = torch.from_numpy(_triangles().astype(np.float32))

    def forward(self, waveform: Tensor) -> Tensor:
        """(B, samples) in ±1 at 16 kHz → (B, 1 + (samples - 400) // 160, 128)."""
        parts = functional.conv1d(waveform[:, None], self._basis, stride=FRAME_SHIFT_SAMPLES)
        real, imaginary = parts.transpose(1, 2).split(FFT_SIZE // 2, dim=2)
        mel = (real.square() + imaginary.square()) @ self._triangles
        return (mel.clamp(min=_FLOOR).log() - float(FBANK_MEAN)) / float(FBANK_SCALE)


def _frame_map() -> npt.NDArray[np.float64]:
    """(512, 400): a frame in ±1 → the real and the imaginary parts of its first 256 frequencies.

    Kaldi leaves the last frequency out.
    """
    frames = np.eye(FRAME_LENGTH_SAMPLES) * _INT16_SCALE
    frames = frames - frames.mean(axis=1, keepdims=True)
    emphasised = frames.copy()
    emphasised[:, 1:] -= PRE_EMPHASIS * frames[:, :-1]
    emphasised[:, 0] *= 1.0 - PRE_EMPHASIS
    spectrum = np.fft.rfft(emphasised * povey_window().astype(np.float64), FFT_SIZE, axis=1)[:, : FFT_SIZE // 2]
    return np.concatenate([spectrum.real, spectrum.imag], axis=1).T


def _triangles() -> npt.NDArray[np.float64]:
    """(256, 128): the share of each frequency's power in each mel bin."""
    mels = mel_of(np.arange(FFT_SIZE // 2) * (SAMPLE_RATE / FFT_SIZE))[:, None]
    edges = mel_edges()
    width = edges[1] - edges[0]
    low, high = edges[:NUM_MEL_BINS], edges[2:]
    triangles: npt.NDArray[np.float64] = np.clip(np.minimum(mels - low, high - mels) / width, 0.0, 1.0)
    return triangles
