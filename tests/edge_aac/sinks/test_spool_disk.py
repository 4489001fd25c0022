"""The store where the disk fails: damaged, full, read-only, away, or used by somebody else."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from edge_aac.errors import ConfigError
from edge_aac.sinks.spool import Spool
from edge_aac.sinks.spool_file import SpoolFile
from edge_aac.sinks.spool_settings import SpoolLimits
from tests.edge_aac.sinks.remote_cases import Clock, message
from tests.edge_aac.sinks.spool_cases import lines, put, waiting_in


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "messages.sqlite"


def test_a_second_process_or_sink_is_refused_and_harms_nothing(path: Path) -> None:
    spool = Spool(path, SpoolLimits())
    put(spool, 0)
    with pytest.raises(ConfigError, match="another process, or another sink, uses"):
        Spool(path, SpoolLimits())
    put(spool, 1)
    spool.close()
    again = Spool(path, SpoolLimits())
    assert waiting_in(again) == [0, 1]
    again.close()


def test_what_is_no_store_is_left_alone(tmp_path: Path) -> None:
    database = tmp_path / "theirs.sqlite"
    with sqlite3.connect(database) as theirs:
        theirs.execute("CREATE TABLE photographs (name TEXT)")
    theirs.close()
    before = database.read_bytes()
    with pytest.raises(ConfigError, match="is a database of another program"):
        Spool(database, SpoolLimits())
    assert database.read_bytes() == before
    with pytest.raises(ConfigError, match="is no regular file"):
        Spool(tmp_path, SpoolLimits())


def _zeros_in_front(path: Path) -> None:
    with path.open("r+b") as file:
        file.write(bytes(100))


def _torn(path: Path) -> None:
    os.truncate(path, 3 * 1024 + 17)


def _noise(path: Path) -> None:
    size = path.stat().st_size
    with path.open("r+b") as file:
        file.seek(1024)
        file.write(os.urandom(size - 1024))


def _text(path: Path) -> None:
    path.write_text("these are no messages\n" * 100)


def _of_a_later_version(path: Path) -> None:
    database = sqlite3.connect(path)
    database.execute("PRAGMA user_version = 99")
    database.commit()
    database.close()


def _without_its_table(path: Path) -> None:
    database = sqlite3.connect(path)
    database.execute("DROP TABLE message")
    database.commit()
    database.close()


@pytest.mark.parametrize(
    "damage",
    [_zeros_in_front, _torn, _noise, _text, _of_a_later_version, _without_its_table],
    ids=lambda each: each.__name__,
)
def test_a_damaged_file_is_set_aside_and_the_stream_goes_on(
    path: Path, damage: Callable[[Path], None], caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(2):
        spool = Spool(path, SpoolLimits())
        spool.done(spool.first(1000))
        put(spool, *range(50))
        spool.close()
        damage(path)
        damaged = path.read_bytes()
        spool = Spool(path, SpoolLimits())
        assert path.with_name("messages.sqlite.damaged").read_bytes() == damaged
        kept = waiting_in(spool)
        assert kept == list(range(len(kept)))
        put(spool, 100)
        assert waiting_in(spool) == [*kept, 100]
        spool.close()
        told = [line for line in lines(caplog) if "cannot be used" in line and "begun anew" in line]
        assert len(told) == 1 and "messages.sqlite.damaged" in told[0]
        caplog.clear()
    assert sorted(each.name for each in path.parent.iterdir() if "-" not in each.name) == [
        "messages.sqlite",
        "messages.sqlite.damaged",
        "messages.sqlite.lock",
    ]


def test_damage_that_shows_while_it_runs_is_told_and_counted(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    spool = Spool(path, SpoolLimits())
    spool.put([message(number, 2000) for number in range(500)])  # larger than SQLite's cache of pages
    spool.close()
    spool = Spool(path, SpoolLimits())
    taken = spool.first(3)
    with path.open("r+b") as file:
        file.seek(20 * 1024)
        file.write(os.urandom(path.stat().st_size - 20 * 1024))
    while spool.queued and not any("cannot be used" in line for line in lines(caplog)):
        spool.done(spool.first(10))
    put(spool, 1000)
    left = waiting_in(spool)
    assert left[-1] == 1000
    assert spool.dropped > 0
    spool.done(taken)
    assert spool.queued == len(waiting_in(spool))
    spool.close()


def test_a_file_that_is_deleted_or_moved_under_way_loses_nothing(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    spool = Spool(path, SpoolLimits())
    put(spool, 0, 1, 2)
    spool.done(spool.first(1))
    path.unlink()
    spool.tick()
    put(spool, 3)
    assert waiting_in(spool) == [1, 2, 3]
    assert any("was moved or deleted" in line for line in lines(caplog))
    spool.close()
    again = Spool(path, SpoolLimits())
    assert waiting_in(again) == [1, 2, 3]
    again.close()


class FullDisk:
    """Has every write of a store's file fail, as a full disk does, while it is full."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.full = False
        write = SpoolFile.write

        def limited(file: SpoolFile, *what: object) -> None:
            # A real limit of the database, so that SQLite itself finds no room.
            pages = file._database.execute("PRAGMA page_count").fetchone()[0]
            file._database.execute(f"PRAGMA max_page_count = {pages if self.full else 1 << 30}")
            write(file, *what)  # type: ignore[arg-type]

        monkeypatch.setattr(SpoolFile, "write", limited)


