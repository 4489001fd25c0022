"""The one mapping from positions in a live stream to wall-clock time."""

from __future__ import annotations

from edge_aac.timebase import SAMPLE_RATE

CREEP = 500e-6
"""Seconds a second that the mapping may move later: more than a sound card's crystal drifts, less than one hears."""

STEP_S = 1.0
"""A difference this large is no jitter: somebody set the clock, or the machine slept."""


class SampleClock:
    """Learns when sample 0 was heard, from the arrival of each block.

    Blocks arrive late by up to their own length and the machine's load, never early: the earliest arrival is the
    truest. The mapping follows it, and creeps later so slowly that it bridges jitter but follows a crystal's drift.
    One thread notes, another asks.
    """

    def __init__(self) -> None:
        self._origin_s = 0.0
        self._noted_samples = -1

    def note(self, position: int, now_s: float) -> None:
        """The sample before ``position`` was there at Unix time ``now_s``."""
        origin_s = now_s - position / SAMPLE_RATE
        if self._noted_samples < 0 or abs(origin_s - self._origin_s) > STEP_S:
            self._origin_s = origin_s
        else:
            crept_s = CREEP * max(0, position - self._noted_samples) / SAMPLE_RATE
            self._origin_s = min(origin_s, self._origin_s + crept_s)
        self._noted_samples = position

    def time_of(self, position: int) -> float:
        """Unix time in seconds of an absolute sample position."""
        return self._origin_s + position / SAMPLE_RATE
