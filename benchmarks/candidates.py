"""What more candidates a window bring and cost: events, order, hybrid score, and the time of drawing and ranking.

    python -m benchmarks.candidates --data FOLDER --fold 4 --output candidates.json --plot candidates.svg

Every window is captioned with each number of candidates before the next window comes, in an order that changes from
window to window, so that what else the machine does hits all alike; times are ratios to one candidate's of the same
window. The number that is picked is the smallest whose event F1 on two-sound scenes is within the noise of the best:
the 95 % paired bootstrap interval of the difference holds 0.
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.command_line import run
from edge_aac.bundle.store import DEFAULT_BUNDLE
from edge_aac.engines.contract import EngineOptions
from edge_aac.errors import UsageError
from edge_aac.models.seq2seq import Captioner, window_rng
from quantize.captioning import described, heard
from quantize.data.lexicon import named_events
from quantize.evaluation.statistics import bootstrap, paired_bootstrap
from quantize.evaluation.windows import TruthWindow, evaluation_windows
from quantize.training.metrics import event_counts, event_scores, named_share, order_share

NUMBERS = (1, 2, 4, 6, 8, 16, 50)
WARM_UP_WINDOWS = 3  # first runs allocate


@dataclass
class Draws:
    """What one number of candidates gave, a value a window."""

    captions: list[str] = field(default_factory=list)
    hybrid: list[float] = field(default_factory=list)
    milliseconds: list[float] = field(default_factory=list)


def main() -> None:
    """Parse the command line, measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bundle", default=DEFAULT_BUNDLE)
    parser.add_argument("--data", type=Path, required=True, help="folder with clips.csv")
    parser.add_argument("--fold", type=int, default=4, help="recordings that the bundle was not trained on")
    parser.add_argument("--scenes", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0, help="of the candidates")
    parser.add_argument("--numbers", type=int, nargs="+", default=list(NUMBERS), help="of candidates")
    parser.add_argument("--output", type=Path, help="JSON file")
    parser.add_argument("--plot", type=Path, help="SVG file; needs matplotlib")
    arguments = parser.parse_args()
    if arguments.plot:
        import matplotlib  # noqa: F401 (before the measuring, not after it)
    table = measure(
        arguments.bundle, arguments.data, arguments.fold, arguments.scenes, arguments.seed, arguments.numbers
    )
    print(as_text(table))
    if arguments.output:
        arguments.output.write_text(json.dumps(table, indent=1) + "\n", encoding="utf-8")
    if arguments.plot:
        arguments.plot.write_text(plot(table), encoding="utf-8")


def measure(bundle: str, data: Path, fold: int, scene_count: int, seed: int, numbers: Sequence[int]) -> dict[str, Any]:
    """The whole curve; one candidate is always among the numbers, for times are told as ratios to it."""
    numbers = sorted({1, *numbers})
    captioners = {number: Captioner.open(bundle, EngineOptions(threads=1), number) for number in numbers}
    some = captioners[1]
    if some.sound_names is not None:
        raise UsageError(
            f"{bundle} lists everyday sounds, and this curve is of ESC-10's ten classes: give another --bundle"
        )
    windows = [w for w in evaluation_windows(some, data, fold, scene_count) if w.kind in {"single", "scene"}]
    draws = interleaved(captioners, windows, seed)
    scenes = [index for index, window in enumerate(windows) if window.kind == "scene"]
    truths = [windows[index].truth for index in scenes]
    counts = {number: event_counts([draws[number].captions[i] for i in scenes], truths) for number in numbers}
    rows = [_row(number, draws[number], draws[1], windows, counts[number]) for number in numbers]
    picked, differences = pick(counts)
    for row in rows:
        row["f1_below_best"] = [round(value, 4) for value in differences[row["candidates"]]]
    return {
        "schema": "edge-aac/candidates/1",
        "bundle": some.bundle.manifest.name,
        "version": some.bundle.manifest.version,
        "measured_by": f"python -m benchmarks.candidates --fold {fold} --scenes {scene_count} --seed {seed}",
        "single_clips": len(windows) - len(scenes),
        "two_sound_scenes": len(scenes),
        "rows": rows,
        "rule": "the smallest number whose F1 is within the noise of the best (95 % paired bootstrap over scenes)",
        "picked": picked,
    }


