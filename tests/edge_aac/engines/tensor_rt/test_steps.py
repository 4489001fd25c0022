"""The cache on the device against the cache on the host, with a decoder whose logits tell every row of it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edge_aac.bundle.store import DEFAULT_BUNDLE, open_bundle
from edge_aac.engines.onnx_runtime import OnnxRuntimeEngine
from edge_aac.engines.steps import HostSteps, Memory
from edge_aac.engines.tensor_rt.cuda_memory import Cuda, CudaStream, DeviceBuffer, PinnedBuffer
from edge_aac.engines.tensor_rt.device_array import DeviceArray
from edge_aac.engines.tensor_rt.engine import DeviceContext, TensorRtEngine
from edge_aac.errors import DataError
from edge_aac.models.encoding import memory_of
from tests.edge_aac.engines.tensor_rt.trt_cases import encoder_inputs, install, plan_of
from tests.edge_aac.engines.tensor_rt.trt_stand_in_parts import stand_in_plan

_LAYERS, _HEADS, _CAPACITY, _MAX_ROWS, _WINDOWS = 2, 3, 7, 4, 3


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
    # What is no padding, on the axis of the memory steps.
    nodes.append(helper.make_node("Not", ["memory_padding"], ["is_sound"]))
    nodes.append(helper.make_node("Cast", ["is_sound"], ["sound"], to=TensorProto.FLOAT))
    nodes.append(helper.make_node("Unsqueeze", ["sound", "around"], ["weight_of_sound"]))
    for name in crosses:
        nodes.append(helper.make_node("Mul", [name, "weight_of_sound"], [f"heard_{name}"]))
        nodes.append(helper.make_node("ReduceMean", [f"heard_{name}"], [f"mean_{name}"], axes=[1, 2, 3], keepdims=0))
    nodes.append(helper.make_node("Sum", [f"mean_{name}" for name in crosses], ["by_window"]))
    nodes.append(helper.make_node("Unsqueeze", ["by_window", "last"], ["cross"]))
    nodes.append(helper.make_node("Shape", ["memory_padding"], ["memory_shape"]))
    nodes.append(helper.make_node("Gather", ["memory_shape", "first"], ["windows"]))
    nodes.append(helper.make_node("Concat", ["windows", "the_rest"], ["by_windows"], axis=0))
    nodes.append(helper.make_node("Concat", [f"column_{name}" for name in names], ["columns"], axis=1))
    nodes.append(helper.make_node("Reshape", ["columns", "by_windows"], ["columns_by_window"]))
    nodes.append(helper.make_node("Unsqueeze", ["cross", "last"], ["cross_of_rows"]))
    nodes.append(helper.make_node("Sum", ["columns_by_window", "cross_of_rows", "number"], ["logits_by_window"]))
    nodes.append(helper.make_node("Reshape", ["logits_by_window", "flat"], ["logits"]))
    cache = ["rows", _HEADS, _CAPACITY, head_size]
    rows = [_LAYERS, "rows", _HEADS, 1, head_size]
    graph = helper.make_graph(
        nodes,
        "decoder",
        [
            helper.make_tensor_value_info("token_ids", TensorProto.INT64, ["rows", 1]),
            helper.make_tensor_value_info("step", TensorProto.INT64, [1]),
            helper.make_tensor_value_info("memory_padding", TensorProto.BOOL, ["windows", "memory"]),
            *(helper.make_tensor_value_info(name, TensorProto.FLOAT, cache) for name in names),
            *(
                helper.make_tensor_value_info(name, TensorProto.FLOAT, ["windows", _HEADS, "memory", head_size])
                for name in crosses
            ),
        ],
        [
            helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["rows", len(names)]),
            helper.make_tensor_value_info("new_keys", rows_type, rows),
            helper.make_tensor_value_info("new_values", rows_type, rows),
        ],
        [
            *(numpy_helper.from_array(array.astype(np.float32), name) for name, array in weights.items()),
            numpy_helper.from_array(np.array([1, -1, 1, 1, 1]), "as_rows"),
            numpy_helper.from_array(np.array([1, 2, 3]), "axes"),
            numpy_helper.from_array(np.array([1]), "last"),
            numpy_helper.from_array(np.array([1, 3]), "around"),
            numpy_helper.from_array(np.array([0]), "first"),
            numpy_helper.from_array(np.array([-1, len(names)]), "the_rest"),
            numpy_helper.from_array(np.array([-1, len(names)]), "flat"),
        ],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)


def _ranges(head_size: int) -> dict[str, list[list[int]]]:
    cache = [[rows, _HEADS, _CAPACITY, head_size] for rows in (1, 2, _MAX_ROWS * _WINDOWS)]
    memory = ((1, 1), (1, 5), (_WINDOWS, 9))
    cross = [[windows, _HEADS, steps, head_size] for windows, steps in memory]
    kinds = {"self_keys": cache, "self_values": cache, "cross_keys": cross, "cross_values": cross}
    return {
        "token_ids": [[1, 1], [2, 1], [_MAX_ROWS * _WINDOWS, 1]],
        "memory_padding": [list(shape) for shape in memory],
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
        device = TensorRtEngine(tmp_path / "decoder.engine", DeviceContext(), cuda_graphs=False)
    random = np.random.default_rng(seed)
    for _ in range(4):
        count, windows, memory_steps = (int(random.integers(1, largest + 1)) for largest in (_MAX_ROWS, _WINDOWS, 9))
        cross = random.standard_normal((2, windows, _LAYERS, _HEADS, memory_steps, head_size)).astype(np.float32)
        memory = Memory(cross[0], cross[1], random.random((windows, memory_steps)) < 0.3)
        cache = np.zeros((2, _LAYERS, windows * count, _HEADS, _CAPACITY, head_size), np.float32)
        expected = HostSteps(host, (cache[0], cache[1]), memory)
        found = device.open_steps(windows * count, _CAPACITY, memory)
        for step in range(_CAPACITY):
            ids = random.integers(1, 9, (windows * count, 1))
            logits = expected.step(ids, step)
            assert np.abs(found.step(ids, step) - logits).max() <= 1e-4 * np.abs(logits).max()
            parents = np.concatenate([window * count + random.integers(0, count, count) for window in range(windows)])
            for steps in (expected, found):
                steps.reorder(parents, step + 1)


@pytest.mark.parametrize("head_size", [5, 64])
def test_memory_on_the_device_is_what_it_is_on_the_host(
    head_size: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three windows that an encoder left there, which the decoder wants layer by layer."""
    install(monkeypatch)
    device, _ = _engines(tmp_path, head_size)
    cuda, stream = device._device.cuda, device._device.stream
    cross = np.random.default_rng(0).standard_normal((2, 3, _LAYERS, _HEADS, 9, head_size)).astype(np.float32)
    padding = np.arange(9) >= np.array([[9], [4], [1]])
    buffers = [DeviceBuffer(cuda, cross[0].nbytes) for _ in cross]
    for numbers, buffer in zip(cross, buffers, strict=True):
        pinned = PinnedBuffer(cuda, numbers.nbytes)
        pinned.array(np.float32, numbers.shape)[...] = numbers
        stream.upload(buffer.address, pinned, numbers.nbytes)
        stream.synchronise()
    resident = [
        DeviceArray(cuda, stream, buffer.address, cross[0].shape, np.dtype(np.float32), lambda: True)
        for buffer in buffers
    ]
    logits = []
    for keys, values in (resident, cross):
        steps = device.open_steps(6, _CAPACITY, Memory(keys, values, padding))
        logits.append([steps.step(np.arange(1, 7)[:, np.newaxis], step) for step in range(2)])
    assert np.array_equal(logits[0], logits[1])


