"""Bundles to build from, and builds that take seconds."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest

from edge_aac.bundle.hashes import file_sha256
from edge_aac.bundle.manifest import MANIFEST, Seq2SeqManifest
from edge_aac.bundle.store import DEFAULT_BUNDLE, open_bundle
from edge_aac.engines.onnx_runtime import OnnxRuntimeEngine
from edge_aac.engines.tensor_rt import engine as tensor_rt
from quantize.device import build
from quantize.device.build import BuildOptions
from quantize.device.cpu import forms as cpu_forms
from quantize.device.cpu.forms import in_blocks
from quantize.device.kinds import captioners, dual_encoders
from quantize.device.tensorrt import forms as plan_forms
from quantize.device.tensorrt.builder import BuildRequest, BuiltPlan
from quantize.graphs.calibration import Calibration, GraphCalibration, observe, write_calibration
from quantize.graphs.sound_inputs import SoundInputs
from tests.quantize.device.build_cases import FASTER, SMALL, SOME_LAYERS, WINDOWS, built, exported_bundle
from tests.quantize.device.shared_work import compute_once, few_windows


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The built-in bundle as it was exported, in a folder of its own."""
    return exported_bundle(tmp_path / "bundle")


@pytest.fixture(autouse=True)
def computed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sessions and captions of equal graphs are those of an earlier test in the same process."""
    compute_once(monkeypatch)


@pytest.fixture(scope="module")
def windows() -> list[np.ndarray]:
    return few_windows(WINDOWS)


@pytest.fixture(scope="module")
def small_build(windows: list[np.ndarray], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle whose smallest graph has an INT8 form: built once, to be copied by every test that changes it."""
    folder = exported_bundle(tmp_path_factory.mktemp("built") / "bundle")
    with pytest.MonkeyPatch.context() as patched:
        compute_once(patched)
        _build_quickly(patched, windows)
        built(BuildOptions(str(folder), backend="onnxruntime", threads=1, leave=SMALL))
    return folder


@pytest.fixture
def quick_build(monkeypatch: pytest.MonkeyPatch, windows: list[np.ndarray]) -> None:
    """A few windows, and forms that are faster: how fast this machine is just now is no property of the code."""
    _build_quickly(monkeypatch, windows)


@pytest.fixture
def only_blocks(quick_build: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the forms for processors those with weights in blocks alone are made."""
    monkeypatch.setattr(cpu_forms, "in_blocks", in_blocks)
    monkeypatch.setattr(cpu_forms, "_faithful_form", lambda *_: None)


def _build_quickly(monkeypatch: pytest.MonkeyPatch, windows: list[np.ndarray]) -> None:
    for kind in (captioners, dual_encoders):
        monkeypatch.setattr(kind, "check_windows", lambda: windows)
    # tests/quantize/device/test_optimum_form.py and test_block_form.py have them made.
    for other in ("by_optimum", "in_blocks"):
        monkeypatch.setattr(cpu_forms, other, lambda *_: None)
    for module in (cpu_forms, build, plan_forms):
        monkeypatch.setattr(module, "timing", lambda *_: FASTER)


@pytest.fixture(scope="module")
def calibration(windows: list[np.ndarray]) -> Calibration:
    """Of the encoder's first few layers."""
    bundle = open_bundle(DEFAULT_BUNDLE)
    parents = {role: form for role, forms in bundle.manifest.graphs.items() for form in forms if not form.parent_sha256}
    patches = bundle.manifest_of(Seq2SeqManifest).patches
    sound = SoundInputs.of_files({role: bundle.path(parent) for role, parent in parents.items()}, patches)
    observed = observe(bundle.path(parents["encoder"]), sound.of("encoder", windows))
    ranges = {"encoder": dict(list(observed.ranges.items())[:SOME_LAYERS])}
    graphs = {
        role: GraphCalibration(parent_sha256=parent.sha256, ranges=ranges.get(role, {}))
        for role, parent in parents.items()
    }
    return Calibration(
        schema="edge-aac/calibration/1", method="minmax", windows=WINDOWS, source="a test", graphs=graphs
    )


@pytest.fixture
def calibrated(folder: Path, calibration: Calibration) -> Path:
    """The bundle with its calibration."""
    path = folder / "calibration.json"
    write_calibration(path, calibration)
    table = json.loads((folder / MANIFEST).read_text())
    table["calibration"] = {"file": path.name, "sha256": file_sha256(path)}
    (folder / MANIFEST).write_text(json.dumps(table))
    return folder


GPU = tensor_rt.GpuIdentity("sm_87", "Orin", 8, 16, "10.3.0", True)


class OnnxPlan:
    """A "plan" that is its ONNX file, run by ONNX Runtime; numbers are converted as TensorRtEngine does."""

    def __init__(self, path: Path, device: object, build_command: str = "", cuda_graphs: bool = True) -> None:
        self._session = onnxruntime.InferenceSession(path.read_bytes(), providers=["CPUExecutionProvider"])
        self.input_shapes = {entry.name: tuple(entry.shape) for entry in self._session.get_inputs()}
        self.description = OnnxRuntimeEngine(path, 1).description

    def run(self, inputs: dict[str, Any]) -> dict[str, Any]:
        half = {entry.name for entry in self._session.get_inputs() if entry.type == "tensor(float16)"}
        fitting = {name: array.astype(np.float16) if name in half else array for name, array in inputs.items()}
        names = [entry.name for entry in self._session.get_outputs()]
        given = dict(zip(names, self._session.run(names, fitting), strict=True))
        return {name: array.astype(np.float32) for name, array in given.items()}


@pytest.fixture
def board(monkeypatch: pytest.MonkeyPatch) -> list[BuildRequest]:
    """A machine with TensorRT whose builder copies; the requests that it was given."""
    requests: list[BuildRequest] = []

    def copy(request: BuildRequest, report: Callable[[str], None]) -> BuiltPlan:
        requests.append(request)
        report("building")
        request.timing_cache.write_bytes(b"timings")
        shutil.copyfile(request.onnx, request.output)
        gpu = build.this_gpu()
        return BuiltPlan(request.output, gpu.tensorrt, gpu.name, 1.0, {"INT8": 3}, (3, 4), 1, "first to last")

    for module in (build, tensor_rt):
        monkeypatch.setattr(module, "this_gpu", lambda: GPU)
    for module in (plan_forms, tensor_rt):
        monkeypatch.setattr(module, "TensorRtEngine", OnnxPlan)
    monkeypatch.setattr(tensor_rt.DeviceContext, "shared", classmethod(lambda cls: object()))
    monkeypatch.setattr(plan_forms, "build_engine", copy)
    return requests
