"""Sources that run too fast, too slow or in bursts, clocks that are set, sleep: times stay, losses add up."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from datetime import datetime
from itertools import pairwise

import pytest

from edge_aac.records import Record
from tests.edge_aac.streaming.world_cases import (
    START_S,
    Device,
    Step,
    asleep,
    burst,
    clock_set,
    lost_on_the_way,
    muted,
    sound,
    stalled,
    unplugged,
)
from tests.waiting import until

pytestmark = pytest.mark.one_python


def _unix_s(text: str | None) -> float:
    assert text is not None
    return datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()


def _span_s(record: Record) -> tuple[float, float]:
    return _unix_s(record.start), _unix_s(record.end)


def _losses_add_up(device: Device) -> int:
    """What the gap records, the health records and the captions say was lost, which is one number."""
    in_gaps = sum(gap.lost_ms for gap in device.gaps)
    assert in_gaps == sum(record.dropped_ms for record in device.health)
    assert in_gaps == sum(caption.dropped_ms for caption in device.captions)
    assert in_gaps == device.channel.counters.lost_ms
    return in_gaps


@pytest.mark.parametrize(
    ("rate", "steps"),
    [(1.03, sound(120)), (0.97, sound(120)), (1.0, burst(2.0) * 60)],
    ids=["3 % too fast", "3 % too slow", "in bursts of 2 s"],
)
def test_windows_cover_the_sound_without_gap_or_overlap(rate: float, steps: Sequence[Step]) -> None:
    device = Device(steps, rate)
    device.run()
    captions = device.captions
    assert len(captions) == (120 - 10) // 2 + 1
    assert not device.channel.counters.skipped
    for number, caption in enumerate(captions):
        true = (START_S + 2 * number / rate, START_S + (2 * number + 10) / rate)
        assert _span_s(caption) == (pytest.approx(true[0], abs=0.002), pytest.approx(true[1], abs=0.002))
    # Five hops are a window: where one record ends, the fifth after it starts.
    assert [caption.end for caption in captions[:-5]] == [caption.start for caption in captions[5:]]
    assert _losses_add_up(device) == 0
    assert device.gaps == []


@pytest.mark.parametrize("step_s", [3_600.0, -3_600.0])
def test_a_wall_clock_that_is_set_by_an_hour_corrupts_no_record(step_s: float) -> None:
    device = Device([*sound(40.05), *clock_set(step_s), *sound(40), *lost_on_the_way(0.5), *sound(20)])
    device.run()
    captions = device.captions
    assert [caption.seq for caption in captions] == list(range(len(captions)))
    assert all(end - start == pytest.approx(10.0, abs=0.002) for start, end in map(_span_s, captions))
    steps = [_span_s(later)[0] - _span_s(earlier)[0] for earlier, later in pairwise(captions)]
    (moved,) = [step for step in steps if step != pytest.approx(2.0, abs=0.002)]
    assert moved == pytest.approx(2.0 + step_s, abs=0.002), "one step, and all of it at once"
    assert _span_s(captions[0])[0] == pytest.approx(START_S, abs=0.002)
    assert _span_s(captions[-1])[1] == pytest.approx(device.world.wall_s, abs=2.0)
    for record in (*device.health, *device.events, *device.gaps):
        start_s, end_s = _span_s(record)
        assert start_s <= end_s, record
    # The event that was open keeps the start that it was given.
    assert len({event.start for event in device.events}) == 1
    assert max(end - start for start, end in map(_span_s, device.health)) < 30.0
    assert _losses_add_up(device) == 500


def test_losses_of_all_kinds_are_records_and_add_up() -> None:
    device = Device(
        [
            *sound(20.3),
            *unplugged(4),
            *sound(12),
            *lost_on_the_way(0.0333),
            *sound(3),
            *lost_on_the_way(0.0004),
            *lost_on_the_way(0.0007),
            *sound(70),
            *stalled(2.0),
            *sound(11),
            *asleep(7_200.0),
            *sound(11.7),
            *unplugged(2),
            *sound(20),
        ],
        rate=0.9999,
    )
    device.run()
    total_ms = _losses_add_up(device)
    gaps = device.gaps
    assert [gap.reason for gap in gaps] == ["disconnected", "lost", "lost", "stalled", "suspended", "disconnected"]
    # Four tries wait 0.5, 1, 2 and 4 s, and the first makes none: one record all the same.
    assert gaps[0].lost_ms == 7_500
    assert gaps[0].detail == "The input 'mic0' stopped."
    assert (gaps[3].lost_ms, gaps[4].lost_ms) == (pytest.approx(2_000, abs=101), pytest.approx(7_200_000, abs=2))
    assert gaps[1].lost_ms + gaps[2].lost_ms in (34, 35)
    for gap in gaps[:1] + gaps[3:]:
        start_s, end_s = _span_s(gap)
        assert end_s - start_s == pytest.approx(gap.lost_ms / 1e3, abs=0.02)
    assert gaps[1].sentence() == "[gap] 0.0 s of sound missing: it was lost on the way"
    # All time is sound or loss.
    passed_s = device.world.running_s + device.world.slept_s - 1_000.0
    assert total_ms / 1e3 + device.heard_samples / 16_000 == pytest.approx(passed_s, abs=0.05)
    assert device.channel.capture.reconnects == 3


@pytest.mark.parametrize("tries", [1, 6])
def test_a_caption_comes_soon_after_the_sound_is_back(tries: int) -> None:
    device = Device([*sound(15), *unplugged(tries), *sound(6)])
    device.run()
    (gap,) = device.gaps
    back_s = _unix_s(gap.end)
    first = next(caption for caption in device.captions if _unix_s(caption.end) > back_s)
    assert _unix_s(first.end) - back_s <= 2.1, "within a hop of sound, though a window is five"
    assert sum(caption.dropped_ms for caption in device.captions[: device.captions.index(first) + 1]) == gap.lost_ms


def test_an_outage_that_goes_on_is_seen_in_the_health_records_and_ends_with_the_run() -> None:
    device = Device([*sound(20), *unplugged(1_000)], interval_s=10.0)

    def wait(seconds: float) -> None:
        before = len(device.health)
        # The health records of this moment, before more time passes.
        until(lambda: seconds <= 10.0 or len(device.health) > before)
        if device.world.running_s > 1_200.0:
            device.stop.set()

    device.on_wait = wait
    device.run()
    outage = [record for record in device.health if record.state == "waiting"]
    assert len(outage) >= 3
    assert {record.reason for record in outage[1:]} == {"There is no input 'mic0'."}
    assert all(record.dropped_ms > 0 for record in outage[1:-1])
    (gap,) = device.gaps
    assert gap.reason == "disconnected"
    assert gap.lost_ms == sum(record.dropped_ms for record in device.health) == device.channel.counters.lost_ms
    assert gap.lost_ms == pytest.approx(1e3 * (device.world.running_s - 1_020.0), abs=2)


def test_time_before_a_device_first_comes_is_no_gap() -> None:
    before = set(threading.enumerate())
    device = Device([*stalled(1.0), *sound(12)])
    device.run()
    assert (device.gaps, _losses_add_up(device)) == ([], 0)
    until(lambda: not set(threading.enumerate()) - before, lambda: set(threading.enumerate()) - before)


def test_a_source_that_gives_zeros_for_minutes_is_no_quiet_source(caplog: pytest.LogCaptureFixture) -> None:
    device = Device([*sound(11), *muted(130), *stalled(3.0), *muted(70), *sound(11)], interval_s=10.0)
    device.run()
    mute = [record for record in device.health if record.state == "mute"]
    assert len(mute) >= 4
    assert {warning for record in mute for warning in record.warnings} == {
        "gives digital silence for 2 minutes: it is muted, or its cable is broken",
        "gives digital silence for 3 minutes: it is muted, or its cable is broken",
    }
    assert "digital silence for 3 minutes" in mute[-1].sentence()
    assert all(not record.warnings for record in device.health if record.state == "listening")
    assert (device.health[0].state, device.health[-1].warnings) == ("listening", [])
    assert sum("digital silence" in message for message in caplog.messages) == 1
    # The zeros that stand for the lost seconds in between are none of it.
    assert [gap.reason for gap in device.gaps] == ["stalled"]


def test_what_was_heard_before_a_sleep_is_not_pushed_out_by_it() -> None:
    device = Device([*sound(11.9), *asleep(7_200.0), *sound(12)])
    device.run()
    assert device.channel._ring.overrun_samples == 0
    assert {gap.reason for gap in device.gaps} == {"suspended"}
    assert _losses_add_up(device) == 7_200_000
    # The last of it is in a window of its own, which ends where the sleep began.
    assert _unix_s(device.gaps[0].start) == pytest.approx(START_S + 11.9, abs=0.11)
    assert any(_unix_s(caption.end) == pytest.approx(START_S + 11.9, abs=0.02) for caption in device.captions)
