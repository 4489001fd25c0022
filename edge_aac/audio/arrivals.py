"""When samples were heard, from when blocks of them arrived: the rate of the source's clock, and its phase."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence

from edge_aac.timebase import SAMPLE_RATE

STEP_S = 1.0
"""A difference this large that stays is no jitter: sound was lost, or came twice, without a word."""

_BUCKET_SAMPLES = SAMPLE_RATE
_LONGEST_HORIZON = 256
"""Buckets that the rate is estimated from: four minutes."""
_PHASE_BUCKETS = 60
_FEWEST_BUCKETS = 4
_STEP_AFTER_S = 5.0
_LONG_HORIZON_S = 60.0
_SHORT_SIGNIFICANT_S, _LONG_SIGNIFICANT_S = 0.03, 0.01
_NOISE_FACTOR = 6.0
_STEEPEST = 0.1

_Point = tuple[int, float]


class Arrivals:
    """Estimates when the sample before a position was heard.

    A block arrives late by its length, the load of the machine or a burst, never early: the earliest arrivals are the
    truth. Over the position, the lateness ``arrival - position / 16000`` of a source with another rate than it claims
    falls or rises along a line that lies below all arrivals. The line is the one of them that is nearest to all: the
    edge of their lower convex hull above the mean of the positions (S. Moon, P. Skelly, D. Towsley: *Estimation and
    Removal of Clock Skew from Network Delay Measurements*, INFOCOM 1999). A slope that jitter could have made is none.
    """

    def __init__(self) -> None:
        self._points: deque[_Point] = deque(maxlen=_LONGEST_HORIZON)
        """Position and lateness in seconds of the least late arrival in each second of sound."""
        self._newest: _Point | None = None
        """The same of the second that is not full yet."""
        self._slope = 0.0
        """Seconds that the lateness grows by in a second of sound."""
        self._floor_s = math.inf
        """Lateness of the line at position 0."""
        self._on_time_s = 0.0

    @property
    def slope(self) -> float:
        """How much longer than claimed a second of the source's sound takes, in seconds; 0.03 of one 3 % too slow."""
        return self._slope

    def note(self, position: int, arrived_s: float) -> None:
        """Takes note that the sample before ``position`` was there at ``arrived_s``."""
        lateness_s = arrived_s - position / SAMPLE_RATE
        self._look_for_a_step(position, lateness_s, arrived_s)
        newest = self._newest
        if newest is None or newest[0] // _BUCKET_SAMPLES != position // _BUCKET_SAMPLES:
            if newest is not None:
                self._points.append(newest)
                self._fit()
            self._newest = (position, lateness_s)
        elif self._above(position, lateness_s) <= self._above(*newest):
            self._newest = (position, lateness_s)
        self._floor_s = min(self._floor_s, self._above(position, lateness_s))

    def forget(self) -> None:
        """Forgets the arrivals, as after an outage; the rate of the source's clock is kept until others tell it."""
        self._points.clear()
        self._newest = None
        self._floor_s = math.inf

    def time_of(self, position: int) -> float | None:
        """When the sample before ``position`` was heard, in the seconds of the arrivals; None before any arrival."""
        if math.isinf(self._floor_s):
            return None
        return position / SAMPLE_RATE * (1.0 + self._slope) + self._floor_s

    def _above(self, position: int, lateness_s: float) -> float:
        return lateness_s - self._slope * position / SAMPLE_RATE

    def _look_for_a_step(self, position: int, lateness_s: float, arrived_s: float) -> None:
        above_s = self._above(position, lateness_s) - self._floor_s
        if above_s < -STEP_S:
            # What came before was late, all of it.
            self.forget()
        elif above_s > STEP_S:
            if arrived_s - self._on_time_s <= _STEP_AFTER_S:
                return
            # Nothing has been on time for longer than any burst.
            self.forget()
        self._on_time_s = arrived_s

    def _fit(self) -> None:
        points = self._points
        horizon_s = (points[-1][0] - points[0][0]) / SAMPLE_RATE
        if len(points) >= _FEWEST_BUCKETS:
            slope = _slope_below(points)
            above = sorted(late - slope * position / SAMPLE_RATE for position, late in points)
            noise_s = above[len(above) // 4] - above[0]
            significant_s = _LONG_SIGNIFICANT_S if horizon_s >= _LONG_HORIZON_S else _SHORT_SIGNIFICANT_S
            is_slope = abs(slope) * horizon_s > max(significant_s, _NOISE_FACTOR * noise_s)
            self._slope = max(-_STEEPEST, min(_STEEPEST, slope)) if is_slope else 0.0
        recent = list(points)[-_PHASE_BUCKETS:]
        self._floor_s = min(self._above(position, late) for position, late in recent)


def _slope_below(points: Sequence[_Point]) -> float:
    """Slope of the edge of the lower convex hull above the mean position, in seconds a second."""
    hull: list[_Point] = []
    for point in points:
        while len(hull) > 1 and _is_above(hull[-2], hull[-1], point):
            hull.pop()
        hull.append(point)
    middle = sum(position for position, _ in points) / len(points)
    for (left, left_s), (right, right_s) in zip(hull, hull[1:], strict=False):
        if right >= middle:
            return (right_s - left_s) / (right - left) * SAMPLE_RATE
    return 0.0


def _is_above(left: _Point, between: _Point, right: _Point) -> bool:
    """Whether a point lies on or above the line from its left to its right neighbour."""
    run = right[0] - left[0]
    return (between[1] - left[1]) * run >= (right[1] - left[1]) * (between[0] - left[0])
