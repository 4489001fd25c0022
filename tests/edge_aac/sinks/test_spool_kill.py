"""A process that stores messages is killed again and again: nothing that was stored is lost."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from edge_aac.sinks.spool import Spool
from edge_aac.sinks.spool_settings import SpoolLimits
from tests.edge_aac.sinks import spooling_process
from tests.waiting import PATIENCE_S

KILLS = 10
_REPOSITORY = Path(spooling_process.__file__).parents[3]


def _killed_after(folder: Path, first: int, count: int) -> list[int]:
    """Numbers that a process has stored when it is killed, as soon as it has told so many."""
    command = [sys.executable, "-m", spooling_process.__name__, str(folder), str(first)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=_REPOSITORY, bufsize=0)
    assert process.stdout is not None and process.stderr is not None
    begun = b"".join(process.stdout.readline() for _ in range(count))
    process.send_signal(signal.SIGKILL)
    printed, complaints = process.communicate(timeout=PATIENCE_S)
    assert begun, complaints.decode()
    return [int(line) for line in (begun + printed).split(b"\n")[:-1]]


@pytest.mark.one_python
def test_kill_nine_loses_nothing_that_was_stored(tmp_path: Path) -> None:
    chance = random.Random(17)
    stored: list[int] = []
    starts = [0]
    for _ in range(KILLS):
        stored += _killed_after(tmp_path, stored[-1] + 1 if stored else 0, chance.randrange(1, 200))
        starts.append(stored[-1] + 1)
    spool = Spool(tmp_path / "messages.sqlite", SpoolLimits())
    waiting = [int(each.payload) for each in spool.first(10**9, 10**9)]
    spool.close()
    lines = (tmp_path / "arrived").read_text().splitlines()
    arrived = [*map(int, lines), *waiting]
    assert set(stored) <= set(arrived)
    assert set(arrived) - set(stored) <= set(starts), "one may be stored whose number was not told before the kill"
    assert waiting == sorted(waiting)
    # In order but for what is sent again: without the repetitions the numbers grow.
    first_times = list(dict.fromkeys(arrived))
    assert first_times == sorted(first_times)
    assert len(arrived) - len(first_times) < len(arrived) / 2
    assert not list(tmp_path.glob("*.damaged"))
