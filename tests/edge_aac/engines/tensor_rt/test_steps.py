"""The cache on the device against the cache on the host, with a decoder whose logits tell every row of it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edge_aac.bundle.store import DEFAULT_BUNDLE, open_bundle
from edge_aac.engines.onnx_runtime import OnnxRuntimeEngine
from edge_aac.engines.steps import HostSteps, on_host, without_padding
from edge_aac.engines.tensor_rt.cuda_memory import Cuda, CudaStream, DeviceBuffer, PinnedBuffer
from edge_aac.engines.tensor_rt.device_array import DeviceArray
from edge_aac.engines.tensor_rt.engine import DeviceContext, TensorRtEngine
from edge_aac.errors import DataError
from tests.edge_aac.engines.tensor_rt.trt_cases import fbank, install, plan_of
from tests.edge_aac.engines.tensor_rt.trt_stand_in_parts import stand_in_plan

_LAYERS, _HEADS, _CAPACITY, _MOST = 2, 3, 7, 4


def _decoder(path: Path, head_size: int, rows_type: int = TensorProto.FLOAT) -> None:
    """A decoder whose logits weigh each position of each layer differently, and whose new rows depend on the token."""
    random = np.random.default_rng(0)
    names = [f"{kind}_{layer}" for kind in ("self_keys", "self_values") for layer in range(_LAYERS)]
    crosses = [f"{kind}_{layer}" for kind in ("cross_keys", "cross_values") for layer in range(_LAYERS)]
    weights = {f"weight_{name}": random.standard_normal((1, _HEADS, _CAPACITY, head_size)) for name in names}
    weights |= {
        f"rows_{kind}": random.standard_normal((_LAYERS, 1, _HEADS, 1, head_size)) for kind in ("keys", "values")
    }
    nodes = [
        helper.make_node("Cast", ["token_ids"], ["numbers"], to=TensorProto.FLOAT),
        helper.make_node("Cast", ["step"], ["number"], to=TensorProto.FLOAT),
        helper.make_node("Reshape", ["numbers", "as_rows"], ["tokens"]),
    ]
    for kind in ("keys", "values"):
        nodes.append(helper.make_node("Mul", ["tokens", f"rows_{kind}"], [f"full_{kind}"]))
        nodes.append(helper.make_node("Cast", [f"full_{kind}"], [f"new_{kind}"], to=rows_type))
    for name in names:
        nodes.append(helper.make_node("Mul", [name, f"weight_{name}"], [f"weighed_{name}"]))
        nodes.append(helper.make_node("ReduceSum", [f"weighed_{name}", "axes"], [f"sum_{name}"], keepdims=0))
        nodes.append(helper.make_node("Unsqueeze", [f"sum_{name}", "last"], [f"column_{name}"]))
    for name in crosses:
        nodes.append(helper.make_node("ReduceMean", [name], [f"mean_{name}"], keepdims=0))
    nodes.append(helper.make_node("Sum", [f"mean_{name}" for name in crosses], ["cross"]))
    nodes.append(helper.make_node("Concat", [f"column_{name}" for name in names], ["columns"], axis=1))
    nodes.append(helper.make_node("Sum", ["columns", "cross", "number"], ["logits"]))
    cache = ["candidates", _HEADS, _CAPACITY, head_size]
    rows = [_LAYERS, "candidates", _HEADS, 1, head_size]
    graph = helper.make_graph(
        nodes,
        "decoder",
        [
            helper.make_tensor_value_info("token_ids", TensorProto.INT64, ["candidates", 1]),
            helper.make_tensor_value_info("step", TensorProto.INT64, [1]),
            *(helper.make_tensor_value_info(name, TensorProto.FLOAT, cache) for name in names),
            *(
                helper.make_tensor_value_info(name, TensorProto.FLOAT, [_HEADS, "memory", head_size])
                for name in crosses
            ),
        ],
        [
            helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["candidates", len(names)]),
            helper.make_tensor_value_info("new_keys", rows_type, rows),
            helper.make_tensor_value_info("new_values", rows_type, rows),
        ],
        [
            *(numpy_helper.from_array(array.astype(np.float32), name) for name, array in weights.items()),
            numpy_helper.from_array(np.array([1, -1, 1, 1, 1]), "as_rows"),
            numpy_helper.from_array(np.array([1, 2, 3]), "axes"),
            numpy_helper.from_array(np.array([1]), "last"),
        ],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)


def _ranges(head_size: int) -> dict[str, list[list[int]]]:
    cache = [[count, _HEADS, _CAPACITY, head_size] for count in (1, 2, _MOST)]
    cross = [[_HEADS, steps, head_size] for steps in (1, 5, 9)]
    kinds = {"self_keys": cache, "self_values": cache, "cross_keys": cross, "cross_values": cross}
    return {
        "token_ids": [[1, 1], [2, 1], [_MOST, 1]],
        **{f"{kind}_{layer}": shapes for kind, shapes in kinds.items() for layer in range(_LAYERS)},
    }


def _engines(folder: Path, head_size: int) -> tuple[TensorRtEngine, OnnxRuntimeEngine]:
    path = folder / "decoder.onnx"
    _decoder(path, head_size)
    stand_in_plan(folder / "decoder.engine", path, _ranges(head_size))
    return TensorRtEngine(folder / "decoder.engine", DeviceContext()), OnnxRuntimeEngine(path, 1)


@pytest.mark.parametrize("graphs", [True, False])
@pytest.mark.parametrize("head_size", [5, 64])  # 5: each layer needs a gap behind it; 64 : none does
@pytest.mark.parametrize("seed", range(3))
def test_the_cache_is_the_host_s(
    seed: int, head_size: int, graphs: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(monkeypatch)
    device, host = _engines(tmp_path, head_size)
    if not graphs:
        device = TensorRtEngine(tmp_path / "decoder.engine", DeviceContext(graphs=False))
    random = np.random.default_rng(seed)
    for _ in range(4):
        count, memory = int(random.integers(1, _MOST + 1)), int(random.integers(1, 10))
        cross = random.standard_normal((2, _LAYERS, _HEADS, memory, head_size)).astype(np.float32)
        cache = np.zeros((2, _LAYERS, count, _HEADS, _CAPACITY, head_size), np.float32)
        expected = HostSteps(host, (cache[0], cache[1]), (cross[0], cross[1]))
        found = device.open_steps(count, _CAPACITY, cross[0], cross[1])
        for step in range(_CAPACITY):
            ids = random.integers(1, 9, (count, 1))
            logits = expected.step(ids, step)
            assert np.abs(found.step(ids, step) - logits).max() <= 1e-4 * np.abs(logits).max()
            parents = random.integers(0, count, count)
            for steps in (expected, found):
                steps.reorder(parents, step + 1)


@pytest.mark.parametrize(
    "padding", ["", "0", "247", "1-40", "100-247", "0-3 7 9 200-247"], ids=lambda text: text or "none"
)
def test_padding_is_left_out_on_the_device(padding: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch)
    bundle = open_bundle(DEFAULT_BUNDLE)
    context = DeviceContext()
    encoder = TensorRtEngine(plan_of(bundle, "encoder", tmp_path), context)
    decoder = TensorRtEngine(plan_of(bundle, "decoder", tmp_path), context)
    encoded = encoder.run_resident({"fbank": fbank(0)[np.newaxis]}, ("cross_keys", "cross_values"))
    cross = [encoded[name][0] for name in ("cross_keys", "cross_values")]
    assert all(isinstance(array, DeviceArray) for array in cross)
    mask = np.zeros(cross[0].shape[2], bool)
    for span in padding.split():
        first, _, last = span.partition("-")
        mask[int(first) : int(last or first) + 1] = True
    on_the_host = [without_padding(on_host(array), mask) for array in cross]
    kept = [without_padding(array, mask) for array in cross]
    for one, other in zip(kept, on_the_host, strict=True):
        assert one.shape == other.shape
        assert np.array_equal(on_host(one), other)
    logits = [
        [steps.step(np.array([[2], [9]]), 0), steps.step(np.array([[5], [6]]), 1)]
        for steps in (decoder.open_steps(2, 8, *pair) for pair in (kept, on_the_host))
    ]
    assert np.array_equal(logits[0], logits[1])


def test_an_array_on_the_device_keeps_to_its_axes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch)
    encoder = TensorRtEngine(plan_of(open_bundle(DEFAULT_BUNDLE), "encoder", tmp_path), DeviceContext())
    keys = encoder.run_resident({"fbank": fbank(0)[np.newaxis]}, ("cross_keys",))["cross_keys"]
    for index in (-1, 1):
        with pytest.raises(IndexError):
            keys[index]
    steps = keys.shape[-2]
    with pytest.raises(ValueError, match="padding"):
        keys[0].without(np.zeros(steps + 1, bool))
    nothing = keys[0].without(np.ones(steps, bool))
    assert nothing.host().shape == nothing.shape == (3, 4, 0, 32)
    with pytest.raises(ValueError, match="padding"):
        nothing.without(np.zeros(steps, bool))


def test_one_window_of_several(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch)
    cuda = Cuda()
    stream, numbers = CudaStream(cuda), np.random.default_rng(0).standard_normal((3, 2, 4, 5)).astype(np.float16)
    pinned, buffer = PinnedBuffer(cuda, numbers.nbytes), DeviceBuffer(cuda, numbers.nbytes)
    pinned.array(np.float16, numbers.shape)[...] = numbers
    stream.upload(buffer.address, pinned, numbers.nbytes)
    stream.synchronise()
    array = DeviceArray(cuda, stream, buffer.address, numbers.shape, numbers.dtype)
    for index, window in enumerate(numbers):
        assert np.array_equal(array[index].host(), window)


def test_a_capture_that_fails_leaves_the_stream_usable(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch)
    cuda = Cuda()
    stream, buffer = CudaStream(cuda), DeviceBuffer(cuda, 8)

    def refused() -> None:
        stream.clear(buffer.address, 8)
        raise DataError("no")

    with pytest.raises(DataError, match="no"):
        stream.capture(refused)
    stream.clear(buffer.address, 8)
    stream.synchronise()
    stream.launch(stream.capture(lambda: stream.clear(buffer.address, 8)))
    stream.synchronise()


def test_rows_of_another_type_than_the_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch)
    _decoder(tmp_path / "decoder.onnx", 8, TensorProto.FLOAT16)
    stand_in_plan(tmp_path / "decoder.engine", tmp_path / "decoder.onnx", _ranges(8))
    with pytest.raises(DataError, match="new_keys of another type than its cache"):
        TensorRtEngine(tmp_path / "decoder.engine", DeviceContext())
