"""Start-up, resident memory and size of the installed ``edge-aac stream``.

    python -m benchmarks.memory --seconds 60

Streams a synthesised scene paced as a microphone gives it. The baseline of the same run is a bare interpreter that
imports numpy and onnxruntime and does nothing.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import soundfile

from benchmarks.command_line import run
from edge_aac.audio.sources.demo import synthesise_demo
from edge_aac.bundle.store import DEFAULT_BUNDLE, open_bundle

MIB = 1 << 20


def main() -> None:
    """Run the stream, watch it, print what was seen."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bundle", default=DEFAULT_BUNDLE)
    parser.add_argument("--seconds", type=float, default=30.0, help="how long to stream")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        scene = Path(folder) / "scene.wav"
        soundfile.write(scene, synthesise_demo(arguments.seconds, 0), 16_000)
        result = {
            "bundle_bytes": sum(file.stat().st_size for file in open_bundle(arguments.bundle).folder.iterdir()),
            "file_as_fast_as_possible": first_caption(arguments.bundle, f"file:{scene}"),
            "paced_as_live": resident(arguments.bundle, f"file:{scene}?speed=1", arguments.seconds),
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


def resident(bundle: str, device: str, seconds: float) -> dict[str, Any]:
    """Memory (MiB) and CPU share of a paced stream, read while it runs: resident (RSS), and the proportional part of
    it (PSS), in which a page that n processes share counts as 1/n."""
    process = _stream(bundle, device)
    assert process.stdout is not None
    time.sleep(min(12.0, seconds / 2))
    early, early_pss = _status(process.pid, "VmRSS"), _proportional(process.pid)
    cpu_before, clock_before = _cpu_seconds(process.pid), time.perf_counter()
    time.sleep(max(1.0, seconds / 2 - 2.0))
    cpu = (_cpu_seconds(process.pid) - cpu_before) / (time.perf_counter() - clock_before)
    late, peak = _status(process.pid, "VmRSS"), _status(process.pid, "VmHWM")
    late_pss = _proportional(process.pid)
    process.communicate()
    return {
        "rss_mib_early": early,
        "rss_mib_late": late,
        "rss_mib_peak": peak,
        "pss_mib_early": early_pss,
        "pss_mib_late": late_pss,
        "cpu_share_of_one_core": round(cpu, 3),
    }


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


def _proportional(pid: int) -> float:
    return _mebibytes(Path(f"/proc/{pid}/smaps_rollup"), "Pss")


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
