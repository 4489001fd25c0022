"""What parts of a window cost beside the whole of it, in processor time: printed beside the last release's.

    python -m benchmarks.ratios

All are timed in turn in one run of one thread, so that other load hits all alike; it is still no measurement to quote
(`edge-aac bench --report` makes those), and nothing fails by it. What may fail is counted: benchmarks.instructions.
"""

from __future__ import annotations

import argparse
import csv
import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from benchmarks.command_line import at_least, run
from benchmarks.report.history import HISTORY
from benchmarks.report.scene import window_samples
from benchmarks.report.spread import Stages, ratio
from benchmarks.report.ways import describe, open_captioner, whole_window
from benchmarks.report.words import spread_words
from edge_aac.audio.windows import WindowSlicer
from edge_aac.bundle.store import DEFAULT_BUNDLE
from edge_aac.sinks.stdout import StdoutSink
from edge_aac.streaming.building import RecordBuilder, file_span
from edge_aac.timebase import SAMPLE_RATE

WHOLE = "whole window"
PARTS = {
    "window 1 s after the last": "window_at_hop_1_s_over_hop_10_s",
    "frames of a window": None,
    "window with twice the candidates": None,
    "record of a window": None,
}
"""What is compared with a whole window → the column of the history that holds the same ratio."""

_WARM_UP = 2


def main() -> None:
    """Time all, and print their ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bundle", default=DEFAULT_BUNDLE)
    parser.add_argument("--repetitions", type=at_least(2), default=15)
    arguments = parser.parse_args()
    rows = measure(arguments.bundle, arguments.repetitions)
    print("\n".join(lines(rows, newest(HISTORY))))


def measure(bundle: str, repetitions: int) -> dict[str, list[Stages]]:
    """Name → processor milliseconds of each repetition, all in the same order."""
    ways = _ways(bundle)
    random = np.random.default_rng(0)
    rows: dict[str, list[Stages]] = {name: [] for name in ways}
    for repetition in range(_WARM_UP + repetitions):
        for name in random.permutation(list(ways)).tolist():
            begun_s = time.process_time()
            ways[name](repetition)
            if repetition >= _WARM_UP:
                rows[name].append({"ms": 1e3 * (time.process_time() - begun_s)})
    return rows


def lines(rows: Mapping[str, list[Stages]], last: Mapping[str, str]) -> list[str]:
    """A line for each ratio, with what the last release had."""
    told = []
    for part, column in PARTS.items():
        before = last.get(column or "", "")
        beside = f"; {last['version']} had {before}" if before else ""
        told.append(f"{part} / {WHOLE}: {spread_words(ratio(rows[part], rows[WHOLE]))}{beside}")
    return told


def newest(path: Path) -> Mapping[str, str]:
    """The last line of a history, column → value; empty where there is none."""
    if not path.is_file():
        return {}
    with path.open(newline="", encoding="utf-8") as stream:
        return ([{}, *csv.DictReader(stream)])[-1]


def _ways(bundle: str) -> dict[str, Callable[[int], object]]:
    opened, many = open_captioner(bundle, 1), open_captioner(bundle, 1)
    many.rules = many.rules.model_copy(update={"candidates": 2 * opened.rules.candidates})
    slicer, position = WindowSlicer(hop_samples=SAMPLE_RATE), 0
    builder = RecordBuilder("benchmark", "demo", opened.identity)
    sink = StdoutSink("json", stream=open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115 - as long as the process
    window = whole_window(0)
    described, span = describe(opened, window, 0), file_span(0, window.samples)

    def heard(seconds: int) -> None:
        nonlocal position
        samples = window_samples(0)[: seconds * SAMPLE_RATE]
        for found in slicer.push(position, samples):
            describe(opened, found, 0)
        position += len(samples)

    heard(10)
    return {
        WHOLE: lambda index: describe(opened, whole_window(index), index),
        "window 1 s after the last": lambda _: heard(1),
        "frames of a window": whole_window,
        "window with twice the candidates": lambda index: describe(many, whole_window(index), index),
        "record of a window": lambda index: sink.publish(builder.caption(index, span, window, described)),
    }


if __name__ == "__main__":
    run(main)
