"""Two ranks a case, as test_waiting starts them: each does what its case says, and prints that it is done."""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

from edge_aac.errors import EdgeAacError
from quantize.training.distributed import World

TIMEOUT_S = 4.0
ALONE_S = 1.5 * TIMEOUT_S
# A rank that computes is silent for as long as a busy machine lets it be: ten times what is seen.
SILENCE_S = 60.0


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


CASES: dict[str, tuple[Callable[[World], None], float]] = {
    case.__name__: (case, silence_s)
    for case, silence_s in (
        (works_alone, SILENCE_S),
        (fails_alone, SILENCE_S),
        (rank_1_dies, 5.0),
        (rank_0_dies, SILENCE_S),
    )
}
"""Name → what a rank does, and for how long it takes another that is silent to be alive."""


def main(folder: Path) -> None:
    """Run all cases side by side, in processes that share what this one imported: torch takes seconds.

    Output and errors of each rank go to ``CASE-RANK.out`` and ``.err``, their exit codes to ``codes.json``.
    """
    ranks: dict[int, str] = {}
    for case in CASES:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        for rank in range(2):
            name = f"{case}-{rank}"
            pid = os.fork()
            if not pid:
                _redirect(folder / name)
                os.environ.update(
                    WORLD_SIZE="2", RANK=str(rank), LOCAL_RANK=str(rank), MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port)
                )
                _take_part(case)
                return
            ranks[pid] = name
    codes: dict[str, int] = {}
    while ranks:
        pid, status = os.wait()
        codes[ranks.pop(pid)] = os.waitstatus_to_exitcode(status)
    (folder / "codes.json").write_text(json.dumps(codes), encoding="utf-8")


def _redirect(path: Path) -> None:
    for stream, suffix in ((sys.stdout, ".out"), (sys.stderr, ".err")):
        with path.with_suffix(suffix).open("wb") as file:
            os.dup2(file.fileno(), stream.fileno())


def _take_part(name: str) -> None:
    case, silence_s = CASES[name]
    timeout, silence = timedelta(seconds=TIMEOUT_S), timedelta(seconds=silence_s)
    with World.from_environment(timeout=timeout, silence=silence) as one:
        case(one)
    print("done")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