def test_on_a_full_disk_messages_wait_in_memory_until_there_is_room(
    path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    disk, clock = FullDisk(monkeypatch), Clock()
    spool = Spool(path, SpoolLimits(), clock=clock)
    spool.put([message(number, 2000) for number in range(3)])
    disk.full = True
    for number in range(3, 20):
        spool.put([message(number, 2000)])
        clock.now_s += 3.0
    assert spool.fault is not None and "full" in spool.fault
    assert waiting_in(spool) == list(range(20))
    assert spool.in_memory > 10
    assert len(lines(caplog)) == 1, "it is told once"
    taken = spool.first(4)
    spool.done(taken)
    assert waiting_in(spool) == list(range(4, 20))
    disk.full = False
    clock.now_s += 60.0
    spool.tick()
    assert (spool.fault, spool.in_memory) == (None, 0)
    assert lines(caplog)[1:] == [f"messages are kept in '{path}' again"]
    put(spool, 20)
    spool.close()
    again = Spool(path, SpoolLimits())
    assert (waiting_in(again), again.dropped) == (list(range(4, 21)), 0)
    again.close()


def test_in_memory_too_there_is_a_bound(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    disk = FullDisk(monkeypatch)
    disk.full = True
    spool = Spool(path, SpoolLimits(memory_bytes=50_000))
    spool.put([message(number, 1000) for number in range(100)])
    waiting = waiting_in(spool)
    assert waiting == list(range(100 - len(waiting), 100))
    assert spool.dropped == 100 - len(waiting) and 40 < len(waiting) < 50
    spool.close()


@pytest.mark.skipif(os.geteuid() == 0, reason="root writes everywhere")
def test_a_folder_that_may_not_be_written_is_told_and_used_once_it_may(tmp_path: Path) -> None:
    folder = tmp_path / "state"
    folder.mkdir(mode=0o500)
    _late_folder(folder / "messages.sqlite", lambda: folder.chmod(0o700))


def test_a_folder_that_comes_late_is_told_and_used_then(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    blocker = tmp_path / "state"
    blocker.write_text("no folder")
    _late_folder(blocker / "messages.sqlite", blocker.unlink)
    assert len([line for line in lines(caplog) if "wait in memory" in line]) == 1


def _late_folder(path: Path, allow: Callable[[], object]) -> None:
    clock = Clock()
    spool = Spool(path, SpoolLimits(), clock=clock)
    put(spool, 0, 1)
    assert spool.fault is not None
    allow()
    clock.now_s += 60.0
    put(spool, 2)
    assert (spool.fault, spool.in_memory, waiting_in(spool)) == (None, 0, [0, 1, 2])
    spool.close()


def test_messages_of_an_earlier_run_that_are_found_late_come_first_and_stay(tmp_path: Path) -> None:
    folder = tmp_path / "card"
    spool = Spool(folder / "messages.sqlite", SpoolLimits())
    put(spool, 0, 1, 2)
    spool.close()
    folder.rename(tmp_path / "drawer")
    folder.write_text("no folder: the card is not in its slot")
    clock = Clock()
    spool = Spool(folder / "messages.sqlite", SpoolLimits(), clock=clock)
    put(spool, 3, 4)
    under_way = spool.first(1)
    folder.unlink()
    (tmp_path / "drawer").rename(folder)
    clock.now_s += 60.0
    put(spool, 5)
    spool.done(under_way)  # the number that it had is that of another message now
    assert (waiting_in(spool), spool.queued) == ([0, 1, 2, 4, 5], 5)
    spool.close()


@pytest.mark.parametrize("cut", ["torn", "zeros", "noise"])
def test_after_a_power_cut_there_is_what_was_there_up_to_some_moment(path: Path, tmp_path: Path, cut: str) -> None:
    spool = Spool(path, SpoolLimits())
    put(spool, *range(40))
    spool.done(spool.first(10))
    spool.tick()
    put(spool, *range(40, 60))
    log = Path(f"{path}-wal").read_bytes()
    held = path.read_bytes()
    for number, keep in enumerate(range(0, len(log), len(log) // 23)):
        folder = tmp_path / str(number)
        folder.mkdir()
        copy = folder / "messages.sqlite"
        copy.write_bytes(held)
        rest = {"torn": b"", "zeros": bytes(len(log) - keep), "noise": os.urandom(len(log) - keep)}[cut]
        Path(f"{copy}-wal").write_bytes(log[:keep] + rest)
        after = Spool(copy, SpoolLimits())
        waiting = waiting_in(after)
        first = waiting[0] if waiting else 0
        assert waiting == list(range(first, first + len(waiting)))
        assert after.fault is None and not list(folder.glob("*.damaged"))
        put(after, 100)
        assert waiting_in(after) == [*waiting, 100]
        after.close()
    spool.close()


_ON_A_SMALL_DISK = """
import resource, sys
from pathlib import Path
from edge_aac.sinks.message import Message
from edge_aac.sinks.spool import Spool
from edge_aac.sinks.spool_settings import SpoolLimits

spool = Spool(Path(sys.argv[1]), SpoolLimits(retry_s=0.0))
soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, hard))
for number in range(500):
    spool.put([Message("caption", "mic0", str(number).encode().ljust(1000))])
print(spool.fault, spool.queued, spool.in_memory, spool.dropped, sep="|")
resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
spool.tick()
print(spool.fault, spool.queued, spool.in_memory, spool.dropped, sep="|")
spool.close()
"""


def test_where_the_kernel_itself_refuses_to_write_nothing_is_lost(path: Path) -> None:
    result = subprocess.run(
        [sys.executable, "-c", _ON_A_SMALL_DISK, str(path)], capture_output=True, text=True, timeout=120, check=True
    )
    before, after = result.stdout.splitlines()
    fault, queued, in_memory, dropped = before.split("|")
    assert "cannot be used" in fault and (queued, dropped) == ("500", "0") and int(in_memory) > 100
    assert after == "None|500|0|0"
    spool = Spool(path, SpoolLimits())
    assert waiting_in(spool) == list(range(500))
    spool.close()
