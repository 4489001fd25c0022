"""The process that builds one TensorRT engine: request JSON in, lines of progress and result JSON out."""

from __future__ import annotations

import ctypes
import json
import os
import signal
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from edge_aac.errors import DataError, DeviceError, InputMissingError
from quantize.device.tensorrt.failures import OutOfMemoryError
from quantize.device.tensorrt.plan_building import PlanRequest, build_plan

_PR_SET_PDEATHSIG = 1


def main(request_path: str) -> None:
    """Build what a request asks for.

    Args:
        request_path: JSON of a :class:`~quantize.device.tensorrt.plan_building.PlanRequest`, with ``result`` (where
            the answer goes) and ``parent`` (the process that waits for it).
    """
    table: dict[str, Any] = json.loads(Path(request_path).read_text(encoding="utf-8"))
    result, parent = Path(table.pop("result")), int(table.pop("parent"))
    for key in ("onnx", "output", "timing_cache"):
        table[key] = Path(table[key])
    table["profiles"] = {name: tuple(map(tuple, shapes)) for name, shapes in table["profiles"].items()}
    _end_with(parent)
    log = _lines()
    answer: dict[str, Any]
    try:
        answer = asdict(build_plan(PlanRequest(**table), log, lambda: os.getppid() == parent))
    except MemoryError:
        answer = {"kind": OutOfMemoryError.__name__, "error": "the host's memory is full"}
    except OutOfMemoryError as error:
        answer = {"kind": type(error).__name__, "error": str(error), "wants_workspace": error.wants_workspace}
    except (DataError, DeviceError, InputMissingError) as error:
        answer = {"kind": type(error).__name__, "error": str(error)}
    result.write_text(json.dumps(answer), encoding="utf-8")


def _end_with(parent: int) -> None:
    """A build that nobody waits for any more would hold the board's memory for minutes."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL))
    if os.getppid() != parent:
        raise SystemExit("the process that wanted the engine is gone")


def _lines() -> Callable[[str], None]:
    """Writes lines to what was stdout; what libraries print there goes to stderr from now on."""
    progress = os.fdopen(os.dup(1), "w", encoding="utf-8", errors="replace", buffering=1)
    os.dup2(2, 1)

    def log(line: str) -> None:
        progress.write(line.replace("\n", " ") + "\n")

    return log


if __name__ == "__main__":
    main(sys.argv[1])
