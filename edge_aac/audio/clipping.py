"""Digital clipping: samples that stick to the highest or the lowest value."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

_SHORTEST_RUN = 3
# A quantised slow wave also stays at its top for some samples, but enters it by one step: of 16 bits 0.01 % of such
# an extreme, of 8 bits up to 3 %, and then its slope is still smaller.
_SMALLEST_EXTREME = 0.25
_SMALLEST_ENTRY = 0.002
# Dither, or a converter's last bits, leave the extreme by that much: six steps of 16 bits.
_TOLERANCE = 2e-4
_FLOOR = np.float32(1 - _TOLERANCE)
# A square wave is at its extremes all the time and is none the worse for it.
_SQUARE_WAVE_SHARE = 0.9
# Stands before the first sample: a run there counts.
_UNKNOWN = np.float32(-np.inf)


class _Extreme:
    """Runs at the highest value of one channel, as far as it is known."""

    def __init__(self) -> None:
        self._level = np.float32(0.0)
        self._clipped = 0
        self._last = _UNKNOWN
        # The run that may go on: its length, and whether it was entered by a jump.
        self._run = 0
        self._by_jump = False

    def accept(self, samples: npt.NDArray[np.float32]) -> None:
        """Takes one channel's samples, float32, shape (n,) with n > 0."""
        if self._run or samples.max() >= self._level * _FLOOR:
            self._count_runs(samples)
        self._last = samples[-1]

    def total(self) -> int:
        """Gives the samples in runs, with the run that may go on."""
        if self._level < _SMALLEST_EXTREME:
            return 0
        return self._clipped + (self._run if self._by_jump and self._run >= _SHORTEST_RUN else 0)

    def _count_runs(self, samples: npt.NDArray[np.float32]) -> None:
        # The level as each sample finds it, so that it does not matter how the samples are cut.
        levels = np.maximum.accumulate(np.concatenate(([self._level], samples)))
        at_top = samples >= levels[1:] * _FLOOR
        before = np.concatenate(([self._last], samples[:-1]))
        higher = np.flatnonzero(levels[:-1] < samples * _FLOOR)
        self._level = levels[-1]
        if len(higher):
            at_top[: higher[-1]] = False
            self._clipped = self._run = 0
        edges = np.flatnonzero(np.diff(np.concatenate(([False], at_top, [False])).astype(np.int8)))
        starts, lengths = edges[::2], edges[1::2] - edges[::2]
        by_jump = levels[1:][starts] - before[starts] >= _SMALLEST_ENTRY * levels[1:][starts]
        if self._run and at_top[0]:
            lengths[0] += self._run
            by_jump[0] = self._by_jump
        elif self._run >= _SHORTEST_RUN and self._by_jump:
            self._clipped += self._run
        self._run = 0
        if at_top[-1]:
            self._run, self._by_jump = int(lengths[-1]), bool(by_jump[-1])
            lengths, by_jump = lengths[:-1], by_jump[:-1]
        self._clipped += int(lengths[by_jump & (lengths >= _SHORTEST_RUN)].sum())


class ClippingMeter:
    """Counts clipped samples of each channel.

    Clipped are three or more samples in a row at the channel's highest value, or at its lowest, where that is at least
    a quarter of full scale and is entered by a jump of at least 0.2 % of it. The extreme need not be full scale, as
    after a change of gain; sound that was clipped and then filtered or coded with loss is not recognised. A channel
    that spends more than 90 % of its time at the extremes is a square wave, and not clipped.
    """

    def __init__(self) -> None:
        self.frames = 0
        """Frames taken so far."""
        self._extremes: list[tuple[_Extreme, _Extreme]] = []

    @property
    def channels(self) -> int:
        """Number of channels; 0 before the first frames."""
        return len(self._extremes)

    def accept(self, frames: npt.NDArray[np.float32]) -> None:
        """Takes sound, float32, shape (n, channels) with full scale at 1; how it is cut makes no difference."""
        if not len(frames):
            return
        if len(self._extremes) != frames.shape[1]:
            self.frames, self._extremes = 0, [(_Extreme(), _Extreme()) for _ in range(frames.shape[1])]
        self.frames += len(frames)
        for samples, (highest, lowest) in zip(np.ascontiguousarray(frames.T), self._extremes, strict=True):
            highest.accept(samples)
            lowest.accept(-samples)

    def share(self) -> tuple[float, int]:
        """Gives the largest share of clipped samples in a channel, from 0 to 1, and that channel, counted from 1."""
        shares = [(highest.total() + lowest.total()) / self.frames for highest, lowest in self._extremes]
        shares = [share if share <= _SQUARE_WAVE_SHARE else 0.0 for share in shares]
        worst = int(np.argmax(shares)) if shares else 0
        return (shares[worst], worst + 1) if shares else (0.0, 1)
