"""What an ensemble costs a window, in units of what its members cost alone.

    python -m benchmarks.ensembles --bundle seed-1/,seed-2/

Every turn describes one window of the demo scene with each member and with the ensemble, in an order drawn by chance,
so that what else the machine does hits all alike; the ratios are those of one turn, and their median is told.
``of_first`` is the ensemble against its first member, ``of_sum`` against all members one after the other: what is above
1 there, the mixture itself costs.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from typing import Any

import numpy as np

from benchmarks.batches import windows_of
from benchmarks.command_line import at_least, run
from edge_aac.audio.sources.demo import synthesise_demo
from edge_aac.audio.windows import Window
from edge_aac.bundle.names import bundle_names
from edge_aac.bundle.store import DEFAULT_BUNDLE
from edge_aac.engines.contract import EngineOptions
from edge_aac.errors import UsageError
from edge_aac.models.choices import Choices
from edge_aac.models.contract import Description, Latency
from edge_aac.models.opening import CaptioningModel, open_captioning
from edge_aac.models.seq2seq import window_rng

SCENE_S = 60.0
WARM_UP_TURNS = 2  # first runs allocate
STAGES = ("total", "encode", "decode", "rerank")


def main() -> None:
    """Parse the command line, measure and print JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    twice = f"{DEFAULT_BUNDLE},{DEFAULT_BUNDLE}"
    parser.add_argument("--bundle", default=twice, help="bundles of one vocabulary, with commas")
    parser.add_argument("--turns", type=at_least(1), default=50, help="windows")
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--candidates", type=at_least(1), help="the first bundle's own number, where it is not given")
    parser.add_argument("--method", choices=("nucleus", "greedy", "beam"), help="the first bundle's own by default")
    arguments = parser.parse_args()
    options, choices = EngineOptions(threads=arguments.threads), Choices(method=arguments.method)
    names = bundle_names(arguments.bundle)
    if len(names) == 1:
        raise UsageError("one bundle is no ensemble: name several with commas between them, or one of them twice")
    ensemble = open_captioning(arguments.bundle, None, options, arguments.candidates, choices)
    members = [open_captioning(name, None, options, ensemble.rules.candidates, choices) for name in names]
    table = {
        "bundle": ensemble.identity.bundle,
        "precision": ensemble.identity.precision,
        "method": ensemble.rules.method,
        "candidates": ensemble.rules.candidates,
        "threads": arguments.threads,
        **costs(members, ensemble, arguments.turns),
    }
    print(json.dumps(table, indent=1))


def costs(members: list[CaptioningModel], ensemble: CaptioningModel, turns: int) -> dict[str, Any]:
    """Median milliseconds of each stage, and the ratios.

    Args:
        members: each bundle by itself.
        ensemble: all of them together.
        turns: number of windows, after :data:`WARM_UP_TURNS`.
    """
    windows = windows_of(synthesise_demo(SCENE_S), turns + WARM_UP_TURNS)
    models = [*members, ensemble]
    taken: list[list[Latency]] = []
    order = np.random.default_rng(0)
    for window in windows:
        shuffled: list[int] = order.permutation(len(models)).tolist()
        of_turn = {number: _latency(models[number], window) for number in shuffled}
        taken.append([of_turn[number] for number in range(len(models))])
    kept = taken[WARM_UP_TURNS:]
    return {
        "windows": len(kept),
        "stages": {stage: _stage(kept, stage) for stage in STAGES},
    }


def _stage(turns: list[list[Latency]], stage: str) -> dict[str, float]:
    alone = [[getattr(latency, stage) for latency in turn[:-1]] for turn in turns]
    together = [getattr(turn[-1], stage) for turn in turns]
    return {
        "first_ms": round(statistics.median(each[0] for each in alone), 3),
        "ensemble_ms": round(statistics.median(together), 3),
        "of_first": round(statistics.median(all_ / each[0] for all_, each in zip(together, alone, strict=True)), 3),
        "of_sum": round(statistics.median(all_ / sum(each) for all_, each in zip(together, alone, strict=True)), 3),
    }


def _latency(model: CaptioningModel, window: Window) -> Latency:
    started = time.perf_counter()
    (found,) = model.describe([window], [window_rng(0, window.start)])
    assert isinstance(found, Description), "the scene holds numbers"
    latency = found.latency_ms
    assert latency.total <= 1e3 * (time.perf_counter() - started), "the stages are parts of the whole"
    return latency


if __name__ == "__main__":
    run(main)
