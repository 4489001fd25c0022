"""A GPU that refuses CUDA graphs: captions are the same, launched one by one, and one warning says so."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from edge_aac.bundle.store import DEFAULT_BUNDLE, Bundle, open_bundle
from edge_aac.engines.tensor_rt.cuda_memory import Cuda, CudaStream, DeviceBuffer, GpuRefusalError
from edge_aac.models.seq2seq import Captioner
from tests.edge_aac.engines.tensor_rt.trt_cases import (
    ONE_THREAD,
    Installed,
    captioner_of,
    engines_of,
    install,
    noise_described,
    same,
)

pytestmark = pytest.mark.one_python

# The steps of a graph, in their order, with what CUDA may say of each.
_REFUSALS = [
    ("cudaStreamBeginCapture", "cudaErrorNotSupported", "could not begin a graph (operation not supported)"),
    ("cudaStreamEndCapture", "cudaErrorStreamCaptureUnjoined", "could not capture a graph"),
    ("cudaGraphInstantiate", "cudaErrorMemoryAllocation", "could not make a graph (out of memory)"),
    ("cudaGraphLaunch", "cudaErrorMemoryAllocation", "could not launch a graph (out of memory)"),
]


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> Installed:
    return install(monkeypatch)


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    return open_bundle(DEFAULT_BUNDLE)


def _warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]


@pytest.mark.parametrize(("function", "error", "sentence"), _REFUSALS)
def test_captioning_goes_on_where_cuda_refuses(
    function: str,
    error: str,
    sentence: str,
    installed: Installed,
    bundle: Bundle,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    installed.cuda.failing[function] = error
    plain = Captioner(bundle, ONE_THREAD)
    here = captioner_of(bundle, engines_of(bundle, tmp_path, ("encoder", "decoder")), monkeypatch)
    for seed in range(2):
        same(noise_described(here, seed), noise_described(plain, seed), 1e-5)
    (warning,) = _warnings(caplog)
    assert sentence in warning and "decoder.engine go on without a CUDA graph" in warning
    assert "--no-cuda-graph" in warning and "restart" not in warning
    assert installed.cuda.did[function] == 1, "it is not tried again"


def test_captioning_goes_on_where_tensorrt_refuses(
    installed: Installed,
    bundle: Bundle,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    installed.cuda.uncapturable = True
    plain = Captioner(bundle, ONE_THREAD)
    here = captioner_of(bundle, engines_of(bundle, tmp_path, ("encoder", "decoder")), monkeypatch)
    for seed in range(2):
        same(noise_described(here, seed), noise_described(plain, seed), 1e-5)
    (warning,) = [line for line in _warnings(caplog) if "CUDA graph" in line]
    assert "could not run" in warning and "operation not permitted" in warning
    assert installed.cuda.did["cudaStreamBeginCapture"] == 1
    assert installed.cuda.did["cudaGraphLaunch"] == 0


def test_the_engine_that_was_refused_alone_goes_without(
    installed: Installed, bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    refused = captioner_of(bundle, engines_of(bundle, tmp_path, ("decoder",)), monkeypatch)
    installed.cuda.uncapturable = True
    noise_described(refused, 0)
    installed.cuda.uncapturable = False
    captured = captioner_of(bundle, engines_of(bundle, tmp_path, ("decoder",)), monkeypatch)
    noise_described(captured, 0)
    assert installed.cuda.did["cudaGraphInstantiate"] == 1
    launches = installed.cuda.did["cudaGraphLaunch"]
    noise_described(refused, 1)
    assert launches > 0 and installed.cuda.did["cudaGraphLaunch"] == launches


def test_an_error_that_stays_ends_captioning(
    installed: Installed, bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a wrong address CUDA answers every call with it: no way without graphs helps."""
    here = captioner_of(bundle, engines_of(bundle, tmp_path, ("encoder", "decoder")), monkeypatch)
    noise_described(here, 0)
    for function in ("cudaGraphLaunch", "cudaMemcpyAsync", "cudaStreamSynchronize", "cudaMemsetAsync"):
        installed.cuda.failing[function] = "cudaErrorIllegalAddress"
    with pytest.raises(GpuRefusalError, match="illegal memory access.*: restart edge-aac"):
        noise_described(here, 1)


@pytest.mark.parametrize("stuck", [True, False])
def test_the_stream_takes_work_after_a_spoilt_capture(stuck: bool, installed: Installed) -> None:
    """Also where CUDA does not end the capture: what was enqueued before has run, and nothing is lost."""
    cuda = Cuda()
    stream, buffer = CudaStream(cuda), DeviceBuffer(cuda, 8)
    first = stream.handle
    stream.clear(buffer.address, 8)

    def waits() -> None:
        stream.clear(buffer.address, 4)
        cuda.runtime.cudaStreamSynchronize(stream._stream)  # spoils it

    if stuck:
        installed.cuda.failing["cudaStreamEndCapture"] = "cudaErrorStreamCaptureUnjoined"
    with pytest.raises(GpuRefusalError, match="could not capture a graph"):
        stream.capture(waits)
    installed.cuda.failing.clear()
    assert (stream.handle != first) == stuck
    assert not installed.cuda.view(buffer.address, "u1", (8,)).any(), "what came before it has run"
    installed.cuda.view(buffer.address, "u1", (8,))[:] = 1
    stream.clear(buffer.address, 8)
    stream.synchronise()
    assert not installed.cuda.view(buffer.address, "u1", (8,)).any()
    stream.launch(stream.capture(lambda: stream.clear(buffer.address, 8)))
    stream.synchronise()
