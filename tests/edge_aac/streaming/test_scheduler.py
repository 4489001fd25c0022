"""The scheduler: nothing lost from a file, nothing hidden from a live stream, and an end when one is asked for."""

from __future__ import annotations

import logging
import threading
from collections import Counter
from contextlib import nullcontext
from typing import Any

import pytest

from edge_aac.audio.windows import WindowSlicer
from edge_aac.errors import DataError, DeviceError
from edge_aac.models.contract import Description
from edge_aac.models.seq2seq import window_rng
from edge_aac.streaming import outlet
from edge_aac.streaming.channel import RING_SAMPLES, ChannelSettings
from edge_aac.streaming.counters import Counters
from edge_aac.streaming.gate import EnergyGate
from edge_aac.streaming.hub import Hub, Outlet
from edge_aac.streaming.session import Session
from tests.edge_aac.fakes import FakeModel, FakeSink, FakeSource
from tests.edge_aac.streaming.session_cases import (
    HOP,
    QUEUE_RECORDS,
    RAIN,
    WINDOW,
    AttendedSource,
    HeldModel,
    blocks,
    counters,
    noise,
    running,
    session,
    states,
)
from tests.waiting import ended, set_once, until


def test_a_file_loses_nothing_however_slow_the_sink() -> None:
    windows = 2 * QUEUE_RECORDS
    sink = FakeSink(seconds=0.001)
    loop = session(FakeSource([noise((windows + 1) * HOP)]), sink, room=QUEUE_RECORDS)
    loop.run()
    assert [record.seq for record in sink.captions] == list(range(windows))
    assert [record.start_s for record in sink.captions] == [pytest.approx(0.05 * number) for number in range(windows)]
    assert sink.closed
    assert counters(loop) == Counters(windows=windows, captions=windows, described=windows, events=1)


def test_a_file_loses_nothing_however_slow_the_model() -> None:
    sink = FakeSink()
    loop = session(FakeSource([noise(20 * HOP), noise(21 * HOP)]), sink, FakeModel(seconds=0.01))
    loop.run()
    assert len(sink.captions) == counters(loop).windows == 40
    assert not counters(loop).skipped


def test_the_tail_of_a_file_is_captioned() -> None:
    sink, model = FakeSink(), FakeModel()
    session(FakeSource([noise(2 * WINDOW + 1_600 + 320)]), sink, model).run()
    assert sink.captions[-1].end_s == pytest.approx((2 * WINDOW + 1_600) / 16_000)
    assert set(model.sound_samples) == {WINDOW}
    sink, model = FakeSink(), FakeModel()
    session(FakeSource([noise(480)]), sink, model).run()
    assert [(record.start_s, record.end_s) for record in sink.captions] == [(0.0, 0.03)]
    assert model.sound_samples == [480], "the rest of the window is padding"


def test_each_window_has_its_own_generator() -> None:
    model = FakeModel()
    session(FakeSource(blocks(6)), FakeSink(), model, seed=11).run()
    assert model.draws == [window_rng(11, number * HOP).random() for number in range(5)]


def test_a_live_source_that_is_faster_than_the_model_skips_and_counts(caplog: pytest.LogCaptureFixture) -> None:
    count = 120
    sink = FakeSink()
    source = FakeSource(blocks(count), live=True)
    model = HeldModel()
    model.held_until = lambda: source.exhausted
    loop = session(source, sink, model)
    with caplog.at_level(logging.WARNING):
        loop.run()
    counted = counters(loop)
    assert counted.windows == count - 1
    assert counted.skipped["overlap"] > 10
    assert counted.captions == len(sink.captions) == counted.windows - counted.skipped.total()
    assert counted.lost_samples == 0
    assert "windows are skipped" in caplog.text
    assert f"{counted.skipped.total()} skipped" in counted.sentence()
    # What is captioned is the newest: the last window of all is among it.
    assert [record.seq for record in sink.captions] == list(range(counted.captions))


def _starts_captioned(model: FakeModel, most: int) -> list[int]:
    """Where the captioned windows start: each has its own generator."""
    starts = {window_rng(0, start).random(): start for start in range(most)}
    return [starts[draw] for draw in model.draws]


