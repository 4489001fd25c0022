"""The published sizes in INT8 on this processor: size, time beside fp32, likeness, and what the linter says.

    python -m benchmarks.full_size make FOLDER && python -m benchmarks.full_size convert FOLDER
    python -m benchmarks.full_size_int8 FOLDER --threads 2

Random weights take the time and memory of trained ones; how alike the outputs are says how well the arithmetic holds,
not what captions would lose. The forms run in turn, window by window, so that other load hits all alike.

``of_bound`` is a form's time in units of what its multiply-accumulates would take at the speed of one large INT8
product, timed in the same run: what is above 1 is all that is no product, or a product in fp32.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.command_line import at_least, run
from benchmarks.graph_costs import graph_costs
from benchmarks.product_rates import macs_per_s
from edge_aac.bundle.store import Bundle, open_bundle
from edge_aac.engines.onnx_runtime import OnnxRuntimeEngine
from quantize.device.check_windows import check_windows
from quantize.device.gate import lowest_cosine
from quantize.device.places import parent_of
from quantize.graphs.calibration import Observed, observe
from quantize.graphs.calibration_windows import encoder_inputs
from quantize.graphs.int8 import dynamic_int8, explicit_int8
from quantize.graphs.qdq_lint import int8_products, lint

Arrays = Mapping[str, npt.NDArray[np.generic]]
CALIBRATION_WINDOWS = 8
STEP = 15
"""Of 30 tokens, the middle one: how much of the cache is full changes nothing, for it is computed whole."""


def main() -> None:
    """See above."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--windows", type=at_least(1), default=8)
    parser.add_argument("--candidates", type=at_least(1), default=6)
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    bundle = open_bundle(str(arguments.folder / "bundle"))
    forms = arguments.folder / "int8"
    forms.mkdir(exist_ok=True)
    result = {
        "threads": arguments.threads,
        "encoder": measure_encoder(bundle, forms, arguments.windows, arguments.threads),
        "decoder": measure_decoder(bundle, forms, arguments.windows, arguments.candidates, arguments.threads),
    }
    print(json.dumps(result, indent=1))


def measure_encoder(bundle: Bundle, folder: Path, count: int, threads: int) -> dict[str, Any]:
    """Both INT8 forms of the encoder, calibrated with windows that they are not timed on."""
    parent = parent_of(bundle, "encoder")
    path, pads = bundle.path(parent), "frame_padding" in parent.shapes
    windows = check_windows(CALIBRATION_WINDOWS + count)
    observed = observe(path, encoder_inputs(iter(windows[:CALIBRATION_WINDOWS]), pads))
    paths = {"fp32": path, **_encoder_forms(path, folder, observed)}
    table = compare(paths, list(encoder_inputs(iter(windows[CALIBRATION_WINDOWS:]), pads)), threads)
    explicit = paths["int8+fp16"]
    products = int8_products(explicit)
    findings = [f"{finding.rule}: {finding.node}: {finding.message}" for finding in lint(explicit)]
    counted = f"{products.int8} of {products.expected}"
    costs = graph_costs(path, {"fbank": (1, *windows[0].shape), "frame_padding": (1, len(windows[0]))})
    bound_ms = 1e3 * costs.macs / macs_per_s("int8", threads)
    for name in ("int8 products", "int8"):
        table[name]["of_bound"] = round(table[name]["min_ms"] / bound_ms, 2)
    explicit_row = {**table["int8+fp16"], "int8_products": counted, "lint": findings}
    return {**table, "int8+fp16": explicit_row, "int8_bound_ms": round(bound_ms, 1)}


def _encoder_forms(parent: Path, folder: Path, observed: Observed) -> dict[str, Path]:
    forms = {name: folder / f"encoder.{name}.onnx" for name in ("int8 products", "int8", "int8+fp16")}
    dynamic_int8(parent, forms["int8 products"])
    dynamic_int8(parent, forms["int8"], ranges=observed.ranges)
    explicit_int8(parent, forms["int8+fp16"], observed.ranges)
    return forms


def measure_decoder(bundle: Bundle, folder: Path, count: int, candidates: int, threads: int) -> dict[str, Any]:
    """One decoding step, fp32 and INT8."""
    parent = parent_of(bundle, "decoder")
    path, form = bundle.path(parent), folder / "decoder.int8.onnx"
    dynamic_int8(path, form)
    sizes = {
        "rows": candidates,
        "windows": 1,
        "capacity": bundle.manifest.decoding.max_length - 1,
        "memory_steps": 496 // 3,
    }
    random = np.random.default_rng(0)
    names = OnnxRuntimeEngine(path, threads).input_shapes

    def inputs() -> Arrays:
        shapes = {
            name: tuple(axis if isinstance(axis, int) else sizes[str(axis)] for axis in axes)
            for name, axes in names.items()
        }
        arrays: dict[str, npt.NDArray[np.generic]] = {
            name: random.standard_normal(shape, dtype=np.float32) for name, shape in shapes.items()
        }
        tokens = random.integers(3, bundle.manifest.vocabulary_size, (candidates, 1))
        padding = np.zeros(shapes["memory_padding"], np.bool_)
        given = {"token_ids": tokens.astype(np.int64), "step": np.array([STEP], np.int64), "memory_padding": padding}
        return {**arrays, **given}

    return compare({"fp32": path, "int8": form}, [inputs() for _ in range(count)], threads)


def compare(paths: Mapping[str, Path], runs: list[Arrays], threads: int) -> dict[str, dict[str, Any]]:
    """Milliseconds, size and lowest cosine to the first form's outputs, of each form."""
    engines = {name: OnnxRuntimeEngine(path, threads) for name, path in paths.items()}
    times: dict[str, list[float]] = {name: [] for name in engines}
    cosines: dict[str, list[float]] = {name: [] for name in engines}
    for engine in engines.values():
        engine.run(runs[0])  # the first run allocates
    for inputs in runs:
        wanted: Mapping[str, npt.NDArray[np.float32]] = {}
        for name, engine in engines.items():
            started = time.perf_counter()
            got = engine.run(inputs)
            times[name].append(1e3 * (time.perf_counter() - started))
            wanted = wanted or got
            cosines[name] += [
                lowest_cosine(wanted[output].reshape(1, -1), got[output].reshape(1, -1))
                for output in wanted
                if got[output].dtype.kind == "f"
            ]
    first = next(iter(times.values()))
    return {
        name: {
            "megabytes": round(_size(path) / 1e6, 1),
            "median_ms": round(statistics.median(times[name]), 1),
            "min_ms": round(min(times[name]), 1),
            "of_fp32": round(statistics.median(mine / fp32 for mine, fp32 in zip(times[name], first, strict=True)), 3),
            "min_cosine": round(min(cosines[name]), 5),
        }
        for name, path in paths.items()
    }


def _size(path: Path) -> int:
    return sum(file.stat().st_size for file in path.parent.glob(f"{path.name}*"))


if __name__ == "__main__":
    run(main)
