"""The loop: nothing lost from a file, nothing hidden from a live stream, and an end that comes when it is told to."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from edge_aac.audio.windows import WindowSlicer
from edge_aac.errors import DataError, DeviceError, EdgeAacError
from edge_aac.models.contract import Description
from edge_aac.models.seq2seq import window_rng
from edge_aac.records import Event
from edge_aac.sinks.sink import QUEUE_RECORDS, QueuedSink
from edge_aac.streaming.describe import Describer
from edge_aac.streaming.events import EventChange, EventTracker, State
from edge_aac.streaming.gate import EnergyGate, ScoreGate
from edge_aac.streaming.loop import RING_SAMPLES, Counters, StreamLoop
from tests.edge_aac.fakes import MODEL, FakeCaptioner, FakeSink, FakeSource, said

_WINDOW, _HOP = 1_600, 800
_RAIN, _DOG = said("rain"), said("dog", direction=90)


def _noise(samples: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 0.1, samples).astype(np.float32)


def _blocks(count: int) -> list[np.ndarray]:
    return [_noise(_HOP, seed) for seed in range(count)]


def _loop(
    source: FakeSource,
    sink: FakeSink,
    captioner: FakeCaptioner | None = None,
    *,
    every_window: bool = True,
    stop: threading.Event | None = None,
    seed: int = 0,
    score_gate: ScoreGate | None = None,
    hop: int = _HOP,
) -> StreamLoop:
    given: dict[str, Any] = {"captioner": captioner or FakeCaptioner()}
    return StreamLoop(
        source=source,
        slicer=WindowSlicer(_WINDOW, hop),
        gate=EnergyGate(-70.0),
        tracker=EventTracker(0.8),
        sink=QueuedSink(sink, wait=not source.live, stop=stop),
        describer=Describer("kitchen", source.name, MODEL),
        seed=seed,
        score_gate=score_gate,
        every_window=every_window,
        **given,
    )


def _states(sink: FakeSink) -> list[tuple[int, str]]:
    return [(record.event, record.state) for record in sink.records if isinstance(record, Event)]


def test_a_file_loses_nothing_however_slow_the_sink() -> None:
    windows = 2 * QUEUE_RECORDS
    sink = FakeSink(seconds=0.001)
    loop = _loop(FakeSource([_noise((windows + 1) * _HOP)]), sink)
    loop.run(threading.Event())
    assert [record.seq for record in sink.captions] == list(range(windows))
    assert [record.start_s for record in sink.captions] == [pytest.approx(0.05 * number) for number in range(windows)]
    assert sink.closed
    assert loop.counters == Counters(windows=windows, captions=windows)


def test_a_file_loses_nothing_however_slow_the_captioner() -> None:
    sink = FakeSink()
    loop = _loop(FakeSource([_noise(20 * _HOP), _noise(21 * _HOP)]), sink, FakeCaptioner(seconds=0.01))
    loop.run(threading.Event())
    assert len(sink.captions) == loop.counters.windows == 40
    assert loop.counters.skipped == 0


def test_the_tail_of_a_file_is_captioned() -> None:
    sink, captioner = FakeSink(), FakeCaptioner()
    _loop(FakeSource([_noise(2 * _WINDOW + 1_600 + 320)]), sink, captioner).run(threading.Event())
    assert sink.captions[-1].end_s == pytest.approx((2 * _WINDOW + 1_600) / 16_000)
    assert set(captioner.sound_samples) == {_WINDOW}
    sink, captioner = FakeSink(), FakeCaptioner()
    _loop(FakeSource([_noise(480)]), sink, captioner).run(threading.Event())
    assert [(record.start_s, record.end_s) for record in sink.captions] == [(0.0, 0.03)]
    assert captioner.sound_samples == [480], "the rest of the window is padding"


def test_each_window_has_its_own_generator() -> None:
    captioner = FakeCaptioner()
    _loop(FakeSource(_blocks(6)), FakeSink(), captioner, seed=11).run(threading.Event())
    assert captioner.draws == [window_rng(11, number * _HOP).random() for number in range(5)]


def test_a_live_source_that_is_faster_than_the_captioner_skips_and_counts(caplog: pytest.LogCaptureFixture) -> None:
    blocks = 120
    sink = FakeSink()
    source = FakeSource(_blocks(blocks), live=True, pace_s=0.001)
    loop = _loop(source, sink, FakeCaptioner(seconds=0.02))
    with caplog.at_level(logging.WARNING):
        loop.run(threading.Event())
    counters = loop.counters
    assert counters.windows == blocks - 1
    assert counters.skipped > 10
    assert counters.captions == len(sink.captions) == counters.windows - counters.skipped
    assert counters.lost_samples == 0
    assert "windows skipped" in caplog.text
    assert f"{counters.skipped} skipped" in counters.sentence()
    # What is captioned is the newest: the last window of all is among it.
    assert [record.seq for record in sink.captions] == list(range(counters.captions))


def _starts_captioned(captioner: FakeCaptioner, most: int) -> list[int]:
    """Where the captioned windows start: each has its own generator."""
    starts = {window_rng(0, start).random(): start for start in range(most)}
    return [starts[draw] for draw in captioner.draws]


def test_the_last_sound_before_an_outage_is_captioned() -> None:
    captioner = FakeCaptioner()
    # The zeros of the outage complete four windows at once: two hold the sound before it, one none, one what follows.
    blocks: list[Any] = [_noise(_WINDOW), _noise(240), (2_400, _noise(640))]
    loop = _loop(FakeSource(blocks, live=True, pace_s=0.05), FakeSink(), captioner)
    loop.run(threading.Event())
    assert _starts_captioned(captioner, 4_880) == [0, 2 * _HOP, 4 * _HOP]
    assert loop.counters == Counters(windows=5, silent=1, skipped=1, captions=3, lost_samples=2_400)


def test_sound_before_a_jump_is_captioned() -> None:
    captioner = FakeCaptioner()
    blocks: list[Any] = [_noise(_WINDOW - 160), (2 * RING_SAMPLES, _noise(_WINDOW))]
    loop = _loop(FakeSource(blocks, live=True, pace_s=0.05), FakeSink(), captioner)
    loop.run(threading.Event())
    assert captioner.sound_samples[0] == _WINDOW - 160
    assert len(captioner.draws) >= 2
    assert loop.counters.lost_samples == 2 * RING_SAMPLES, "no zero of the outage is lost a second time"


def test_with_a_long_hop_the_newest_window_is_captioned() -> None:
    captioner = FakeCaptioner()
    source = FakeSource([_noise(4 * _WINDOW)], live=True)
    loop = _loop(source, FakeSink(), captioner, hop=_WINDOW)
    loop.run(threading.Event())
    assert _starts_captioned(captioner, 4 * _WINDOW) == [3 * _WINDOW]
    assert (loop.counters.windows, loop.counters.skipped) == (4, 3)


def test_a_live_captioner_that_keeps_up_skips_nothing() -> None:
    loop = _loop(FakeSource(_blocks(6), live=True, pace_s=0.1), FakeSink())
    loop.run(threading.Event())
    assert (loop.counters.windows, loop.counters.skipped) == (5, 0)


def test_a_failing_source_raises_after_what_was_made_is_delivered() -> None:
    sink = FakeSink(seconds=0.005)
    source = FakeSource(_blocks(11), error=DataError("the file is truncated"))
    loop = _loop(source, sink)
    with pytest.raises(DataError, match="truncated"):
        loop.run(threading.Event())
    assert len(sink.captions) == 10
    assert sink.closed
    assert source.closed.is_set()
    assert _states(sink)[-1] == (0, "end"), "each event that started has its end"


def test_any_other_fault_of_the_source_is_raised_too() -> None:
    with pytest.raises(ZeroDivisionError):
        _loop(FakeSource([], error=ZeroDivisionError()), FakeSink()).run(threading.Event())


@pytest.mark.parametrize("live", [True, False])
def test_stop_ends_a_source_that_waits(live: bool) -> None:
    stop = threading.Event()
    sink = FakeSink()
    source = FakeSource(_blocks(3), live=live, endless=True, pace_s=0.1)
    loop = _loop(source, sink, stop=stop)
    threading.Timer(0.6, stop.set).start()
    started_s = time.monotonic()
    loop.run(stop)
    assert 0.55 < time.monotonic() - started_s < 1.6
    assert source.closed.is_set()
    assert len(sink.captions) == 2
    assert _states(sink) == [(0, "start"), (0, "update"), (0, "end")]
    assert sink.closed


@pytest.mark.parametrize("records", [5, 3 * QUEUE_RECORDS])
def test_stop_ends_a_file_whose_records_nobody_reads(records: int) -> None:
    stop, stuck = threading.Event(), threading.Event()
    sink = FakeSink(stuck=stuck)
    loop = _loop(FakeSource([_noise((records + 1) * _HOP)]), sink, stop=stop)
    thread = threading.Thread(target=loop.run, args=(stop,), daemon=True)
    thread.start()
    thread.join(0.7)
    assert thread.is_alive(), "without a stop, a file's records wait to be read"
    stop.set()
    thread.join(1.0)
    assert not thread.is_alive()
    stuck.set()


def test_stop_ends_a_window_that_takes_long() -> None:
    """A large model on a slow board: one window may take longer than a stop may."""
    stop = threading.Event()
    sink = FakeSink()
    loop = _loop(FakeSource([_noise(3 * _HOP)]), sink, FakeCaptioner(seconds=30.0), stop=stop)
    threading.Timer(0.2, stop.set).start()
    started_s = time.monotonic()
    loop.run(stop)
    assert time.monotonic() - started_s < 1.2
    assert sink.captions == []
    assert sink.closed


def test_stop_before_the_start() -> None:
    stop = threading.Event()
    stop.set()
    sink = FakeSink()
    _loop(FakeSource([_noise(16_000)], endless=True), sink, stop=stop).run(stop)
    assert sink.captions == []
    assert sink.closed


def _run_with(blocks: Sequence[Any], *, live: bool = False, every_window: bool = True) -> tuple[FakeSink, StreamLoop]:
    sink = FakeSink()
    # Slow enough that the loop takes block after block.
    loop = _loop(FakeSource(blocks, live=live, pace_s=0.03), sink, every_window=every_window)
    loop.run(threading.Event())
    return sink, loop


def test_lost_samples_are_told_with_the_next_caption() -> None:
    quiet: list[Any] = _blocks(8)
    quiet[4] = (_WINDOW, quiet[4])
    sink, loop = _run_with(quiet)
    assert sum(record.dropped_ms for record in sink.captions) == 100
    assert sorted({record.dropped_ms for record in sink.captions}) == [0, 100]
    assert loop.counters.lost_samples == _WINDOW
    assert "100 ms" in loop.counters.sentence()
    # Time goes on over the loss: the last window ends where the eight blocks and the gap end.
    assert sink.captions[-1].end_s == pytest.approx((8 * _HOP + _WINDOW) / 16_000)


def test_a_loss_beside_a_silent_window_is_not_forgotten() -> None:
    silence = np.zeros(_HOP, np.float32)
    blocks = [*_blocks(3), *[silence] * 4, (4 * _WINDOW, silence), silence, silence, *_blocks(3)]
    sink, loop = _run_with(blocks)
    assert loop.counters.silent > 0
    assert sum(record.dropped_ms for record in sink.captions) == 400


def test_a_loss_beside_an_unpublished_window_is_not_forgotten() -> None:
    sink = FakeSink()
    blocks: list[Any] = _blocks(10)
    blocks[3] = (160, blocks[3])
    captioner = FakeCaptioner([_RAIN] * 6 + [_DOG])
    _loop(FakeSource(blocks, pace_s=0.02), sink, captioner, every_window=False).run(threading.Event())
    assert [(record.caption, record.dropped_ms) for record in sink.captions] == [("rain", 0), ("dog", 10)]


def test_a_loss_at_the_very_end_is_in_the_closing_line() -> None:
    # Too little comes after the loss for one more window.
    _, loop = _run_with([_noise(_WINDOW), (160, _noise(16))])
    assert (loop.counters.windows, loop.counters.lost_samples) == (1, 160)


def test_silence_is_counted_and_not_captioned() -> None:
    captioner, sink = FakeCaptioner(), FakeSink()
    loop = _loop(FakeSource([np.zeros(10 * _HOP, np.float32)]), sink, captioner)
    loop.run(threading.Event())
    assert (sink.records, captioner.draws) == ([], [])
    assert loop.counters == Counters(windows=9, silent=9)


def test_captions_that_score_too_low_are_counted_and_not_said() -> None:
    unsure = replace(_DOG, hybrid=_RAIN.hybrid - 0.2)
    captioner, sink = FakeCaptioner([_RAIN, unsure, _RAIN]), FakeSink()
    blocks = _blocks(3)
    loop = _loop(FakeSource(blocks), sink, captioner, every_window=True, score_gate=ScoreGate(_RAIN.hybrid - 0.1))
    loop.run(threading.Event())
    said = {record.caption for record in sink.captions}
    assert said == {"rain"} and loop.counters.unsure == 1
    assert loop.counters.captions + loop.counters.unsure == loop.counters.windows
    # A doubt in the middle of an event does not break it off.
    assert {number for number, _ in _states(sink)} == {0}


def test_events_and_captions() -> None:
    sink = FakeSink()
    captioner = FakeCaptioner([_RAIN, _RAIN, _DOG])
    _loop(FakeSource(_blocks(5)), sink, captioner, every_window=False).run(threading.Event())
    assert [(record.seq, record.caption, record.event) for record in sink.captions] == [(0, "rain", 0), (1, "dog", 1)]
    # A window overlaps the one before it, not the one before that.
    assert _states(sink) == [
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
    _loop(FakeSource(_blocks(5)), sink, FakeCaptioner([_RAIN, _RAIN, _DOG])).run(threading.Event())
    assert [(record.caption, record.event) for record in sink.captions] == [
        ("rain", 0),
        ("rain", 0),
        ("dog", 1),
        ("dog", 1),
    ]


def test_a_live_stream_gives_wall_clock_times_that_do_not_move(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = {"now": 1_777_629_600.0}
    source = FakeSource(_blocks(4), live=True, pace_s=0.1)
    read = source.read

    def read_at_its_time() -> np.ndarray | None:
        block = read()
        # A block is there when its last sample was heard; after the last one, nothing for an hour.
        clock["now"] += _HOP / 16_000 if block is not None else 3_600.0
        return block

    monkeypatch.setattr(source, "read", read_at_its_time)
    monkeypatch.setattr("edge_aac.streaming.loop.time.time", lambda: clock["now"])
    sink = FakeSink()
    _loop(source, sink).run(threading.Event())
    assert [record.start for record in sink.captions] == [
        f"2026-05-01T10:00:00.{1000 * number * _HOP // 16_000:03d}Z" for number in range(3)
    ]
    assert all(record.start_s is None for record in sink.captions)
    events = [record for record in sink.records if isinstance(record, Event)]
    assert {record.start for record in events} == {"2026-05-01T10:00:00.000Z"}
    assert events[-1].end == "2026-05-01T10:00:00.200Z"


def test_a_sink_that_fails_ends_the_stream() -> None:
    source = FakeSource(_blocks(5), live=True, endless=True, pace_s=0.01)
    loop = _loop(source, FakeSink(error=DeviceError("the broker is gone"), fails_at=2))
    with pytest.raises(DeviceError, match="broker"):
        loop.run(threading.Event())
    assert source.closed.is_set()


def test_a_sink_that_fails_while_closing_is_not_overlooked() -> None:
    class _Failing(FakeSink):
        def close(self) -> None:
            raise DeviceError("the disk is full")

    with pytest.raises(DeviceError, match="disk"):
        _loop(FakeSource(_blocks(3)), _Failing()).run(threading.Event())


def test_no_thread_is_left_behind() -> None:
    before = set(threading.enumerate())
    for _ in range(5):
        _loop(FakeSource(_blocks(3)), FakeSink()).run(threading.Event())
    deadline_s = time.monotonic() + 2
    while set(threading.enumerate()) - before and time.monotonic() < deadline_s:
        time.sleep(0.01)
    assert not set(threading.enumerate()) - before


class _FailingOnce(FakeCaptioner):
    """Cannot caption its third window."""

    error: EdgeAacError = DataError("the decoder gave NaN")

    def describe(self, *given: Any) -> list[Description | DataError]:
        described = super().describe(*given)
        if len(self.draws) == 3:
            if isinstance(self.error, DataError):
                return [self.error]
            raise self.error
        return described


def test_one_bad_window_ends_no_live_stream() -> None:
    sink = FakeSink()
    loop = _loop(FakeSource(_blocks(6), live=True, pace_s=0.1), sink, _FailingOnce())
    loop.run(threading.Event())
    assert (loop.counters.windows, loop.counters.failed, len(sink.captions)) == (5, 1, 4)


def test_an_accelerator_that_is_gone_ends_a_live_stream() -> None:
    captioner = _FailingOnce()
    captioner.error = DeviceError("the GPU is gone")
    with pytest.raises(DeviceError, match="gone"):
        _loop(FakeSource(_blocks(6), live=True, pace_s=0.1), FakeSink(), captioner).run(threading.Event())


def test_one_bad_window_of_a_file_is_told_after_the_others() -> None:
    sink = FakeSink()
    loop = _loop(FakeSource(_blocks(6)), sink, _FailingOnce())
    with pytest.raises(DataError, match="NaN"):
        loop.run(threading.Event())
    assert len(sink.captions) == 4


def test_a_clock_that_is_set_rewrites_no_event() -> None:
    sink = FakeSink()
    loop = _loop(FakeSource([]), sink)
    loop._source.live = True
    changes: list[tuple[State, int, float]] = [("start", 100, 0.0), ("update", 200, 3600.0), ("end", 200, 7200.0)]
    for state, end, now_s in changes:
        loop._clock.note(200, now_s)
        loop._publish_events([EventChange(0, state, 0, end, _RAIN, 1)])
    loop._sink.close()
    events = [record for record in sink.records if isinstance(record, Event)]
    assert len({record.start for record in events}) == 1
    assert events[1].end == events[2].end != events[0].end
