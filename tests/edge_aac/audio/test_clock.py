"""Positions to wall-clock time: jitter is bridged, drift is followed, steps are taken."""

from __future__ import annotations

import numpy as np
import pytest

from edge_aac.audio.clock import SampleClock

_BLOCK = 1_600
_START_S = 1_777_629_600.0


def _run(clock: SampleClock, seconds: int, *, ppm: float = 0.0, jitter_s: float = 0.0, first: int = 0) -> int:
    """Feeds blocks of 100 ms whose crystal is ``ppm`` slow; returns the position after the last."""
    random = np.random.default_rng(0)
    position = first
    for _ in range(seconds * 10):
        position += _BLOCK
        heard_s = position / 16_000 * (1 + ppm * 1e-6)
        clock.note(position, _START_S + heard_s + random.uniform(0.0, jitter_s))
    return position


def test_jitter_is_bridged() -> None:
    clock = SampleClock()
    position = _run(clock, 60, jitter_s=0.09)
    truth_s = _START_S + position / 16_000
    assert clock.time_of(position) == pytest.approx(truth_s, abs=0.02)
    steps = []
    for _ in range(50):
        before = clock.time_of(position)
        position = _run(clock, 1, jitter_s=0.09, first=position)
        steps.append(clock.time_of(position) - before)
    assert np.allclose(steps, 1.0, atol=0.01)


@pytest.mark.parametrize("ppm", [-100.0, 100.0])
def test_drift_is_followed_for_hours(ppm: float) -> None:
    clock = SampleClock()
    position = _run(clock, 3 * 3600, ppm=ppm)
    assert clock.time_of(position) == pytest.approx(_START_S + position / 16_000 * (1 + ppm * 1e-6), abs=0.01)


@pytest.mark.parametrize("step_s", [-7200.0, 5.0])
def test_a_clock_that_is_set_is_believed_at_once(step_s: float) -> None:
    clock = SampleClock()
    position = _run(clock, 10)
    clock.note(position + _BLOCK, _START_S + (position + _BLOCK) / 16_000 + step_s)
    assert clock.time_of(position) == pytest.approx(_START_S + position / 16_000 + step_s)


def test_times_of_one_window_are_as_far_apart_as_its_samples() -> None:
    clock = SampleClock()
    _run(clock, 12, jitter_s=0.09)
    assert clock.time_of(176_000) - clock.time_of(16_000) == pytest.approx(10.0, abs=1e-6)
