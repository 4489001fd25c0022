"""The hub: each sink has a queue of its own, bounded, counted, and never the reason why a stream does not end."""

from __future__ import annotations

import logging
import threading

import pytest

from edge_aac.errors import DeviceError
from edge_aac.records import SinkHealth
from edge_aac.sinks.contract import TransientSinkError
from edge_aac.streaming import outlet as outlet_module
from edge_aac.streaming.hub import Delivery, Hub, Outlet
from tests.edge_aac.fakes import FakeSink, caption_record
from tests.edge_aac.streaming.health_cases import health_record
from tests.waiting import PATIENCE_S, ended, until

_ROOM = 16


def _outlet(sink: FakeSink, stop: threading.Event | None = None, room: int = _ROOM, name: str = "fake") -> Outlet:
    return Outlet(name, sink, ("caption", "event"), room, stop)


def _put(outlet: Outlet, count: int, first: int = 0, *, lossless: bool = False) -> None:
    for seq in range(first, first + count):
        outlet.put(Delivery(caption_record(seq), lossless))


def _stuck_with_one(sink: FakeSink, stop: threading.Event | None = None) -> Outlet:
    """An outlet whose sink has a record in hand, not in the queue."""
    outlet = _outlet(sink, stop)
    _put(outlet, 1)
    assert sink.busy.wait(PATIENCE_S)
    return outlet


def test_records_arrive_in_order() -> None:
    sink = FakeSink()
    outlet = _outlet(sink, room=100)
    _put(outlet, 100)
    outlet.close(patient=True)
    assert [record.seq for record in sink.captions] == list(range(100))
    assert sink.closed
    assert outlet.health == SinkHealth(state="delivering", queued=0, delivered=100, dropped=0, retries=0)


def test_the_oldest_is_dropped_and_counted() -> None:
    stuck = threading.Event()
    sink = FakeSink(stuck=stuck)
    outlet = _stuck_with_one(sink)
    _put(outlet, _ROOM + 7, 1)
    assert (outlet.health.dropped, outlet.health.queued) == (7, _ROOM + 1)
    stuck.set()
    outlet.close(patient=True)
    assert [record.seq for record in sink.captions] == [0, *range(8, _ROOM + 8)]


def test_a_record_of_a_file_is_never_dropped_for_one_of_a_live_source() -> None:
    stuck = threading.Event()
    sink = FakeSink(stuck=stuck)
    outlet = _stuck_with_one(sink)
    _put(outlet, _ROOM - 1, 100, lossless=True)
    _put(outlet, 5, 200)
    assert outlet.health.dropped == 4
    _put(outlet, 3, 300, lossless=True)
    _put(outlet, 1, 400)
    stuck.set()
    outlet.close(patient=True)
    expected = [0, *range(100, 100 + _ROOM - 1), 300, 301, 302, 400]
    assert [record.seq for record in sink.captions] == expected
    assert outlet.health.dropped == 5


def test_where_all_are_to_be_kept_the_new_one_is_dropped() -> None:
    stuck = threading.Event()
    sink = FakeSink(stuck=stuck)
    outlet = _stuck_with_one(sink)
    _put(outlet, _ROOM, 100, lossless=True)
    assert not outlet.has_room
    _put(outlet, 2, 200)
    stuck.set()
    outlet.close(patient=True)
    assert [record.seq for record in sink.captions] == [0, *range(100, 100 + _ROOM)]
    assert outlet.health.dropped == 2


def test_there_is_room_until_half_of_the_queue_is_taken() -> None:
    stuck = threading.Event()
    outlet = _stuck_with_one(FakeSink(stuck=stuck))
    hub = Hub([outlet])
    _put(outlet, _ROOM // 2, lossless=True)
    assert hub.has_room
    _put(outlet, 1, lossless=True)
    assert not hub.has_room
    awake = threading.Event()
    hub.on_room(awake.set)
    stuck.set()
    assert awake.wait(PATIENCE_S), "who waits for room is told of it"
    hub.close(patient=True)


def test_a_patient_close_takes_as_long_as_it_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outlet_module, "CLOSE_TIMEOUT_S", 0.02)
    sink = FakeSink(seconds=0.05)
    outlet = _outlet(sink)
    _put(outlet, 10)
    outlet.close(patient=True)
    assert len(sink.captions) == 10


def test_what_a_stuck_sink_did_not_take_is_counted_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outlet_module, "CLOSE_TIMEOUT_S", 0.02)
    stuck = threading.Event()
    outlet = _stuck_with_one(FakeSink(stuck=stuck))
    _put(outlet, 10)
    outlet.close(patient=False)
    assert outlet.health.dropped == 11
    outlet.close(patient=False)
    assert outlet.health.dropped == 11
    stuck.set()


