"""A sink that is exchanged for another one keeps its outlet's queue."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from edge_aac.errors import ConfigError, DeviceError
from edge_aac.sinks.contract import Sink, TransientSinkError
from edge_aac.streaming.outlet import Delivery, Outlet, Reopening
from tests.edge_aac.fakes import FakeSink, caption_record
from tests.waiting import PATIENCE_S


def _put(outlet: Outlet, *numbers: int) -> None:
    for number in numbers:
        outlet.put(Delivery(caption_record(number)))


def _opens(sink: Sink, kinds: tuple[str, ...] = ("caption",)) -> Reopening:
    return Reopening(lambda: sink, kinds, 8)


def _refuses() -> Sink:
    raise ConfigError("the folder is not there")


def test_what_the_old_sink_could_not_take_goes_to_the_new_one() -> None:
    old, new = FakeSink(faults=[TransientSinkError("the disk is full")] * 1000), FakeSink()
    outlet = Outlet("file", old, ("caption",), 8)
    _put(outlet, 0, 1, 2)
    assert old.busy.wait(PATIENCE_S)
    outlet.exchange(_opens(new, ("caption", "health")), _opens(old), PATIENCE_S)
    _put(outlet, 3)
    outlet.close(patient=True)
    assert [record.seq for record in new.captions] == [0, 1, 2, 3]
    assert (old.captions, old.closed, new.closed) == ([], True, True)
    assert outlet.kinds == {"caption", "health"}
    assert (outlet.health.dropped, outlet.health.state) == (0, "delivering")


def test_where_the_new_one_cannot_be_opened_the_old_one_is_opened_again() -> None:
    old, again = FakeSink(), FakeSink()
    outlet = Outlet("file", old, ("caption",), 8)
    with pytest.raises(ConfigError, match="the folder is not there"):
        outlet.exchange(Reopening(_refuses, ("health",), 8), _opens(again), PATIENCE_S)
    _put(outlet, 0)
    outlet.close(patient=True)
    assert old.closed
    assert [record.seq for record in again.captions] == [0]
    assert outlet.kinds == {"caption"}


def test_a_sink_that_is_stuck_is_not_exchanged_later_without_a_word() -> None:
    stuck = threading.Event()
    old, new = FakeSink(stuck=stuck), FakeSink()
    outlet = Outlet("file", old, ("caption",), 8)
    _put(outlet, 0, 1)
    assert old.busy.wait(PATIENCE_S)
    with pytest.raises(DeviceError, match="file is busy"):
        outlet.exchange(_opens(new), _opens(old), 0.05)
    stuck.set()
    outlet.close(patient=True)
    assert ([record.seq for record in old.captions], new.captions) == ([0, 1], [])


@pytest.mark.parametrize("reopen_old", [_refuses, FakeSink])
def test_an_outlet_that_has_ended_exchanges_nothing(reopen_old: Callable[[], Sink]) -> None:
    outlet = Outlet("file", FakeSink(error=DeviceError("gone")), ("caption",), 8)
    _put(outlet, 0)
    outlet.close(patient=True)
    assert outlet.error is not None
    with pytest.raises(DeviceError, match="file is busy"):
        outlet.exchange(_opens(FakeSink()), Reopening(reopen_old, ("caption",), 8), PATIENCE_S)


def test_where_neither_can_be_opened_the_sink_has_failed() -> None:
    outlet = Outlet("file", FakeSink(), ("caption",), 8)
    with pytest.raises(ConfigError):
        outlet.exchange(Reopening(_refuses, (), 8), Reopening(_refuses, (), 8), PATIENCE_S)
    outlet.close(patient=True)
    assert outlet.health.state == "failed"
