"""What is built for TensorRT: the same function, without batch norms, one-dimensional INT8 and scaled scores."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import NodeProto

from quantize.graphs.attention import attentions
from quantize.graphs.calibration import observe
from quantize.graphs.int8 import explicit_int8, half
from quantize.graphs.onnx_file import OnnxFile
from quantize.graphs.prepared import Prepared, prepare
from quantize.graphs.qdq_lint import int8_products, lint
from tests.quantize.graphs.int8_cases import FLOAT, cosine, kinds, min_cosine, node, run, save, weight

RNG = np.random.default_rng(0)
TOLERANCE = 2e-5


def _prepared(parent: Path, output: Path) -> Prepared:
    file = OnnxFile(parent)
    prepared = prepare(file)
    file.save(output)
    return prepared


def _same(one: Path, other: Path, inputs: dict[str, np.ndarray]) -> bool:
    want, have = run(one, inputs), run(other, inputs)
    return all(np.allclose(want[name], have[name], atol=TOLERANCE, rtol=TOLERANCE) for name in want)


def _norm(name: str, channels: int) -> dict[str, np.ndarray]:
    values = {"gamma": RNG.uniform(0.5, 1.5, channels), "beta": RNG.standard_normal(channels)}
    values |= {"mean": RNG.standard_normal(channels), "variance": RNG.uniform(0.2, 2.0, channels)}
    return {f"{name}.{key}": value.astype(np.float32) for key, value in values.items()}


def _batch_norm(given: str, name: str) -> NodeProto:
    return node(
        "BatchNormalization", [given, *(f"{name}.{key}" for key in ("gamma", "beta", "mean", "variance"))], name
    )


def convolutional(folder: Path) -> Path:
    """sound (rows, 20, 64) → a Conformer's convolutions with their norm; downsampled; mean, product and norm."""
    weights = {
        "gain": np.ones(64, np.float32),
        "shift": np.zeros(64, np.float32),
        "in.weight": weight(RNG, 64, 128).T[:, :, None].copy(),
        "in.bias": RNG.standard_normal(128).astype(np.float32),
        "depth.weight": RNG.standard_normal((64, 1, 5)).astype(np.float32) / 2,
        "out.weight": weight(RNG, 64, 64).T[:, :, None].copy(),
        "down.weight": weight(RNG, 3, 64, 64).transpose(2, 1, 0).copy(),
        "down.bias": RNG.standard_normal(64).astype(np.float32),
        "head.weight": weight(RNG, 64, 48),
        **_norm("bn", 64),
        **_norm("head.bn", 48),
    }
    nodes = [
        node("LayerNormalization", ["sound", "gain", "shift"], "norm", axis=-1),
        node("Transpose", ["norm"], "columns", perm=[0, 2, 1]),
        node("Conv", ["columns", "in.weight", "in.bias"], "in", kernel_shape=[1], pads=[0, 0], strides=[1]),
        onnx.helper.make_node("Split", ["in"], ["value", "gate"], name="split", axis=1),
        node("Sigmoid", ["gate"], "open"),
        node("Mul", ["value", "open"], "gated"),
        node("Conv", ["gated", "depth.weight"], "depth", kernel_shape=[5], pads=[2, 2], group=64),
        _batch_norm("depth", "bn"),
        node("Sigmoid", ["bn"], "active"),
        node("Conv", ["active", "out.weight"], "out", kernel_shape=[1]),
        node("Transpose", ["out"], "rows", perm=[0, 2, 1]),
        node("Add", ["rows", "sound"], "residual"),
        node("Transpose", ["residual"], "again", perm=[0, 2, 1]),
        node("Conv", ["again", "down.weight", "down.bias"], "down", kernel_shape=[3], strides=[3]),
        node("ReduceMean", ["down"], "mean", axes=[2], keepdims=0),
        node("MatMul", ["mean", "head.weight"], "head"),
        _batch_norm("head", "head.bn"),
        node("Relu", ["head.bn"], "audio_embedding"),
    ]
    outputs = {"audio_embedding": FLOAT, "residual": FLOAT}
    return save(folder / "c.onnx", nodes, weights, {"sound": (FLOAT, ("rows", 20, 64))}, outputs)


