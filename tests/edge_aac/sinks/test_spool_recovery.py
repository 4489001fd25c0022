"""The store after a fault of its disk or its content is over: what is told then, and what is kept."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from edge_aac.sinks.spool import Spool
from edge_aac.sinks.spool_file import DiskFault, SpoolFile
from edge_aac.sinks.spool_settings import SpoolLimits
from tests.edge_aac.sinks.remote_cases import Clock
from tests.edge_aac.sinks.spool_cases import lines, put, waiting_in


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "messages.sqlite"


def test_text_that_is_none_any_more_is_damage_and_no_disk_that_may_come_back(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    spool = Spool(path, SpoolLimits())
    put(spool, *range(5))
    spool.close()
    database = sqlite3.connect(path)
    database.execute("UPDATE message SET properties = CAST(x'ff41fe' AS TEXT) WHERE number = 3")
    database.commit()
    database.close()
    spool = Spool(path, SpoolLimits())
    assert waiting_in(spool) in ([], [0, 1])
    put(spool, 5)
    assert waiting_in(spool) == [0, 1, 5]
    assert (spool.fault, spool.dropped) == (None, 3)
    assert len([line for line in lines(caplog) if "begun anew" in line]) == 1
    spool.close()


def test_a_disk_that_works_again_is_told_though_nothing_waits(
    path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    clock, broken = Clock(), sqlite3.OperationalError("database or disk is full")
    write, set_clock = SpoolFile.write, SpoolFile.set_clock
    spool = Spool(path, SpoolLimits(), clock=clock)

    def fail(*_: object) -> None:
        raise DiskFault(f"'{path}' cannot be used ({broken})")

    monkeypatch.setattr(SpoolFile, "write", fail)
    monkeypatch.setattr(SpoolFile, "set_clock", fail)
    put(spool, 0)
    spool.done(spool.first(1))
    for _ in range(3):
        clock.now_s += 60.0
        spool.tick()
        assert spool.fault is not None
    assert len(lines(caplog)) == 1, "it is told once"
    monkeypatch.setattr(SpoolFile, "write", write)
    monkeypatch.setattr(SpoolFile, "set_clock", set_clock)
    clock.now_s += 60.0
    spool.tick()
    assert spool.fault is None and len(lines(caplog)) == 2
    spool.close()
