"""A channel: what is lost is told, what is heard becomes events, and times do not move."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from edge_aac.audio.windows import Window, WindowSlicer
from edge_aac.records import Event
from edge_aac.streaming.counters import Counters
from edge_aac.streaming.gate import ScoreGate
from edge_aac.streaming.session import Session
from tests.edge_aac.fake_clocks import FakeClocks
from tests.edge_aac.fakes import FakeModel, FakeSink, FakeSource
from tests.edge_aac.streaming.session_cases import (
    DOG,
    HOP,
    RAIN,
    WINDOW,
    AttendedSource,
    blocks,
    counters,
    noise,
    session,
    states,
)


def _run_with(given: Sequence[Any], *, live: bool = False, every_window: bool = True) -> tuple[FakeSink, Session]:
    sink = FakeSink()
    loop = session(AttendedSource(given, live=live), sink, every_window=every_window)
    loop.run()
    return sink, loop


def test_lost_samples_are_told_with_the_next_caption() -> None:
    quiet: list[Any] = blocks(8)
    quiet[4] = (WINDOW, quiet[4])
    sink, loop = _run_with(quiet)
    assert sum(record.dropped_ms for record in sink.captions) == 100
    assert sorted({record.dropped_ms for record in sink.captions}) == [0, 100]
    assert counters(loop).lost_samples == WINDOW
    assert "100 ms" in counters(loop).sentence()
    # Time goes on over the loss: the last window ends where the eight blocks and the gap end.
    assert sink.captions[-1].end_s == pytest.approx((8 * HOP + WINDOW) / 16_000)


def test_a_loss_beside_a_silent_window_is_not_forgotten() -> None:
    silence = np.zeros(HOP, np.float32)
    given = [*blocks(3), *[silence] * 4, (4 * WINDOW, silence), silence, silence, *blocks(3)]
    sink, loop = _run_with(given)
    assert counters(loop).silent > 0
    assert sum(record.dropped_ms for record in sink.captions) == 400


def test_a_loss_beside_an_unpublished_window_is_not_forgotten() -> None:
    sink = FakeSink()
    given: list[Any] = blocks(10)
    given[3] = (160, given[3])
    model = FakeModel([RAIN] * 6 + [DOG])
    session(AttendedSource(given), sink, model, every_window=False).run()
    assert [(record.caption, record.dropped_ms) for record in sink.captions] == [("rain", 0), ("dog", 10)]


def test_a_loss_at_the_very_end_is_in_the_closing_line() -> None:
    # Too little comes after the loss for one more window.
    _, loop = _run_with([noise(WINDOW), (160, noise(16))])
    assert (counters(loop).windows, counters(loop).lost_samples) == (1, 160)


def test_silence_is_counted_and_not_captioned() -> None:
    model, sink = FakeModel(), FakeSink()
    loop = session(FakeSource([np.zeros(10 * HOP, np.float32)]), sink, model)
    loop.run()
    assert (sink.records, model.draws) == ([], [])
    assert counters(loop) == Counters(windows=9, silent=9)


def test_captions_that_score_too_low_are_counted_and_not_published() -> None:
    unsure = replace(DOG, hybrid=RAIN.hybrid - 0.2)
    model, sink = FakeModel([RAIN, unsure, RAIN]), FakeSink()
    given = blocks(3)
    loop = session(FakeSource(given), sink, model, every_window=True, score_gate=ScoreGate(RAIN.hybrid - 0.1))
    loop.run()
    published = {record.caption for record in sink.captions}
    assert published == {"rain"} and counters(loop).unsure == 1
    assert counters(loop).captions + counters(loop).unsure == counters(loop).windows
    # A doubt in the middle of an event does not break it off.
    assert {number for number, _ in states(sink)} == {0}


def test_events_and_captions() -> None:
    sink = FakeSink()
    model = FakeModel([RAIN, RAIN, DOG])
    session(FakeSource(blocks(5)), sink, model, every_window=False).run()
    assert [(record.seq, record.caption, record.event) for record in sink.captions] == [(0, "rain", 0), (1, "dog", 1)]
    # A window overlaps the one before it, not the one before that.
    assert states(sink) == [
        (0, "start"),
        (0, "update"),
        (1, "start"),
        (0, "end"),
        (1, "update"),
        (1, "end"),
    ]
    # The caption that opens an event comes before the event's own record.
    kinds = [(type(record).__name__, record.event) for record in sink.records]
    assert kinds.index(("Caption", 1)) < kinds.index(("Event", 1))


def test_every_window_gives_a_caption_that_names_its_event() -> None:
    sink = FakeSink()
    session(FakeSource(blocks(5)), sink, FakeModel([RAIN, RAIN, DOG])).run()
    assert [(record.caption, record.event) for record in sink.captions] == [
        ("rain", 0),
        ("rain", 0),
        ("dog", 1),
        ("dog", 1),
    ]


def test_a_live_stream_gives_wall_clock_times_that_do_not_move(monkeypatch: pytest.MonkeyPatch) -> None:
    world = FakeClocks(1_777_629_600.0)
    source = AttendedSource(blocks(4), live=True)
    read = source.read

    def read_at_its_time() -> np.ndarray | None:
        block = read()
        # A block is there when its last sample was heard; after the last one, nothing for an hour.
        world.running_s += HOP / 16_000 if block is not None else 3_600.0
        return block

    monkeypatch.setattr(source, "read", read_at_its_time)
    sink = FakeSink()
    session(source, sink, clocks=world.clocks).run()
    assert [record.start for record in sink.captions] == [
        f"2026-05-01T10:00:00.{1000 * number * HOP // 16_000:03d}Z" for number in range(3)
    ]
    assert all(record.start_s is None for record in sink.captions)
    events = [record for record in sink.records if isinstance(record, Event)]
    assert {record.start for record in events} == {"2026-05-01T10:00:00.000Z"}
    assert events[-1].end == "2026-05-01T10:00:00.200Z"


@pytest.mark.parametrize(("step_s", "ends"), [(3_600.0, 5), (-3_600.0, 1)])
def test_a_clock_that_is_set_rewrites_no_event(step_s: float, ends: int, monkeypatch: pytest.MonkeyPatch) -> None:
    source = AttendedSource(blocks(6), live=True)
    read = source.read
    world = FakeClocks(1_777_629_600.0)

    def read_while_the_clock_is_set() -> np.ndarray | None:
        block = read()
        # Each block comes with a clock that somebody has set an hour on, or back.
        world.running_s += HOP / 16_000
        world.set_by_s += step_s
        return block

    monkeypatch.setattr(source, "read", read_while_the_clock_is_set)
    sink = FakeSink()
    session(source, sink, clocks=world.clocks).run()
    events = [record for record in sink.records if isinstance(record, Event)]
    assert [event.state for event in events] == ["start", *["update"] * 4, "end"]
    assert len({event.start for event in events}) == 1
    assert len({event.end for event in events}) == ends, "no event ends before it has ended"
    assert all(event.start is not None and event.end is not None and event.start < event.end for event in events)
    assert events[-1].end == events[-2].end


def test_a_long_backlog_is_not_cut_all_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """After a stall of 20 s, windows of a short hop would take more memory than a small board has."""
    cut: list[int] = []
    push = WindowSlicer.push

    def counted(slicer: WindowSlicer, position: int, samples: np.ndarray) -> list[Window]:
        windows = push(slicer, position, samples)
        cut.append(len(windows))
        return windows

    monkeypatch.setattr(WindowSlicer, "push", counted)
    loop = session(FakeSource([noise(20 * 16_000)], live=True), FakeSink(), hop=1_600)
    loop.run()
    assert counters(loop).windows == sum(cut) == 200
    assert counters(loop).skipped == {"overlap": 199}
    assert max(cut) == 10
