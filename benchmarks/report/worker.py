"""One way in a process of its own: it loads, says what it is, and runs a window whenever it is told to.

    python -m benchmarks.report.worker '{"way": "benchmarks.report.ways:captioner", "threads": 1, "settings": {…}}'

Every way has its own memory and thread pools, so that none runs on what another left warm or keeps spinning.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TextIO

from edge_aac.errors import EdgeAacError, UsageError

PACKAGES = {"torch", "transformers", "onnx", "matplotlib"}
"""Packages without which some ways are left out."""


@dataclass(frozen=True)
class Way:
    """One way to do the work of a window.

    Attributes:
        run: runs the window with this number and gives the milliseconds of each stage.
        about: facts of it, as JSON holds them.
    """

    run: Callable[[int], Mapping[str, float]]
    about: Mapping[str, Any] = field(default_factory=dict)


def main() -> None:
    """Load the way that the command line names, and run a window for each line of standard input."""
    order = json.loads(sys.argv[1])
    # What a library prints must not stand between the answers.
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    try:
        keep_on_cores(order["threads"])
        module, _, name = order["way"].partition(":")
        way: Way = getattr(importlib.import_module(module), name)(order["threads"], **order["settings"])
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package not in PACKAGES:
            raise
        _answer(answers, {"missing": package})
        return
    except EdgeAacError as error:
        _answer(answers, {"error": str(error), "kind": type(error).__name__})
        return
    _answer(answers, {"about": way.about})
    for line in sys.stdin:
        _answer(answers, dict(way.run(int(line))))


def keep_on_cores(count: int) -> None:
    """Keep this process on so many cores.

    Raises:
        UsageError: it may not use as many.
    """
    usable = sorted(os.sched_getaffinity(0))
    if count > len(usable):
        raise UsageError(f"this process may use {len(usable)} cores, not {count}: give fewer --threads")
    os.sched_setaffinity(0, usable[:count])


def _answer(answers: TextIO, table: Mapping[str, Any]) -> None:
    answers.write(json.dumps(table) + "\n")
    answers.flush()


if __name__ == "__main__":
    main()
