"""What drawing few candidates first brings and costs: mean number drawn, time, and what captions lose by it.

    python -m benchmarks.first_candidates --data FOLDER --data FOLDER --scenes 60 --candidates 6 20 50

Every scene is captioned with each number of candidates, all at once and the first ones before the others, in an order
that changes from scene to scene. Times are processor time of the whole window but its features; the ratio is that of
the sums, for a window that draws twice costs more than one that draws at once. The bundle may have been trained on the
recordings: both ways hear the same scenes, and only their difference is of use.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.command_line import at_least, run
from edge_aac.audio.features import filter_bank
from edge_aac.audio.windows import Window
from edge_aac.bundle.store import DEFAULT_BUNDLE
from edge_aac.engines.contract import EngineOptions
from edge_aac.errors import UsageError
from edge_aac.models.choices import Choices
from edge_aac.models.contract import Description, WindowModel
from edge_aac.models.seq2seq import Captioner, window_rng
from quantize.captioning import described, heard
from quantize.data.everyday.lexicon import english
from quantize.data.everyday.named_sounds import sound_scores
from quantize.data.everyday.reading import read
from quantize.evaluation.everyday.recordings import read_folders
from quantize.evaluation.everyday.scenes import sound_scenes
from quantize.evaluation.everyday.truth import Moments

SCENE_SEED = 4405
WARM_UP_WINDOWS = 2  # first runs allocate

Way = tuple[int, int | None]
"""Number of candidates, and how many of them are drawn first; None: all at once."""


@dataclass
class Draws:
    """What one way gave, a value a window."""

    best: list[str] = field(default_factory=list)
    hybrid: list[float] = field(default_factory=list)
    drawn: list[int] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)


def main() -> None:
    """Parse the command line, measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bundle", default=DEFAULT_BUNDLE)
    parser.add_argument("--data", type=Path, action="append", required=True, help="folder with clips.csv")
    parser.add_argument("--fold", type=int, default=4)
    parser.add_argument("--scenes", type=at_least(2), default=60)
    parser.add_argument("--candidates", type=at_least(3), nargs="+", default=[6, 20, 50])
    parser.add_argument("--first", type=at_least(2), default=2)
    parser.add_argument("--seed", type=int, default=0, help="of the candidates")
    arguments = parser.parse_args()
    ways: list[Way] = [(number, first) for number in arguments.candidates for first in (None, arguments.first)]
    models = {way: _captioner(arguments.bundle, way) for way in ways}
    if models[ways[0]].sound_names is None:
        raise UsageError(f"{arguments.bundle} lists no sounds, by which its captions could be judged: give another")
    lexicon = english()
    folders = read_folders(lexicon, arguments.data, (arguments.fold,))
    recordings = [one for folder in folders for one in folder.recordings]
    scenes = [
        (heard(filter_bank(scene.waveform), start), scene.moments)
        for start, scene in enumerate(sound_scenes(lexicon, recordings, arguments.scenes, SCENE_SEED))
    ]
    draws = interleaved(models, [window for window, _ in scenes], arguments.seed)
    rows = [row(number, arguments.first, draws, [moments for _, moments in scenes]) for number in arguments.candidates]
    print(json.dumps({"scenes": len(scenes), "first": arguments.first, "rows": rows}, indent=1))


def _captioner(bundle: str, way: Way) -> Captioner:
    number, first = way
    # As many as all: a bundle's own number does not count.
    return Captioner.open(bundle, EngineOptions(threads=1), number, Choices(first_candidates=first or number))


def interleaved(models: Mapping[Way, WindowModel], windows: Sequence[Window], seed: int) -> dict[Way, Draws]:
    """Every window in every way before the next one comes, in an order drawn anew for each window."""
    order = np.random.default_rng(seed)
    draws = {way: Draws() for way in models}
    ways = list(models)
    for index, window in enumerate([*windows[:WARM_UP_WINDOWS], *windows]):
        for place in order.permutation(len(ways)).tolist():
            way = ways[place]
            begun = time.process_time()
            (description,) = described(models[way], [(window, window_rng(seed, window.start))])
            seconds = time.process_time() - begun
            if index >= WARM_UP_WINDOWS:
                _note(draws[way], description, seconds)
    return draws


def _note(draws: Draws, description: Description, seconds: float) -> None:
    draws.best.append(description.best.text)
    draws.hybrid.append(description.best.hybrid)
    draws.drawn.append(description.candidates)
    draws.seconds.append(seconds)


def row(number: int, first: int, draws: dict[Way, Draws], truths: Sequence[Moments]) -> dict[str, Any]:
    """The two ways of drawing one number of candidates beside each other.

    Args:
        number: of candidates.
        first: of those drawn first.
        draws: of both ways at least.
        truths: what is heard in each window.
    """
    lexicon = english()
    whole, few = draws[number, None], draws[number, first]
    readings = {way: [read(lexicon, text) for text in draws[way].best] for way in ((number, None), (number, first))}
    scores = {way: sound_scores(lexicon, readings[way], list(truths)) for way in readings}
    same = [
        one.sounds == other.sounds for one, other in zip(readings[number, None], readings[number, first], strict=True)
    ]
    return {
        "candidates": number,
        "mean_drawn": round(float(np.mean(few.drawn)), 2),
        "settled_by_the_first": round(float(np.mean(np.array(few.drawn) == first)), 3),
        "time_ratio": round(sum(few.seconds) / sum(whole.seconds), 3),
        "mean_ms": [round(1e3 * float(np.mean(each.seconds)), 2) for each in (whole, few)],
        "mean_hybrid": [round(float(np.mean(each.hybrid)), 4) for each in (whole, few)],
        "f1": [round(scores[way].f1, 4) for way in ((number, None), (number, first))],
        "same_sounds": round(float(np.mean(same)), 3),
    }


if __name__ == "__main__":
    run(main)
