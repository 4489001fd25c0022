"""A decoding step whose weights alone are in 8 bits, in blocks: of fp32's time, and how close it stays.

    python -m benchmarks.weight_bits
    python -m benchmarks.weight_bits --bundle FOLDER --blocks 32 64 128 256 --accuracy-levels 0 4 --windows 0

A step of few rows reads its weights and computes little. ONNX Runtime's own operator MatMulNBits reads them in 8 bits,
each block with a scale of its own, and finds the range of the activations row by row: neighbours in a batch change
nothing. `edge-aac build-engine` makes the form "128, 4" (values in a block, the operator's ``accuracy_level``), or
"32, 4" where that is not faithful; "int8" is its other one for processors, with one range a tensor. Steps of all are
timed in turn, in processor time of one thread; ratios are of the same turn. ``read_gb_per_s`` is the speed at which one
thread reads a large array in the same run: weights that come no faster bound a step. Greedy captions are those of the
gate's made-up windows.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.command_line import at_least, run
from edge_aac.bundle.store import DEFAULT_BUNDLE
from edge_aac.engines.choice import load_engine
from edge_aac.engines.contract import Arrays, Engine, EngineOptions
from edge_aac.engines.onnx_runtime import OnnxRuntimeEngine
from edge_aac.errors import DataError
from edge_aac.models.contract import not_cancelled
from edge_aac.models.decoding import CandidateDecoder
from edge_aac.models.seq2seq import Captioner, window_rng
from quantize.captioning import heard
from quantize.device.check_windows import check_windows
from quantize.device.places import parent_of
from quantize.graphs.blocks import BLOCKS, INT8_ACTIVATIONS, weights_in_blocks
from quantize.graphs.int8 import dynamic_int8

FP32, INT8 = "fp32", "int8"
_WARM_UP = 10
_ROUND = 3  # steps between two looks at the clock
_READ_BYTES = 256_000_000
_READS = 10


def main() -> None:
    """Make the forms, time them and caption with them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bundle", default=DEFAULT_BUNDLE)
    parser.add_argument("--candidates", type=at_least(1), default=2)
    parser.add_argument("--steps", type=at_least(10), default=900)
    parser.add_argument("--windows", type=at_least(0), default=48, help="that are captioned by each form")
    parser.add_argument("--blocks", type=at_least(16), nargs="+", default=[*BLOCKS], help="values that share a scale")
    parser.add_argument("--accuracy-levels", type=int, nargs="+", choices=(0, 4), default=[INT8_ACTIVATIONS])
    arguments = parser.parse_args()
    options = EngineOptions("onnxruntime", 1)
    captioner = Captioner.open(arguments.bundle, options)
    parent = captioner.bundle.path(parent_of(captioner.bundle, "decoder"))
    with tempfile.TemporaryDirectory() as folder:
        ways = [(block, level) for block in arguments.blocks for level in arguments.accuracy_levels]
        paths = made(parent, Path(folder), ways)
        sizes = {name: sum(file.stat().st_size for file in files) for name, files in paths.items()}
        engines: dict[str, Engine] = {name: OnnxRuntimeEngine(files[0], 1) for name, files in paths.items()}
        found = {
            "megabytes": {name: round(size / 1e6, 2) for name, size in sizes.items()},
            **timed(engines, _a_step(captioner, arguments.candidates), arguments.steps),
            "read_gb_per_s": round(read_rate() / 1e9, 2),
            **(agreement(captioner, engines, arguments.windows) if arguments.windows else {}),
        }
    print(json.dumps(found, indent=1))


def made(parent: Path, folder: Path, ways: Sequence[tuple[int, int]]) -> dict[str, list[Path]]:
    """Name of a form → its files: the fp32 graph itself, its int8 form, and those in blocks.

    Args:
        parent: the fp32 graph.
        folder: to write to.
        ways: values in a block, and accuracy level, of each form in blocks.
    """
    beside = parent.with_name(f"{parent.name}.data")
    forms = {FP32: [parent, *([beside] if beside.is_file() else [])], INT8: dynamic_int8(parent, folder / "int8.onnx")}
    for block, level in ways:
        output = folder / f"blocks.{block}.{level}.onnx"
        forms[f"{block}, {level}"] = weights_in_blocks(parent, output, (), block, level)
    return forms


