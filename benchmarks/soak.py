"""Hours of sound from four live sources in minutes: what grows, what is lost, what is told twice or not at all.

    python -m benchmarks.soak --hours 24

Everything of a stream runs as always but time: capture threads, rings, gates, the shipped bundle, events, health, the
hub and its sinks. Time is simulated (:mod:`benchmarks.simulated_time`), so that equal arguments give equal records, and
a day takes as long as its work. Each source has a clock of its own, 200 ppm apart at most, and gives its sound in
blocks of its own size, one in bursts of two seconds. It hears the hiss of a quiet room; now and then rain with a clock
ticking over it. Prints figures as JSON; exit code 1 where something is not as expected, which ``failures`` names.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.command_line import run
from benchmarks.simulated_time import SimulatedTime, SteppedSource
from benchmarks.soak_events import SCENE_S, SCENES, UNIX_S, EventSink, Plan, named_late, plans, unexpected
from edge_aac.audio.sources.demo import synthesise_demo
from edge_aac.audio.windows import HOP_SAMPLES, WINDOW_SAMPLES, WindowSlicer
from edge_aac.bundle.store import DEFAULT_BUNDLE
from edge_aac.engines.contract import EngineOptions
from edge_aac.models.seq2seq import Captioner
from edge_aac.sinks.jsonl import JsonlSettings, JsonlSink
from edge_aac.streaming.channel import ChannelSettings
from edge_aac.streaming.counters import Counters
from edge_aac.streaming.event_settings import EventSettings
from edge_aac.streaming.gate import EnergyGate, ScoreGate
from edge_aac.streaming.heat import HeatWatch
from edge_aac.streaming.hub import Hub, Outlet
from edge_aac.streaming.liveness import Liveness
from edge_aac.streaming.load import hop_limits, same_gate
from edge_aac.streaming.load_settings import LoadSettings
from edge_aac.streaming.session import Session
from edge_aac.timebase import SAMPLE_RATE

QUEUE_RECORDS = 256
WARM_UP_SHARE, END_SHARE = 0.1, 0.9
SAMPLED_EVERY_S = 30.0
LOOK_S = 5.0
MIB = 1 << 20
SAME_SOUND = 0.98


@dataclass
class Watch:
    """What was seen while the stream ran.

    Attributes:
        resident, descriptors, threads: bytes, open files and threads of the process, once each half simulated minute.
        looks: number of looks at the signs of life, as the watchdog takes them.
        unfed: simulated seconds at which one was missing, and the watchdog was not fed, with what was missing.
    """

    resident: list[int] = field(default_factory=list)
    descriptors: list[int] = field(default_factory=list)
    threads: list[int] = field(default_factory=list)
    looks: int = 0
    unfed: list[tuple[float, str]] = field(default_factory=list)

    def sample(self) -> None:
        """Look at the process."""
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
        self.resident.append(pages * os.sysconf("SC_PAGESIZE"))
        self.descriptors.append(len(os.listdir("/proc/self/fd")))
        self.threads.append(threading.active_count())

    def over(self, values: Sequence[int], begin: float, end: float) -> int:
        """Highest of a part of the run, from one share of it to another.

        What a process holds falls whenever its heap is trimmed, and rises with the next scene: what a machine must have
        for it are the peaks.
        """
        return max(values[int(begin * len(values)) : max(1, int(end * len(values)))] or values)


def main() -> None:
    """Run, print the figures, and say by the exit code whether all is as expected."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bundle", default=DEFAULT_BUNDLE)
    parser.add_argument("--hours", type=float, default=24.0, help="of sound from each source")
    parser.add_argument("--every-minutes", type=float, default=10.0, help="from one scene of a source to its next")
    parser.add_argument("--max-growth", type=float, default=2.0, help="percent of resident memory, after warm-up")
    arguments = parser.parse_args()
    figures = soak(arguments.bundle, arguments.hours, arguments.every_minutes, arguments.max_growth)
    print(json.dumps(figures, indent=1))
    sys.exit(1 if figures["failures"] else 0)


class Room:
    """The sound of a plan, block by block: hiss that nobody hears, and the scenes.

    Args:
        plan: what is heard.
        scenes: samples of each scene.
        seconds: length of the whole.
    """

    def __init__(self, plan: Plan, scenes: Sequence[npt.NDArray[np.float32]], seconds: int) -> None:
        self._plan = plan
        self._scenes = scenes
        self._end = seconds * SAMPLE_RATE
        self._begin = [at_s * SAMPLE_RATE for at_s, _ in plan.scenes]
        hiss = 10 ** (-95 / 20) * np.random.default_rng(1).standard_normal(4 * plan.block_samples)
        self._hiss = hiss.astype(np.float32).reshape(4, -1)

    def block(self, number: int) -> npt.NDArray[np.float32] | None:
        """Block ``number``, or None after the end."""
        first = number * self._plan.block_samples
        if first >= self._end:
            return None
        block = self._hiss[number % 4]
        place = np.searchsorted(self._begin, first + self._plan.block_samples, side="left") - 1
        if place < 0 or first >= self._begin[place] + SCENE_S * SAMPLE_RATE:
            return block
        scene, offset = self._scenes[self._plan.scenes[place][1]], first - self._begin[place]
        block = block.copy()
        begin, end = max(0, offset), min(len(scene), offset + len(block))
        block[begin - offset : end - offset] += scene[begin:end]
        return block


