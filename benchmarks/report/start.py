"""What a stream takes before it says anything: time to start, memory, and room on the disk."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import soundfile

import benchmarks
from benchmarks.memory import bare_interpreter, first_caption, resident
from benchmarks.report.plan import Log, Plan
from benchmarks.report.spread import spread
from benchmarks.starting import COMMANDS, seconds_of, seconds_to_listening
from edge_aac.audio.sources.demo import synthesise_demo
from edge_aac.bundle.store import open_bundle
from edge_aac.timebase import SAMPLE_RATE

_ROOT = Path(benchmarks.__file__).parents[1]
_LISTENED_S = 30


def measure(plan: Plan, log: Log) -> dict[str, Any]:
    """Seconds of starts in turn, memory of a paced stream of each bundle, and sizes."""
    with tempfile.TemporaryDirectory() as folder:
        scene = Path(folder) / "scene.wav"
        sound_s = min(_LISTENED_S, plan.sound_s)
        soundfile.write(scene, synthesise_demo(float(sound_s), 0), SAMPLE_RATE)
        starts: dict[str, list[float]] = {}
        for repetition in range(plan.slow_repetitions):
            log(f"starts, {repetition + 1} of {plan.slow_repetitions}")
            for name, command in COMMANDS.items():
                starts.setdefault(name, []).append(seconds_of(command))
            for bundle in plan.bundles:
                heard = f"file:{scene}"
                listening = seconds_to_listening(bundle, f"{heard}?speed=1")
                starts.setdefault(f"{bundle}: to listening", []).append(listening)
                first = first_caption(bundle, heard)["start_to_first_caption_s"]
                starts.setdefault(f"{bundle}: to the first caption of a file", []).append(first)
        memory = {}
        for bundle in plan.bundles:
            log(f"{bundle}: memory of a stream of {sound_s} s")
            memory[bundle] = resident(bundle, f"file:{scene}?speed=1")
    return {
        "seconds": {name: spread(values) for name, values in starts.items()},
        "memory_mib": memory,
        "bare_interpreter_rss_mib": bare_interpreter(),
        "bytes": {
            **{f"bundle {name}": _folder_bytes(open_bundle(name).folder) for name in plan.bundles},
            "wheel": wheel_bytes(),
            "image": "not measured: build it with docker/ and ask `docker image inspect`",
        },
    }


def _folder_bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.iterdir() if path.is_file())


def wheel_bytes() -> int | str:
    """Size of the wheel, built anew; or why there is none: it takes the source tree and hatchling."""
    if not (_ROOT / "pyproject.toml").is_file():
        return "not measured: edge-aac is installed, and its source tree, which a wheel is built from, is not here"
    if importlib.util.find_spec("hatchling") is None:
        return "not measured: building the wheel needs hatchling, pip install hatchling brings it"
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", folder]
        subprocess.run(command, cwd=_ROOT, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        (wheel,) = Path(folder).glob("*.whl")
        return wheel.stat().st_size
