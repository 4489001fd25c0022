"""Every rule of the linter, on a graph that breaks it on purpose and is otherwise right."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import NodeProto, TensorProto

from edge_aac.errors import ConfigError, DataError, InputMissingError
from quantize.graphs.qdq_lint import ProductCount, int8_products, lint
from tests.quantize.graphs.int8_cases import FLOAT, HALF, node, save, small_encoder

INT8 = TensorProto.INT8
ROWS = (HALF, ("windows", 12, 64))


class Case:
    """x → MatMul with W, both quantised, as TensorRT wants it; each test spoils one thing."""

    def __init__(self) -> None:
        rng = np.random.default_rng(0)
        self.weights: dict[str, Any] = {
            "w": rng.standard_normal((64, 48)).astype(np.float16),
            "w.scale": np.full(48, 0.03, np.float16),
            "w.zero": np.zeros(48, np.int8),
            "x.scale": np.array(0.02, np.float16),
            "x.zero": np.array(0, np.int8),
        }
        self.nodes: list[NodeProto] = [
            node("QuantizeLinear", ["x", "x.scale", "x.zero"], "x.int8"),
            node("DequantizeLinear", ["x.int8", "x.scale", "x.zero"], "x.back"),
            node("QuantizeLinear", ["w", "w.scale", "w.zero"], "w.int8", axis=1),
            node("DequantizeLinear", ["w.int8", "w.scale", "w.zero"], "w.back", axis=1),
            node("MatMul", ["x.back", "w.back"], "y"),
        ]
        self.inputs: dict[str, Any] = {"x": ROWS}
        self.outputs: dict[str, int] = {"y": HALF}
        self.opset = 19

    def save(self, folder: Path) -> Path:
        return save(folder / "g.onnx", self.nodes, self.weights, self.inputs, self.outputs, self.opset)


def test_the_right_graph_breaks_none(tmp_path: Path) -> None:
    path = Case().save(tmp_path)
    assert [lint(path, version) for version in ("10.3", "10.13.2", "11.4")] == [[], [], []]
    assert int8_products(path) == ProductCount(1, 1)


def _zero_point(case: Case) -> None:
    case.weights["x.zero"] = np.array(3, np.int8)


def _unsigned(case: Case) -> None:
    case.weights["x.zero"] = np.array(0, np.uint8)


def _no_zero_point(case: Case) -> None:
    for at in (0, 1):
        del case.nodes[at].input[2]


def _per_tensor(case: Case) -> None:
    case.weights |= {"w.scale": np.array(0.03, np.float16), "w.zero": np.array(0, np.int8)}


def _wrong_axis(case: Case) -> None:
    case.weights |= {"w.scale": np.full(64, 0.03, np.float16), "w.zero": np.zeros(64, np.int8)}
    case.nodes[2:4] = [
        node("QuantizeLinear", ["w", "w.scale", "w.zero"], "w.int8", axis=0),
        node("DequantizeLinear", ["w.int8", "w.scale", "w.zero"], "w.back", axis=0),
    ]


def _cast(case: Case) -> None:
    case.weights |= {"x.scale": np.array(0.02, np.float32)}
    case.inputs = {"x": (FLOAT, ROWS[1])}
    case.nodes[4:] = [node("Cast", ["x.back"], "x.half", to=HALF), node("MatMul", ["x.half", "w.back"], "y")]


def _fp32_scales(case: Case) -> None:
    case.weights = {k: v.astype(np.float32) if k.endswith("scale") else v for k, v in case.weights.items()}
    case.weights |= {"w": case.weights["w"].astype(np.float32), "other": np.ones((), np.float16)}
    case.inputs, case.outputs = {"x": (FLOAT, ROWS[1])}, {"y": FLOAT, "halved": HALF}
    case.nodes.append(node("Identity", ["other"], "halved"))


def _plain(case: Case) -> None:
    case.nodes[:] = [node("MatMul", ["x", "w"], "y")]


def _weight_only(case: Case) -> None:
    case.nodes[:] = [*case.nodes[2:4], node("MatMul", ["x", "w.back"], "y")]


def _activation_only(case: Case) -> None:
    case.nodes[:] = [*case.nodes[:2], node("MatMul", ["x.back", "w"], "y")]


def _single_row(case: Case) -> None:
    case.inputs = {"x": (HALF, ("windows", 1, 64))}


def _single_row_after_a_mean(case: Case) -> None:
    case.weights["axes"] = np.array([1], np.int64)
    case.inputs, case.outputs = {"z": ROWS}, {"y": HALF}
    case.nodes.insert(0, node("ReduceMean", ["z", "axes"], "x", keepdims=0))


def _needless(case: Case) -> None:
    case.nodes += [
        node("QuantizeLinear", ["y", "x.scale", "x.zero"], "y.int8"),
        node("DequantizeLinear", ["y.int8", "x.scale", "x.zero"], "y.back"),
        node("Softmax", ["y.back"], "s"),
    ]
    case.outputs = {"s": HALF}


def _integer_operator(case: Case) -> None:
    case.weights |= {"a": np.ones((4, 64), np.int8), "b": np.ones((64, 48), np.int8)}
    case.nodes.append(node("MatMulInteger", ["a", "b"], "i"))
    case.outputs["i"] = TensorProto.INT32


def _fused_operator(case: Case) -> None:
    case.nodes.append(node("Gelu", ["y"], "g", domain="com.microsoft"))
    case.outputs["g"] = HALF


@pytest.mark.parametrize(
    ("spoil", "rules"),
    [
        (_zero_point, {"asymmetric"}),
        (_unsigned, {"asymmetric"}),
        (_no_zero_point, {"asymmetric"}),
        (_per_tensor, {"per-tensor-weight"}),
        (_wrong_axis, {"weight-axis"}),
        (_cast, {"cast-after-dequantize", "fp32-scale"}),
        (_fp32_scales, {"fp32-scale"}),
        (_plain, {"unquantized"}),
        (_weight_only, {"one-sided"}),
        (_activation_only, {"one-sided"}),
        (_single_row, {"single-row"}),
        (_single_row_after_a_mean, {"single-row"}),
        (_needless, {"needless-pair"}),
        (_integer_operator, {"unsupported-operator"}),
        (_fused_operator, {"unsupported-operator"}),
    ],
)
def test_each_rule(spoil: Callable[[Case], None], rules: set[str], tmp_path: Path) -> None:
    case = Case()
    spoil(case)
    findings = lint(case.save(tmp_path))
    assert {finding.rule for finding in findings} - {"does-not-run"} == rules, findings
    names = {n.name for n in case.nodes}
    assert all(finding.node in names for finding in findings if finding.rule != "does-not-run")
    assert all(finding.message for finding in findings)


def test_small_and_kept_products_may_stay(tmp_path: Path) -> None:
    case = Case()
    case.weights["w"] = case.weights["w"][:, :8]
    _plain(case)
    assert lint(case.save(tmp_path)) == []
    case = Case()
    _plain(case)
    path = case.save(tmp_path)
    assert int8_products(path) == ProductCount(0, 1)
    assert lint(path, keep=["y"]) == [] and int8_products(path, keep=["y"]) == ProductCount(0, 0)


def test_transposed_weights_have_their_scales_along_rows(tmp_path: Path) -> None:
    case = Case()
    case.weights["w"] = np.ascontiguousarray(case.weights["w"].T)
    case.inputs = {"x": (HALF, (12, 64))}
    case.nodes[4] = node("Gemm", ["x.back", "w.back"], "y", transB=1)
    for axis, rules in ((0, set()), (1, {"weight-axis"})):
        channels = case.weights["w"].shape[axis]
        case.weights |= {"w.scale": np.full(channels, 0.03, np.float16), "w.zero": np.zeros(channels, np.int8)}
        case.nodes[2] = node("QuantizeLinear", ["w", "w.scale", "w.zero"], "w.int8", axis=axis)
        case.nodes[3] = node("DequantizeLinear", ["w.int8", "w.scale", "w.zero"], "w.back", axis=axis)
        assert {finding.rule for finding in lint(case.save(tmp_path))} == rules


@pytest.mark.parametrize(("version", "refused"), [("10.3", True), ("10.11", True), ("10.12", False), ("11.4.0", False)])
def test_einsum_with_an_ellipsis(version: str, refused: bool, tmp_path: Path) -> None:
    case = Case()
    case.nodes.append(node("Einsum", ["y"], "e", equation="...i->...i"))
    case.outputs["e"] = HALF
    assert {f.rule for f in lint(case.save(tmp_path), version)} == ({"einsum-ellipsis"} if refused else set())
    case.nodes[-1] = node("Einsum", ["y"], "e", equation="bti->tbi")
    assert lint(case.save(tmp_path), version) == []


@pytest.mark.parametrize(("version", "refused"), [("10.3", True), ("10.8", True), ("10.9", False), ("10.13", False)])
@pytest.mark.parametrize("opset", [19, 21])
def test_group_normalisation(opset: int, version: str, refused: bool, tmp_path: Path) -> None:
    case = Case()
    case.opset = opset
    channels = 12 if opset >= 21 else 3
    case.weights |= {"g": np.ones(channels, np.float16), "b": np.zeros(channels, np.float16)}
    case.nodes.append(node("GroupNormalization", ["y", "g", "b"], "n", num_groups=3))
    case.outputs["n"] = HALF
    rules = {finding.rule for finding in lint(case.save(tmp_path), version)}
    assert rules - {"does-not-run"} == ({"group-norm"} if refused and opset == 21 else set())


def test_fp16_scales_need_their_opset(tmp_path: Path) -> None:
    case = Case()
    case.opset = 17
    findings = lint(case.save(tmp_path))
    assert "opset" in {finding.rule for finding in findings}
    # ONNX Runtime refuses it too, and that is said instead of guessed rows.
    assert "does-not-run" in {finding.rule for finding in findings}


def test_the_fp32_parent_wants_all_its_large_products(tmp_path: Path) -> None:
    path = small_encoder(tmp_path / "p.onnx")
    wanted = {"conv", "q.product", "k.product", "v.product", "out.product"}
    assert {(f.rule, f.node) for f in lint(path)} == {("unquantized", name) for name in wanted}
    assert int8_products(path) == ProductCount(0, 5)


def test_what_cannot_be_linted(tmp_path: Path) -> None:
    with pytest.raises(InputMissingError):
        lint(tmp_path / "none.onnx")
    (tmp_path / "x.onnx").write_bytes(b"\x00\x01")
    with pytest.raises(DataError):
        lint(tmp_path / "x.onnx")
    for version in ("", "ten", "10", "10.x"):
        with pytest.raises(ConfigError, match="write 10.3"):
            lint(Case().save(tmp_path), version)