class _Recording:
    """An engine that keeps what the middle one of its runs was given."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.input_shapes = engine.input_shapes
        self.given: list[dict[str, npt.NDArray[Any]]] = []

    def run(self, inputs: Arrays) -> dict[str, npt.NDArray[np.float32]]:
        self.given.append({name: np.array(value) for name, value in inputs.items()})
        return self._engine.run(inputs)


def _a_step(captioner: Captioner, candidates: int) -> Mapping[str, npt.NDArray[Any]]:
    """The inputs of a step in the middle of a caption."""
    engine = _Recording(load_engine(captioner.bundle, "decoder", EngineOptions("onnxruntime", 1))[0])
    encoded = captioner.encode([heard(check_windows(1)[0])], not_cancelled)
    rules = captioner.rules.model_copy(update={"candidates": candidates})
    CandidateDecoder(engine).decode(encoded.memory, rules, [window_rng(0, 0)])
    return engine.given[len(engine.given) // 2]


def timed(engines: Mapping[str, Engine], given: Arrays, steps: int) -> dict[str, Any]:
    """Medians of processor time, and of its ratios to the first form's in the same turn; and the largest difference of
    logits from the first form's in that step."""
    taken: dict[str, list[float]] = {name: [] for name in engines}
    for number in range(_WARM_UP + steps // _ROUND):
        for name in list(engines)[:: 1 if number % 2 else -1]:
            begun = time.process_time()
            for _ in range(_ROUND):
                engines[name].run(given)
            if number >= _WARM_UP:
                taken[name].append(1e3 * (time.process_time() - begun) / _ROUND)
    first, *_ = taken.values()
    wanted, *_ = logits = [engine.run(given)["logits"] for engine in engines.values()]
    return {
        "median_ms": {name: round(statistics.median(times), 3) for name, times in taken.items()},
        "fastest_ms": {name: round(min(times), 3) for name, times in taken.items()},
        "ratio": {
            name: round(statistics.median(new / old for old, new in zip(first, times, strict=True)), 3)
            for name, times in taken.items()
        },
        "largest_difference_of_logits": {
            name: round(float(np.abs(wanted - found).max()), 3) for name, found in zip(engines, logits, strict=True)
        },
    }


def read_rate() -> float:
    """Bytes a second of one thread that sums up a large array, by the fastest of some times."""
    array = np.ones(_READ_BYTES // 8)
    seconds = []
    for _ in range(_READS):
        begun = time.process_time()
        array.sum()
        seconds.append(time.process_time() - begun)
    return _READ_BYTES / min(seconds)


def agreement(captioner: Captioner, engines: Mapping[str, Engine], count: int) -> dict[str, Any]:
    """Greedy captions of windows by each decoder: how many are the first's, and their mean log-likelihoods."""
    encoded = captioner.encode([heard(fbank) for fbank in check_windows(count)], not_cancelled)
    rules = captioner.rules.model_copy(update={"method": "greedy"})
    rngs = [window_rng(0, number) for number in range(count)]
    captions: dict[str, Sequence[tuple[int, ...]]] = {}
    likelihoods: dict[str, float] = {}
    for name, engine in engines.items():
        found = CandidateDecoder(engine).decode(encoded.memory, rules, rngs)
        if refused := next((each for each in found if isinstance(each, DataError)), None):
            raise refused
        firsts = [each[0] for each in found if not isinstance(each, DataError)]
        captions[name] = [first.token_ids for first in firsts]
        likelihoods[name] = round(statistics.fmean(first.log_likelihood for first in firsts), 4)
    wanted, *_ = captions.values()
    return {
        "greedy_captions_equal": {
            name: round(statistics.fmean(one == other for one, other in zip(wanted, each, strict=True)), 3)
            for name, each in captions.items()
        },
        "mean_log_likelihood": likelihoods,
    }


if __name__ == "__main__":
    run(main)