def _sound(rows: int, seed: int = 1) -> dict[str, np.ndarray]:
    return {"sound": np.random.default_rng(seed).standard_normal((rows, 20, 64)).astype(np.float32)}


def test_kernels_of_one_step_become_products(tmp_path: Path) -> None:
    parent, path = convolutional(tmp_path), tmp_path / "p.onnx"
    prepared = _prepared(parent, path)
    file = OnnxFile(path)
    by_name = {node.name: node for node in file.graph.node}
    assert [by_name[name].op_type for name in ("in", "out", "depth", "down")] == ["MatMul", "MatMul", "Conv", "Conv"]
    # Of what the layer norm gives nothing is transposed any more, and what follows takes rows.
    assert by_name["in"].input[0] == "norm" and by_name["residual"].input[0] == "out/product"
    assert all(len(file.shapes[n.input[1]]) == 4 for n in file.graph.node if n.op_type == "Conv")
    assert prepared.ranges({"columns": (-1.0, 2.0)})["norm"] == (-1.0, 2.0)
    assert prepared.names(["down"]) == {"down", "down/flat"}
    assert all(_same(parent, path, _sound(rows)) for rows in (1, 3))


def test_batch_norms_go_into_what_comes_before(tmp_path: Path) -> None:
    parent, path = convolutional(tmp_path), tmp_path / "p.onnx"
    prepared = _prepared(parent, path)
    assert kinds(parent).count("BatchNormalization") == 2 and "BatchNormalization" not in kinds(path)
    assert prepared.names(["bn"]) == {"bn", "depth", "depth/flat"}
    assert prepared.names(["head.bn"]) == {"head.bn", "head"}
    assert _same(parent, path, _sound(2))


def test_int8_has_no_one_dimensional_convolution(tmp_path: Path) -> None:
    parent, path = convolutional(tmp_path), tmp_path / "e.onnx"
    ranges = observe(parent, [_sound(4, seed) for seed in range(4)]).ranges
    explicit_int8(parent, path, ranges)
    assert lint(path) == []
    assert int8_products(path).int8 == int8_products(path).expected == 3, "both products, and what is downsampled"
    graph = onnx.load(str(path)).graph
    makers = {output: node for node in graph.node for output in node.output}
    down = next(node for node in graph.node if node.name == "down")
    # The pair stands right before the convolution, and what reshapes before the pair.
    pair = makers[down.input[0]]
    assert pair.op_type == "DequantizeLinear"
    for inputs in (_sound(2, 7), _sound(2, 8)):
        want, have = run(parent, inputs), run(path, inputs)
        assert all(cosine(want[name], have[name]) > min_cosine(tmp_path) for name in want)


def test_the_linter_sees_one_dimensional_int8(tmp_path: Path) -> None:
    weights: dict[str, Any] = {
        "w": weight(RNG, 48, 64)[:, :, None].astype(np.float16),
        "w.scale": np.full(48, 0.03, np.float16),
        "w.zero": np.zeros(48, np.int8),
        "x.scale": np.array(0.02, np.float16),
        "x.zero": np.array(0, np.int8),
    }
    nodes = [
        node("QuantizeLinear", ["x", "x.scale", "x.zero"], "x.int8"),
        node("DequantizeLinear", ["x.int8", "x.scale", "x.zero"], "x.back"),
        node("QuantizeLinear", ["w", "w.scale", "w.zero"], "w.int8", axis=0),
        node("DequantizeLinear", ["w.int8", "w.scale", "w.zero"], "w.back", axis=0),
        node("Conv", ["x.back", "w.back"], "y"),
    ]
    halves = onnx.TensorProto.FLOAT16
    path = save(tmp_path / "g.onnx", nodes, weights, {"x": (halves, ("rows", 64, 12))}, {"y": halves}, 19)
    assert {(f.rule, f.node) for f in lint(path)} == {("one-dimensional", "y")}


HEAD, STEPS = 16, 6