def interleaved(captioners: dict[int, Captioner], windows: Sequence[TruthWindow], seed: int) -> dict[int, Draws]:
    """Every window with every number of candidates, in an order drawn anew for each window."""
    order = np.random.default_rng(seed)
    draws = {number: Draws() for number in captioners}
    for index, window in enumerate([*windows[:WARM_UP_WINDOWS], *windows]):
        for number in order.permutation(list(captioners)).tolist():
            (captioned,) = described(captioners[number], [(heard(window.fbank), window_rng(seed, 0))])
            if index < WARM_UP_WINDOWS:
                continue
            draws[number].captions.append(captioned.best.text)
            draws[number].hybrid.append(captioned.best.hybrid)
            draws[number].milliseconds.append(captioned.latency_ms.decode + captioned.latency_ms.rerank)
    return draws


def pick(counts: dict[int, np.ndarray]) -> tuple[int, dict[int, tuple[float, float]]]:
    """The number that the rule picks, and for each how far its F1 is from the best one's (95 % interval).

    Args:
        counts: number of candidates → (scenes, 4) of :func:`quantize.training.metrics.event_counts`.
    """
    best = max(sorted(counts), key=lambda number: _f1(counts[number]))
    differences = {number: paired_bootstrap(counts[best], rows) for number, rows in counts.items()}
    return min(number for number, (low, _) in differences.items() if low <= 0.0), differences


def as_text(table: dict[str, Any]) -> str:
    """The table for a terminal."""
    lines = ["candidates  F1 (95 %)              single  order   hybrid  decode + rerank, of one candidate's"]
    for row in table["rows"]:
        low, high = row["f1_interval"]
        lines.append(
            f"{row['candidates']:>10}  {row['f1']:.3f} ({low:.3f} – {high:.3f})  {row['single_named']:.3f}   "
            f"{row['order']:.3f}   {row['mean_hybrid']:.3f}  {row['time_ratio']:.2f} ({row['median_ms']:.1f} ms)"
        )
    return "\n".join([*lines, f"picked: {table['picked']}, {table['rule']}"])


def plot(table: dict[str, Any]) -> str:
    """Quality above, time below, over the number of candidates."""
    from quantize.evaluation.plots import curves_plot, standalone

    rows = table["rows"]
    quality = {
        "events of scenes, F1": [row["f1"] for row in rows],
        "single clips": [row["single_named"] for row in rows],
        "order of two": [row["order"] for row in rows],
    }
    bands = {"events of scenes, F1": [tuple(row["f1_interval"]) for row in rows]}
    time = {"decode + rerank": [row["time_ratio"] for row in rows]}
    panels = [("share", quality), ("times one candidate's", time)]
    return standalone(curves_plot("candidates", [row["candidates"] for row in rows], "candidates", panels, bands))


def _row(number: int, own: Draws, one: Draws, windows: Sequence[TruthWindow], counts: np.ndarray) -> dict[str, Any]:
    single = [index for index, window in enumerate(windows) if window.kind == "single"]
    scenes = [index for index, window in enumerate(windows) if window.kind == "scene"]
    ordered = [index for index in scenes if windows[index].relation == "sequence"]
    captioned = own.captions
    scores = event_scores([captioned[i] for i in scenes], [windows[i].truth for i in scenes])
    ratios = [mine / theirs for mine, theirs in zip(own.milliseconds, one.milliseconds, strict=True)]
    return {
        "candidates": number,
        "f1": round(scores.f1, 4),
        "f1_interval": [round(value, 4) for value in bootstrap(counts)],
        "exact": round(scores.exact, 4),
        "single_named": round(named_share([captioned[i] for i in single], [windows[i].truth[0] for i in single]), 4),
        "order": round(order_share([captioned[i] for i in ordered], [windows[i].truth for i in ordered]), 4),
        "nothing_named": sum(not named_events(caption) for caption in captioned),
        "mean_hybrid": round(statistics.fmean(own.hybrid), 4),
        "median_ms": round(statistics.median(own.milliseconds), 2),
        "time_ratio": round(statistics.median(ratios), 3),
    }


def _f1(counts: np.ndarray) -> float:
    hits, named, there, _ = counts.sum(axis=0).tolist()
    return 2.0 * hits / max(named + there, 1)


if __name__ == "__main__":
    run(main)
