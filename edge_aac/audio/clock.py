"""The one mapping from positions in a live stream to time, and the machine's clocks that it is made from."""

from __future__ import annotations

import threading
import time
from bisect import bisect_left, bisect_right
from collections.abc import Callable
from dataclasses import dataclass

from edge_aac.audio.arrivals import STEP_S, Arrivals
from edge_aac.timebase import SAMPLE_RATE

# Only Linux has a clock that goes on while the machine sleeps.
_BOOT_CLOCK = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)

_SET_S = 0.01
"""The wall clock was set where it differs by more; what is less is the time between two looks."""
_UNDISTURBED_S = 0.0005
_MOST_LOOKS = 5

_SLOWEST, _FASTEST = 0.5, 1.5
_MOST_KNOTS = 1024
_MOST_SETTINGS = 64
_SHORTEST_BREAK_SAMPLES = SAMPLE_RATE // 2


def _since_boot_s() -> float:
    return time.clock_gettime(_BOOT_CLOCK)


@dataclass(frozen=True)
class Clocks:
    """Clocks of the machine, in seconds; a test has its own.

    Attributes:
        wall_s: Unix time, which people and NTP set.
        running_s: time that the machine was awake; the clock of every wait and latency.
        since_boot_s: the same with the time that the machine slept.
        wait: waits for an event, at most so many seconds; whether it is set.
    """

    wall_s: Callable[[], float] = time.time
    running_s: Callable[[], float] = time.monotonic
    since_boot_s: Callable[[], float] = _since_boot_s
    wait: Callable[[threading.Event, float], bool] = threading.Event.wait

    @property
    def wall_offset_s(self) -> float:
        """Unix time less the time since boot: it changes where the wall clock is set, not where it is slewed."""
        return self._ahead_s(self.wall_s)

    @property
    def slept_s(self) -> float:
        """Seconds that the machine has slept since it was started."""
        return -self._ahead_s(self.running_s)

    def _ahead_s(self, other_s: Callable[[], float]) -> float:
        """How far another clock is ahead of the time since boot: another thread may run between two looks at clocks."""
        best_s, ahead_s = float("inf"), 0.0
        for _ in range(_MOST_LOOKS):
            before_s = self.since_boot_s()
            read_s = other_s()
            took_s = self.since_boot_s() - before_s
            if took_s < best_s:
                best_s, ahead_s = took_s, read_s - before_s - took_s / 2
            if best_s <= _UNDISTURBED_S:
                break
        return ahead_s


class SampleClock:
    """Times of a live source's samples, from the arrival of its blocks.

    Time is kept since boot, which nobody sets. The rate of the source's own clock is estimated
    (:class:`~edge_aac.audio.arrivals.Arrivals`). What was once given for a position stays: later estimates bend the
    mapping beyond the last position that was asked for, so that neighbouring records meet exactly and no time runs
    backwards. The wall clock is looked at with each block; a record's times are those of the wall clock as it was when
    the record's sound ended. One thread notes, another asks.

    Args:
        clocks: of the machine.
    """

    def __init__(self, clocks: Clocks | None = None) -> None:
        self._clocks = clocks or Clocks()
        self._lock = threading.Lock()
        self._arrivals = Arrivals()
        self._knots: list[tuple[int, float]] = []
        """Positions with the times that were given for them, in seconds since boot."""
        self._break: int | None = None
        """End of a gap: from there on the source is one that nothing is known of."""
        self._settings: list[tuple[int, float]] = []
        """Positions from which on the wall clock had another offset, with that offset."""

    def note(self, position: int) -> None:
        """Takes note that the sample before ``position`` is there now."""
        since_boot_s, offset_s = self._clocks.since_boot_s(), self._clocks.wall_offset_s
        with self._lock:
            self._arrivals.note(position, since_boot_s)
            if not self._settings or abs(offset_s - self._settings[-1][1]) > _SET_S:
                self._settings.append((position, offset_s))
                del self._settings[:-_MOST_SETTINGS]

    def note_gap(self, start: int, samples: int) -> None:
        """Takes note that ``samples`` from position ``start`` on stand for lost sound, by the clock and not by the
        source."""
        if samples < _SHORTEST_BREAK_SAMPLES:
            return
        with self._lock:
            if self._knots or self._arrivals.time_of(start) is not None:
                self._time_of(start)
            self._arrivals.forget()
            self._break = start + samples

    def span_s(self, start: int, end: int) -> tuple[float, float]:
        """Unix times of two positions, by the wall clock as it was at the second one; the second is not the earlier."""
        with self._lock:
            offset_s = self._wall_offset_s(end)
            start_s = self._time_of(start)
            return start_s + offset_s, max(start_s, self._time_of(end)) + offset_s

    def running_time_of(self, position: int) -> float:
        """When the sample before a position was heard, in the seconds of :attr:`Clocks.running_s`."""
        with self._lock:
            return self._time_of(position) - self._clocks.slept_s

    def position_at(self, running_s: float) -> int:
        """The position that the source would have reached at a time of :attr:`Clocks.running_s`, had it gone on."""
        with self._lock:
            since_boot_s = running_s + self._clocks.slept_s
            estimated_s, origin = self._arrivals.time_of(0), 0
            if estimated_s is None and self._knots:
                origin, estimated_s = self._knots[-1]
            if estimated_s is None:
                return 0
            return origin + round((since_boot_s - estimated_s) * SAMPLE_RATE / (1.0 + self._arrivals.slope))

    def _wall_offset_s(self, position: int) -> float:
        if not self._settings:
            return self._clocks.wall_offset_s
        # Equal positions: the later setting counts.
        place = bisect_right(self._settings, position, key=lambda setting: setting[0])
        return self._settings[max(0, place - 1)][1]

    def _time_of(self, position: int) -> float:
        knots = self._knots
        if knots and position <= knots[-1][0]:
            return self._interpolated(position)
        if self._break is not None and position > self._break:
            self._fix(self._break)
            self._break = None
        return self._fix(position)

    def _interpolated(self, position: int) -> float:
        knots = self._knots
        place = bisect_left(knots, position, key=lambda knot: knot[0])
        right, right_s = knots[place]
        if place == 0:
            return right_s - (right - position) / SAMPLE_RATE
        left, left_s = knots[place - 1]
        return left_s + (right_s - left_s) * (position - left) / (right - left)

    def _fix(self, position: int) -> float:
        """Gives a time for a position beyond those that have one."""
        estimated_s = self._arrivals.time_of(position)
        if not self._knots:
            fixed_s = self._clocks.since_boot_s() if estimated_s is None else estimated_s
            origin_s = self._arrivals.time_of(0)
            if position > 0 and origin_s is not None:
                self._knots.append((0, origin_s))
        else:
            last, last_s = self._knots[-1]
            length_s = (position - last) / SAMPLE_RATE
            if length_s <= 0:
                return last_s
            fixed_s = last_s + length_s
            if estimated_s is not None:
                stepped = estimated_s - fixed_s > STEP_S
                fastest_s = estimated_s if stepped else last_s + _FASTEST * length_s
                fixed_s = min(max(estimated_s, last_s + _SLOWEST * length_s), fastest_s)
        self._knots.append((position, fixed_s))
        del self._knots[:-_MOST_KNOTS]
        return fixed_s
