"""Constant arithmetic is done before a plan is built: axes are constants, results are what they were."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, numpy_helper

from quantize.graphs.folding import constant_integers, fold_constants
from quantize.graphs.int8 import half
from quantize.graphs.onnx_file import OnnxFile
from quantize.graphs.qdq_lint import lint
from tests.quantize.graphs.int8_cases import FLOAT, kinds, node, run, save, weight

INT64 = TensorProto.INT64
VERSIONS = ("10.2", "10.3", "10.13", "11.4")


def exported(folder: Path) -> Path:
    """x (rows, 6, 8) → y (rows, 6, 7), as the exporter writes ``x.view(len(x), 6, 2, -1).flatten(2)[..., :-1]``."""
    weights = {
        "zero": np.array(0, np.int64),
        "zeros": np.array([0], np.int64),
        "two": np.array(2, np.int64),
        "one": np.array(1, np.int64),
        "minus": np.array(-1, np.int64),
        "half": np.array(0.5, np.float32),
        "table": weight(np.random.default_rng(0), 6, 7),
    }
    nodes = [
        node("Shape", ["x"], "shape"),
        *(
            made
            for name in ("zero", "one")
            for made in (
                node("Gather", ["shape", name], f"size.{name}"),
                node("Unsqueeze", [f"size.{name}", "zeros"], f"sizes.{name}"),
            )
        ),
        *(node("Unsqueeze", [name, "zeros"], f"{name}s") for name in ("two", "minus", "one")),
        node("Unsqueeze", ["zero", "zeros"], "start"),
        node("Concat", ["sizes.zero", "sizes.one", "twos", "minuss"], "heads.shape", axis=0),
        node("Reshape", ["x", "heads.shape"], "heads"),
        node("Concat", ["sizes.zero", "sizes.one", "minuss"], "flat.shape", axis=0),
        node("Reshape", ["heads", "flat.shape"], "flat"),
        node("Slice", ["flat", "start", "minuss", "twos", "ones"], "cut"),
        node("Mul", ["table", "half"], "halved"),
        node("Add", ["cut", "halved"], "y"),
    ]
    return save(folder / "g.onnx", nodes, weights, {"x": (FLOAT, ("rows", 6, 8))}, {"y": FLOAT})


def _folded(path: Path, output: Path) -> OnnxFile:
    file = OnnxFile(path)
    fold_constants(file)
    file.save(output)
    return file


def test_axes_become_constants(tmp_path: Path) -> None:
    path, folded = exported(tmp_path), tmp_path / "folded.onnx"
    assert {(f.rule, f.node) for f in lint(path, "10.2")} == {("computed-input", "cut")}
    assert len(constant_integers(OnnxFile(path))) == 6  # of the sizes, that of the rows is not known
    assert constant_integers(_folded(path, folded)) == []
    assert kinds(folded) == ["Reshape", "Reshape", "Slice", "Add"]
    for version in VERSIONS:
        assert lint(folded, version) == []
    values = {t.name: numpy_helper.to_array(t).tolist() for t in onnx.load(str(folded)).graph.initializer}
    assert values["heads/shape"] == [0, 0, 2, -1] or values["heads/shape"] == [0, 6, 2, -1]
    assert values["twos"] == [2]
    for rows in (1, 3):
        x = np.random.default_rng(rows).standard_normal((rows, 6, 8)).astype(np.float32)
        assert np.array_equal(run(path, {"x": x})["y"], run(folded, {"x": x})["y"])


def test_what_is_built_for_tensorrt_is_folded(tmp_path: Path) -> None:
    half(exported(tmp_path), tmp_path / "h.onnx")
    assert "computed-input" not in {finding.rule for finding in lint(tmp_path / "h.onnx", "10.2")}
    assert "Shape" not in kinds(tmp_path / "h.onnx")


def test_sizes_that_only_runs_know_stay_computed(tmp_path: Path) -> None:
    weights = {"zero": np.array([0], np.int64), "one": np.array([1], np.int64), "big": np.array([2**40], np.int64)}
    nodes = [
        node("Shape", ["x"], "shape"),
        node("Gather", ["shape", "one"], "columns"),
        node("Sub", ["columns", "one"], "last"),
        node("Slice", ["x", "last", "big", "one"], "y"),
    ]
    path = save(tmp_path / "g.onnx", nodes, weights, {"x": (FLOAT, ("rows", "columns"))}, {"y": FLOAT})
    folded = tmp_path / "f.onnx"
    assert constant_integers(_folded(path, folded)) == []
    assert kinds(folded) == kinds(path)
    assert lint(folded, "10.2") == [], "a start may be computed, an axis may not"
    x = np.arange(12, dtype=np.float32).reshape(3, 4)
    assert run(folded, {"x": x})["y"].tolist() == [[3], [7], [11]]


@pytest.mark.parametrize(("to", "rules"), [(INT64, {"axes-type"}), (TensorProto.INT32, set())])
def test_axes_that_are_computed_have_one_type_in_10_3(to: int, rules: set[str], tmp_path: Path) -> None:
    whole = np.int64 if to == INT64 else np.int32
    weights = {"zero": np.array([0], whole), "one": np.array([1], whole)}
    inputs = {"x": (FLOAT, ("rows", 4)), "axis": (to, (1,))}
    nodes = [node("Add", ["axis", "zero"], "axes"), node("Slice", ["x", "zero", "one", "axes"], "y")]
    path = save(tmp_path / "g.onnx", nodes, weights, inputs, {"y": FLOAT})
    assert [f.rule for f in lint(path, "10.2")] == ["computed-input"]
    assert {f.rule for f in lint(path, "10.3")} == rules
    assert lint(path, "11.4") == []


@pytest.mark.parametrize(
    ("kind", "refused"), [("Unsqueeze", ("10.3", "10.6")), ("ReduceSum", ("10.3", "10.6", "10.7", "11.4"))]
)
def test_computed_axes_of_other_operators(kind: str, refused: tuple[str, ...], tmp_path: Path) -> None:
    inputs = {"x": (FLOAT, ("rows", 4)), "axis": (INT64, (1,))}
    nodes = [node("Add", ["axis", "zero"], "axes"), node(kind, ["x", "axes"], "y")]
    path = save(tmp_path / "g.onnx", nodes, {"zero": np.array([0], np.int64)}, inputs, {"y": FLOAT})
    found = {v for v in ("10.3", "10.6", "10.7", "11.4") if "computed-input" in {f.rule for f in lint(path, v)}}
    assert found == set(refused)


def test_masks_and_large_tables_are_left_alone(tmp_path: Path) -> None:
    """A mask's "never" stands alone, where FP16 has a number for it, and no table outgrows what it is of."""
    weights = {
        "never": np.array(-1e9, np.float32),
        "hidden": np.array([0, 1, 0], np.float32),
        "shape": np.array([3000, 3000], np.int64),
        "first": np.array([0, 0], np.int64),
        "last": np.array([1, 3], np.int64),
    }
    nodes = [
        node("Mul", ["hidden", "never"], "mask"),
        node("ConstantOfShape", ["shape"], "table"),
        node("Slice", ["table", "first", "last"], "row"),
        node("Add", ["x", "mask"], "masked"),
        node("Add", ["masked", "row"], "y"),
    ]
    path = save(tmp_path / "g.onnx", nodes, weights, {"x": (FLOAT, ("rows", 3))}, {"y": FLOAT})
    _folded(path, tmp_path / "f.onnx")
    assert kinds(tmp_path / "f.onnx") == ["Mul", "ConstantOfShape", "Slice", "Add", "Add"]
    half(path, tmp_path / "h.onnx")
    x = np.zeros((2, 3), np.float32)
    assert run(tmp_path / "h.onnx", {"x": x})["y"].tolist() == [[0, -30000, 0]] * 2