def conformer_attention(folder: Path, joined: bool = False) -> Path:
    """cross_q, cross_k, cross_v (rows, 2, 6, 16) → attention whose scores, with relative positions, are divided."""
    weights = {
        "u": RNG.standard_normal((1, 2, 1, HEAD)).astype(np.float32),
        "v": RNG.standard_normal((1, 2, 1, HEAD)).astype(np.float32),
        "table": weight(RNG, 1, 2, HEAD, STEPS + 1),
        "root": np.array(np.sqrt(HEAD), np.float32),
        "mask": np.linspace(-2, 0, STEPS).astype(np.float32),
        "from": np.array([1], np.int64),
        "to": np.array([1000], np.int64),
        "last": np.array([3], np.int64),
        "zeros": np.array([0], np.int64),
    }
    tail = ["joined"] if joined else ["masked"]
    nodes = [
        node("Add", ["cross_q", "u"], "q.u"),
        node("Add", ["cross_q", "v"], "q.v"),
        node("Transpose", ["cross_k"], "keys", perm=[0, 1, 3, 2]),
        node("MatMul", ["q.u", "keys"], "content"),
        node("MatMul", ["q.v", "table"], "positions"),
        node("Slice", ["positions", "from", "to", "last"], "shifted"),
        node("Add", ["content", "shifted"], "scores"),
        node("Div", ["scores", "root"], "scaled"),
        node("Add", ["scaled", "mask"], "masked"),
        *([node("Concat", ["masked", "masked"], "joined", axis=-1)] if joined else []),
        node("Softmax", tail, "weights", axis=-1),
        *([node("Slice", ["weights", "zeros", "sixth", "last"], "cut")] if joined else []),
        node("MatMul", ["cut" if joined else "weights", "cross_v"], "cross_out"),
    ]
    weights["sixth"] = np.array([STEPS], np.int64)
    inputs = {f"cross_{x}": (FLOAT, ("rows", 2, STEPS, HEAD)) for x in "qkv"}
    return save(folder / "a.onnx", nodes, weights, inputs, {"cross_out": FLOAT})


def _attended(rows: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(rows)
    return {f"cross_{x}": rng.standard_normal((rows, 2, STEPS, HEAD)).astype(np.float32) for x in "qkv"}


def test_queries_are_scaled_instead_of_scores(tmp_path: Path) -> None:
    parent, path, halved = conformer_attention(tmp_path), tmp_path / "p.onnx", tmp_path / "h.onnx"
    assert "Div" in kinds(parent)
    (before,) = attentions(parent)
    assert before.head_size == HEAD and any("scaled after" in reason for reason in before.reasons)
    _prepared(parent, path)
    assert "Div" not in kinds(path) and kinds(path).count("Mul") == 2
    # By 4, a power of two: not one bit is another.
    assert np.array_equal(run(parent, _attended(3))["cross_out"], run(path, _attended(3))["cross_out"])
    half(parent, halved)
    (after,) = attentions(halved)
    assert after.fuses and after.line == "weights: fits the fused pattern"
    halves = {name: array.astype(np.float16) for name, array in _attended(2).items()}
    assert cosine(run(parent, _attended(2))["cross_out"], run(halved, halves)["cross_out"]) > 0.9999


def test_what_does_not_fuse_says_why(tmp_path: Path) -> None:
    half(conformer_attention(tmp_path, joined=True), tmp_path / "h.onnx")
    (found,) = attentions(tmp_path / "h.onnx")
    assert not found.fuses and "joined before the softmax" in found.line
    assert all("FP32" not in reason for reason in found.reasons)


def test_scores_that_are_an_output_are_not_rescaled(tmp_path: Path) -> None:
    path = conformer_attention(tmp_path)
    model = onnx.load(str(path))
    model.graph.output.append(onnx.helper.make_tensor_value_info("scores", FLOAT, ["rows", 2, STEPS, STEPS]))
    onnx.save(model, str(path))
    _prepared(path, tmp_path / "p.onnx")
    assert _same(path, tmp_path / "p.onnx", _attended(2))
