"""Start-up, memory and size of the installed ``edge-aac stream``.

    python -m benchmarks.memory --seconds 60
    python -m benchmarks.memory --seconds 30 --mappings 15

Streams a synthesised scene paced as a microphone gives it. The baseline of the same run is a bare interpreter that
imports numpy and onnxruntime and does nothing. ``--mappings`` tells what holds the most of it at the last caption.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import soundfile

from benchmarks.command_line import at_least, run
from edge_aac.audio.sources.demo import synthesise_demo
from edge_aac.bundle.store import DEFAULT_BUNDLE, open_bundle
from edge_aac.errors import DeviceError

MIB = 1 << 20


def main() -> None:
    """Run the stream, watch it, print what was seen."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bundle", default=DEFAULT_BUNDLE)
    parser.add_argument("--seconds", type=at_least(11), default=30, help="how long to stream")
    parser.add_argument("--mappings", type=at_least(0), default=0, help="how many of the largest mappings are listed")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        scene = Path(folder) / "scene.wav"
        soundfile.write(scene, synthesise_demo(float(arguments.seconds), 0), 16_000)
        result = {
            "bundle_bytes": sum(file.stat().st_size for file in open_bundle(arguments.bundle).folder.iterdir()),
            "file_as_fast_as_possible": first_caption(arguments.bundle, f"file:{scene}"),
            "paced_as_live": resident(arguments.bundle, f"file:{scene}?speed=1", arguments.mappings),
            "bare_interpreter_rss_mib": bare_interpreter(),
        }
    print(json.dumps(result, indent=1))


def first_caption(bundle: str, device: str) -> dict[str, float]:
    """Seconds from starting the process to its first caption, over those of a bare interpreter with the imports."""
    started = time.perf_counter()
    process = _stream(bundle, device)
    assert process.stdout is not None
    process.stdout.readline()
    to_first = time.perf_counter() - started
    process.communicate()
    started = time.perf_counter()
    subprocess.run([sys.executable, "-c", "import numpy, onnxruntime"], check=True)
    imports = time.perf_counter() - started
    return {
        "start_to_first_caption_s": round(to_first, 2),
        "bare_imports_s": round(imports, 2),
        "ratio": round(to_first / imports, 2),
    }


def resident(bundle: str, device: str, largest: int = 0) -> dict[str, Any]:
    """Memory (MiB) and CPU share of a paced stream, read at its first caption and at its last.

    Memory is resident (RSS), the proportional part of it (PSS), in which a page that n processes share counts as 1/n,
    and what is no file's (anonymous), so that nobody can share it. The CPU share is None where there was no second
    caption.

    Args:
        bundle: name or folder.
        device: source of the stream.
        largest: how many of the files and areas that hold the most are listed.

    Raises:
        DeviceError: the stream ended without a caption.
    """
    readings: list[_Reading] = []
    held: dict[str, Held] = {}
    with _stream(bundle, device) as process:
        assert process.stdout is not None
        for _ in process.stdout:
            if (reading := _read(process.pid)) is not None:
                readings.append(reading)
                held = (mappings(process.pid) if largest else {}) or held
    if not readings:
        raise DeviceError(f"`edge-aac stream --bundle {bundle} --device {device}` gave no caption: start it by hand")
    early, late = readings[0], readings[-1]
    elapsed_s = late.clock_s - early.clock_s
    return {
        "rss_mib_early": early.rss,
        "rss_mib_late": late.rss,
        "rss_mib_peak": late.peak,
        "pss_mib_early": early.pss,
        "pss_mib_late": late.pss,
        "anonymous_mib_early": early.anonymous,
        "anonymous_mib_late": late.anonymous,
        "cpu_share_of_one_core": round((late.cpu_s - early.cpu_s) / elapsed_s, 3) if elapsed_s else None,
        **({"mappings": _table(held, largest)} if largest else {}),
    }


@dataclass
class Held:
    """What a file, or an area that is none, holds of a process, in KB; see :func:`resident`."""

    resident: int = 0
    proportional: int = 0
    anonymous: int = 0


_COUNTED = {"Rss:": "resident", "Pss:": "proportional", "Anonymous:": "anonymous"}


def mappings(pid: int) -> dict[str, Held]:
    """What each file, and each area without one, holds of a process; empty where it has just ended."""
    held: dict[str, Held] = {}
    current = Held()
    try:
        for line in Path(f"/proc/{pid}/smaps").read_text(encoding="utf-8", errors="replace").splitlines():
            name, *fields = line.split(maxsplit=5)
            if field := _COUNTED.get(name):
                setattr(current, field, getattr(current, field) + int(fields[0]))
            elif not name.endswith(":"):
                path = fields[4] if len(fields) == 5 else "[anonymous]"  # noqa: PLR2004
                current = held.setdefault(path.rpartition("/")[2], Held())
    except OSError:
        return {}
    return held


def _table(held: dict[str, Held], largest: int) -> dict[str, dict[str, float]]:
    """The largest, in MiB."""
    ordered = sorted(held.items(), key=lambda item: -item[1].resident)[:largest]
    return {name: {key: round(kb / 1024, 1) for key, kb in vars(one).items()} for name, one in ordered}


@dataclass(frozen=True)
class _Reading:
    """Of a process: MiB, and seconds of the processor and of the clock."""

    rss: float
    peak: float
    pss: float
    anonymous: float
    cpu_s: float
    clock_s: float


def _read(pid: int) -> _Reading | None:
    """A process's reading; None where it has just ended."""
    try:
        rss, peak, cpu_s = _status(pid, "VmRSS"), _status(pid, "VmHWM"), _cpu_seconds(pid)
        pss, anonymous = (_mebibytes(Path(f"/proc/{pid}/smaps_rollup"), field) for field in ("Pss", "Anonymous"))
        return _Reading(rss, peak, pss, anonymous, cpu_s, time.perf_counter())
    except (OSError, RuntimeError):
        return None


def bare_interpreter() -> float:
    """Resident memory (MiB) of an interpreter that has imported what the runtime must."""
    code = "import numpy, onnxruntime, sys; sys.stdout.write('.'); sys.stdout.flush(); sys.stdin.read()"
    process = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.read(1)
    memory = _status(process.pid, "VmRSS")
    process.communicate()
    return memory


def _stream(bundle: str, device: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "edge_aac.cli", "stream", "--bundle", bundle, "--device", device]
    return subprocess.Popen([*command, "--every-window", "--format", "json"], stdout=subprocess.PIPE)


def _status(pid: int, field: str) -> float:
    return _mebibytes(Path(f"/proc/{pid}/status"), field)


def _mebibytes(path: Path, field: str) -> float:
    for line in path.read_text(encoding="ascii").splitlines():
        if line.startswith(field + ":"):
            return round(int(line.split()[1]) * 1024 / MIB, 1)
    raise RuntimeError(f"{path} has no {field}: the stream ended before it was measured")


def _cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


if __name__ == "__main__":
    run(main)
