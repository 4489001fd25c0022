"""Resampling as the published audio-language systems were fed: a short windowed sinc, not the runtime's soxr.

The filter is the one that ``torchaudio.transforms.Resample`` documents as its default: an ideal low-pass at 0.99 of the
lower Nyquist frequency under a Hann window of six zero crossings a side.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

_ZERO_CROSSINGS = 6
_ROLL_OFF = 0.99
_AT_ONCE = 1 << 18
"""Output samples at once, so that a long recording needs no more memory for its neighbourhoods than a short one."""


def resample(waveform: Tensor, rate: int, wanted: int) -> Tensor:
    """Bring sound from one sample rate to another.

    Args:
        waveform: (channels, samples) float32.
        rate: of the waveform, in Hz.
        wanted: in Hz.

    Returns:
        (channels, ceil(samples · wanted / rate)) float32; the waveform itself where the rates are equal. What lies
        before the beginning and behind the end counts as silence.
    """
    if rate == wanted:
        return waveform
    common = math.gcd(rate, wanted)
    step, phases = rate // common, wanted // common
    kernels, reach = _kernels(step, phases)
    samples = -(-waveform.shape[-1] * phases // step)
    padded = torch.nn.functional.pad(waveform, (reach, reach + 1))
    taps = torch.arange(kernels.shape[1])
    pieces = []
    for start in range(0, samples, _AT_ONCE):
        at = torch.arange(start, min(start + _AT_ONCE, samples))
        neighbours = padded[:, (at * step // phases)[:, None] + taps]
        pieces.append(torch.einsum("cnk,nk->cn", neighbours, kernels[at % phases]))
    return torch.cat(pieces, dim=-1) if pieces else waveform.new_zeros(len(waveform), 0)


def _kernels(step: int, phases: int) -> tuple[Tensor, int]:
    """The filter at each position between two samples of the input, and its reach.

    Output n lies ``n · step / phases`` samples from the beginning of the input, of which the remainder of the division
    is one of ``phases``.

    Returns:
        (phases, taps) float32 for the samples from ``-reach`` on around the one at or before the output; the reach.
    """
    cutoff = _ROLL_OFF * min(step, phases) / step  # in Nyquist frequencies of the input
    reach = math.ceil(_ZERO_CROSSINGS / cutoff)
    offsets = torch.arange(-reach, reach + 2, dtype=torch.float64)
    between = (torch.arange(phases) * step % phases).to(torch.float64) / phases
    crossings = ((offsets - between[:, None]) * cutoff).clamp(-_ZERO_CROSSINGS, _ZERO_CROSSINGS)
    window = torch.cos(crossings * (math.pi / 2 / _ZERO_CROSSINGS)).square()
    return (cutoff * torch.sinc(crossings) * window).float(), reach
