"""Weights in 8-bit blocks: the products that are changed, and that they compute what they did."""

from __future__ import annotations

import logging
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edge_aac.engines.onnx_runtime import OnnxRuntimeEngine
from edge_aac.errors import DataError
from quantize.graphs import blocks
from quantize.graphs.blocks import block_layers, missing_quantiser, weights_in_blocks
from quantize.graphs.onnx_file import OnnxFile
from tests.quantize.graphs.int8_cases import cosine

TOOL = "onnxruntime.quantization.matmul_nbits_quantizer"


def products(path: Path, beside: bool = False) -> Path:
    """Write two products, the second with a bias and its weights the other way round and of sizes that no block fits,
    a third that reads what the first does, and one that is too small."""
    random = np.random.default_rng(0)
    weights = {
        "first": random.standard_normal((64, 72)),
        "second": random.standard_normal((64, 72)),
        "bias": random.standard_normal(64),
        "small": random.standard_normal((64, 8)),
    }
    nodes = [
        helper.make_node("MatMul", ["x", "first"], ["a"], "one"),
        helper.make_node("Gemm", ["a", "second", "bias"], ["b"], "two", transB=1),
        helper.make_node("MatMul", ["b", "first"], ["c"], "three"),
        helper.make_node("MatMul", ["b", "small"], ["d"], "four"),
    ]
    ends = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["rows", width])
        for name, width in {"x": 64, "c": 72, "d": 8}.items()
    ]
    held = [numpy_helper.from_array(array.astype(np.float32), name) for name, array in weights.items()]
    graph = helper.make_graph(nodes, "products", ends[:1], ends[1:], held)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save_model(model, str(path), save_as_external_data=beside, location=f"{path.name}.data", size_threshold=0)
    return path


def _operators(path: Path) -> list[str]:
    return [node.op_type for node in onnx.load(str(path), load_external_data=False).graph.node]


def _run(path: Path, x: np.ndarray) -> dict[str, np.ndarray]:
    return OnnxRuntimeEngine(path, 1).run({"x": x})


@pytest.fixture
def x() -> np.ndarray:
    return np.random.default_rng(1).standard_normal((5, 64)).astype(np.float32)


@pytest.mark.parametrize("level", [0, 4])
@pytest.mark.parametrize("block", [16, 32, 64, 128])
def test_products_read_8_bits_and_stay_close(tmp_path: Path, x: np.ndarray, block: int, level: int) -> None:
    parent = products(tmp_path / "plain.onnx")
    files = weights_in_blocks(parent, tmp_path / "form.onnx", (), block, level)
    assert files == [tmp_path / "form.onnx"]
    assert _operators(files[0]) == ["MatMulNBits", "MatMulNBits", "Add", "MatMulNBits", "MatMul"]
    wanted, found = (_run(path, x) for path in (parent, files[0]))
    for name in wanted:
        assert not np.array_equal(wanted[name], found[name])
        assert cosine(wanted[name], found[name]) > 0.9999


def test_ranges_are_found_row_by_row(tmp_path: Path, x: np.ndarray) -> None:
    """One row is a thousand times as loud as the others, and changes nothing of them."""
    (path,) = weights_in_blocks(products(tmp_path / "plain.onnx"), tmp_path / "form.onnx")
    x[2] *= 1000.0
    found = _run(path, x)["c"]
    alone = [_run(path, row[np.newaxis])["c"][0] for row in x]
    for one, other in zip(alone, found, strict=True):
        assert np.abs(one - other).max() <= 1e-5 * np.abs(one).max()


def test_weights_of_two_products_are_written_once_and_what_is_kept_stays(tmp_path: Path) -> None:
    parent = products(tmp_path / "plain.onnx")
    assert [layer.name for layer in block_layers(OnnxFile(parent))] == ["one", "two", "three"]
    (path,) = weights_in_blocks(parent, tmp_path / "all.onnx")
    inside = [tensor.name for tensor in onnx.load(str(path)).graph.initializer]
    assert sorted(inside) == ["bias", "first/blocks1", "first/scales1", "second/blocks0", "second/scales0", "small"]
    (kept,) = weights_in_blocks(parent, tmp_path / "kept.onnx", {"one", "two"})
    assert _operators(kept) == ["MatMul", "Gemm", "MatMulNBits", "MatMul"]


def test_weights_beside_the_graph_stay_beside_it(tmp_path: Path, x: np.ndarray) -> None:
    parent = products(tmp_path / "plain.onnx", beside=True)
    files = weights_in_blocks(parent, tmp_path / "form.onnx")
    assert [file.name for file in files] == ["form.onnx", "form.onnx.data"]
    assert cosine(_run(parent, x)["c"], _run(files[0], x)["c"]) > 0.9999


def test_the_largest_numbers_do_not_saturate(tmp_path: Path) -> None:
    """Sums of 64 products of 127 by 127: without VNNI, int16 sums of products could not hold two of them."""
    weight = np.where(np.arange(64)[:, None] % 2, -3.0, 3.0) * np.ones((64, 32))
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"])],
        "largest",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["rows", 64])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["rows", 32])],
        [numpy_helper.from_array(weight.astype(np.float32), "w")],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), tmp_path / "w.onnx")
    (path,) = weights_in_blocks(tmp_path / "w.onnx", tmp_path / "form.onnx")
    x = np.sign(weight[:, 0]).astype(np.float32)[np.newaxis]
    for rows in (1, 5):
        assert np.allclose(OnnxRuntimeEngine(path, 1).run({"x": np.repeat(x, rows, axis=0)})["y"], 192.0, rtol=0.01)


def test_where_the_quantiser_cannot_be_imported_that_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert missing_quantiser() is None
    monkeypatch.setitem(sys.modules, TOOL, None)
    missing = missing_quantiser()
    assert missing is not None and missing.startswith("ONNX Runtime ") and "has no quantiser for them here" in missing
    with pytest.raises(DataError, match="weights in 8-bit blocks cannot be made"):
        weights_in_blocks(products(tmp_path / "plain.onnx"), tmp_path / "form.onnx")


def test_its_import_leaves_the_programs_log_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    root = logging.getLogger()
    monkeypatch.setattr(root, "handlers", [])
    level = root.level
    monkeypatch.delitem(sys.modules, TOOL, raising=False)
    assert blocks.missing_quantiser() is None and TOOL in sys.modules
    assert root.handlers == [] and root.level == level
