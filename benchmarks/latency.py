"""Milliseconds a window, stage by stage, on one core and more; and what drawing candidates side by side saves.

    python -m benchmarks.latency --cores 1 2

Machines differ and are shared, so every stage is also given in units of a yardstick that runs between the windows:
one product of two 512 x 512 matrices with numpy on one core.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

from benchmarks.command_line import at_least, run
from edge_aac.bundle.store import DEFAULT_BUNDLE
from edge_aac.errors import UsageError

YARDSTICK_SIZE = 512
WARM_UP_WINDOWS = 3  # first runs allocate
STAGES = ("features", "encode", "decode", "rerank", "total")


def main() -> None:
    """Measure each number of cores in a process of its own: thread pools do not shrink."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bundle", default=DEFAULT_BUNDLE)
    parser.add_argument("--cores", type=at_least(1), nargs="+", default=[1, 2])
    parser.add_argument("--windows", type=at_least(2), default=40)
    parser.add_argument("--candidates", type=at_least(1), default=6)
    parser.add_argument("--one", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        print(json.dumps(measure(arguments.bundle, arguments.cores[0], arguments.windows, arguments.candidates)))
        return
    results = []
    for cores in arguments.cores:
        command = [sys.executable, "-m", "benchmarks.latency", "--one", "--bundle", arguments.bundle]
        command += ["--windows", str(arguments.windows), "--candidates", str(arguments.candidates)]
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
        done = subprocess.run(
            [*command, "--cores", str(cores)], check=True, stdout=subprocess.PIPE, env=environment, text=True
        )
        results.append(json.loads(done.stdout))
    print(json.dumps(results, indent=1))


def measure(bundle: str, cores: int, windows: int, candidates: int) -> dict[str, Any]:
    """Medians over ``windows`` windows of the demo scene, this process kept on ``cores`` cores."""
    import numpy as np

    from edge_aac.audio.features import filter_bank
    from edge_aac.audio.sources.demo import synthesise_demo
    from edge_aac.engines.contract import EngineOptions
    from edge_aac.models.seq2seq import Captioner, window_rng
    from quantize.captioning import described, heard

    usable = sorted(os.sched_getaffinity(0))
    if cores > len(usable):
        raise UsageError(f"this process may use {len(usable)} cores, not {cores}: give fewer --cores")
    os.sched_setaffinity(0, usable[:cores])
    captioner = Captioner.open(bundle, EngineOptions(threads=cores), candidates)
    single = Captioner.open(bundle, EngineOptions(threads=cores), 1)
    waveform = synthesise_demo(20.0, 0)
    matrix = np.random.default_rng(0).standard_normal((YARDSTICK_SIZE, YARDSTICK_SIZE)).astype(np.float32)
    samples: dict[str, list[float]] = {name: [] for name in (*STAGES, "yardstick", "one_by_one")}
    for index in range(windows + WARM_UP_WINDOWS):
        start = index * 160
        window = waveform[start : start + 160_000]
        features_ms, fbank = _timed(lambda window=window: filter_bank(window))
        (description,) = described(captioner, [(heard(fbank), window_rng(0, index))])
        latency = description.latency_ms
        yardstick_ms, _ = _timed(lambda: matrix @ matrix)
        alone = described(single, ((heard(fbank), window_rng(number, index)) for number in range(candidates)), 1)
        one_by_one = sum(each.latency_ms.decode for each in alone)
        if index < WARM_UP_WINDOWS:
            continue
        row = {
            "features": features_ms,
            "encode": latency.encode,
            "decode": latency.decode,
            "rerank": latency.rerank,
            "total": features_ms + latency.total,
            "yardstick": yardstick_ms,
            "one_by_one": one_by_one,
        }
        for name, value in row.items():
            samples[name].append(value)
    median = {name: statistics.median(values) for name, values in samples.items()}
    return {
        "bundle": bundle,
        "cores": cores,
        "windows": windows,
        "candidates": candidates,
        "median_ms": {name: round(median[name], 2) for name in STAGES},
        "p90_total_ms": round(statistics.quantiles(samples["total"], n=10)[-1], 2),
        "yardstick_ms": round(median["yardstick"], 3),
        "in_yardsticks": {name: round(median[name] / median["yardstick"], 1) for name in STAGES},
        "decode_one_by_one_over_side_by_side": round(median["one_by_one"] / median["decode"], 2),
    }


def _timed(work: Callable[[], Any]) -> tuple[float, Any]:
    started = time.perf_counter()
    result = work()
    return 1e3 * (time.perf_counter() - started), result


if __name__ == "__main__":
    run(main)
