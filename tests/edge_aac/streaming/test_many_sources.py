"""Many sources in one process: none disturbs another, and each gets the captions that it has alone."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from edge_aac.audio.connection import PermanentDeviceError
from edge_aac.audio.sources.absent import AbsentSource
from edge_aac.audio.sources.address import Source
from edge_aac.audio.windows import WindowSlicer
from edge_aac.errors import DataError, DeviceError, EdgeAacError, UsageError
from edge_aac.records import Event, Record
from edge_aac.streaming import capture
from edge_aac.streaming.channel import ChannelSettings
from edge_aac.streaming.gate import EnergyGate
from edge_aac.streaming.hub import Hub, Outlet
from edge_aac.streaming.session import Session
from tests.edge_aac.fakes import FakeModel, FakeSink, FakeSource, scored
from tests.edge_aac.streaming.session_cases import (
    HOP,
    QUEUE_RECORDS,
    WINDOW,
    HeldModel,
    blocks,
    noise,
    running,
    session,
)
from tests.edge_aac.streaming.world_cases import Device, sound, stalled
from tests.waiting import PATIENCE_S, until

_SCRIPT = [scored(word, direction=37.0 * number) for number, word in enumerate(("rain", "dog", "wind", "clock", "cat"))]


def _of(sink: FakeSink, label: str) -> list[dict[str, Any]]:
    """A source's records, without what depends on the moment."""
    tables = [record.to_table() for record in sink.records if record.source == label]
    return [{key: value for key, value in table.items() if key != "latency_ms"} for table in tables]


def _file(number: int) -> FakeSource:
    return FakeSource([noise(HOP, 100 * number + block) for block in range(4 + number)], label=f"{number}.wav")


@pytest.mark.parametrize("count", [2, 4, 8, 16])
def test_each_source_has_the_records_that_it_has_alone(count: int) -> None:
    def model() -> FakeModel:
        return FakeModel(_SCRIPT, by_position=HOP)

    alone: dict[str, list[dict[str, Any]]] = {}
    for number in range(count):
        sink = FakeSink()
        session(_file(number), sink, model()).run()
        alone[f"{number}.wav"] = _of(sink, f"{number}.wav")
    sink = FakeSink()
    together = model()
    session([_file(number) for number in range(count)], sink, together).run()
    assert {label: _of(sink, label) for label in alone} == alone
    assert max(together.batches) > 1, "or nothing was described together"
    assert {record.source for record in sink.records} == set(alone)


def test_a_file_among_live_sources_loses_nothing() -> None:
    live = [FakeSource(blocks(60), live=True, label=f"mic{number}") for number in range(3)]
    file = FakeSource([noise(41 * HOP)], label="long.wav")
    sink = FakeSink()
    model = HeldModel()
    model.held_until = lambda: all(source.exhausted for source in live)
    made = session([*live, file], sink, model)
    made.run()
    assert len(_captions(sink, "long.wav")) == 40
    counted = {channel.label: channel.counters for channel in made.channels}
    assert not counted["long.wav"].skipped
    assert all(counted[f"mic{number}"].skipped for number in range(3))
    for label, counters in counted.items():
        assert counters.windows == counters.captions + counters.skipped.total(), label


def _captions(sink: FakeSink, label: str) -> list[Record]:
    return [record for record in sink.captions if record.source == label]