def test_a_stop_frees_a_close_that_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outlet_module, "CLOSE_TIMEOUT_S", 0.1)
    stuck, stop = threading.Event(), threading.Event()
    outlet = _stuck_with_one(FakeSink(stuck=stuck), stop)
    closing = threading.Thread(target=outlet.close, args=(True,), daemon=True)
    closing.start()
    closing.join(4 * outlet_module.CLOSE_TIMEOUT_S)
    assert closing.is_alive(), "without a stop it waits for the sink"
    stop.set()
    ended(closing)
    stuck.set()


def test_a_fault_that_may_pass_is_retried(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr(outlet_module, "FIRST_BACKOFF_S", 0.01)
    sink = FakeSink(faults=[TransientSinkError("no route to the broker")] * 3)
    outlet = _outlet(sink)
    with caplog.at_level(logging.WARNING):
        _put(outlet, 3)
        outlet.close(patient=True)
    assert [record.seq for record in sink.captions] == [0, 1, 2]
    assert outlet.health == SinkHealth(state="delivering", queued=0, delivered=3, dropped=0, retries=3)
    assert len(caplog.records) == 2, "one line when it begins, one when it is over"


def test_health_tells_of_a_sink_that_retries(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outlet_module, "CLOSE_TIMEOUT_S", 0.02)
    sink = FakeSink(faults=[TransientSinkError("no route to the broker")] * 1000)
    outlet = _outlet(sink)
    _put(outlet, 1)
    until(lambda: outlet.health.state == "retrying")
    assert outlet.health.reason == "no route to the broker"
    outlet.close(patient=False)
    assert outlet.health.dropped == 1


def test_an_error_ends_its_sink_and_no_other(caplog: pytest.LogCaptureFixture) -> None:
    error = DeviceError("the disk is gone")
    failing, working = FakeSink(error=error, fails_at=2), FakeSink()
    outlets = [_outlet(failing, name="disk"), _outlet(working, room=64)]
    hub = Hub(outlets)
    with caplog.at_level(logging.WARNING):
        for seq in range(50):
            hub.publish(Delivery(caption_record(seq), lossless=True))
        until(lambda: outlets[0].error is not None)
        assert hub.error is None
        assert hub.error is None
    assert sum("disk" in record.message for record in caplog.records) == 1
    hub.close(patient=True)
    assert [record.seq for record in working.captions] == list(range(50))
    health = hub.health()
    assert (health["disk"].state, health["disk"].reason, health["disk"].dropped) == ("failed", str(error), 48)
    assert health["fake"].state == "delivering"


def test_the_last_sinks_error_ends_all() -> None:
    error = DeviceError("the disk is gone")
    outlet = _outlet(FakeSink(error=error))
    hub = Hub([outlet])
    hub.publish(Delivery(caption_record()))
    until(lambda: hub.error is error)
    assert hub.has_room, "nobody waits for a sink that has failed"
    hub.close(patient=True)


def test_an_error_while_closing_is_not_overlooked() -> None:
    class _Failing(FakeSink):
        def close(self) -> None:
            raise OSError(28, "No space left on device")

    hub = Hub([_outlet(_Failing())])
    hub.close(patient=True)
    assert isinstance(hub.error, OSError)


def test_each_sink_gets_the_kinds_that_it_takes() -> None:
    captions, all_kinds = FakeSink(), FakeSink()
    hub = Hub([Outlet("a", captions, ("caption",), 8), Outlet("b", all_kinds, ("caption", "health"), 8)])
    hub.publish(Delivery(caption_record()))
    hub.publish(Delivery(health_record()))
    hub.close(patient=True)
    assert [record.kind for record in captions.records] == ["caption"]
    assert [record.kind for record in all_kinds.records] == ["caption", "health"]


def test_the_first_delivery_alone_counts_as_publication() -> None:
    times: list[float] = []
    hub = Hub([_outlet(FakeSink()), _outlet(FakeSink(seconds=0.05))])
    hub.publish(Delivery(caption_record(), delivered=times.append))
    hub.close(patient=True)
    assert len(times) == 1


def test_records_of_live_sources_take_no_room_from_files() -> None:
    """A sink that is too slow for the microphones would hold up the files beside them for ever."""
    stuck = threading.Event()
    outlet = _stuck_with_one(FakeSink(stuck=stuck))
    _put(outlet, 2 * _ROOM)
    assert outlet.health.queued == _ROOM + 1
    assert outlet.has_room
    stuck.set()
    outlet.close(patient=True)


@pytest.mark.parametrize("names", [("stdout", "disk"), ("disk", "stdout")])
def test_a_reader_that_has_gone_hides_no_error_of_another_sink(names: tuple[str, str]) -> None:
    errors = {"stdout": BrokenPipeError(), "disk": DeviceError("the disk is gone")}
    outlets = [_outlet(FakeSink(error=errors[name]), name=name) for name in names]
    hub = Hub(outlets)
    hub.publish(Delivery(caption_record()))
    until(lambda: all(outlet.error is not None for outlet in outlets))
    assert hub.error is errors["disk"]
    hub.close(patient=True)
