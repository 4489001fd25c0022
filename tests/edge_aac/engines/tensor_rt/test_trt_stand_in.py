"""The stand-ins refuse what the real modules do not have: else the tests that use them would prove nothing."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.edge_aac.engines.tensor_rt.cuda_stand_in import API, StandInCuda
from tests.edge_aac.engines.tensor_rt.trt_api import FILES, VERSIONS, Signature
from tests.edge_aac.engines.tensor_rt.trt_stand_in import StandInTensorRt, Ways


def _tensorrt(version: str) -> Any:
    return StandInTensorRt(StandInCuda(), Ways(version=version)).module


def _builder(trt: Any) -> Any:
    class Log(trt.ILogger):  # type: ignore[misc]
        def log(self, severity: Any, msg: str) -> None:
            raise AssertionError(msg)

    return trt.Builder(Log())


def test_what_is_gone_in_11() -> None:
    for version, there in zip(VERSIONS, (True, True, False), strict=True):
        trt = _tensorrt(version)
        assert hasattr(trt.BuilderFlag, "FP16") == there
        assert hasattr(trt.NetworkDefinitionCreationFlag, "EXPLICIT_BATCH") == there
        assert hasattr(_builder(trt).create_builder_config(), "no_such_thing") is False
    with pytest.raises(AttributeError, match="FP16"):
        _ = _tensorrt("11.4.0").BuilderFlag.FP16
    config = _builder(_tensorrt("11.4.0")).create_builder_config()
    with pytest.raises(AttributeError, match="int8_calibrator"):
        config.int8_calibrator = None
    with pytest.raises(AttributeError, match=r"11\.4\.0 has no set_calibration_profile"):
        config.set_calibration_profile(None)


@pytest.mark.parametrize("version", VERSIONS)
def test_misspelt_and_miscounted_calls(version: str) -> None:
    trt = _tensorrt(version)
    builder = _builder(trt)
    config = builder.create_builder_config()
    with pytest.raises(AttributeError, match="create_builder_configuration"):
        builder.create_builder_configuration()
    with pytest.raises(AttributeError, match="optimization_level"):
        config.optimization_level = 3
    with pytest.raises(AttributeError, match="WORKSPACES"):
        _ = trt.MemoryPoolType.WORKSPACES
    with pytest.raises(TypeError, match="set_memory_pool_limit"):
        config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE)
    with pytest.raises(TypeError, match="set_memory_pool_limit"):
        config.set_memory_pool_limit(trt.DataType.FLOAT, 5)
    with pytest.raises(TypeError, match="set_memory_pool_limit"):
        config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, 5.0)
    config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, pool_size=5)
    with pytest.raises(TypeError, match="Builder"):
        trt.Builder()
    with pytest.raises(TypeError, match="Runtime"):
        trt.Runtime(None)


@pytest.mark.parametrize("version", VERSIONS)
def test_flags_are_no_literals(version: str) -> None:
    """The bit of STRONGLY_TYPED moved between 10 and 11."""
    trt = _tensorrt(version)
    bit = 1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED)
    _builder(trt).create_network(bit)
    with pytest.raises(AssertionError, match="strongly typed"):
        _builder(trt).create_network(bit << 1)
    with pytest.raises(AssertionError, match="strongly typed"):
        _builder(trt).create_network()


def test_an_override_that_is_never_called() -> None:
    trt = _tensorrt("10.3.0")
    with pytest.raises(AssertionError, match="step_completed"):

        class Monitor(trt.IProgressMonitor):  # type: ignore[misc]
            def step_completed(self, phase_name: str, step: int) -> bool:
                return True


def test_overloads_are_read_as_pybind11_writes_them() -> None:
    shape = Signature("2. set_input_shape(self: IExecutionContext, name: str, shape: tuple) -> bool")
    assert shape.accepts(("x", (1, 2)), {})
    assert shape.accepts(("x",), {"shape": (1, 2)})
    assert not shape.accepts(("x", [1, 2]), {})
    assert not shape.accepts((1, (1, 2)), {})
    assert not shape.accepts(("x",), {"size": (1, 2)})
    optional = Signature("create_network(self: Builder, flags: typing.SupportsInt = 0) -> INetworkDefinition")
    assert optional.accepts((), {})
    assert optional.accepts((4,), {})
    assert not optional.accepts((4, 5), {})
    nested = Signature("f(self: X, a: List[Tuple[int, str]] = <A.B: 1>, b: collections.abc.Buffer) -> None")
    assert (nested.names, nested.needed) == (["a", "b"], 1)


def test_the_facts_are_of_these_versions() -> None:
    for version, file in FILES.items():
        assert json.loads((API / f"tensorrt-{file}.json").read_text())["version"].startswith(version)


@pytest.mark.parametrize("version", ["12.9.2", "13.5.0"])
def test_cuda_s_manners(version: str) -> None:
    cuda = StandInCuda(version)
    runtime: Any = cuda.module
    with pytest.raises(TypeError, match="exactly 1 positional"):
        runtime.cudaMalloc()
    with pytest.raises(AttributeError):
        _ = runtime.cudaMalloc3000
    _, device = runtime.cudaMalloc(64)
    _, pinned = runtime.cudaMallocHost(64)
    _, stream = runtime.cudaStreamCreateWithFlags(runtime.cudaStreamNonBlocking)
    down, up = runtime.cudaMemcpyKind.cudaMemcpyDeviceToHost, runtime.cudaMemcpyKind.cudaMemcpyHostToDevice
    success, invalid = runtime.cudaError_t.cudaSuccess, runtime.cudaError_t.cudaErrorInvalidValue
    assert runtime.cudaMemcpyAsync(pinned, device, 65, down, stream) == (invalid,), "one byte too many"
    assert runtime.cudaMemcpyAsync(device, pinned, 8, down, stream) == (invalid,), "the wrong way round"
    cuda.view(pinned, "u1", (64,), "pinned")[:] = 1
    assert runtime.cudaMemcpyAsync(device, pinned, 64, up, stream) == (success,)
    assert not (cuda.view(device, "u1", (64,)) == 1).any(), "nothing runs before it is waited for"
    runtime.cudaStreamSynchronize(stream)
    assert (cuda.view(device, "u1", (64,)) == 1).all()
    mode = runtime.cudaStreamCaptureMode.cudaStreamCaptureModeThreadLocal
    runtime.cudaStreamBeginCapture(stream, mode)
    runtime.cudaMemsetAsync(device, 7, 64, stream)
    assert int(runtime.cudaMalloc(64)[0]) == 900, "not while capturing"
    assert int(runtime.cudaStreamEndCapture(stream)[0]) == 901
    runtime.cudaStreamBeginCapture(stream, mode)
    runtime.cudaMemsetAsync(device, 7, 64, stream)
    _, graph = runtime.cudaStreamEndCapture(stream)
    _, executable = runtime.cudaGraphInstantiate(graph, 0)
    runtime.cudaStreamSynchronize(stream)
    assert (cuda.view(device, "u1", (64,)) == 1).all(), "what is captured does not run"
    runtime.cudaGraphLaunch(executable, stream)
    runtime.cudaStreamSynchronize(stream)
    assert (cuda.view(device, "u1", (64,)) == 7).all()
    assert runtime.cudaFree(pinned) == (invalid,)
    assert runtime.cudaFree(device) == (success,)
    assert runtime.cudaFree(device) == (invalid,), "twice"