def test_the_last_sound_before_an_outage_is_captioned() -> None:
    model = FakeModel()
    # The zeros of the outage complete four windows at once: two hold the sound before it, one none, one what follows.
    given: list[Any] = [noise(WINDOW), noise(240), (2_400, noise(640))]
    loop = session(AttendedSource(given, live=True), FakeSink(), model)
    loop.run()
    assert _starts_captioned(model, 4_880) == [0, 2 * HOP, 4 * HOP]
    skipped = Counter(overlap=1)
    assert counters(loop) == Counters(
        5, captions=3, silent=1, skipped=skipped, lost_samples=2_400, described=3, events=3
    )


def test_sound_before_a_jump_is_captioned() -> None:
    model = FakeModel()
    given: list[Any] = [noise(WINDOW - 160), (2 * RING_SAMPLES, noise(WINDOW))]

    class _LongAway(FakeSource):
        """A long outage takes longer than sound waits in the ring."""

        def read(self) -> Any:
            until(lambda: not loop.channels[0].queued_samples)
            return super().read()

    loop = session(_LongAway(given, live=True), FakeSink(), model)
    loop.run()
    assert model.sound_samples[0] == WINDOW - 160
    assert len(model.draws) >= 2
    assert counters(loop).lost_samples == 2 * RING_SAMPLES, "no zero of the outage is lost a second time"


def test_with_a_long_hop_the_newest_window_is_captioned() -> None:
    model = FakeModel()
    source = FakeSource([noise(4 * WINDOW)], live=True)
    loop = session(source, FakeSink(), model, hop=WINDOW)
    loop.run()
    assert _starts_captioned(model, 4 * WINDOW) == [3 * WINDOW]
    assert (counters(loop).windows, counters(loop).skipped) == (4, {"overlap": 3})


def test_a_live_model_that_keeps_up_skips_nothing() -> None:
    loop = session(AttendedSource(blocks(6), live=True), FakeSink())
    loop.run()
    assert (counters(loop).windows, counters(loop).skipped) == (5, {})


def test_a_failing_source_raises_after_what_was_made_is_delivered() -> None:
    sink = FakeSink(seconds=0.005)
    source = FakeSource(blocks(11), error=DataError("the file is truncated"))
    loop = session(source, sink)
    with pytest.raises(DataError, match="truncated"):
        loop.run()
    assert len(sink.captions) == 10
    assert sink.closed
    assert source.closed.is_set()
    assert states(sink)[-1] == (0, "end"), "each event that started has its end"


def test_any_other_fault_of_the_source_is_raised_too() -> None:
    with pytest.raises(ZeroDivisionError):
        session(FakeSource([], error=ZeroDivisionError()), FakeSink()).run()


@pytest.mark.parametrize("live", [True, False])
def test_stop_ends_a_source_that_waits(live: bool) -> None:
    stop = threading.Event()
    sink = FakeSink()
    source = AttendedSource(blocks(3), live=live, endless=True)
    loop = session(source, sink, stop=stop)
    with running(loop, stop):
        until(lambda: len(sink.captions) == 2)
    assert source.closed.is_set()
    assert len(sink.captions) == 2
    assert states(sink) == [(0, "start"), (0, "update"), (0, "end")]
    assert sink.closed


@pytest.mark.parametrize("records", [5, 3 * QUEUE_RECORDS])
def test_stop_ends_a_file_whose_records_nobody_reads(records: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outlet, "CLOSE_TIMEOUT_S", 0.1)
    stop, stuck = threading.Event(), threading.Event()
    sink = FakeSink(stuck=stuck)
    loop = session(FakeSource([noise((records + 1) * HOP)]), sink, stop=stop, room=QUEUE_RECORDS)
    thread = threading.Thread(target=loop.run, daemon=True)
    thread.start()
    thread.join(0.7)
    assert thread.is_alive(), "without a stop, a file's records wait to be read"
    stop.set()
    ended(thread)
    stuck.set()


