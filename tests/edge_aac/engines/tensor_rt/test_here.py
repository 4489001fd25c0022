"""What is installed, what GPU there is, and which plans belong to it; one sentence for each thing that is missing."""

from __future__ import annotations

import logging
import re
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from edge_aac.bundle.manifest import Graph, GraphRole, Manifest
from edge_aac.bundle.store import DEFAULT_BUNDLE, Bundle, open_bundle
from edge_aac.engines.tensor_rt.cuda_memory import Cuda
from edge_aac.engines.tensor_rt.engine import DeviceContext, check_plan, memory_class_gb, this_gpu
from edge_aac.engines.tensor_rt.library import TensorRtLog
from edge_aac.errors import DataError, DeviceError
from tests.edge_aac.engines.tensor_rt.trt_cases import install
from tests.edge_aac.engines.tensor_rt.trt_stand_in import Ways


def test_this_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    installed = install(monkeypatch, Ways(version="10.13.2"))
    gpu = this_gpu()
    assert (gpu.name, gpu.tensorrt, gpu.unified) == ("sm_87 Orin, 8 SMs, 8 GB", "10.13.2", True)
    installed.cuda.properties.update(name=b"NVIDIA H200", major=9, minor=0, integrated=0, multiProcessorCount=132)
    installed.cuda.properties.update(totalGlobalMem=150_120_000_000)
    assert (this_gpu().name, this_gpu().unified) == ("sm_90 NVIDIA H200, 132 SMs, 140 GB", False)
    assert this_gpu().file_part == "sm_90-NVIDIA-H200-132SM-140GB"


ORINS = {
    "Orin Nano 4 GB": (4, 3_400 << 20),
    "Orin Nano 8 GB": (8, 7_620 << 20),
    "Orin NX 16 GB": (8, 15_656 << 20),
    "AGX Orin 32 GB": (14, 30_000 << 20),
    "AGX Orin 64 GB": (16, 62_800 << 20),
    "AGX Orin 64 GB in a power mode with half of its GPU": (8, 62_800 << 20),
}
"""Board → multiprocessors, and bytes that CUDA counts as its memory."""


def test_orin_boards_are_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    """All of them are called sm_87 Orin; by name alone, one takes the other's plans and timings."""
    installed = install(monkeypatch)
    found = {}
    for board, (multiprocessors, memory) in ORINS.items():
        installed.cuda.properties.update(multiProcessorCount=multiprocessors, totalGlobalMem=memory)
        found[board] = this_gpu()
    assert len({gpu.name for gpu in found.values()}) == len({gpu.file_part for gpu in found.values()}) == len(ORINS)
    assert [gpu.memory_gb for gpu in found.values()] == [4, 8, 16, 32, 64, 64]
    assert found["Orin NX 16 GB"].name == "sm_87 Orin, 8 SMs, 16 GB"
    assert all(re.fullmatch(r"[A-Za-z0-9_-]+", gpu.file_part) for gpu in found.values())


@pytest.mark.parametrize("reserved_mb", [0, 200, 900, 1800])
def test_the_size_of_a_memory_is_that_of_the_board_whatever_the_firmware_takes(reserved_mb: int) -> None:
    for sold_gb in (8, 16, 32, 64, 128):
        assert memory_class_gb((sold_gb << 30) - (reserved_mb << 20), unified=True) == sold_gb
    assert memory_class_gb(23_634 << 20, unified=False) == 24
    assert memory_class_gb(79_200 << 20, unified=False) == 78


def _one_sentence(error: pytest.ExceptionInfo[Exception]) -> None:
    assert "\n" not in str(error.value)


def test_no_tensorrt(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch)
    monkeypatch.setitem(sys.modules, "tensorrt", None)
    for identify in (this_gpu, DeviceContext):
        with pytest.raises(DeviceError, match="apt install .*--system-site-packages") as caught:
            identify()
        _one_sentence(caught)


