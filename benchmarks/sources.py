"""What more sources cost in one process: processor time, memory, and whether each still says what it says alone.

    python -m benchmarks.sources --counts 1 2 4 8 16

Each count runs in a process of its own, with sources that are paced as live (``demo:?speed=1`` with another seed each)
or read as fast as possible. Costs are ratios to one source in the same run of this program: ``processor`` is the
time of all cores, ``busy`` the time by the clock in which the scheduler does not wait for sound. Windows of a batch
are encoded side by side on the cores there are, so that ``busy`` says how many sources a machine can follow.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from typing import Any

from benchmarks.command_line import at_least
from edge_aac.bundle.store import DEFAULT_BUNDLE
from edge_aac.errors import DataError
from edge_aac.models.contract import Description, WindowModel
from edge_aac.records import Caption, Record

PACES = ("live", "fast")
LIVE_SPEED = 1.0


class _Collector:
    """A sink that keeps each source's captions."""

    def __init__(self) -> None:
        self.captions: dict[str, list[str]] = {}

    def publish(self, record: Record) -> None:
        if isinstance(record, Caption):
            self.captions.setdefault(record.source, []).append(record.caption)

    def close(self) -> None:
        """Nothing is held back."""


class _Timed:
    """A model that counts the time by the clock, and of its own thread, that its batches take."""

    def __init__(self, model: WindowModel) -> None:
        self._model = model
        self.elapsed_s = 0.0
        self.thread_s = 0.0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._model, name)

    def describe(self, *batch: Any) -> list[Description | DataError]:
        began_s, thread_began_s = time.perf_counter(), time.thread_time()
        described = self._model.describe(*batch)
        self.elapsed_s += time.perf_counter() - began_s
        self.thread_s += time.thread_time() - thread_began_s
        return described


def main() -> None:
    """Measure each count, and print all as one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bundle", default=DEFAULT_BUNDLE)
    parser.add_argument("--counts", type=at_least(1), nargs="+", default=[1, 2, 4, 8, 16])
    parser.add_argument("--seconds", type=at_least(12), default=40, help="of sound from each source")
    parser.add_argument("--hop", type=float, default=2.0, help="seconds from one window to the next")
    parser.add_argument("--pace", choices=PACES, default="live")
    parser.add_argument("--one", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        numbers = range(arguments.counts[0])
        speed = LIVE_SPEED if arguments.pace == "live" else 0.0
        print(json.dumps(measure(arguments.bundle, numbers, arguments.seconds, arguments.hop, speed)))
        return
    counts = dict.fromkeys([1, *arguments.counts])
    results = {
        count: measure_apart(arguments.bundle, count, arguments.seconds, arguments.hop, arguments.pace)
        for count in counts
    }
    print(json.dumps(compared(results), indent=1))


def measure_apart(bundle: str, count: int, seconds: int, hop_s: float, pace: str) -> dict[str, Any]:
    """:func:`measure` in a process of its own, with ``count`` sources of one of the :data:`PACES`."""
    command = [sys.executable, "-m", "benchmarks.sources", "--one", "--pace", pace, "--counts", str(count)]
    command += ["--bundle", bundle, "--seconds", str(seconds), "--hop", str(hop_s)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, env=environment, text=True)
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def measure(bundle: str, seeds: Sequence[int], seconds: int, hop_s: float, speed: float) -> dict[str, Any]:
    """Caption one scene for each seed side by side.

    Returns:
        Processor and busy seconds of the session, without what opening the bundle and its first batches take; the
        largest resident memory in MB; the windows, and how many of them were skipped; and each scene's captions by
        seed.
    """
    from edge_aac.audio.sources.demo import DemoSource, synthesise_demo
    from edge_aac.audio.windows import WINDOW_SAMPLES, WindowSlicer, file_windows
    from edge_aac.models.seq2seq import Captioner, window_rng
    from edge_aac.streaming.channel import ChannelSettings
    from edge_aac.streaming.gate import EnergyGate
    from edge_aac.streaming.hub import Hub, Outlet
    from edge_aac.streaming.session import Session
    from edge_aac.timebase import SAMPLE_RATE

    model = _Timed(Captioner.open(bundle))
    warm_up = synthesise_demo(12.0, 0)
    for window in file_windows([warm_up]):
        # First runs allocate, of one window and of many.
        for count in (1, len(seeds)):
            model.describe([window] * count, [window_rng(0, 0) for _ in range(count)])
    model.elapsed_s = model.thread_s = 0.0
    stop, sink = threading.Event(), _Collector()
    hub = Hub([Outlet("collector", sink, ("caption",), 4096, stop)])
    session = Session(model=model, hub=hub, node="benchmark", stop=stop, health_interval_s=0.0)
    for seed in seeds:
        session.add(
            DemoSource(synthesise_demo(seconds, seed), speed, label=str(seed)),
            WindowSlicer(WINDOW_SAMPLES, round(hop_s * SAMPLE_RATE)),
            ChannelSettings(EnergyGate(-70.0), every_window=True),
        )
    before_s, thread_before_s = time.process_time(), time.thread_time()
    session.run()
    return {
        "processor_s": time.process_time() - before_s,
        "busy_s": time.thread_time() - thread_before_s - model.thread_s + model.elapsed_s,
        "resident_mb": _resident_mb(),
        "windows": sum(channel.counters.windows for channel in session.channels),
        "skipped": sum(channel.counters.skipped.total() for channel in session.channels),
        "captions": sink.captions,
    }


def compared(results: dict[int, dict[str, Any]]) -> dict[str, Any]:
    """Each count beside one source: processor time as a ratio, memory as MB a source more, captions as differences.

    Captions are compared between the largest count and all others, scene by scene.
    """
    one, largest = results[1], results[max(results)]
    table = {}
    for count, result in results.items():
        pairs = [
            (caption, other)
            for seed, captions in result["captions"].items()
            for caption, other in zip(captions, largest["captions"][seed], strict=True)
        ]
        table[str(count)] = {
            "processor_of_one_source": round(result["processor_s"] / one["processor_s"], 2),
            "processor_s": round(result["processor_s"], 2),
            "busy_of_one_source": round(result["busy_s"] / one["busy_s"], 2),
            "busy_s": round(result["busy_s"], 2),
            "resident_mb": round(result["resident_mb"], 1),
            "mb_a_source_more": round((result["resident_mb"] - one["resident_mb"]) / max(1, count - 1), 2),
            "windows": result["windows"],
            "skipped": result["skipped"],
            "captions_other_than_with_most_sources": sum(caption != other for caption, other in pairs),
        }
    return table


def _resident_mb() -> float:
    """The largest resident memory of this process so far, in MB (2^20 bytes)."""
    with open("/proc/self/status", encoding="ascii") as status:
        lines = dict(line.split(":", 1) for line in status)
    return int(lines["VmHWM"].split()[0]) / 1024


if __name__ == "__main__":
    main()
