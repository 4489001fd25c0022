"""The soak's short form: minutes of four sources with the shipped bundle, everything on."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.soak import Room, soak
from benchmarks.soak_events import Plan, plans
from edge_aac.audio.sources.demo import synthesise_demo
from edge_aac.bundle.store import DEFAULT_BUNDLE


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="resident memory is read from Linux's /proc")
def test_nothing_grows_and_every_scene_is_told() -> None:
    # Within minutes the allocator has not settled yet: two percent are for hours.
    figures = soak(DEFAULT_BUNDLE, hours=0.07, every_minutes=3.0, max_growth=10.0)
    assert figures["failures"] == []
    assert figures["scenes"] >= 4 and figures["events"] >= figures["scenes"]
    assert all(counters["silent"] and counters["captions"] for counters in figures["counters"].values())
    low, high = figures["descriptors"]
    assert low == high


def test_a_room_is_silent_but_for_its_scenes() -> None:
    scene = synthesise_demo(24, 0)
    room = Room(Plan("mic0", 4_000, 1.0, ((3, 0), (40, 0))), [scene], 70)
    sound = [room.block(number) for number in range(70 * 4 + 1)]
    assert sound[-1] is None
    levels = [float(abs(block).max()) for block in sound if block is not None]
    loud = [number for number, level in enumerate(levels) if level > 1e-3]
    assert (loud[0] // 4, loud[-1] // 4) == (3, 63)
    assert not [number for number in loud if 27 * 4 + 1 < number < 40 * 4 - 1]


def test_plans_are_alike_each_time_and_end_in_time() -> None:
    made = plans(1.0, 10.0)
    assert made == plans(1.0, 10.0)
    assert len(made) == 4 and len({plan.block_samples for plan in made}) == 4
    assert all(at_s + 24 + 30 < 3600 for plan in made for at_s, _ in plan.scenes)
