"""Sums inside norms and softmax: found, kept FP32, and nothing else with them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, shape_inference

from quantize.graphs.calibration import observe, overflowing_nodes
from quantize.graphs.half import around
from quantize.graphs.int8 import explicit_int8, half
from quantize.graphs.onnx_file import OnnxFile
from quantize.graphs.qdq_lint import int8_products
from tests.quantize.graphs.int8_cases import FLOAT, HALF, cosine, node, run, save, weight

CHANNELS = 128


def normed(folder: Path, gain: float = 1.0, opset: int = 17) -> Path:
    """cross_x (rows, 16, 128) → layer norm → product → softmax → audio_embedding (rows, 16, 64)."""
    rng = np.random.default_rng(0)
    weights = {
        "gamma": np.full(CHANNELS, gain, np.float32),
        "beta": np.zeros(CHANNELS, np.float32),
        "w": weight(rng, CHANNELS, 64),
    }
    nodes = [
        node("LayerNormalization", ["cross_x", "gamma", "beta"], "norm", axis=-1),
        node("MatMul", ["norm", "w"], "product"),
        node("Softmax", ["product"], "softmax", axis=-1),
        node("Identity", ["softmax"], "audio_embedding"),
    ]
    inputs = {"cross_x": (FLOAT, ("rows", 16, CHANNELS))}
    return save(folder / "g.onnx", nodes, weights, inputs, {"audio_embedding": FLOAT}, opset)


def _inputs(deviation: float) -> dict[str, np.ndarray]:
    return {"cross_x": (deviation * np.random.default_rng(1).standard_normal((2, 16, CHANNELS))).astype(np.float32)}


def _types(path: Path) -> dict[str, int]:
    graph = shape_inference.infer_shapes(onnx.load(str(path))).graph
    return {e.name: e.type.tensor_type.elem_type for e in (*graph.value_info, *graph.input, *graph.output)}


@pytest.mark.parametrize("form", ["fp16", "int8+fp16"])
def test_norms_compute_in_fp32_and_what_follows_does_not(form: str, tmp_path: Path) -> None:
    parent, path, inputs = normed(tmp_path), tmp_path / "form.onnx", _inputs(30.0)
    if form == "fp16":
        half(parent, path)
    else:
        explicit_int8(parent, path, observe(parent, [inputs]).ranges)
        assert int8_products(path).int8 == 1
    types = _types(path)
    (norm,) = [n for n in onnx.load(str(path)).graph.node if n.op_type == "LayerNormalization"]
    assert types[norm.input[0]] == types[norm.output[0]] == FLOAT
    assert types["product"] == types["softmax"] == HALF
    halves = {name: array.astype(np.float16) for name, array in inputs.items()}
    want, have = run(parent, inputs)["audio_embedding"], run(path, halves)["audio_embedding"]
    assert cosine(want, have) > (0.9999 if form == "fp16" else 0.99)


@pytest.mark.parametrize("opset", [17, 18])
@pytest.mark.parametrize(("deviation", "found"), [(5.0, []), (30.0, ["norm"]), (3000.0, ["norm"])])
def test_sums_of_squares_are_seen(deviation: float, found: list[str], opset: int, tmp_path: Path) -> None:
    """128 channels of a standard deviation of 30 give 115 200, and each of them FP16 holds well."""
    parent = normed(tmp_path, opset=opset)
    assert overflowing_nodes(parent, [_inputs(deviation)]) == found
    # Of the sum inside it, the norm's takers know nothing.
    assert around(OnnxFile(parent), found) == set(found)


def test_takers_of_a_norm_whose_result_is_large_stay_fp32(tmp_path: Path) -> None:
    parent = normed(tmp_path, gain=20_000.0)
    assert "norm" in overflowing_nodes(parent, [_inputs(1.0)])
    assert around(OnnxFile(parent), ["norm"]) == {"norm", "product"}


def test_a_softmax_over_very_many_is_seen(tmp_path: Path) -> None:
    nodes = [node("Softmax", ["x"], "y", axis=-1), node("Identity", ["y"], "z")]
    path = save(tmp_path / "s.onnx", nodes, {}, {"x": (TensorProto.FLOAT, ("rows", "words"))}, {"z": FLOAT})
    for words, found in ((1000, []), (50_000, ["y"])):
        assert overflowing_nodes(path, [{"x": np.zeros((1, words), np.float32)}]) == found
    assert around(OnnxFile(path), ["y"]) == {"y"}
