"""Ranks wait for one that works alone as long as it lives, and no longer (two processes on the CPU, gloo)."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.made_once import made_once

ROOT = Path(__file__).parents[3]
LIMIT_S = 600.0

pytestmark = pytest.mark.waits

End = tuple[int, str, str]
"""Exit code, stdout and stderr of a rank."""


@pytest.fixture(scope="module")
def ended(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All cases, each of two ranks without torchrun, which would end one for the other."""
    return made_once(tmp_path_factory, "waiting-ranks", _run)


def _run(folder: Path) -> None:
    command = [sys.executable, "-m", "tests.quantize.training.world_cases", str(folder)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    with subprocess.Popen(command, cwd=ROOT, env=environment, start_new_session=True) as cases:
        try:
            assert cases.wait(timeout=LIMIT_S) == 0
        except subprocess.TimeoutExpired:
            os.killpg(cases.pid, signal.SIGKILL)
            raise


def two_ranks(folder: Path, case: str) -> list[End]:
    """How both ranks of a case ended."""
    codes = json.loads((folder / "codes.json").read_text(encoding="utf-8"))
    names = [f"{case}-{rank}" for rank in range(2)]
    return [
        (codes[name], *((folder / name).with_suffix(suffix).read_text(encoding="utf-8") for suffix in (".out", ".err")))
        for name in names
    ]


def test_ranks_wait_for_one_that_works_longer_than_a_collective_may(ended: Path) -> None:
    for code, output, errors in two_ranks(ended, "works_alone"):
        assert (code, output) == (0, "done\n"), errors


def test_the_failure_of_one_ends_those_that_wait_for_it(ended: Path) -> None:
    (first, _, first_errors), (second, _, second_errors) = two_ranks(ended, "fails_alone")
    assert first and "EdgeAacError: the corpus is broken" in first_errors
    # Where the first is gone already, its store is, too.
    assert second and "DeviceError: " in second_errors, second_errors
    assert "rank 0 has failed: the corpus is broken" in second_errors or "has ended" in second_errors


@pytest.mark.parametrize(("dead", "message"), [(1, "rank 1 has given no sign of life"), (0, "DeviceError: ")])
def test_ranks_do_not_wait_for_the_dead(dead: int, message: str, ended: Path) -> None:
    ends = two_ranks(ended, f"rank_{dead}_dies")
    assert ends[dead][0] == -signal.SIGKILL
    code, output, errors = ends[1 - dead]
    assert code > 0 and not output
    assert message in errors
