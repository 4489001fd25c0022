"""What the measurements of published sizes share: verbs in processes of their own, and runs that are timed."""

from __future__ import annotations

import json
import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

MIB = 1 << 20
WAYS = ("torch", "fp32", "int8")
"""Torch in eager mode, the exported graphs, the INT8 forms."""

Result = TypeVar("Result")


def convert(weights: Path, bundle: Path) -> dict[str, Any]:
    """`edge-aac convert`: seconds, and peak resident memory over the weight file."""
    table, _ = _verb(["convert", str(weights), "--output", str(bundle)])
    largest = weights.stat().st_size
    return {
        **table,
        "weights_mib": round(largest / MIB),
        "peak_over_weights": round(table["peak_mib"] * MIB / largest, 2),
        "files_mib": _sizes(bundle),
    }


def build(bundle: Path, threads: int) -> dict[str, Any]:
    """`edge-aac build-engine --backend onnxruntime`: seconds, peak memory, and what the gate said of each INT8 form."""
    arguments = ["build-engine", "--bundle", str(bundle), "--backend", "onnxruntime", "--threads", str(threads)]
    table, out = _verb(arguments)
    report = json.loads(out)
    kept = ("graph", "bytes", "agreement", "timing", "outcome")
    forms = [{name: form[name] for name in kept if name in form} for form in report["forms"]]
    return {**table, "forms": forms, "order": report["order"], "files_mib": _sizes(bundle)}


def _verb(arguments: Sequence[str]) -> tuple[dict[str, Any], str]:
    """Run a verb: its seconds, those of the processor, and the peak of its memory; and what it printed."""
    started = time.perf_counter()
    command = [sys.executable, "-m", "edge_aac.cli", *arguments]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    table = {
        "seconds": round(time.perf_counter() - started, 1),
        "processor_s": round(used.ru_utime + used.ru_stime, 1),
        "peak_mib": round(used.ru_maxrss * 1024 / MIB),
    }
    return table, done.stdout


def _sizes(folder: Path) -> dict[str, float]:
    files = [path for path in sorted(folder.iterdir()) if path.stat().st_size > MIB]
    return {path.name: round(path.stat().st_size / MIB, 1) for path in files}


def each_way(module: str, folder: Path, runs: int, threads: int) -> dict[str, dict[str, Any]]:
    """Call ``one_way(folder, way, runs, threads)`` of a module in a process for each of :data:`WAYS`, in turn.

    Returns:
        Way → the table that it printed.
    """
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads), "OPENBLAS_NUM_THREADS": "1"}
    results = {}
    for way in WAYS:
        code = f"import {module} as b; b.one_way({str(folder)!r}, {way!r}, {runs}, {threads})"
        done = subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.PIPE, env=environment)
        results[way] = json.loads(done.stdout)
    return results


def peak_mib() -> int:
    """The most memory that this process has held."""
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / MIB)


def timed(work: Callable[[], Result], runs: int) -> tuple[Result, dict[str, float]]:
    """The result of a run that warms up, and of some runs behind it the medians, in milliseconds: of the clock, and of
    the processor's time, all threads together, which other work on the machine does not lengthen."""
    result = work()
    clock, processor = [], []
    for _ in range(runs):
        started, used = time.perf_counter(), time.process_time()
        work()
        clock.append(1e3 * (time.perf_counter() - started))
        processor.append(1e3 * (time.process_time() - used))
    return result, {"ms": round(statistics.median(clock), 1), "processor_ms": round(statistics.median(processor), 1)}