def soak(bundle: str, hours: float, every_minutes: float, max_growth: float) -> dict[str, Any]:
    """Run it.

    Returns:
        The figures; ``failures`` is empty where all is as expected.
    """
    seconds = int(3600 * hours)
    simulated, watch, kept = SimulatedTime(UNIX_S), Watch(), EventSink()
    model = Captioner.open(bundle, EngineOptions(threads=1))
    load = LoadSettings(same_sound=SAME_SOUND)
    scenes = [synthesise_demo(SCENE_S, seed) for seed in range(SCENES)]
    planned, stop = plans(hours, every_minutes), threading.Event()
    with tempfile.TemporaryDirectory() as folder:
        lines = JsonlSink(JsonlSettings(path=Path(folder) / "heard.jsonl", max_mb=1.0, keep=2))
        kinds = ("caption", "event", "gap", "health")
        outlets = [
            Outlet("jsonl", lines, kinds, QUEUE_RECORDS, stop),
            Outlet("events", kept, kinds, QUEUE_RECORDS, stop),
        ]
        hub = Hub(outlets)
        session = Session(
            model=model,
            hub=hub,
            node="soak",
            stop=stop,
            health_interval_s=60.0,
            clocks=simulated.clocks,
            heat=HeatWatch(monotonic=lambda: simulated.now_s),
        )
        for plan in planned:
            room = Room(plan, scenes, seconds)
            session.add(
                SteppedSource(simulated, plan.label, room.block, rate=plan.rate),
                WindowSlicer(WINDOW_SAMPLES, HOP_SAMPLES),
                ChannelSettings(
                    EnergyGate(-70.0),
                    ScoreGate(),
                    same_gate=same_gate(load),
                    hop_limits=hop_limits(load),
                    events=EventSettings().rules(),
                ),
            )
        _watched(simulated, session, watch)
        began_s, began_processor_s = time.perf_counter(), time.process_time()
        session.run()
        wall_s, processor_s = time.perf_counter() - began_s, time.process_time() - began_processor_s
        dropped = {name: health.dropped for name, health in hub.health().items()}
    figures: dict[str, Any] = {
        "hours": hours,
        "sources": len(planned),
        "wall_s": round(wall_s, 1),
        "processor_s": round(processor_s, 1),
        "times_real_time": round(seconds / wall_s, 1),
        "resident_mib_after_warm_up": round(watch.over(watch.resident, WARM_UP_SHARE, 2 * WARM_UP_SHARE) / MIB, 2),
        "resident_mib_at_the_end": round(watch.over(watch.resident, END_SHARE, 1.0) / MIB, 2),
        "descriptors": [min(watch.descriptors), max(watch.descriptors)],
        "threads": [min(watch.threads), max(watch.threads)],
        "records": dict(kept.counts),
        "watchdog_fed": watch.looks - len(watch.unfed),
        "scenes": sum(len(plan.scenes) for plan in planned),
        "events": len(kept.spans),
        "events_named_late": named_late(planned, kept),
        "counters": {channel.label: _table(channel.counters) for channel in session.channels},
    }
    before, after = figures["resident_mib_after_warm_up"], figures["resident_mib_at_the_end"]
    figures["resident_growth_percent"] = round(100 * (after / before - 1), 2)
    figures["failures"] = [
        *unexpected(planned, session.channels, kept),
        *[f"{count} records were dropped by {name}" for name, count in dropped.items() if count],
        *([f"the watchdog was not fed at {watch.unfed[0][0]} s: {watch.unfed[0][1]}"] if watch.unfed else []),
        *([] if watch.looks > seconds / LOOK_S / 2 else [f"the watchdog looked {watch.looks} times only"]),
        *(["descriptors grew"] if watch.descriptors[-1] > watch.descriptors[len(watch.descriptors) // 10] else []),
        *(["threads grew"] if watch.threads[-1] > watch.threads[len(watch.threads) // 10] else []),
        *(["resident memory grew"] if figures["resident_growth_percent"] >= max_growth else []),
    ]
    return figures


def _watched(simulated: SimulatedTime, session: Session, watch: Watch) -> None:
    """Look at the process each half simulated minute, and for signs of life as often as the watchdog does."""
    liveness = Liveness(session.signs, interval_s=LOOK_S, monotonic=lambda: simulated.now_s)
    next_s = {"sample": SAMPLED_EVERY_S, "look": LOOK_S}

    def look() -> None:
        now_s = simulated.now_s
        if now_s >= next_s["sample"]:
            next_s["sample"] += SAMPLED_EVERY_S
            watch.sample()
        if now_s >= next_s["look"]:
            next_s["look"] += LOOK_S
            watch.looks += 1
            if missing := liveness.check():
                watch.unfed.append((now_s, missing[0]))

    simulated.each_step = look


def _table(counters: Counters) -> dict[str, Any]:
    return {
        name: dict(value) if isinstance(value, Counter) else value for name, value in vars(counters).items() if value
    }


if __name__ == "__main__":
    run(main)