def test_what_does_not_fit_into_a_batch_is_skipped_for_the_newest() -> None:
    # Two stretches of sound with silence between them: no window of one overlaps one of the other.
    loud, silence = noise(WINDOW), np.zeros(2 * WINDOW, np.float32)
    given = np.concatenate((loud, silence, loud, silence, loud))
    model, sink = FakeModel(), FakeSink()
    made = session(FakeSource([given], live=True), sink, model, hop=WINDOW // 2, max_batch=1)
    made.run()
    (channel,) = made.channels
    assert channel.counters.captions == 1
    assert channel.counters.skipped["behind"] == 2
    assert sink.captions[0].end is not None


def test_a_failing_source_disturbs_no_other(caplog: pytest.LogCaptureFixture) -> None:
    failing = FakeSource(blocks(3), error=DataError("'bad.wav' is damaged"), label="bad.wav")
    good = FakeSource(blocks(30), label="good.wav", pace_s=0.01)
    sink = FakeSink()
    with caplog.at_level(logging.ERROR), pytest.raises(DataError, match="damaged"):
        session([failing, good], sink).run()
    assert (len(_captions(sink, "bad.wav")), len(_captions(sink, "good.wav"))) == (2, 29)
    assert "bad.wav has ended, the others go on" in caplog.text


def _retried(
    sink: FakeSink,
    opened: Callable[[], Source],
    first: Source,
    monkeypatch: pytest.MonkeyPatch,
    wait_s: float = 0.05,
) -> tuple[Session, threading.Event]:
    monkeypatch.setattr(capture, "FIRST_BACKOFF_S", wait_s)
    monkeypatch.setattr(capture, "MAX_BACKOFF_S", max(wait_s, capture.MAX_BACKOFF_S))
    stop = threading.Event()
    made = Session(
        model=FakeModel(),
        hub=Hub([Outlet("fake", sink, ("caption", "event"), QUEUE_RECORDS, stop)]),
        node="kitchen",
        stop=stop,
        health_interval_s=0.0,
    )
    settings = ChannelSettings(EnergyGate(-70.0), every_window=True)
    made.add(first, WindowSlicer(WINDOW, HOP), settings, reopen=opened)
    return made, stop


def test_a_live_source_that_fails_is_opened_again(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    tries: list[FakeSource | EdgeAacError] = [
        DeviceError("no route to the camera"),
        DeviceError("no route to the camera"),
        FakeSource(blocks(4), live=True, pace_s=0.05, label="camera"),
    ]

    def opened() -> Source:
        found = tries.pop(0)
        if isinstance(found, EdgeAacError):
            raise found
        return found

    first = FakeSource(blocks(3), live=True, error=DeviceError("the camera is gone"), pace_s=0.05, label="camera")
    sink = FakeSink()
    made, _ = _retried(sink, opened, first, monkeypatch)
    with caplog.at_level(logging.WARNING):
        made.run()
    (channel,) = made.channels
    assert (tries, channel.error, channel.capture.reconnects) == ([], None, 1)
    assert first.closed.is_set()
    assert channel.counters.lost_samples > 0.1 * 16_000, "the time without the source is lost sound"
    messages = [record.message for record in caplog.records if "camera" in record.message]
    assert [message for message in messages if "skip" not in message] == [
        "camera failed and is tried again: the camera is gone",
        "camera is back",
    ]
    # A caption of what came after the loss tells of it.
    assert sum(caption.dropped_ms for caption in sink.captions) == channel.counters.lost_ms


def test_what_no_retry_mends_ends_the_source(monkeypatch: pytest.MonkeyPatch) -> None:
    def opened() -> Source:
        raise UsageError("the address is wrong")

    first = FakeSource(blocks(3), live=True, error=DeviceError("the camera is gone"), label="camera")
    made, _ = _retried(FakeSink(), opened, first, monkeypatch)
    with pytest.raises(UsageError, match="wrong"):
        made.run()


def test_a_stop_ends_the_wait_for_a_source(monkeypatch: pytest.MonkeyPatch) -> None:
    def opened() -> Source:
        raise AssertionError("it was not waited for")

    first = FakeSource(blocks(3), live=True, error=DeviceError("the camera is gone"), label="camera")
    made, stop = _retried(FakeSink(), opened, first, monkeypatch, wait_s=3600.0)
    (channel,) = made.channels
    with running(made, stop):
        until(lambda: channel.capture.state == "failed")
        assert channel.capture.reason == "the camera is gone"
    until(lambda: not channel.capture.alive)


def test_open_events_end_during_an_outage() -> None:
    def ends() -> list[Event]:
        return [event for event in device.events if event.state == "end"]

    def gone(_device: Device) -> None:
        until(ends, lambda: "the microphone is gone, and its last event lasts for ever")

    device = Device([*sound(20), *stalled(30), gone])
    device.run()
    (end,) = ends()
    updates = [event for event in device.events if event.state == "update"]
    assert (end.start, end.end) == (updates[-1].start, updates[-1].end)


def test_channels_that_do_not_fit_into_a_batch_wait_as_long_as_each_other() -> None:
    """With twice as many channels as a batch has room for, each has every second batch."""
    sources = [FakeSource([noise(9 * HOP, number)], label=f"{number}.wav") for number in range(8)]
    sink = FakeSink()
    model = HeldModel()
    made = session(sources, sink, model, max_batch=4)
    model.held_until = lambda: all(channel.written_samples == 9 * HOP for channel in made.channels)
    made.run()
    counts = dict.fromkeys((source.label for source in sources), 0)
    for record in sink.captions:
        counts[record.source] += 1
        assert max(counts.values()) - min(counts.values()) <= 2, counts
    assert set(counts.values()) == {8}


def test_sources_are_closed_side_by_side(monkeypatch: pytest.MonkeyPatch) -> None:
    # Were they waited for one after the other, none would be left behind for the next to be closed.
    monkeypatch.setattr("edge_aac.streaming.session.CLOSE_TIMEOUT_S", 2 * PATIENCE_S)
    together, passed = threading.Barrier(5), []

    class _Slow(FakeSource):
        def close(self) -> None:
            super().close()
            if threading.current_thread().name != "edge-aac-capture":
                passed.append(together.wait(PATIENCE_S))

    stop = threading.Event()
    stop.set()
    session([_Slow([], endless=True, label=f"mic{number}") for number in range(5)], FakeSink(), stop=stop).run()
    until(lambda: len(passed) == 5)


def test_a_source_that_cannot_be_closed_keeps_no_other_open(caplog: pytest.LogCaptureFixture) -> None:
    class _Failing(FakeSource):
        def close(self) -> None:
            raise OSError("no such device")

    other, sink = FakeSource(blocks(3), label="other.wav"), FakeSink()
    with caplog.at_level(logging.WARNING):
        session([_Failing(blocks(3), label="bad.wav"), other], sink).run()
    assert other.closed.is_set()
    assert sink.closed
    assert "bad.wav cannot be closed" in caplog.text


def test_a_stop_is_no_failure_of_a_source_that_ended_before() -> None:
    stop, sink = threading.Event(), FakeSink()
    failing = FakeSource(blocks(3), error=DataError("'bad.wav' is damaged"), label="bad.wav")
    made = session([failing, FakeSource(blocks(3), live=True, endless=True, pace_s=0.01)], sink, stop=stop)
    with pytest.MonkeyPatch.context() as patch:
        raised: list[BaseException | None] = []
        patch.setattr(threading, "excepthook", lambda given: raised.append(given.exc_value))
        with running(made, stop):
            until(lambda: made.channels[0].ended)
    assert raised == []
    assert isinstance(made.channels[0].error, DataError)


def test_a_device_that_cannot_be_reached_at_all_is_not_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    def opened() -> Source:
        raise AssertionError("it was tried again")

    first = FakeSource(blocks(3), live=True, error=PermanentDeviceError("PyAudio is not installed"), label="mic0")
    made, _ = _retried(FakeSink(), opened, first, monkeypatch)
    with pytest.raises(PermanentDeviceError, match="PyAudio"):
        made.run()


def test_the_time_that_a_failure_takes_to_show_is_lost_sound_too(monkeypatch: pytest.MonkeyPatch) -> None:
    class _Mute(FakeSource):
        def read(self) -> Any:
            if not self._blocks:
                time.sleep(0.5)
            return super().read()

    first = _Mute(blocks(3), live=True, error=DeviceError("the camera is mute"), label="camera")
    again = FakeSource(blocks(3), live=True, label="camera")
    made, _ = _retried(FakeSink(), lambda: again, first, monkeypatch)
    made.run()
    (channel,) = made.channels
    # Without the block that came back, which is sound.
    assert channel.counters.lost_samples >= 0.5 * 16_000 - HOP


def test_what_was_never_there_has_lost_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    first = AbsentSource("camera", DeviceError("no route to the camera"))
    again = FakeSource(blocks(3), live=True, label="camera")
    sink = FakeSink()
    made, _ = _retried(sink, lambda: again, first, monkeypatch)
    made.run()
    (channel,) = made.channels
    assert (channel.error, channel.counters.lost_samples, channel.capture.reconnects) == (None, 0, 1)
    assert sink.captions


def test_pauses_grow_though_each_try_seems_to_succeed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A camera that takes the call and hangs up again at once is not called every second for ever."""
    opened_s: list[float] = []
    tries = 5

    def opened() -> Source:
        opened_s.append(time.monotonic())
        given = blocks(3) if len(opened_s) == tries else []
        error = None if given else DeviceError("the camera hung up")
        return FakeSource(given, live=True, error=error, label="camera")

    first = FakeSource(blocks(3), live=True, error=DeviceError("the camera is gone"), label="camera")
    made, _ = _retried(FakeSink(), opened, first, monkeypatch)
    made.run()
    assert opened_s[-1] - opened_s[-2] > 0.75 * 2 ** (tries - 1) * capture.FIRST_BACKOFF_S
    assert made.channels[0].capture.reconnects == 1, "it was heard again once"


def test_a_source_that_does_not_close_is_left_behind(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("edge_aac.streaming.session.CLOSE_TIMEOUT_S", 0.1)
    hanging = threading.Event()

    class _Hanging(FakeSource):
        def close(self) -> None:
            hanging.wait()

    sink = FakeSink()
    good = FakeSource(blocks(3), label="good.wav")
    made = session([_Hanging(blocks(3), label="bad.wav"), good], sink)
    with caplog.at_level(logging.WARNING):
        made.run()
    assert sink.closed
    # The other one may take longer than 0.1 s, too, where a machine is under load.
    assert "bad.wav does not close, it is left behind" in caplog.messages
    until(good.closed.is_set)
    hanging.set()
