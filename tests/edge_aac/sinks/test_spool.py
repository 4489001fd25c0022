"""The store of messages: bounded, in order, and over restarts and by any clock."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from edge_aac.sinks.message import Message
from edge_aac.sinks.spool import Spool
from edge_aac.sinks.spool_settings import SpoolLimits
from tests.edge_aac.sinks.remote_cases import Clock, message, numbers
from tests.edge_aac.sinks.spool_cases import lines, put, waiting_in


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "messages.sqlite"


def test_messages_come_back_as_they_were_in_order_over_restarts(path: Path) -> None:
    whole = Message("node/mic ü/caption", "mic \u2028 ü", bytes(range(256)), {"retain": "1", "type": "ü"})
    spool = Spool(path, SpoolLimits())
    spool.put([whole, message(1)])
    spool.put([message(2)])
    first = spool.first(2)
    assert (first[0].topic, first[0].source, first[0].payload) == (whole.topic, whole.source, whole.payload)
    assert (dict(first[0].properties), numbers(first[1:])) == (dict(whole.properties), [1])
    spool.done(first[:1])
    spool.close()
    again = Spool(path, SpoolLimits())
    assert (waiting_in(again), again.queued) == ([1, 2], 2)
    put(again, 3)
    assert [each.number for each in again.first(9)] == sorted(each.number for each in again.first(9))
    again.close()
    assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0, "what was heard at home is not for every user"


def test_what_is_taken_at_once_is_bounded_in_bytes_but_never_nothing(path: Path) -> None:
    spool = Spool(path, SpoolLimits())
    spool.put([message(number, 1000) for number in range(5)])
    assert numbers(spool.first(10, 2500)) == [0, 1]
    assert numbers(spool.first(10, 10)) == [0]
    spool.close()


@pytest.mark.parametrize("on_disk", [True, False])
def test_beyond_its_bounds_the_oldest_are_dropped_and_counted(
    path: Path, on_disk: bool, caplog: pytest.LogCaptureFixture
) -> None:
    size = message(0, 100).size
    for limits in (SpoolLimits(messages=3), SpoolLimits(bytes=3 * size + 1)):
        spool = Spool(path if on_disk else None, limits)
        for number in range(10):
            spool.put([message(number, 100)])
        assert (waiting_in(spool), spool.queued, spool.dropped) == ([7, 8, 9], 3, 7)
        spool.done(spool.first(3))
        spool.close()
        assert len([line for line in lines(caplog) if "were dropped so far" in line]) == 1
        caplog.clear()


def test_a_message_that_was_dropped_while_it_was_under_way_is_not_counted_twice(path: Path) -> None:
    for where in (path, None):
        spool = Spool(where, SpoolLimits(messages=3))
        put(spool, 0, 1, 2)
        under_way = spool.first(3)
        put(spool, 3, 4)
        spool.done(under_way)
        assert (waiting_in(spool), spool.queued, spool.dropped) == ([3, 4], 2, 2)
        spool.done(spool.first(3))
        spool.done(under_way)
        assert spool.queued == 0
        spool.close()


def test_old_messages_are_dropped_by_time_since_boot_and_a_restart_does_not_make_them_young(path: Path) -> None:
    clock = Clock()
    limits = SpoolLimits(age_s=100.0)
    spool = Spool(path, limits, clock=clock, boot="a")
    put(spool, 0)
    clock.now_s += 60
    put(spool, 1)
    spool.close()
    clock.now_s += 30  # the process was away
    spool = Spool(path, limits, clock=clock, boot="a")
    put(spool, 2)
    clock.now_s += 20
    spool.tick()
    assert (waiting_in(spool), spool.dropped) == ([1, 2], 1)
    spool.close()
    clock.now_s = 5.0  # the machine was off for an unknown time: the age goes on where it stood
    spool = Spool(path, limits, clock=clock, boot="b")
    clock.now_s += 60
    spool.tick()
    assert waiting_in(spool) == [1, 2]
    clock.now_s += 15
    spool.tick()
    assert (waiting_in(spool), spool.dropped) == ([2], 1)
    spool.close()


def test_a_message_that_still_waits_is_synchronised_and_one_that_has_arrived_costs_nothing(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[str] = []
    fsync = os.fsync

    def counted(descriptor: int) -> None:
        synced.append(os.readlink(f"/proc/self/fd/{descriptor}"))
        fsync(descriptor)

    clock = Clock()
    spool = Spool(path, SpoolLimits(sync_s=5.0), clock=clock)
    monkeypatch.setattr(os, "fsync", counted)
    for number in range(10):
        put(spool, number)
        spool.done(spool.first(1))
        clock.now_s += 3.0
        spool.tick()
    assert synced == []
    put(spool, 10)
    clock.now_s += 3.0
    spool.tick()
    assert synced == []
    clock.now_s += 3.0
    spool.tick()
    spool.tick()
    assert synced == [f"{path}-wal"]
    spool.close()


def test_the_file_shrinks_after_a_long_outage(path: Path) -> None:
    clock = Clock()
    spool = Spool(path, SpoolLimits(), clock=clock)
    spool.put([message(number, 1000) for number in range(10_000)])
    while batch := spool.first(500):
        spool.done(batch)
    clock.now_s += 60.0
    spool.tick()
    spool.close()
    assert path.stat().st_size < 1_000_000
