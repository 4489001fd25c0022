"""What several windows in one batch cost, in units of one window; and how often their captions differ from those alone.

    python -m benchmarks.batches --sounds FOLDER --windows 10000

Batches of all sizes run in turn, so that what else the machine does hits all alike; each size is compared with one
window of the same turn. ``elapsed`` is time by the clock, ``processor`` is that of all cores together: windows of a
batch are encoded side by side on the cores there are. Without ``--sounds`` the windows are those of the demo scene.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.command_line import at_least, run
from edge_aac.audio.features import filter_bank
from edge_aac.audio.sources.demo import synthesise_demo
from edge_aac.audio.sources.file import read_blocks
from edge_aac.audio.windows import WINDOW_SAMPLES, Window
from edge_aac.bundle.store import DEFAULT_BUNDLE
from edge_aac.engines.contract import EngineOptions
from edge_aac.errors import DataError, InputMissingError
from edge_aac.models.contract import Description
from edge_aac.models.seq2seq import Captioner, window_rng
from edge_aac.timebase import SAMPLE_RATE
from quantize.captioning import heard
from quantize.graphs.calibration_windows import SOUND_SUFFIXES

SIZES = (1, 2, 4, 8, 16)
LARGEST = max(SIZES)
WARM_UP_TURNS = 2  # first runs allocate
SCORE_SHOWN = 1e-4
"""What a record shows of a score; smaller differences nobody sees."""


def main() -> None:
    """Parse the command line, measure and print JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bundle", default=DEFAULT_BUNDLE)
    parser.add_argument("--sounds", type=Path, help="folder of recordings")
    parser.add_argument("--windows", type=at_least(LARGEST), default=1000, help="to be compared, in batches of 16")
    parser.add_argument("--turns", type=at_least(1), default=20, help="of all sizes of batches")
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--candidates", type=at_least(1), help="the bundle's own number, where it is not given")
    arguments = parser.parse_args()
    captioner = Captioner.open(arguments.bundle, EngineOptions(threads=arguments.threads), arguments.candidates)
    sound = recordings(arguments.sounds) if arguments.sounds else synthesise_demo(600.0, 0)
    table = {
        "bundle": captioner.bundle.manifest.name,
        "candidates": captioner.rules.candidates,
        "threads": arguments.threads,
        "cost_of_a_batch": costs(captioner, sound, arguments.turns),
        "alone_and_in_16": compare(captioner, sound, arguments.windows),
    }
    print(json.dumps(table, indent=1))


def recordings(folder: Path) -> npt.NDArray[np.float32]:
    """All recordings of a folder behind each other, at 16 kHz.

    Raises:
        InputMissingError: there is none.
    """
    paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in SOUND_SUFFIXES and path.is_file())
    if not paths:
        raise InputMissingError(f"{folder} holds no sound file: name another with --sounds")
    return np.concatenate([block for path in paths for block in read_blocks(path)])


def windows_of(sound: npt.NDArray[np.float32], count: int, seed: int = 0) -> list[Window]:
    """Windows at places drawn by chance, on the samples' own grid."""
    starts = np.random.default_rng(seed).integers(0, len(sound) - WINDOW_SAMPLES, count)
    return [heard(filter_bank(sound[start : start + WINDOW_SAMPLES]), int(start)) for start in starts]


def costs(captioner: Captioner, sound: npt.NDArray[np.float32], turns: int) -> dict[str, Any]:
    """Milliseconds of one ``describe`` of each number of windows, and the ratio to one window's."""
    elapsed: dict[int, list[float]] = {size: [] for size in SIZES}
    processor: dict[int, list[float]] = {size: [] for size in SIZES}
    order = np.random.default_rng(0)
    for turn in range(turns + WARM_UP_TURNS):
        windows = windows_of(sound, LARGEST, turn)
        for size in order.permutation(SIZES).tolist():
            begun = time.perf_counter(), time.process_time()
            describe(captioner, windows[:size])
            if turn >= WARM_UP_TURNS:
                elapsed[size].append(1e3 * (time.perf_counter() - begun[0]))
                processor[size].append(1e3 * (time.process_time() - begun[1]))
    return {
        str(size): {
            "elapsed_ms": round(statistics.median(elapsed[size]), 2),
            "elapsed_of_one": ratio(elapsed[size], elapsed[1]),
            "processor_ms": round(statistics.median(processor[size]), 2),
            "processor_of_one": ratio(processor[size], processor[1]),
            "windows_a_second": round(1e3 * size / statistics.median(elapsed[size]), 1),
        }
        for size in SIZES
    }


def ratio(times: Sequence[float], of_one: Sequence[float]) -> float:
    """Median over the turns."""
    return round(statistics.median(many / one for many, one in zip(times, of_one, strict=True)), 2)


def describe(captioner: Captioner, windows: Sequence[Window]) -> list[Description | DataError]:
    """All windows in one batch, each with the generator that a stream would give it."""
    return captioner.describe(windows, [window_rng(0, window.start) for window in windows])


def compare(captioner: Captioner, sound: npt.NDArray[np.float32], count: int) -> dict[str, Any]:
    """The number of windows whose caption in a batch of 16 differs from the one alone."""
    other_captions: list[dict[str, str]] = []
    other_scores, greatest, compared = 0, 0.0, 0
    seconds = count * WINDOW_SAMPLES // SAMPLE_RATE
    for seed in range(-(-count // LARGEST)):
        windows = windows_of(sound, min(LARGEST, count - compared), 1_000_000 + seed)
        compared += len(windows)
        alone = [found for window in windows for found in describe(captioner, [window])]
        for one, other in zip(alone, describe(captioner, windows), strict=True):
            assert isinstance(one, Description) and isinstance(other, Description), "recordings hold numbers"
            if one.best.text != other.best.text:
                other_captions.append({"alone": one.best.text, "in_16": other.best.text})
                continue
            difference = abs(one.best.hybrid - other.best.hybrid)
            other_scores += difference >= SCORE_SHOWN
            greatest = max(greatest, difference)
    return {
        "windows": compared,
        "seconds_of_sound": seconds,
        "other_captions": len(other_captions),
        "examples": list(islice(other_captions, 5)),
        "other_scores": other_scores,
        "greatest_score_difference": float(f"{greatest:.2g}"),
    }


if __name__ == "__main__":
    run(main)
