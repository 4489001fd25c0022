"""The FP8 form: E4M3 where INT8 has its pairs. Its numbers are ONNX Runtime's; no GPU was at hand."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from edge_aac.engines.tensor_rt.engine import GpuIdentity
from quantize.device.tensorrt.fp8 import has_fp8, to_fp8
from quantize.graphs.int8 import explicit_int8

THOR = GpuIdentity("sm_110", "Thor", 20, 128, "10.13.3", True)


@pytest.mark.parametrize(
    ("architecture", "has"),
    [("sm_87", False), ("sm_72", False), ("sm_89", True), ("sm_90", True), ("sm_101", True), ("sm_110", True)],
)
def test_only_gpus_that_multiply_e4m3_have_it(architecture: str, has: bool) -> None:
    """Orin is sm_87; Thor is sm_110, and was sm_101 before CUDA 13."""
    assert has_fp8(replace(THOR, architecture=architecture)) == has


@pytest.mark.parametrize("beside", [False, True])
def test_the_pairs_become_e4m3(tmp_path: Path, beside: bool) -> None:
    """Also where the weights lie beside the graph."""
    random = np.random.default_rng(3)
    weights = (random.standard_normal((64, 96)) * np.linspace(0.01, 0.2, 96)).astype(np.float32)
    shape = ["windows", 8, 64]
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"], "/fc/MatMul")],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["windows", 8, 96])],
        [numpy_helper.from_array(weights, "w")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    parent, path = tmp_path / "fp32.onnx", tmp_path / "fp8.onnx"
    onnx.save(model, parent, save_as_external_data=beside, location="fp32.onnx.data", size_threshold=0)
    x = np.clip(random.standard_normal((2, 8, 64)), -3.5, 3.5).astype(np.float32)
    assert len(explicit_int8(parent, path, {"x": (-3.5, 3.0)})) == 1 + beside
    assert to_fp8(path) == 2

    written = onnx.load(str(path))
    kinds = {weight.name: weight.data_type for weight in written.graph.initializer}
    pairs = [node for node in written.graph.node if node.op_type in ("QuantizeLinear", "DequantizeLinear")]
    assert len(pairs) == 4
    for node in pairs:
        assert kinds[node.input[2]] == TensorProto.FLOAT8E4M3FN and kinds[node.input[1]] == TensorProto.FLOAT16
        assert not node.attribute, "one scale for all channels"
    scales = {
        weight.name: numpy_helper.to_array(weight)
        for weight in written.graph.initializer
        if weight.name.endswith("e4m3_scale")
    }
    (of_x,) = [scale for name, scale in scales.items() if name.startswith("x/")]
    (of_w,) = [scale for name, scale in scales.items() if name.startswith("w/")]
    # The next FP16 numbers above, so that nothing within the range is cut.
    assert 3.5 / 448 <= of_x <= 3.5 / 448 * 1.002 and of_x.shape == ()
    largest = float(np.abs(weights).max())
    assert largest / 448 <= of_w <= largest / 448 * 1.002
    assert TensorProto.INT8 not in kinds.values()

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    found, wanted = session.run(None, {"x": x})[0].ravel(), (x @ weights).ravel()
    cosine = float(found @ wanted / np.linalg.norm(found) / np.linalg.norm(wanted))
    assert 0.999 < cosine < 0.999999, "three bits of mantissa, and so not FP16's numbers"