def test_an_output_is_refused_after_the_next_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Streams that share an engine: what one left on the device, the other's run overwrites."""
    install(monkeypatch)
    bundle = open_bundle(DEFAULT_BUNDLE)
    context = DeviceContext()
    encoder = TensorRtEngine(plan_of(bundle, "encoder", tmp_path), context)
    decoder = TensorRtEngine(plan_of(bundle, "decoder", tmp_path), context)
    resident = ("cross_keys", "cross_values")
    one, other = encoder_inputs(bundle, 0), encoder_inputs(bundle, 1)
    first = encoder.run_resident(one, resident)
    expected = [first[name].host() for name in resident]
    second = encoder.run_resident(other, resident)
    for name in resident:
        with pytest.raises(RuntimeError, match="ran again before this output was read"):
            first[name].host()
    with pytest.raises(RuntimeError, match="ran again before this output was read"):
        decoder.open_steps(2, 8, memory_of(first))
    # A run that leaves nothing there overwrites the buffers, too.
    encoder.run(one)
    with pytest.raises(RuntimeError, match="ran again before this output was read"):
        decoder.open_steps(2, 8, memory_of(second))
    third = encoder.run_resident(one, resident)
    decoder.open_steps(2, 8, memory_of(third)).step(np.array([[2], [9]]), 0)
    for name, numbers in zip(resident, expected, strict=True):
        assert np.array_equal(third[name].host(), numbers)


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


