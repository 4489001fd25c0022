"""The queue before a sink: bounded, counted, and never the reason why a stream does not end."""

from __future__ import annotations

import threading
import time

import pytest

from edge_aac.errors import DeviceError
from edge_aac.sinks.sink import CLOSE_TIMEOUT_S, QUEUE_RECORDS, QueuedSink
from tests.edge_aac.fakes import FakeSink, caption_record


def _seconds(started_s: float) -> float:
    return time.monotonic() - started_s


def test_records_arrive_in_order() -> None:
    sink = FakeSink()
    queued = QueuedSink(sink, wait=False)
    for seq in range(100):
        queued.publish(caption_record(seq))
    queued.close()
    assert [record.seq for record in sink.captions] == list(range(100))
    assert sink.closed
    assert (queued.dropped_records, queued.error) == (0, None)


def test_a_slow_sink_holds_up_nobody() -> None:
    queued = QueuedSink(FakeSink(seconds=0.2), wait=False)
    started_s = time.monotonic()
    for seq in range(10):
        queued.publish(caption_record(seq))
    assert _seconds(started_s) < 0.1


def test_the_oldest_is_dropped_and_counted() -> None:
    stuck = threading.Event()
    sink = FakeSink(stuck=stuck)
    queued = QueuedSink(sink, wait=False)
    queued.publish(caption_record(0))
    assert sink.busy.wait(2), "the first record is in the sink's hands, not in the queue"
    for seq in range(1, QUEUE_RECORDS + 8):
        queued.publish(caption_record(seq))
    assert queued.dropped_records == 7
    stuck.set()
    queued.close()
    assert [record.seq for record in sink.captions] == [0, *range(8, QUEUE_RECORDS + 8)]


def test_with_wait_nothing_is_dropped() -> None:
    sink = FakeSink(seconds=0.0005)
    queued = QueuedSink(sink, wait=True)
    for seq in range(3 * QUEUE_RECORDS):
        queued.publish(caption_record(seq))
    queued.close()
    assert [record.seq for record in sink.captions] == list(range(3 * QUEUE_RECORDS))
    assert queued.dropped_records == 0


def test_close_with_wait_takes_as_long_as_it_takes() -> None:
    sink = FakeSink(seconds=0.1)
    queued = QueuedSink(sink, wait=True)
    for seq in range(10):
        queued.publish(caption_record(seq))
    queued.close()
    assert len(sink.captions) == 10 > CLOSE_TIMEOUT_S / 0.1


def test_what_a_stuck_sink_did_not_take_is_counted() -> None:
    stuck = threading.Event()
    sink = FakeSink(stuck=stuck)
    queued = QueuedSink(sink, wait=False)
    for seq in range(100):
        queued.publish(caption_record(seq))
    queued.close(0.05)
    assert queued.dropped_records == 100
    queued.close(0.05)
    assert queued.dropped_records == 100, "no record is lost twice"
    stuck.set()


@pytest.mark.parametrize("records", [1, QUEUE_RECORDS + 1])
def test_a_stuck_sink_does_not_hang_close(records: int) -> None:
    stuck = threading.Event()
    queued = QueuedSink(FakeSink(stuck=stuck), wait=False)
    for seq in range(records):
        queued.publish(caption_record(seq))
    started_s = time.monotonic()
    queued.close()
    assert CLOSE_TIMEOUT_S * 0.9 < _seconds(started_s) < CLOSE_TIMEOUT_S + 0.4
    started_s = time.monotonic()
    queued.close(0.05)
    assert _seconds(started_s) < 0.4
    stuck.set()


def test_stop_frees_a_publisher_that_waits() -> None:
    stuck, stop = threading.Event(), threading.Event()
    queued = QueuedSink(FakeSink(stuck=stuck), wait=True, stop=stop)

    def publish() -> None:
        for seq in range(2 * QUEUE_RECORDS):
            queued.publish(caption_record(seq))

    publisher = threading.Thread(target=publish, daemon=True)
    publisher.start()
    publisher.join(0.5)
    assert publisher.is_alive(), "a file's reader waits for a full queue"
    assert queued.dropped_records == 0
    stop.set()
    publisher.join(0.5)
    assert not publisher.is_alive()
    assert queued.dropped_records > 0
    stuck.set()


def test_stop_frees_a_close_that_waits() -> None:
    stuck, stop = threading.Event(), threading.Event()
    queued = QueuedSink(FakeSink(stuck=stuck), wait=True, stop=stop)
    queued.publish(caption_record())
    threading.Timer(0.3, stop.set).start()
    started_s = time.monotonic()
    queued.close(0.1)
    assert 0.25 < _seconds(started_s) < 0.9
    stuck.set()


@pytest.mark.parametrize("wait", [True, False])
def test_an_error_surfaces(wait: bool) -> None:
    error = DeviceError("the broker is gone")
    sink = FakeSink(error=error, fails_at=2)
    queued = QueuedSink(sink, wait=wait)
    for seq in range(4 * QUEUE_RECORDS):
        queued.publish(caption_record(seq))
    queued.close()
    assert queued.error is error
    assert len(sink.records) == 2
    started_s = time.monotonic()
    queued.publish(caption_record())
    queued.close()
    assert _seconds(started_s) < 0.2


def test_an_error_while_closing_surfaces() -> None:
    class _Failing(FakeSink):
        def close(self) -> None:
            raise OSError(28, "No space left on device")

    queued = QueuedSink(_Failing(), wait=True)
    queued.close()
    assert isinstance(queued.error, OSError)
