"""One rank of two, as test_waiting starts it: does what its case says, and prints that it is done."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable
from datetime import timedelta

from edge_aac.errors import EdgeAacError
from quantize.training.distributed import World

TIMEOUT_S = 4.0
ALONE_S = 1.5 * TIMEOUT_S


def works_alone(world: World) -> None:
    """Rank 0 works for longer than a collective may take, in every place where the others wait for it."""

    def work() -> str:
        if world.first:
            time.sleep(ALONE_S)
        return "made"

    assert world.first_alone(work) == "made"
    work()
    world.barrier()
    work()
    assert world.gathered(world.rank) == [0, 1]
    assert world.mean({"rank": float(world.rank)}) == {"rank": 0.5}
    work()


def fails_alone(world: World) -> None:
    """Rank 1 waits for rank 0, which fails."""
    if world.first:
        raise EdgeAacError("the corpus is broken")
    world.barrier()


def rank_1_dies(world: World) -> None:
    """Rank 0, which keeps the store, waits for rank 1, which is killed."""
    if not world.first:
        os.kill(os.getpid(), signal.SIGKILL)
    world.barrier()


def rank_0_dies(world: World) -> None:
    """Rank 1 waits for rank 0, which keeps the store and is killed."""
    if world.first:
        os.kill(os.getpid(), signal.SIGKILL)
    world.barrier()


CASES: dict[str, Callable[[World], None]] = {
    case.__name__: case for case in (works_alone, fails_alone, rank_1_dies, rank_0_dies)
}

if __name__ == "__main__":
    timeout, silence = timedelta(seconds=TIMEOUT_S), timedelta(seconds=float(sys.argv[2]))
    with World.from_environment(timeout=timeout, silence=silence) as one:
        CASES[sys.argv[1]](one)
    print("done")
