"""Runs the loops under valgrind's callgrind and reads what it counted."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import benchmarks
import firmware_bridge
from edge_aac.errors import DeviceError

_HERE = Path(__file__).parent
_FIRMWARE = Path(firmware_bridge.__file__).with_name("firmware")
_DUMP = re.compile(r"^desc: Trigger: Client Request: (?P<name>.+)\n(?:.*\n)*?summary: (?P<count>\d+)$", re.MULTILINE)

# The same order of every set, no thread that computes beside the loop: then only the libraries' versions matter.
_STEADY = {
    "PYTHONHASHSEED": "0",
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "TOKENIZERS_PARALLELISM": "false",
}


def count() -> dict[str, int]:
    """Loop → instructions, of all loops in Python and in C.

    Raises:
        DeviceError: valgrind or a C compiler is missing, or fails.
    """
    compiler = os.environ.get("CC", "cc")
    for program, package in (("valgrind", "valgrind"), (compiler, "gcc")):
        if shutil.which(program) is None:
            raise DeviceError(f"counting instructions needs {program}, which is not installed: apt install {package}")
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        marks, bridge = folder / "marks.so", folder / "bridge"
        _run([compiler, "-O1", "-shared", "-fPIC", str(_HERE / "marks.c"), "-o", str(marks)])
        includes = [f"-I{_FIRMWARE / name}" for name in ("include", "src")]
        sources = [str(path) for path in (_HERE / "bridge.c", *sorted((_FIRMWARE / "src").glob("*.c")))]
        _run([compiler, "-O2", *includes, *sources, "-o", str(bridge)])
        python = [sys.executable, "-m", "benchmarks.instructions.worker", str(marks)]
        return {
            # Its imports are not counted, so they need not be slow.
            **_counted(["--instr-atstart=no"], python, folder / "python.counts"),
            **_counted([], [str(bridge)], folder / "bridge.counts"),
        }


def _counted(options: Sequence[str], command: Sequence[str], output: Path) -> dict[str, int]:
    callgrind = ["valgrind", "-q", "--tool=callgrind", "--combine-dumps=yes", f"--callgrind-out-file={output}"]
    _run([*callgrind, *options, *command], {**os.environ, **_STEADY, "PYTHONPATH": _import_path()})
    return read_counts(output.read_text(encoding="utf-8", errors="replace"))


def read_counts(dumps: str) -> dict[str, int]:
    """Name → instructions, of each dump that a program asked for; from a file of callgrind."""
    return {match["name"]: int(match["count"]) for match in _DUMP.finditer(dumps)}


def _import_path() -> str:
    root = str(Path(benchmarks.__file__).parents[1])
    return os.pathsep.join(filter(None, (root, os.environ.get("PYTHONPATH"))))


def _run(command: Sequence[str], environment: Mapping[str, str] | None = None) -> None:
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        told = (done.stderr.strip() or "it said nothing").splitlines()[-1]
        raise DeviceError(f"{Path(command[0]).name} ended with exit code {done.returncode}: {told}")
