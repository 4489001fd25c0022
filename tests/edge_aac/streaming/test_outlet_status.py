"""What a sink says of itself is merged into its outlet's health."""

from __future__ import annotations

import pytest

from edge_aac.errors import DeviceError
from edge_aac.sinks.contract import SinkStatus, TransientSinkError
from edge_aac.streaming import outlet as outlet_module
from edge_aac.streaming.hub import Hub
from edge_aac.streaming.outlet import Delivery, Outlet
from tests.edge_aac.fakes import FakeSink, caption_record
from tests.waiting import until


class _Reporting(FakeSink):
    """A sink that has a status of its own."""

    status: object = SinkStatus()


def _outlet(sink: FakeSink, records: int) -> Outlet:
    outlet = Outlet("broker", sink, ("caption",), 8)
    for number in range(records):
        outlet.put(Delivery(caption_record(number)))
    return outlet


def test_a_sink_that_keeps_records_itself_is_seen_through_its_outlet() -> None:
    sink = _Reporting()
    sink.status = SinkStatus("retrying", queued=7, dropped=2, retries=3, delivered=1, reason="the broker is away")
    outlet = _outlet(sink, 4)
    outlet.close(patient=True)
    health = outlet.health
    assert (health.state, health.reason) == ("retrying", "the broker is away")
    assert (health.queued, health.dropped, health.retries, health.delivered) == (7, 2, 3, 1)
    assert outlet.dropped == 0


def test_the_worse_state_is_shown_with_its_own_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outlet_module, "CLOSE_TIMEOUT_S", 0.02)
    sink = _Reporting(faults=[TransientSinkError("the disk is full")] * 1000)
    sink.status = SinkStatus("failed", reason="the program is not there", queued=5)
    outlet = _outlet(sink, 1)
    until(lambda: outlet.health.retries)
    health = outlet.health
    assert (health.state, health.reason, health.queued) == ("failed", "the program is not there", 6)
    sink.status = SinkStatus(reason="kept in memory")
    assert (outlet.health.state, outlet.health.reason) == ("retrying", "the disk is full")
    outlet.close(patient=False)


def test_an_outlet_that_has_failed_is_not_said_to_deliver() -> None:
    sink = _Reporting(error=DeviceError("gone"))
    outlet = _outlet(sink, 1)
    outlet.close(patient=True)
    assert (outlet.health.state, outlet.health.reason) == ("failed", "gone")


def test_what_is_wrong_although_it_delivers_is_told() -> None:
    sink = _Reporting()
    sink.status = SinkStatus(reason="messages are kept in memory, since the disk is full")
    outlet = _outlet(sink, 1)
    outlet.close(patient=True)
    assert (outlet.health.state, outlet.health.reason) == ("delivering", sink.status.reason)
    assert outlet.health.delivered == 1, "the sink does not count them"


def test_a_status_that_cannot_be_read_ends_nothing() -> None:
    class Broken(FakeSink):
        @property
        def status(self) -> SinkStatus:
            raise KeyError("state")

    outlet = _outlet(Broken(), 1)
    outlet.close(patient=True)
    assert outlet.health.state == "retrying"
    assert "status cannot be read" in (outlet.health.reason or "")


def test_an_attribute_of_that_name_that_is_something_else_is_left_alone() -> None:
    sink = _Reporting()
    sink.status = "ready"
    outlet = _outlet(sink, 1)
    outlet.close(patient=True)
    assert (outlet.health.state, outlet.health.delivered) == ("delivering", 1)


def test_what_the_sink_gave_up_is_not_logged_as_dropped_by_the_queue(caplog: pytest.LogCaptureFixture) -> None:
    sink = _Reporting()
    sink.status = SinkStatus(dropped=9)
    Hub([_outlet(sink, 1)]).close(patient=True)
    assert "dropped" not in caplog.text
