"""Weights in 8 bits: the products that are changed, and that they compute what they did."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

onnx = pytest.importorskip("onnx", reason="graphs are written with onnx: pip install 'edge-aac[build]'")

from onnx import TensorProto, helper, numpy_helper  # noqa: E402

from benchmarks.weight_bits import timed, weights_in_8_bits  # noqa: E402
from edge_aac.engines.onnx_runtime import OnnxRuntimeEngine  # noqa: E402


def _graph(path: Path) -> None:
    """A product, one with a bias and its weights the other way round, and one of sizes that no block fits."""
    random = np.random.default_rng(0)
    weights = {
        "first": random.standard_normal((64, 96)),
        "second": random.standard_normal((40, 96)),
        "bias": random.standard_normal(40),
        "third": random.standard_normal((40, 48)),
    }
    nodes = [
        helper.make_node("MatMul", ["x", "first"], ["a"]),
        helper.make_node("Gemm", ["a", "second", "bias"], ["b"], transB=1),
        helper.make_node("MatMul", ["b", "third"], ["logits"]),
    ]
    graph = helper.make_graph(
        nodes,
        "products",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["rows", 64])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["rows", 48])],
        [numpy_helper.from_array(array.astype(np.float32), name) for name, array in weights.items()],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), str(path))


def test_products_read_8_bits_and_stay_close(tmp_path: Path) -> None:
    _graph(tmp_path / "plain.onnx")
    assert weights_in_8_bits(tmp_path / "plain.onnx", tmp_path / "form.onnx") == 2
    plain, form = (OnnxRuntimeEngine(tmp_path / f"{name}.onnx", 1) for name in ("plain", "form"))
    x = np.random.default_rng(1).standard_normal((5, 64)).astype(np.float32)
    wanted, found = (engine.run({"x": x})["logits"] for engine in (plain, form))
    assert not np.array_equal(wanted, found)
    assert np.sum(wanted * found) / (np.linalg.norm(wanted) * np.linalg.norm(found)) > 0.999
    alone = [form.run({"x": row[np.newaxis]})["logits"][0] for row in x]
    assert np.allclose(alone, found, rtol=0, atol=1e-3), "ranges are found row by row"
    told = timed(plain, form, {"x": x}, 30)
    assert told["largest_difference_of_logits"] == pytest.approx(np.abs(wanted - found).max(), abs=1e-3)
    assert told["ratio"] > 0.0
