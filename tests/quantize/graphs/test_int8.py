"""The INT8 and FP16 forms: their numbers against the fp32 parent's, their types, and what is left alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, numpy_helper, shape_inference

from edge_aac.errors import DataError, InputMissingError
from quantize.graphs.calibration import Observed, observe, overflowing_nodes
from quantize.graphs.half import MASK, halve
from quantize.graphs.int8 import dynamic_int8, explicit_int8, half
from quantize.graphs.onnx_file import OnnxFile
from quantize.graphs.qdq_lint import int8_products, lint
from tests.quantize.graphs.int8_cases import (
    FLOAT,
    HALF,
    cosine,
    io_types,
    kinds,
    min_cosine,
    node,
    run,
    save,
    small_encoder,
    small_inputs,
)


@pytest.fixture(scope="module")
def parent(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_encoder(tmp_path_factory.mktemp("parent") / "encoder.fp32.onnx")


@pytest.fixture(scope="module")
def observed(parent: Path) -> Observed:
    return observe(parent, small_inputs(8))


def test_explicit_form_gives_its_parents_numbers(parent: Path, observed: Observed, tmp_path: Path) -> None:
    (written,) = explicit_int8(parent, tmp_path / "encoder.int8+fp16.onnx", observed.ranges)
    for inputs in small_inputs(4, seed=2):
        want, have = run(parent, inputs), run(written, inputs)
        for name in want:
            assert cosine(want[name], have[name]) > min_cosine(tmp_path), name
            assert not np.array_equal(want[name], have[name])
    assert io_types(written) == {"fbank": FLOAT, "cross_keys": HALF, "audio_embedding": FLOAT, "sum": FLOAT}


def test_explicit_form_keeps_the_rules(parent: Path, observed: Observed, tmp_path: Path) -> None:
    path = tmp_path / "encoder.onnx"
    explicit_int8(parent, path, observed.ranges)
    assert lint(path) == []
    # The second convolution, q, k, v and out; not the first convolution, attention, the tiny one or the single row.
    assert int8_products(path).int8 == int8_products(path).expected == 5
    model = onnx.load(str(path))
    assert (model.opset_import[0].version, model.ir_version) == (19, 9)
    # norm is quantised once for q, k and v.
    assert kinds(path).count("QuantizeLinear") == 5 + 3
    weights = {t.name: t for t in model.graph.initializer}
    for pair in (n for n in model.graph.node if n.op_type == "QuantizeLinear"):
        assert weights[pair.input[1]].data_type == HALF
        assert weights[pair.input[2]].data_type == TensorProto.INT8
        assert not numpy_helper.to_array(weights[pair.input[2]]).any()


def test_kept_layers_are_not_quantised(parent: Path, observed: Observed, tmp_path: Path) -> None:
    path = tmp_path / "encoder.onnx"
    explicit_int8(parent, path, observed.ranges, keep=["out.product", "conv"])
    assert int8_products(path).int8 == 3
    assert {finding.node for finding in lint(path)} == {"out.product", "conv"}
    assert lint(path, keep=["out.product", "conv"]) == []


def test_half_keeps_positions_and_masks_right(parent: Path, tmp_path: Path) -> None:
    path = tmp_path / "encoder.fp16.onnx"
    file = OnnxFile(parent)
    file.raise_opset()
    halve(file)  # alone: folded, positions and masks are no arithmetic any more
    file.save(path)
    inputs = small_inputs(1)[0]
    want, have = run(parent, inputs), run(path, inputs)
    # A position on the wrong side of a boundary, or a mask that overflows, would be seen at once.
    for name in want:
        assert np.allclose(want[name], have[name].astype(np.float32), rtol=0.02, atol=0.02), name
    assert "QuantizeLinear" not in kinds(path)
    values = {t.name: numpy_helper.to_array(t) for t in onnx.load(str(path)).graph.initializer}
    assert min(float(v.min()) for v in values.values() if v.dtype == np.float16 and v.size) == -MASK
    assert values["thousand"].dtype == np.float32


def test_weights_beside_the_graph_stay_there(tmp_path: Path) -> None:
    (tmp_path / "parent").mkdir()
    parent = small_encoder(tmp_path / "parent" / "encoder.onnx", beside=True)
    ranges = observe(parent, small_inputs(4)).ranges
    inputs = small_inputs(1, seed=3)[0]
    want = run(parent, inputs)
    makers = {
        "explicit": lambda path: explicit_int8(parent, path, ranges),
        "half": lambda path: half(parent, path),
        "dynamic": lambda path: dynamic_int8(parent, path, ranges=ranges),
    }
    for name, make in makers.items():
        path = tmp_path / f"{name}.onnx"
        assert make(path) == [path, tmp_path / f"{name}.onnx.data"]
        have = run(path, inputs)["audio_embedding"]
        assert cosine(want["audio_embedding"], have) > (min_cosine(tmp_path) if name == "explicit" else 0.99)


def test_dynamic_form_gives_its_parents_numbers(parent: Path, observed: Observed, tmp_path: Path) -> None:
    plain, static = tmp_path / "plain.onnx", tmp_path / "static.onnx"
    dynamic_int8(parent, plain)
    dynamic_int8(parent, static, ranges=observed.ranges)
    # q, k, v, out and the single row; the convolutions only with ranges.
    assert kinds(plain).count("MatMulInteger") == kinds(static).count("MatMulInteger") == 5
    assert kinds(plain).count("DynamicQuantizeLinear") == 3
    assert "QuantizeLinear" not in kinds(plain)
    assert kinds(static).count("QuantizeLinear") == 2
    for inputs in small_inputs(4, seed=2):
        want = run(parent, inputs)
        for path in (plain, static):
            have = run(path, inputs)
            assert all(cosine(want[name], have[name]) > 0.99 for name in want)
            assert all(array.dtype == np.float32 for array in have.values())


def test_dynamic_form_keeps_and_reduces(parent: Path, tmp_path: Path) -> None:
    path = tmp_path / "encoder.onnx"
    dynamic_int8(parent, path, keep=["q.product", "audio_embedding"], reduce_range=True)
    assert kinds(path).count("MatMulInteger") == 3
    integers = [numpy_helper.to_array(t) for t in onnx.load(str(path)).graph.initializer if t.data_type == 3]
    assert max(int(np.abs(array.astype(int)).max()) for array in integers) == 63


@pytest.mark.parametrize(("taps", "wide"), [(64, True), (16, False)])
def test_convolutions_in_wide_groups_are_int8_on_processors_alone(taps: int, wide: bool, tmp_path: Path) -> None:
    """As BEATs' position embedding: 32 channels a group and 64 taps make 2048 values; 512 would not pay."""
    rng = np.random.default_rng(0)
    kernel = (rng.standard_normal((128, 32, taps)) / np.sqrt(32 * taps)).astype(np.float32)
    weights = {"kernel": kernel, "bias": rng.standard_normal(128).astype(np.float32)}
    nodes = [
        node("Conv", ["sequence", "kernel", "bias"], "conv", group=4, pads=[taps // 2, taps // 2]),
        node("Sigmoid", ["conv"], "memory"),
    ]
    inputs = {"sequence": (FLOAT, (1, 128, 90))}
    parent = save(tmp_path / "p.onnx", nodes, weights, inputs, {"memory": FLOAT})
    runs = [{"sequence": rng.standard_normal((1, 128, 90)).astype(np.float32)} for _ in range(3)]
    observed = observe(parent, runs[:2])
    assert set(observed.ranges) == ({"sequence", "conv"} if wide else set())
    dynamic_int8(parent, tmp_path / "i.onnx", ranges=observed.ranges)
    explicit_int8(parent, tmp_path / "e.onnx", observed.ranges)
    assert kinds(tmp_path / "i.onnx").count("QuantizeLinear") == (2 if wide else 0)
    assert int8_products(tmp_path / "e.onnx").int8 == 0
    assert not [finding for finding in lint(tmp_path / "e.onnx") if finding.rule != "fp32-scale"]
    want, have = (run(tmp_path / name, runs[2])["memory"] for name in ("p.onnx", "i.onnx"))
    assert cosine(want, have) > 0.999
    assert np.array_equal(want, have) is not wide


def test_gemm_with_a_bias(tmp_path: Path) -> None:
    """As the decoder's logits are made: a table that is gathered from and multiplied with."""
    rng = np.random.default_rng(0)
    weights = {
        "table": rng.standard_normal((90, 64)).astype(np.float32),
        "bias": rng.standard_normal(90).astype(np.float32) * 5,
    }
    nodes = [
        node("Gather", ["table", "token_ids"], "tokens"),
        node("Gemm", ["tokens", "table", "bias"], "logits", transB=1),
    ]
    path = save(tmp_path / "d.onnx", nodes, weights, {"token_ids": (TensorProto.INT64, ("n",))}, {"logits": FLOAT})
    inputs = {"token_ids": np.array([3, 7, 89])}
    want = run(path, inputs)["logits"]
    dynamic_int8(path, tmp_path / "i.onnx")
    explicit_int8(path, tmp_path / "e.onnx", {"tokens": (-4.0, 4.0)})
    half(path, tmp_path / "h.onnx")
    for name, lowest in (("i", 0.999), ("e", min_cosine(tmp_path)), ("h", 0.99999)):
        assert cosine(want, run(tmp_path / f"{name}.onnx", inputs)["logits"]) > lowest
    assert int8_products(tmp_path / "e.onnx").int8 == 1


def test_sums_that_overflow_stay_fp32(tmp_path: Path) -> None:
    """T5's norm: the square of 3000 is no FP16 number, and neither is an epsilon of 1e-6 a useful one."""
    weights = {"two": np.array(2.0, np.float32), "eps": np.array(1e-6, np.float32)}
    nodes = [
        node("Pow", ["self_x", "two"], "square"),
        node("ReduceMean", ["square"], "mean", axes=[-1]),
        node("Add", ["mean", "eps"], "safe"),
        node("Sqrt", ["safe"], "root"),
        node("Div", ["self_x", "root"], "embedding"),
    ]
    path = save(tmp_path / "t.onnx", nodes, weights, {"self_x": (FLOAT, ("n", 64))}, {"embedding": FLOAT})
    half(path, tmp_path / "h.onnx")
    assert io_types(tmp_path / "h.onnx") == {"self_x": HALF, "embedding": FLOAT}
    for magnitude in (3000.0, 1e-3):
        x = (magnitude * np.random.default_rng(0).standard_normal((2, 64))).astype(np.float16)
        have = run(tmp_path / "h.onnx", {"self_x": x})["embedding"]
        assert np.allclose(run(path, {"self_x": x.astype(np.float32)})["embedding"], have, rtol=2e-3, atol=1e-3)


def test_nodes_that_overflow_are_found_and_kept(tmp_path: Path) -> None:
    weights = {"w": np.full((64, 64), 100.0, np.float32), "down": np.array(1e-3, np.float32)}
    nodes = [
        node("MatMul", ["fbank", "w"], "large"),
        node("Mul", ["large", "down"], "audio_embedding"),
    ]
    path = save(tmp_path / "p.onnx", nodes, weights, {"fbank": (FLOAT, ("n", 64))}, {"audio_embedding": FLOAT})
    inputs = {"fbank": np.full((2, 64), 20.0, np.float32)}
    keep = overflowing_nodes(path, [inputs])
    assert keep == ["large"]
    half(path, tmp_path / "h.onnx", keep)
    assert np.allclose(run(tmp_path / "h.onnx", inputs)["audio_embedding"], 128.0, rtol=1e-3)
    assert _in_half(tmp_path / "h.onnx") == set(), "a cast would overflow as well; ONNX Runtime takes some out"


def _in_half(path: Path) -> set[str]:
    """Tensors that are FP16."""
    graph = shape_inference.infer_shapes(onnx.load(str(path))).graph
    return {entry.name for entry in graph.value_info if entry.type.tensor_type.elem_type == HALF}


@pytest.fixture
def overflowing(tmp_path: Path) -> tuple[Path, list[dict[str, np.ndarray]]]:
    """An encoder whose first product, which a layer norm and another product take, is beyond FP16; and its inputs."""
    rng = np.random.default_rng(0)
    weights = {
        "large.weight": (rng.standard_normal((64, 64)) * 4000).astype(np.float32),
        "gamma": np.ones(64, np.float32),
        "beta": np.zeros(64, np.float32),
        "small.weight": (rng.standard_normal((64, 64)) / 8e4).astype(np.float32),
        "last.weight": (rng.standard_normal((64, 64)) / 8).astype(np.float32),
    }
    nodes = [
        node("MatMul", ["fbank", "large.weight"], "large"),
        node("LayerNormalization", ["large", "gamma", "beta"], "norm", axis=-1),
        node("MatMul", ["large", "small.weight"], "small"),
        node("MatMul", ["norm", "last.weight"], "last"),
        node("Add", ["last", "small"], "audio_embedding"),
    ]
    inputs = {"fbank": (FLOAT, ("windows", 16, 64))}
    return save(tmp_path / "p.onnx", nodes, weights, inputs, {"audio_embedding": FLOAT}), small_inputs(3)


@pytest.mark.parametrize("form", ["int8+fp16", "fp16"])
def test_no_form_casts_what_overflows(
    overflowing: tuple[Path, list[dict[str, np.ndarray]]], form: str, tmp_path: Path
) -> None:
    parent, inputs = overflowing
    wide = overflowing_nodes(parent, inputs)
    assert wide == ["large", "norm"], "of the norm, the sum of squares inside"
    path = tmp_path / "form.onnx"
    if form == "fp16":
        half(parent, path, wide)
        assert {"norm/fp16", "last"} <= _in_half(path)
    else:
        explicit_int8(parent, path, observe(parent, inputs).ranges, overflowing=wide)
        assert int8_products(path).int8 == 1, "of the layer norm's result, which FP16 holds"
        assert not [found for found in lint(path, keep=["large", "small"]) if found.rule != "fp32-scale"]
    assert not {name for name in _in_half(path) if name.startswith("large/") or name == "large"}
    for one in inputs:
        want, have = run(parent, one)["audio_embedding"], run(path, one)["audio_embedding"]
        assert cosine(want, have) > (0.9999 if form == "fp16" else min_cosine(tmp_path))


@pytest.mark.parametrize("flushed", [False, True])
def test_a_bias_outlives_weights_of_nothing(flushed: bool, tmp_path: Path) -> None:
    """A pruned channel gives its bias, as it does in fp32, also where the smallest numbers are taken for zero."""
    rng = np.random.default_rng(0)
    kernel = (rng.standard_normal((32, 32, 3)) * 0.05).astype(np.float32)
    bias = rng.standard_normal(32).astype(np.float32) / 10
    kernel[0], kernel[1], kernel[2], kernel[3] = 0.0, kernel[1] * 1e-9, kernel[2] * 1e-5, 0.0
    bias[:4] = [1.0, -1.0, 1.0, 0.0]
    nodes = [node("Conv", ["sound", "kernel", "bias"], "conv", pads=[1, 1]), node("Sigmoid", ["conv"], "memory")]
    weights, inputs = {"kernel": kernel, "bias": bias}, {"sound": (FLOAT, (1, 32, 90))}
    parent = save(tmp_path / "p.onnx", nodes, weights, inputs, {"memory": FLOAT})
    runs = [{"sound": rng.standard_normal((1, 32, 90)).astype(np.float32)} for _ in range(3)]
    ranges = observe(parent, runs).ranges
    torch.set_flush_denormal(flushed)
    try:
        with np.errstate(all="raise", under="ignore"):
            dynamic_int8(parent, tmp_path / "i.onnx", ranges=ranges)
    finally:
        torch.set_flush_denormal(False)
    assert "QuantizeLinear" in kinds(tmp_path / "i.onnx")
    want, have = (run(path, runs[0])["memory"] for path in (parent, tmp_path / "i.onnx"))
    assert np.abs(want - have).max() < 0.02


def test_what_cannot_be_converted_is_refused(tmp_path: Path, parent: Path) -> None:
    with pytest.raises(InputMissingError, match="install or build"):
        half(tmp_path / "none.onnx", tmp_path / "x.onnx")
    for content in (b"", b"not an ONNX file"):
        (tmp_path / "broken.onnx").write_bytes(content)
        with pytest.raises(DataError, match="export the bundle again"):
            dynamic_int8(tmp_path / "broken.onnx", tmp_path / "x.onnx")
    beside = small_encoder(tmp_path / "beside.onnx", beside=True)
    data = tmp_path / "beside.onnx.data"
    data.write_bytes(data.read_bytes()[:-64])
    with pytest.raises(DataError, match="does not hold all weights"):
        half(beside, tmp_path / "x.onnx")
    old = save(tmp_path / "old.onnx", [node("Relu", ["x"], "y")], {}, {"x": (FLOAT, (1,))}, {"y": FLOAT}, opset=13)
    with pytest.raises(DataError, match="opset 13"):
        half(old, tmp_path / "x.onnx")
    huge = {"w": np.full((2, 2), 1e6, np.float32)}
    path = save(tmp_path / "huge.onnx", [node("MatMul", ["x", "w"], "y")], huge, {"x": (FLOAT, (1, 2))}, {"y": FLOAT})
    with pytest.raises(DataError, match="FP16 cannot"):
        half(path, tmp_path / "x.onnx")


def test_a_product_that_takes_another_s_result(tmp_path: Path) -> None:
    """As the two projections of Pengi's text tower do: no tensor is made twice."""
    rng = np.random.default_rng(0)
    weights = [onnx.numpy_helper.from_array(rng.standard_normal((32, 32)).astype(np.float32), name) for name in "ab"]
    nodes = [
        onnx.helper.make_node("MatMul", ["x", "a"], ["between"], name="first"),
        onnx.helper.make_node("MatMul", ["between", "b"], ["y"], name="second"),
    ]
    ends = [[onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [4, 32])] for name in ("x", "y")]
    graph = onnx.helper.make_graph(nodes, "products", *ends, weights)
    opset = [onnx.helper.make_opsetid("", 17)]
    onnx.save(onnx.helper.make_model(graph, opset_imports=opset, ir_version=8), str(tmp_path / "fp32.onnx"))
    dynamic_int8(tmp_path / "fp32.onnx", tmp_path / "int8.onnx")
    inputs = {"x": rng.standard_normal((4, 32)).astype(np.float32)}
    assert cosine(run(tmp_path / "fp32.onnx", inputs)["y"], run(tmp_path / "int8.onnx", inputs)["y"]) > 0.99
