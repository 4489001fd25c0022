"""Positions to time: jitter is bridged, another rate is followed, steps and sleep spoil nothing, given times stay."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from edge_aac.audio.clock import Clocks, SampleClock
from tests.edge_aac.fake_clocks import FakeClocks

pytestmark = pytest.mark.one_python

_BLOCK = 1_600
_START_S = 1_777_629_600.0
_WINDOW, _HOP = 160_000, 32_000


class _Source:
    """A source whose blocks of 1600 samples arrive by its own clock.

    Args:
        rate: samples that it gives in what it calls a second, by 16000.
        jitter_s: longest time that a block is late.
        burst_s: blocks arrive together, once in this time.
    """

    def __init__(self, rate: float = 1.0, jitter_s: float = 0.0, burst_s: float = 0.0) -> None:
        self.world = FakeClocks(_START_S)
        self.clock = SampleClock(self.world.clocks)
        self.position = 0
        self.origin_s = self.world.running_s
        self._rate = rate
        self._jitter_s = jitter_s
        self._burst_s = burst_s
        self._random = np.random.default_rng(0)

    def true_s(self, position: int) -> float:
        """Unix time at which the sample before a position was heard, on a clock that nobody sets."""
        return _START_S + position / 16_000 / self._rate

    def play(self, seconds: float) -> None:
        for _ in range(round(seconds * 10)):
            self.position += _BLOCK
            due_s = self.true_s(self.position) - _START_S
            if self._burst_s:
                due_s = float(np.ceil(due_s / self._burst_s - 1e-9)) * self._burst_s
            due_s += float(self._random.uniform(0.0, self._jitter_s)) if self._jitter_s else 0.0
            self.world.running_s = max(self.world.running_s, self.origin_s + due_s)
            self.clock.note(self.position)


def test_jitter_is_bridged() -> None:
    source = _Source(jitter_s=0.09)
    source.play(60)
    spans = []
    for _ in range(50):
        source.play(1)
        start_s, end_s = source.clock.span_s(source.position - 16_000, source.position)
        assert end_s == pytest.approx(source.true_s(source.position), abs=0.005)
        spans.append(end_s - start_s)
    assert np.allclose(spans, 1.0, atol=0.002)


@pytest.mark.parametrize("ppm", [-100.0, 100.0])
def test_drift_is_followed_for_hours(ppm: float) -> None:
    source = _Source(1 + ppm * 1e-6)
    for _ in range(18):
        source.play(600)
        end_s = source.clock.span_s(source.position - _WINDOW, source.position)[1]
        assert end_s == pytest.approx(source.true_s(source.position), abs=0.01)


@pytest.mark.parametrize(
    ("rate", "jitter_s", "burst_s", "tolerance_s"),
    [
        (1.03, 0.0, 0.0, 0.001),
        (0.97, 0.0, 0.0, 0.001),
        (1.03, 0.09, 0.0, 0.01),
        (0.97, 0.09, 0.0, 0.01),
        (1.0, 0.0, 2.0, 0.001),
        (1.0, 0.0, 5.0, 0.001),
    ],
)
def test_windows_of_a_source_with_another_rate_or_in_bursts_lie_where_they_were_heard(
    rate: float, jitter_s: float, burst_s: float, tolerance_s: float
) -> None:
    source = _Source(rate, jitter_s, burst_s)
    spans: list[tuple[float, float]] = []
    while len(spans) < 60:
        source.play(1)
        while (end := len(spans) * _HOP + _WINDOW) <= source.position:
            spans.append(source.clock.span_s(end - _WINDOW, end))
            true = (source.true_s(end - _WINDOW), source.true_s(end))
            assert spans[-1] == (pytest.approx(true[0], abs=tolerance_s), pytest.approx(true[1], abs=tolerance_s))
    # What one record gave for a position, the next gives too: the windows meet to the last digit.
    for number, (_, end_s) in enumerate(spans[: -_WINDOW // _HOP]):
        assert spans[number + _WINDOW // _HOP][0] == end_s
    assert all(earlier[0] < later[0] and earlier[1] < later[1] for earlier, later in pairwise(spans))


@pytest.mark.parametrize("step_s", [-3600.0, 3600.0, 5.0])
def test_a_wall_clock_that_is_set_moves_later_records_alone(step_s: float) -> None:
    source = _Source(jitter_s=0.03)
    source.play(20)
    before = source.clock.span_s(source.position - _WINDOW, source.position)
    old = source.position
    source.world.set_by_s += step_s
    source.play(20)
    start_s, end_s = source.clock.span_s(source.position - _WINDOW, source.position)
    assert end_s == pytest.approx(source.true_s(source.position) + step_s, abs=0.01)
    assert end_s - start_s == pytest.approx(10.0, abs=0.002), "no record has one end before the step and one after"
    # A window of before that is described late keeps its time.
    assert source.clock.span_s(old - _WINDOW, old) == before


def test_leap_smears_and_slews_move_no_span() -> None:
    source = _Source()
    ends = []
    for _ in range(60):
        source.play(1)
        # A second of smear in a day is 12 ppm; here it is forty times as much.
        source.world.set_by_s += 500e-6
        ends.append(source.clock.span_s(source.position - 16_000, source.position)[1])
    steps = np.diff(ends)
    assert np.allclose(steps, 1.0, atol=0.012)
    assert ends[-1] == pytest.approx(source.world.wall_s, abs=0.012)


def test_sleep_is_a_gap_whose_sides_lie_where_they_were() -> None:
    source = _Source(0.97)
    source.play(60)
    before = source.position
    source.world.slept_s += 7_200.0
    source.clock.note_gap(before, 7_200 * 16_000)
    source.position += 7_200 * 16_000
    source.origin_s = source.world.running_s - source.position / 16_000 / 0.97
    source.play(20)
    start_s, end_s = source.clock.span_s(before, before + 7_200 * 16_000)
    assert start_s == pytest.approx(source.true_s(before), abs=0.001)
    assert end_s - start_s == pytest.approx(7_200.0, abs=0.001), "the gap is the clock's, not the slow source's"
    assert source.clock.span_s(0, source.position)[1] == pytest.approx(source.world.wall_s, abs=0.001)
    heard_s = source.clock.running_time_of(source.position)
    assert heard_s == pytest.approx(source.world.running_s, abs=0.001)


@pytest.mark.parametrize("late_s", [4.0, -4.0])
def test_sound_that_is_lost_or_comes_twice_without_a_word_is_followed_forward_in_time(late_s: float) -> None:
    source = _Source()
    source.play(60)
    source.clock.span_s(source.position - _WINDOW, source.position)
    ends = [source.clock.span_s(0, source.position)[1]]
    source.origin_s += late_s
    for _ in range(30):
        source.play(1)
        ends.append(source.clock.span_s(0, source.position)[1])
    assert all(later > earlier for earlier, later in pairwise(ends))
    assert ends[-1] == pytest.approx(source.true_s(source.position) + late_s, abs=0.001)


def test_the_end_of_what_goes_on_in_silence_is_foreseen() -> None:
    source = _Source(1.03)
    source.play(60)
    source.world.running_s += 10.0
    assert source.clock.position_at(source.world.running_s) == pytest.approx(source.position + 164_800, abs=200)


def test_before_any_sound_there_is_the_time_of_now() -> None:
    world = FakeClocks(_START_S)
    clock = SampleClock(world.clocks)
    clock.note_gap(0, 16_000)
    assert clock.span_s(0, 0) == (_START_S, _START_S)
    assert SampleClock(world.clocks).position_at(5_000.0) == 0


def test_another_thread_between_two_looks_makes_no_step() -> None:
    times = iter([10.0, 10.2, 20.0, 20.0001])
    clocks = Clocks(wall_s=iter([1010.15, 1020.00005]).__next__, since_boot_s=times.__next__)
    assert clocks.wall_offset_s == pytest.approx(1000.0, abs=0.0001)


def test_the_machines_own_clocks() -> None:
    clocks = Clocks()
    assert clocks.slept_s >= -0.001
    assert clocks.wall_offset_s + clocks.since_boot_s() == pytest.approx(clocks.wall_s(), abs=1.0)