def test_stop_ends_a_window_that_takes_long() -> None:
    """A large model on a slow board: one window may take longer than a stop may."""
    stop = threading.Event()
    sink = FakeSink()
    model = FakeModel(seconds=1e9)
    loop = session(FakeSource([noise(3 * HOP)]), sink, model, stop=stop)
    with running(loop, stop):
        until(lambda: model.batches)
    assert sink.captions == []
    assert sink.closed


def test_stop_before_the_start() -> None:
    stop = threading.Event()
    stop.set()
    sink = FakeSink()
    session(FakeSource([noise(16_000)], endless=True), sink, stop=stop).run()
    assert sink.captions == []
    assert sink.closed


def test_a_sink_that_fails_ends_the_stream() -> None:
    source = FakeSource(blocks(5), live=True, endless=True, pace_s=0.01)
    loop = session(source, FakeSink(error=DeviceError("the broker is gone"), fails_at=2))
    with pytest.raises(DeviceError, match="broker"):
        loop.run()
    assert source.closed.is_set()


def test_a_sink_that_fails_while_closing_is_not_overlooked() -> None:
    class _Failing(FakeSink):
        def close(self) -> None:
            raise DeviceError("the disk is full")

    with pytest.raises(DeviceError, match="disk"):
        session(FakeSource(blocks(3)), _Failing()).run()


def test_no_thread_is_left_behind() -> None:
    before = set(threading.enumerate())
    for _ in range(5):
        session(FakeSource(blocks(3)), FakeSink()).run()
    until(lambda: not set(threading.enumerate()) - before, lambda: set(threading.enumerate()) - before)


_NAN = DataError("the decoder gave NaN")


def test_one_bad_window_ends_no_live_stream() -> None:
    sink = FakeSink()
    loop = session(AttendedSource(blocks(6), live=True), sink, FakeModel([RAIN, RAIN, _NAN, RAIN]))
    loop.run()
    assert (counters(loop).windows, counters(loop).failed, len(sink.captions)) == (5, 1, 4)


def test_an_accelerator_that_is_gone_ends_a_live_stream() -> None:
    class _Gone(FakeModel):
        def describe(self, *_given: Any, **_named: Any) -> list[Description | DataError]:
            raise DeviceError("the GPU is gone")

    with pytest.raises(DeviceError, match="gone"):
        session(FakeSource(blocks(6), live=True, pace_s=0.01), FakeSink(), _Gone()).run()


def test_one_bad_window_of_a_file_is_told_after_the_others() -> None:
    sink = FakeSink()
    loop = session(FakeSource(blocks(6)), sink, FakeModel([RAIN, RAIN, _NAN, RAIN]))
    with pytest.raises(DataError, match="NaN"):
        loop.run()
    assert len(sink.captions) == 4


@pytest.mark.parametrize(("error", "raised"), [(DeviceError("the disk is gone"), True), (BrokenPipeError(), False)])
@pytest.mark.parametrize("stopped", [True, False])
def test_a_sink_that_failed_beside_others_is_told_at_the_end(
    error: Exception, raised: bool, stopped: bool, caplog: pytest.LogCaptureFixture
) -> None:
    stop, working = threading.Event(), FakeSink()
    hub = Hub([Outlet(name, sink, ("caption",), QUEUE_RECORDS, stop) for name, sink in _sinks(error, working)])
    made = Session(model=FakeModel(), hub=hub, node="kitchen", stop=stop, health_interval_s=0.0)
    settings = ChannelSettings(EnergyGate(-70.0), every_window=True)
    made.add(FakeSource(blocks(9), endless=stopped), WindowSlicer(WINDOW, HOP), settings)
    if stopped:
        set_once(stop, lambda: len(working.captions) == 8)
    with caplog.at_level(logging.WARNING), pytest.raises(DeviceError) if raised and not stopped else nullcontext():
        made.run()
    assert [record.seq for record in working.captions] == list(range(8))
    assert "sink disk has ended" in caplog.text
    assert "sink disk: 7 records were dropped: it had ended" in caplog.text


def _sinks(error: Exception, working: FakeSink) -> list[tuple[str, FakeSink]]:
    return [("disk", FakeSink(error=error, fails_at=1)), ("fake", working)]
