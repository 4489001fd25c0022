"""The level of what can be heard: A-weighted, as a stream."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from edge_aac.audio.features import FRAME_SHIFT_SAMPLES
from edge_aac.timebase import SAMPLE_RATE

# Pole frequencies in Hz of IEC 61672-1:2013, annex E, and the gain that makes 1 kHz 0 dB.
_HIGH_PASS_HZ = (20.598997, 20.598997, 107.65265, 737.86223)
_LOW_PASS_HZ = 12194.217
_GAIN = 10 ** (2.0 / 20)

_BLOCK = FRAME_SHIFT_SAMPLES


def a_weighting_db(frequency_hz: float) -> float:
    """Gives the A-weighting of IEC 61672-1 in dB.

    ``A(f) = 20 log10(12194² f⁴ / ((f² + 20.6²) sqrt((f² + 107.7²)(f² + 737.9²)) (f² + 12194²))) + 2.00``

    Args:
        frequency_hz: frequency in Hz, above 0.
    """
    response = _LOW_PASS_HZ**2 / (frequency_hz**2 + _LOW_PASS_HZ**2)
    for pole in _HIGH_PASS_HZ:
        response *= frequency_hz / math.hypot(frequency_hz, pole)
    return 20 * math.log10(response * _GAIN)


class AudibleEnergy:
    """Sums the squares of the A-weighted sound in blocks of 10 ms; DC and infrasound come to nothing.

    The filter is that of :func:`a_weighting_db` at 16 kHz, within 0.2 dB up to 7 kHz: four high-passes of the first
    order (bilinear transform), and in place of the two low-passes, whose corner lies above half the rate, five taps.
    A new stream is as if its first sample had stood for ever: DC makes no click. Blocks of zeros, and those in which no
    sample differs from the one before, are silent, however the filter rings from the sound before them. The sums do not
    depend on how many blocks are given at once, bit for bit. A sample that is no number spoils its own block only.
    """

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Starts a new stream."""
        self._heard: npt.NDArray[np.float64] | None = None
        """The last samples, which the taps of the next one reach back to."""
        self._carried = [0.0] * len(_POLES)

    def accept(self, blocks: npt.NDArray[np.floating]) -> npt.NDArray[np.float64]:
        """Takes whole blocks.

        Args:
            blocks: mono at 16 kHz, float32 or the same numbers in float64, shape (n, 160), n > 0.

        Returns:
            The sum of squares of each block, NaN where a sample is no number, float64, shape (n,).
        """
        sound = blocks.astype(np.float64, copy=False)
        # One sample that is no number makes the sum none.
        bad = np.zeros(len(sound), bool)
        if not math.isfinite(float(sound.sum())):
            bad = np.asarray(~np.isfinite(sound).all(axis=1))
            sound = np.where(bad[:, None], 0.0, sound)
        weighted = self._weighted(sound)
        energies = np.square(weighted, out=weighted).sum(axis=1)
        energies[bad] = np.nan
        return np.asarray(energies, dtype=np.float64)

    def last(self, samples: npt.NDArray[np.float32]) -> float:
        """Gives the sum of squares of the less than 10 ms with which a stream ends; call :meth:`reset` after it.

        Args:
            samples: mono at 16 kHz, float32, shape (n,), n < 160.
        """
        if not len(samples):
            return 0.0
        if not np.isfinite(samples).all():
            return math.nan
        # Held, not padded with zeros: that would be a click.
        block = np.concatenate((samples, np.full(_BLOCK - len(samples), samples[-1]))).astype(np.float64)
        weighted = self._weighted(block[None])[0, : len(samples)]
        return float(np.square(weighted).sum())

    def _weighted(self, sound: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """The filtered sound (n, 160); what does not recur comes first, since the order is all the same to a filter."""
        if self._heard is None:
            self._heard = np.full(len(_TAPS) - 1, sound[0, 0])
        joined = np.concatenate((self._heard, sound.reshape(-1)))
        self._heard = joined[1 - len(_TAPS) :].copy()
        weighted = np.convolve(joined, _TAPS, "valid").reshape(sound.shape)
        for number, pole in enumerate(_POLES):
            self._recur(weighted, number, pole)
        weighted *= _DECAYS[-1]
        # Silent blocks begin with two equal samples; few others do.
        for place in np.flatnonzero(sound[:, 0] == sound[:, 1]).tolist():
            block = joined[len(_TAPS) - 2 + place * _BLOCK :][: _BLOCK + 1]
            if not block[1:].any() or not (block[1:] != block[0]).any():
                weighted[place] = 0.0
        return np.asarray(weighted, dtype=np.float64)

    def _recur(self, rows: npt.NDArray[np.float64], number: int, pole: float) -> None:
        """``y[n] = pole y[n-1] + x[n]`` in place, for all blocks at once.

        Within a block it is a running sum of ``x[n] pole^-n``, which adds in order, whatever comes with it; from block
        to block a single number is carried. Rows are left as ``y[n] pole^-n``.
        """
        if pole != _POLES[number - 1]:
            rows *= _GROWTHS[number]
        carried, starts, decay = self._carried[number], [], pole**_BLOCK
        for end in rows.sum(axis=1).tolist():
            starts.append(carried)
            carried = decay * (end + carried)
        self._carried[number] = carried
        rows[:, 0] += starts
        np.cumsum(rows, axis=1, out=rows)


def _low_pass_taps() -> tuple[float, float, float]:
    """Gives a symmetric filter of five taps, outermost first, that meets the low-passes at 1, 4.5 and 7 kHz."""
    frequencies = np.array([1_000.0, 4_500.0, 7_000.0])
    targets = _GAIN * _LOW_PASS_HZ**2 / (frequencies**2 + _LOW_PASS_HZ**2)
    angles = 2 * np.pi * frequencies / SAMPLE_RATE
    outer, inner, middle = np.linalg.solve(
        np.stack((2 * np.cos(2 * angles), 2 * np.cos(angles), np.ones(3)), axis=1), targets
    )
    return float(outer), float(inner), float(middle)


def _pole(corner_hz: float) -> float:
    """Gives the pole of a high-pass of the first order, ``(1 + a) / 2 · (1 - z⁻¹) / (1 - a z⁻¹)``, by the bilinear
    transform."""
    warped = math.tan(math.pi * corner_hz / SAMPLE_RATE)
    return (1 - warped) / (1 + warped)


_POLES = tuple(_pole(corner_hz) for corner_hz in _HIGH_PASS_HZ)
_DECAYS = [pole ** np.arange(1, _BLOCK + 1) for pole in _POLES]
_GROWTHS = [_DECAYS[0] ** -1.0, *(before / after for before, after in pairwise(_DECAYS))]
"""What a block is multiplied with before each recursion: what the one before has left to do comes with it."""


def _taps() -> npt.NDArray[np.float64]:
    """Gives all that does not recur, (9,): the zeros and gains of the four high-passes, and the five taps."""
    outer, inner, middle = _low_pass_taps()
    taps = np.array([outer, inner, middle, inner, outer])
    for pole in _POLES:
        taps = np.convolve(taps, [(1 + pole) / 2, -(1 + pole) / 2])
    return taps


_TAPS = _taps()
