"""The level of what can be heard: A-weighted, as a stream."""

from __future__ import annotations

import math

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
        self._high_passes = [_HighPass(pole) for pole in _HIGH_PASS_HZ]
        self.reset()

    def reset(self) -> None:
        """Starts a new stream."""
        self._before: float | None = None
        self._tail = np.zeros(4)
        for high_pass in self._high_passes:
            high_pass.reset()

    def accept(self, blocks: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
        """Takes whole blocks.

        Args:
            blocks: mono at 16 kHz, float32, shape (n, 160), n > 0.

        Returns:
            The sum of squares of each block, NaN where a sample is no number, float64, shape (n,).
        """
        sound = blocks.astype(np.float64)
        bad = ~np.isfinite(sound).all(axis=1)
        if bad.any():
            sound[bad] = 0.0
        energies = np.square(self._weighted(sound)).sum(axis=1)
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
        if self._before is None:
            self._before = float(sound[0, 0])
        steps = np.diff(sound.reshape(-1), prepend=self._before).reshape(sound.shape)
        self._before = float(sound[-1, -1])
        silent = ~(sound.any(axis=1) & steps.any(axis=1))
        for high_pass in self._high_passes:
            sound = high_pass.accept(steps)
            steps = high_pass.steps(sound)
        joined = np.concatenate((self._tail, sound.reshape(-1)))
        self._tail = joined[-4:].copy()
        outer, inner, middle = _LOW_PASS_TAPS
        weighted = outer * (joined[:-4] + joined[4:]) + inner * (joined[1:-3] + joined[3:-1]) + middle * joined[2:-2]
        weighted = weighted.reshape(-1, _BLOCK)
        weighted[silent] = 0.0
        return np.asarray(weighted, dtype=np.float64)


class _HighPass:
    """A high-pass of the first order: ``y[n] = a y[n-1] + k (x[n] - x[n-1])``, all blocks at once.

    Within a block the recursion is a running sum of ``x[n] a^-n``, which is what a running sum adds in order, whatever
    comes with it; from block to block a single number is carried.
    """

    def __init__(self, corner_hz: float) -> None:
        warped = math.tan(math.pi * corner_hz / SAMPLE_RATE)
        pole = (1 - warped) / (1 + warped)
        exponents = np.arange(1, _BLOCK + 1)
        self._growth = ((1 + pole) / 2) * pole**-exponents
        self._decay = pole**exponents
        self.reset()

    def reset(self) -> None:
        self._carried = 0.0
        self._last_output = 0.0

    def accept(self, steps: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """Takes the differences of the input's samples, shape (n, 160), and gives the output, of the same shape."""
        sums: npt.NDArray[np.float64] = np.cumsum(steps * self._growth, axis=1)
        carried, starts = self._carried, []
        last_decay = float(self._decay[-1])
        for end in sums[:, -1].tolist():
            starts.append(carried)
            carried = last_decay * (end + carried)
        self._carried = carried
        sums += np.array(starts)[:, None]
        sums *= self._decay
        return sums

    def steps(self, output: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """Gives the differences of the output's samples."""
        steps = np.diff(output.reshape(-1), prepend=self._last_output)
        self._last_output = float(output[-1, -1])
        return np.asarray(steps.reshape(output.shape), dtype=np.float64)


def _low_pass_taps() -> tuple[float, float, float]:
    """Gives a symmetric filter of five taps, outermost first, that meets the low-passes at 1, 4.5 and 7 kHz."""
    frequencies = np.array([1_000.0, 4_500.0, 7_000.0])
    targets = _GAIN * _LOW_PASS_HZ**2 / (frequencies**2 + _LOW_PASS_HZ**2)
    angles = 2 * np.pi * frequencies / SAMPLE_RATE
    outer, inner, middle = np.linalg.solve(
        np.stack((2 * np.cos(2 * angles), 2 * np.cos(angles), np.ones(3)), axis=1), targets
    )
    return float(outer), float(inner), float(middle)


_LOW_PASS_TAPS = _low_pass_taps()
