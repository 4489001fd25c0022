"""A decoding step whose weights alone are in 8 bits, in blocks: of fp32's time, and how close it stays.

    python -m benchmarks.weight_bits

A step of few rows reads its weights and computes little. ONNX Runtime's own operator MatMulNBits reads them in 8 bits,
each block of 32 with a scale of its own, and finds the range of the activations row by row: neighbours in a batch
change nothing. `edge-aac build-engine` does not make this form; this tells what it would bring. Steps of both are timed
in turn, in processor time of one thread; greedy captions are those of the gate's made-up windows.
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
from onnx import NodeProto, helper

from benchmarks.command_line import at_least, run
from edge_aac.bundle.store import DEFAULT_BUNDLE, open_bundle
from edge_aac.engines.choice import load_engine
from edge_aac.engines.contract import Arrays, Engine, EngineOptions
from edge_aac.engines.onnx_runtime import OnnxRuntimeEngine
from edge_aac.errors import DataError
from edge_aac.models.contract import not_cancelled
from edge_aac.models.decoding import CandidateDecoder
from edge_aac.models.seq2seq import Captioner, window_rng
from quantize.captioning import heard
from quantize.device.check_windows import check_windows
from quantize.graphs.layers import Layer, node_name, quantisable_layers
from quantize.graphs.onnx_file import OnnxFile

BITS, BLOCK = 8, 32
_HALF, _LARGEST = 128, 127
_WARM_UP = 10
_ROUND = 3  # steps between two looks at the clock


def main() -> None:
    """Make the form, time it and caption with it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bundle", default=DEFAULT_BUNDLE)
    parser.add_argument("--candidates", type=at_least(1), default=2)
    parser.add_argument("--steps", type=at_least(10), default=900)
    parser.add_argument("--windows", type=at_least(1), default=48)
    arguments = parser.parse_args()
    bundle = open_bundle(arguments.bundle)
    options = EngineOptions("onnxruntime", 1)
    plain, graph = load_engine(bundle, "decoder", options)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "decoder.onnx"
        layers = weights_in_8_bits(bundle.path(graph), path)
        form = OnnxRuntimeEngine(path, 1)
        captioner = Captioner.open(arguments.bundle, options)
        found = {
            "products": layers,
            **timed(plain, form, _a_step(captioner, arguments.candidates), arguments.steps),
            **agreement(captioner, plain, form, arguments.windows),
        }
    print(json.dumps(found, indent=1))


def weights_in_8_bits(parent: Path, output: Path) -> int:
    """Write a graph whose matrix products with constant weights read them in 8 bits.

    Args:
        parent: the fp32 graph.
        output: the file to write.

    Returns:
        The number of products that were changed: those that sum up a multiple of 32 values.
    """
    file = OnnxFile(parent)
    layers = {
        layer.name: layer for layer in quantisable_layers(file) if layer.kind != "Conv" and layer.inner % BLOCK == 0
    }
    nodes: list[NodeProto] = []
    for node in file.graph.node:
        layer = layers.get(node_name(node))
        nodes += [node] if layer is None else _product(file, node, layer)
    file.replace_nodes(nodes)
    file.model.opset_import.append(helper.make_opsetid("com.microsoft", 1))
    file.save(output)
    return len(layers)


def _product(file: OnnxFile, node: NodeProto, layer: Layer) -> list[NodeProto]:
    weight = file.weights[layer.weight]()
    blocks = (weight if layer.axis == 0 else weight.T).reshape(layer.outer, -1, BLOCK)
    scales = np.maximum(np.abs(blocks).max(axis=2) / _LARGEST, np.finfo(np.float32).tiny).astype(np.float32)
    whole = (np.rint(blocks / scales[:, :, np.newaxis]) + _HALF).astype(np.uint8)
    inputs = [
        layer.activation,
        file.add_weight(f"{layer.weight}/{BITS}bits", whole),
        file.add_weight(f"{layer.weight}/scales", scales.reshape(-1)),
    ]
    bias = node.input[2:]
    made = f"{layer.result}/product" if bias else layer.result
    sizes: dict[str, Any] = {"K": layer.inner, "N": layer.outer, "bits": BITS, "block_size": BLOCK, "accuracy_level": 4}
    product = helper.make_node("MatMulNBits", inputs, [made], f"{made}/MatMulNBits", domain="com.microsoft", **sizes)
    return [product, helper.make_node("Add", [made, *bias], [layer.result])] if bias else [product]


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


def timed(plain: Engine, form: Engine, given: Arrays, steps: int) -> dict[str, Any]:
    """Medians and the ratio of pairs, of processor time; and the largest difference of logits in that step."""
    taken: dict[str, list[float]] = {"fp32": [], "8 bits": []}
    engines = {"fp32": plain, "8 bits": form}
    for number in range(_WARM_UP + steps // _ROUND):
        for name in list(engines)[:: 1 if number % 2 else -1]:
            begun = time.process_time()
            for _ in range(_ROUND):
                engines[name].run(given)
            if number >= _WARM_UP:
                taken[name].append(1e3 * (time.process_time() - begun) / _ROUND)
    logits = [engine.run(given)["logits"] for engine in (plain, form)]
    return {
        "median_ms": {name: round(statistics.median(times), 3) for name, times in taken.items()},
        "ratio": round(statistics.median(new / old for old, new in zip(*taken.values(), strict=True)), 3),
        "ratio_of_the_fastest": round(min(taken["8 bits"]) / min(taken["fp32"]), 3),
        "largest_difference_of_logits": round(float(np.abs(logits[0] - logits[1]).max()), 3),
    }


def agreement(captioner: Captioner, plain: Engine, form: Engine, count: int) -> dict[str, Any]:
    """Greedy captions of windows by both decoders: how many are equal, and their mean log-likelihoods."""
    encoded = captioner.encode([heard(fbank) for fbank in check_windows(count)], not_cancelled)
    rules = captioner.rules.model_copy(update={"method": "greedy"})
    rngs = [window_rng(0, number) for number in range(count)]
    ways = [CandidateDecoder(engine).decode(encoded.memory, rules, rngs) for engine in (plain, form)]
    captions: list[Sequence[tuple[int, ...]]] = []
    likelihoods: list[float] = []
    for found in ways:
        if refused := next((each for each in found if isinstance(each, DataError)), None):
            raise refused
        firsts = [each[0] for each in found if not isinstance(each, DataError)]
        captions.append([first.token_ids for first in firsts])
        likelihoods.append(statistics.fmean(first.log_likelihood for first in firsts))
    same = [one == other for one, other in zip(*captions, strict=True)]
    return {
        "greedy_captions_equal": round(statistics.fmean(same), 3),
        "mean_log_likelihood": [round(each, 4) for each in likelihoods],
    }


if __name__ == "__main__":
    run(main)