def test_a_tensorrt_without_its_library(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """As of an image that lacks the DLA compiler: importing fails with what the linker says."""
    install(monkeypatch)
    monkeypatch.delitem(sys.modules, "tensorrt")
    (tmp_path / "tensorrt.py").write_text("raise OSError('libnvdla_compiler.so: cannot open\\nshared object file')")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(DeviceError, match="libnvdla_compiler.so") as caught:
        this_gpu()
    _one_sentence(caught)


def test_no_cuda_python(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch)
    monkeypatch.setitem(sys.modules, "cuda.bindings.runtime", None)
    with pytest.raises(DeviceError, match="pip install 'cuda-python") as caught:
        this_gpu()
    _one_sentence(caught)


@pytest.mark.parametrize(
    ("answer", "mend"),
    [
        (
            "cudaErrorInsufficientDriver",
            "the driver is for CUDA 12.6 and this cuda-python for CUDA 12.9, run `pip install 'cuda-python>=12.8,<13'`",
        ),
        ("cudaErrorNoDevice", "groups video and render.*--backend onnxruntime"),
    ],
)
def test_no_gpu(answer: str, mend: str, monkeypatch: pytest.MonkeyPatch) -> None:
    installed = install(monkeypatch)
    installed.cuda.failing["cudaGetDeviceCount"] = answer
    with pytest.raises(DeviceError, match=f"no CUDA GPU can be used here .*{mend}") as caught:
        Cuda()
    _one_sentence(caught)


def test_no_driver_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    """CUDA says the same as of one that is too old; another cuda-python would not help."""
    installed = install(monkeypatch)
    installed.cuda.failing["cudaGetDeviceCount"] = "cudaErrorInsufficientDriver"
    installed.cuda.driver = 0
    with pytest.raises(DeviceError, match=r"no CUDA GPU can be used here .*--runtime nvidia") as caught:
        Cuda()
    assert "pip install" not in str(caught.value)
    _one_sentence(caught)


def test_a_driver_too_old_for_tensorrt(monkeypatch: pytest.MonkeyPatch) -> None:
    """As of an image for JetPack 7 on a board with JetPack 6: the constructor gets a null pointer from the library."""
    installed = install(monkeypatch)

    def refuse(sink: Any) -> None:
        installed.tensorrt.log_line(sink, "ERROR", "Error Code 6: CUDA initialization failure with error: 35\nmore")
        raise TypeError("pybind11::init(): factory function returned nullptr")

    monkeypatch.setattr(installed.tensorrt.module, "Runtime", refuse)
    sentence = r"TensorRT 10\.3\.0 does not start.* for CUDA 12\.6 \(.*error: 35\): take"
    with pytest.raises(DeviceError, match=sentence) as caught:
        DeviceContext()
    _one_sentence(caught)


@pytest.mark.parametrize(("version", "old"), [("8.6.1", True), ("10.2.0.19", True), ("10.10.0", False)])
def test_a_tensorrt_that_is_too_old(version: str, old: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch)
    module: ModuleType = sys.modules["tensorrt"]
    monkeypatch.setattr(module, "__version__", version)
    if not old:
        assert this_gpu().tensorrt == version
        return
    with pytest.raises(DeviceError, match=f"{version} is too old, edge-aac needs 10.3"):
        this_gpu()


def test_messages_go_to_the_log(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    installed = install(monkeypatch)
    log = TensorRtLog(installed.tensorrt.module)
    assert log.because() == "(it says no reason)"
    with caplog.at_level(logging.DEBUG, "edge_aac.tensorrt"):
        for severity in ("INTERNAL_ERROR", "ERROR", "WARNING", "INFO", "VERBOSE"):
            installed.tensorrt.log_line(log.sink, severity, f"{severity} of a layer\nand more")
    levels = [(record.levelname, record.getMessage().partition(" ")[0]) for record in caplog.records]
    assert levels == [
        ("ERROR", "INTERNAL_ERROR"),
        ("ERROR", "ERROR"),
        ("WARNING", "WARNING"),
        ("DEBUG", "INFO"),
        ("DEBUG", "VERBOSE"),
    ]
    assert log.errors() == ["INTERNAL_ERROR of a layer", "ERROR of a layer"]
    assert log.because() == "(INTERNAL_ERROR of a layer)"
    log.forget()
    assert log.errors() == []


def test_a_context_is_shared_as_long_as_it_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    installed = install(monkeypatch)
    first = DeviceContext.shared()
    assert DeviceContext.shared() is first
    del first
    again = DeviceContext.shared()
    assert installed.cuda.did["cudaStreamCreateWithFlags"] == 2
    assert installed.cuda.did["cudaStreamDestroy"] == 1
    assert again is DeviceContext.shared()


HERE = "sm_87 Orin, 8 SMs, 8 GB"


def _for(gpu: str, tensorrt: str = "10.3.0") -> dict[str, object]:
    """What a plan's entry says of the machine that it was built on."""
    return {"built_with": {"tensorrt": tensorrt, "gpu": gpu}}


def _bundle_with(role: GraphRole = "encoder", **changes: object) -> tuple[Bundle, Graph]:
    """The built-in bundle with an ONNX file for TensorRT and a plan of it; only the manifest is looked at."""
    bundle = open_bundle(DEFAULT_BUNDLE)
    parent = bundle.manifest.graphs[role][0]
    onnx = parent.model_copy(
        update={"file": f"{role}.fp16.onnx", "sha256": "b" * 64, "backend": "tensorrt-onnx", "precision": "fp16"}
    )
    built_with = {"tensorrt": "10.3.0", "gpu": HERE, "edge_aac": "0.1.0"}
    fields = {"file": f"{role}.fp16.sm_87.engine", "sha256": "c" * 64, "backend": "tensorrt", "built_with": built_with}
    plan = onnx.model_copy(update={**fields, "parent_sha256": "b" * 64, **changes})
    forms = {**bundle.manifest.graphs, role: [plan, onnx, parent]}
    manifest: Manifest = bundle.manifest.model_copy(update={"graphs": forms})
    return Bundle(bundle.folder, manifest, DEFAULT_BUNDLE), plan


def test_a_plan_of_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch)
    bundle, plan = _bundle_with()
    check_plan(plan, bundle)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        (_for("sm_101 T, 20 SMs, 128 GB"), f"built for the GPU sm_101 T, 20 SMs, 128 GB, here is {HERE}"),
        (_for("sm_87 Orin"), f"built for the GPU sm_87 Orin, here is {HERE}"),
        (_for("sm_87 Orin, 8 SMs, 16 GB"), f"built for the GPU sm_87 Orin, 8 SMs, 16 GB, here is {HERE}"),
        (_for(HERE, "10.13.3"), "built for TensorRT 10.13.3, here is 10.3.0"),
        ({"built_with": {}}, r"was built for the GPU \(unknown\)"),
        ({"parent_sha256": "d" * 64}, "was built from another graph"),
        ({"parent_sha256": ""}, "was built from another graph"),
        ({"parent_sha256": "c" * 64}, "was built from another graph"),
    ],
)  # fmt: skip
def test_a_plan_of_another_machine(changes: dict[str, object], sentence: str, monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch)
    bundle, plan = _bundle_with(**changes)
    with pytest.raises(
        DataError, match=f"{sentence}.*: run `edge-aac build-engine --bundle {DEFAULT_BUNDLE}`"
    ) as caught:
        check_plan(plan, bundle)
    _one_sentence(caught)


def test_a_plan_of_this_board_in_another_power_mode(monkeypatch: pytest.MonkeyPatch) -> None:
    """A mode may switch multiprocessors off: either the mode is changed back, or the plan is built for this one."""
    install(monkeypatch)
    bundle, plan = _bundle_with(**_for(HERE.replace("8 SMs", "4 SMs")))
    with pytest.raises(DataError, match="set the power mode .* has 4 SMs .*, or run `edge-aac build-engine") as caught:
        check_plan(plan, bundle)
    _one_sentence(caught)
