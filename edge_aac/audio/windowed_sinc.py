"""Resampling with a short windowed sinc, for models that were trained on sound that had been resampled so.

The filter is the one that ``torchaudio.transforms.Resample`` documents as its default: an ideal low-pass at 0.99 of the
lower Nyquist frequency under a Hann window of six zero crossings a side. The runtime's own filter
(:mod:`edge_aac.audio.resample`) is steeper: a log-mel behind it would not be what such a model learnt.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float32]

_ZERO_CROSSINGS = 6
_ROLL_OFF = 0.99
_AT_ONCE = 1 << 15
"""Output samples at once, whose neighbourhoods are gathered in memory."""


class SincResampler:
    """Brings frames of any number of channels to another rate; cut into any blocks, they give the same.

    What lies before the beginning and behind the end counts as silence.

    Args:
        rate: of what is given, in Hz.
        wanted: in Hz.
    """

    def __init__(self, rate: int, wanted: int) -> None:
        common = math.gcd(rate, wanted)
        self._step, self._phases = rate // common, wanted // common
        self._same = rate == wanted
        self._kernels, self._reach = (np.ones((1, 1), np.float32), 0) if self._same else _kernels(rate, wanted)
        self._held: Array | None = None
        self._first = -self._reach  # position of the first held frame
        self._received = 0
        self._given = 0

    def accept(self, frames: Array) -> Array:
        """Takes the next frames, (n, channels), and gives those that they complete, (m, channels)."""
        if self._same:
            return frames
        if self._held is None:
            self._held = np.zeros((self._reach, frames.shape[1]), np.float32)
        self._received += len(frames)
        self._held = np.concatenate((self._held, frames))
        # Output n lies between the samples at floor(n · step / phases) and the next, and needs `reach` more behind.
        whole = self._received - self._reach - 1
        return self._computed(max(self._given, -(-whole * self._phases // self._step)))

    def flush(self) -> Array:
        """Ends the sound and gives what is left of it: in all ceil(n · wanted / rate) frames."""
        if self._same or self._held is None:
            return np.zeros((0, 1 if self._held is None else self._held.shape[1]), np.float32)
        behind = np.zeros((self._reach + 1, self._held.shape[1]), np.float32)
        self._held = np.concatenate((self._held, behind))
        return self._computed(-(-self._received * self._phases // self._step))

    def _computed(self, end: int) -> Array:
        """Output frames from the last given to before ``end``."""
        assert self._held is not None
        pieces = [np.zeros((0, self._held.shape[1]), np.float32)]
        taps = np.arange(self._kernels.shape[1])
        for start in range(self._given, end, _AT_ONCE):
            at = np.arange(start, min(start + _AT_ONCE, end))
            begins = at * self._step // self._phases - self._reach - self._first
            neighbours = self._held[begins[:, None] + taps]
            pieces.append(np.einsum("nkc,nk->nc", neighbours, self._kernels[at % self._phases]))
        self._given = max(self._given, end)
        needed = self._given * self._step // self._phases - self._reach
        self._held = self._held[max(0, needed - self._first) :]
        self._first = max(self._first, needed)
        return np.concatenate(pieces)


def _kernels(rate: int, wanted: int) -> tuple[Array, int]:
    """The filter at each position between two samples of the input, and its reach.

    Returns:
        (phases, taps) float32 for the samples from ``-reach`` on around the one at or before the output; the reach.
    """
    common = math.gcd(rate, wanted)
    step, phases = rate // common, wanted // common
    cutoff = _ROLL_OFF * min(step, phases) / step  # in Nyquist frequencies of the input
    reach = math.ceil(_ZERO_CROSSINGS / cutoff)
    offsets = np.arange(-reach, reach + 2, dtype=np.float64)
    between = (np.arange(phases) * step % phases).astype(np.float64) / phases
    crossings = np.clip((offsets - between[:, None]) * cutoff, -_ZERO_CROSSINGS, _ZERO_CROSSINGS)
    window = np.square(np.cos(crossings * (math.pi / 2 / _ZERO_CROSSINGS)))
    return (cutoff * np.sinc(crossings) * window).astype(np.float32), reach
