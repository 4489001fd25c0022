"""Ranks wait for one that works alone as long as it lives, and no longer (two processes on the CPU, gloo)."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
# A rank that computes is silent for as long as a busy machine lets it be: ten times what is seen.
SILENCE_S = 60.0


def two_ranks(case: str, silence_s: float = SILENCE_S) -> list[tuple[int, str, str]]:
    """Exit code, stdout and stderr of both ranks, started without torchrun, which would end one for the other."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    shared = {**os.environ, "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    shared |= {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    command = [sys.executable, "-m", "tests.quantize.training.world_cases", case, str(silence_s)]
    ranks = [
        subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            env={**shared, "RANK": str(rank), "LOCAL_RANK": str(rank)},
        )
        for rank in range(2)
    ]
    try:
        ends = [rank.communicate(timeout=600) for rank in ranks]
    finally:
        for rank in ranks:
            rank.kill()
    return [(rank.returncode, *end) for rank, end in zip(ranks, ends, strict=True)]


def test_ranks_wait_for_one_that_works_longer_than_a_collective_may() -> None:
    for code, output, errors in two_ranks("works_alone"):
        assert (code, output) == (0, "done\n"), errors


def test_the_failure_of_one_ends_those_that_wait_for_it() -> None:
    (first, _, first_errors), (second, _, second_errors) = two_ranks("fails_alone")
    assert first and "EdgeAacError: the corpus is broken" in first_errors
    # Where the first is gone already, its store is, too.
    assert second and "DeviceError: " in second_errors, second_errors
    assert "rank 0 has failed: the corpus is broken" in second_errors or "has ended" in second_errors


@pytest.mark.parametrize(
    ("dead", "silence_s", "message"),
    [(1, 5.0, "rank 1 has given no sign of life"), (0, SILENCE_S, "DeviceError: ")],
)
def test_ranks_do_not_wait_for_the_dead(dead: int, silence_s: float, message: str) -> None:
    ends = two_ranks(f"rank_{dead}_dies", silence_s)
    assert ends[dead][0] == -signal.SIGKILL
    code, output, errors = ends[1 - dead]
    assert code > 0 and not output
    assert message in errors