def test_a_plan_of_an_older_form(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a decoder for one window at a time."""
    install(monkeypatch)
    _decoder(tmp_path / "decoder.onnx", 8)
    model = onnx.load(tmp_path / "decoder.onnx")
    entry = next(entry for entry in model.graph.input if entry.name == "memory_padding")
    model.graph.input.remove(entry)
    model.graph.initializer.append(numpy_helper.from_array(np.zeros((1, 9), bool), "memory_padding"))
    onnx.save(model, tmp_path / "decoder.onnx")
    ranges = {name: shapes for name, shapes in _ranges(8).items() if name != "memory_padding"}
    stand_in_plan(tmp_path / "decoder.engine", tmp_path / "decoder.onnx", ranges)
    with pytest.raises(DataError, match="no memory_padding, its form is older.*export the bundle again"):
        TensorRtEngine(tmp_path / "decoder.engine", DeviceContext())


@pytest.mark.parametrize(("integrated", "can_map"), [(1, 1), (1, 0), (0, 1)])
@pytest.mark.parametrize("graphs", [True, False])
def test_logits_of_a_large_vocabulary(
    integrated: int, can_map: int, graphs: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Copied from a card at each step; from the one memory of a board, never."""
    cuda = install(monkeypatch).cuda
    cuda.properties |= {"integrated": integrated, "canMapHostMemory": can_map}
    _decoder(tmp_path / "decoder.onnx", 8)
    _widen(tmp_path / "decoder.onnx", 50_000)
    stand_in_plan(tmp_path / "decoder.engine", tmp_path / "decoder.onnx", _ranges(8))
    device = TensorRtEngine(tmp_path / "decoder.engine", DeviceContext(), cuda_graphs=graphs)
    cross = np.random.default_rng(0).standard_normal((1, _LAYERS, _HEADS, 5, 8)).astype(np.float32)
    memory = Memory(cross, cross, np.zeros((1, 5), bool))
    cache = np.zeros((2, _LAYERS, 2, _HEADS, _CAPACITY, 8), np.float32)
    expected = HostSteps(OnnxRuntimeEngine(tmp_path / "decoder.onnx", 1), (cache[0], cache[1]), memory)
    found = device.open_steps(2, _CAPACITY, memory)
    kept = []
    for step in range(3):
        ids = np.array([[3], [5]]) + step
        logits, wanted = found.step(ids, step), expected.step(ids, step)
        assert logits.shape == (2, 50_000)
        assert np.abs(logits - wanted).max() <= 1e-4 * np.abs(wanted).max()
        kept.append((logits, wanted))
    for logits, wanted in kept:
        assert np.abs(logits - wanted).max() <= 1e-4 * np.abs(wanted).max(), "a later step wrote over it"
    mapped = bool(integrated and can_map)
    assert cuda.copied["device to pinned"] == (0 if mapped else 3 * 2 * 50_000 * 4)
    assert cuda.allocated("mapped") == (_MAX_ROWS * _WINDOWS * 50_000 * 4 if mapped else 0)
    del device, found
    assert cuda.allocated("mapped") == cuda.allocated("pinned") == cuda.allocated("device") == 0


def _widen(path: Path, vocabulary: int) -> None:
    """Give the decoder that many logits, all different."""
    model = onnx.load(path)
    node = next(node for node in model.graph.node if "logits" in node.output)
    node.output[0] = "few"
    columns = np.random.default_rng(2).standard_normal((2 * _LAYERS, vocabulary)).astype(np.float32)
    model.graph.initializer.append(numpy_helper.from_array(columns, "columns_of_words"))
    model.graph.node.append(helper.make_node("MatMul", ["few", "columns_of_words"], ["logits"]))
    model.graph.output[0].type.tensor_type.shape.dim[1].dim_value = vocabulary
    onnx.save(model, path)
