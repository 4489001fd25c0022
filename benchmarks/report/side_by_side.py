"""Ways that take turns: each repetition runs every one of them once, in an order drawn anew."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from benchmarks.report.plan import Log
from benchmarks.report.spread import Stages
from edge_aac import errors
from edge_aac.errors import EdgeAacError

_PAUSE_S = 0.02
"""Between two ways: threads of the one before have stopped waiting for each other by then."""

_MENDS = {
    "torch": "pip install 'edge-aac[train]'",
    "transformers": "pip install 'edge-aac[train]'",
    "onnx": "pip install 'edge-aac[build]'",
    "matplotlib": "pip install 'edge-aac[evaluate]'",
}


@dataclass(frozen=True)
class Order:
    """A way to load.

    Attributes:
        way: where its factory is, "module:function"; it takes ``threads`` and the settings and gives a
            :class:`benchmarks.report.worker.Way`.
        threads: threads and cores.
        settings: arguments of the factory, as JSON holds them.
    """

    way: str
    threads: int
    settings: Mapping[str, Any] = field(default_factory=dict)


@dataclass
class Taken:
    """What ways took, by their names.

    Attributes:
        rows: milliseconds of the stages, a table a repetition, in the same order for all ways.
        about: what each said of itself.
        left_out: those that could not be run, each with a sentence that says why.
    """

    rows: dict[str, list[Stages]] = field(default_factory=dict)
    about: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)


def take_turns(orders: Mapping[str, Order], repetitions: int, log: Log, warm_up: int = 1) -> Taken:
    """Load all ways, run each ``warm_up`` times uncounted, then all of them in turn.

    A way whose packages are not installed, or that the system ended (for its memory, say), is left out.

    Raises:
        EdgeAacError: what a way raised.
        RuntimeError: a way has a fault of its own, which it has told on standard error.
    """
    taken = Taken()
    random = np.random.default_rng(0)
    with ExitStack() as stack:
        running: dict[str, _Process] = {}
        for name, order in orders.items():
            log(f"loading {name}")
            process = stack.enter_context(_Process(name, order))
            try:
                taken.about[name] = process.loaded()
                for index in range(warm_up):
                    process.run(index)
            except _LeftOutError as why:
                taken.left_out[name] = str(why)
                taken.about.pop(name, None)
            else:
                running[name] = process
        for repetition in range(repetitions):
            log(f"repetition {repetition + 1} of {repetitions}: {', '.join(running)}")
            for name in random.permutation(list(running)).tolist():
                time.sleep(_PAUSE_S)
                try:
                    taken.rows.setdefault(name, []).append(running[name].run(warm_up + repetition))
                except _LeftOutError as why:
                    taken.left_out[name] = str(why)
                    del running[name], taken.about[name]
                    taken.rows.pop(name, None)
    return taken


class _LeftOutError(Exception):
    """A way that cannot be measured here, with the reason in words."""


class _Process:
    """A worker, ended with the block."""

    def __init__(self, name: str, order: Order) -> None:
        self._name = name
        told = {"way": order.way, "threads": order.threads, "settings": dict(order.settings)}
        environment = {**os.environ, "OMP_NUM_THREADS": str(order.threads), "OPENBLAS_NUM_THREADS": str(order.threads)}
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.report.worker", json.dumps(told)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment,
            text=True,
        )

    def __enter__(self) -> _Process:
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.close()
        if self._process.poll() is None:
            # It ends by itself when it has read the end, but not in the middle of a run of seconds.
            self._process.terminate()
        self._process.wait()
        self._process.stdout.close()

    def loaded(self) -> Mapping[str, Any]:
        """What the way says of itself."""
        answer = self._answer()
        if package := answer.get("missing"):
            raise _LeftOutError(f"left out: it needs the package {package}, {_MENDS[package]} brings it")
        if "error" in answer:
            kind: type[EdgeAacError] = getattr(errors, answer["kind"], EdgeAacError)
            raise kind(answer["error"])
        about: Mapping[str, Any] = answer["about"]
        return about

    def run(self, index: int) -> Stages:
        """Milliseconds of each stage of a window."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(f"{index}\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            pass  # it has ended, which reading tells with its reason
        return self._answer()

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        if line := self._process.stdout.readline():
            answer: dict[str, Any] = json.loads(line)
            return answer
        code = self._process.wait()
        if code < 0:
            raise _LeftOutError(f"left out: the system ended it with signal {-code}, as it does where memory is short")
        raise RuntimeError(f"{self._name} ended with exit code {code}: see above")
