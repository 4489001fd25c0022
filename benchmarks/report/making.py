"""Measures the sections of a report and writes it: ``report.json``, ``report.html`` and ``report.md``."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Callable
from datetime import datetime, timezone
from importlib import metadata
from pathlib import Path
from typing import Any

from benchmarks.report import against, energy, growth, limit, start, windows
from benchmarks.report.markdown import markdown
from benchmarks.report.page import page
from benchmarks.report.plan import Log, Plan
from edge_aac import __version__
from edge_aac.bundle.manifest import Seq2SeqManifest
from edge_aac.bundle.store import open_bundle
from edge_aac.errors import DeviceError

SCHEMA = "edge-aac/bench/1"

_PACKAGES = ("numpy", "onnxruntime", "torch", "transformers")
_SHARE_OF_DAY = 10  # "2026-01-31"

NOT_RUN = {
    "GPU": "not yet run: TensorRT's engines, their share of what the GPU can do, and steps with CUDA graphs and "
    "without are measured by `edge-aac bench --gpu` where there is one"
}

_SECTIONS: dict[str, Callable[[Plan, Log], dict[str, Any]]] = {
    "windows": windows.measure,
    "against": against.measure,
    "limit": limit.measure,
    "growth": growth.measure,
    "start": start.measure,
    "energy": energy.measure,
}


def make_report(plan: Plan, measured_by: str, log: Log, note: str = "") -> dict[str, Any]:
    """Measure all sections of the plan.

    Args:
        plan: what, and how often.
        measured_by: the command, for who reads the report.
        log: is told each step.
        note: what a reader must know of all numbers.

    Raises:
        EdgeAacError: a bundle cannot be opened, or is of another kind than seq2seq.
    """
    for name in plan.bundles:
        open_bundle(name).manifest_of(Seq2SeqManifest)
    if plan.published is not None:
        from benchmarks.report.published import prepare

        prepare(plan.published, plan.embedder, log)
    return {
        "schema": SCHEMA,
        "version": __version__,
        "date": datetime.now(timezone.utc).isoformat()[:_SHARE_OF_DAY],
        "machine": machine(),
        "measured_by": measured_by,
        "note": note,
        "repetitions": {"windows": plan.repetitions, "slow": plan.slow_repetitions},
        "sections": {name: _SECTIONS[name](plan, log) for name in _SECTIONS if name in plan.sections},
        "not_run": NOT_RUN,
    }


def machine() -> dict[str, Any]:
    """The processor in words, the cores that this process may use, and the versions of what computes."""
    packages = {}
    for name in _PACKAGES:
        try:
            packages[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            packages[name] = "not installed"
    return {
        "processor": processor(),
        "cores": len(os.sched_getaffinity(0)),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "packages": {"Python": platform.python_version(), **packages},
    }


def processor(root: Path = Path("/")) -> str:
    """The board's name, or the processor's, or its kind where neither is told."""
    board = root / "proc/device-tree/model"
    if board.is_file():
        return board.read_text(encoding="utf-8", errors="replace").strip("\0 \n")
    for line in (root / "proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def write_report(report: dict[str, Any], folder: Path) -> None:
    """Write the three files.

    Raises:
        DeviceError: the folder cannot be written.
    """
    files = {
        "report.json": json.dumps(report, indent=1) + "\n",
        "report.html": page(report),
        "report.md": markdown(report),
    }
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in files.items():
            (folder / name).write_text(text, encoding="utf-8")
    except OSError as error:
        raise DeviceError(f"{folder} cannot be written ({error.strerror}): give another folder") from error
