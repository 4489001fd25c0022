"""`edge-aac build-engine` of a bundle whose stem hears patches: its graph is made, gated and planned like any other.

The weights are random. TensorRT is stood in for, as in test_build_plans.py and test_plan_building.py.
"""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edge_aac.audio.windows import file_windows
from edge_aac.bundle.store import Bundle, open_bundle
from edge_aac.engines.tensor_rt.engine import DeviceContext, TensorRtEngine
from edge_aac.models.contract import Description
from edge_aac.models.seq2seq import Captioner, window_rng
from quantize.device.build import BuildOptions
from quantize.device.profiles import profiles_for
from quantize.device.tensorrt.builder import BuildRequest
from quantize.device.tensorrt.plan_building import PlanRequest, build_plan
from quantize.graphs.calibration import read_calibration
from quantize.models.config import CaptionerConfig
from tests.edge_aac.engines.tensor_rt.trt_api import VERSIONS
from tests.edge_aac.engines.tensor_rt.trt_cases import captioner_of, install, same
from tests.edge_aac.engines.tensor_rt.trt_stand_in import Ways
from tests.quantize.bundles.patched_cases import patched_config, random_captioner, write_patched
from tests.quantize.device.build_cases import built, precisions

ROLES = ("stem", "encoder", "decoder", "text_embedder")
SIZES: dict[str, int] = dict(streams=2, candidates=3, capacity=16, memory_steps=18, text_tokens=64, patches=19)


@pytest.fixture(scope="module")
def exported(small_config: CaptionerConfig, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A calibrated bundle with layers that are wide enough for INT8."""
    wide = patched_config(small_config, stem_width=0.3, patch_embed_dim=32, dim=32)
    config = replace(
        wide, conformer=replace(wide.conformer, ffn_dim=64), decoder=replace(wide.decoder, ffn_dim=64), embedding_dim=32
    )
    folder = tmp_path_factory.mktemp("exported") / "bundle"
    return write_patched(folder, random_captioner(config), calibration=2)


@pytest.fixture
def folder(exported: Path, tmp_path: Path) -> Path:
    return shutil.copytree(exported, tmp_path / "bundle")


def test_stem_and_encoder_are_calibrated(exported: Path) -> None:
    calibration = read_calibration(exported / "calibration.json")
    assert tuple(calibration.graphs) == ROLES
    ranges = {role: graph.ranges for role, graph in calibration.graphs.items()}
    assert len(ranges["stem"]) > 10 and len(ranges["encoder"]) > 3
    assert not ranges["decoder"] and not ranges["text_embedder"]
    assert calibration.windows == 4


@pytest.mark.usefixtures("quick_build")
def test_int8_forms_of_all_four_graphs(folder: Path) -> None:
    report, _ = built(BuildOptions(str(folder), backend="onnxruntime", threads=1))
    assert report.failure == ""
    assert {form.role for form in report.forms} == set(ROLES)
    bundle = open_bundle(str(folder))
    # A graph is made again where its first form is not faithful; what became of the last counts.
    for form in {form.role: form for form in report.forms}.values():
        assert form.agreement is not None and form.timing is not None
        assert ("onnxruntime int8" in precisions(folder)[form.role]) == form.written
    assert precisions(folder)["stem"][0] == "onnxruntime int8"
    # Ranges that are found at each run would show what else is in it: patches are run one by one.
    sound = (0.1 * np.random.default_rng(2).standard_normal(14 * 16_000)).astype(np.float32)
    windows = list(file_windows([sound], 16_000))
    rngs = [window_rng(0, window.start) for window in windows]
    model = Captioner(bundle)
    found = model.describe(windows, rngs)
    alone = [
        Captioner(bundle).describe([replace(window, stretch=None)], [window_rng(0, window.start)])[0]
        for window in windows
    ]
    for one, other in zip(found, alone, strict=True):
        assert isinstance(one, Description) and isinstance(other, Description)
        assert np.array_equal(one.audio_embedding, other.audio_embedding)


@pytest.mark.usefixtures("quick_build")
def test_plans_for_tensorrt_are_written_of_all_four(folder: Path, board: list[BuildRequest]) -> None:
    """Explicit Q/DQ of stem and encoder, which the linter takes; the plans hold half precision besides."""
    report, _ = built(BuildOptions(str(folder), backend="tensorrt", threads=1, streams=2))
    assert report.failure == "" and report.written
    assert {role: forms[0] for role, forms in precisions(folder).items()} == {
        "stem": "tensorrt int8+fp16",
        "encoder": "tensorrt int8+fp16",
        "decoder": "tensorrt fp16",
        "text_embedder": "tensorrt fp16",
    }
    profiles = {request.onnx.name.partition(".")[0]: request.profiles for request in board}
    assert profiles["stem"] == {"patches": ((1, 98, 128), (4, 98, 128), (38, 98, 128))}
    counts = [note for note in report.notes if note.startswith(("stem: ", "encoder: ")) and "have Q/DQ" in note]
    assert len(counts) == 2
    findings = [note for note in report.notes if note.startswith(("stem: ", "stem, ")) and "have Q/DQ" not in note]
    assert not findings, findings
    windows = list(
        file_windows([(0.1 * np.random.default_rng(2).standard_normal(12 * 16_000)).astype(np.float32)], 16_000)
    )
    model = Captioner(open_bundle(str(folder)))
    assert all(isinstance(each, Description) for each in model.describe(windows, [window_rng(0, 0)] * len(windows)))


def test_the_profile_of_a_stem(exported: Path) -> None:
    graphs = open_bundle(str(exported)).manifest.graphs
    assert profiles_for("stem", graphs["stem"][0].shapes, **SIZES) == {
        "patches": ((1, 98, 128), (4, 98, 128), (38, 98, 128))
    }
    assert profiles_for("encoder", graphs["encoder"][0].shapes, **SIZES) == {
        "vectors": ((1, 19, 32), (1, 19, 32), (2, 19, 32))
    }


@pytest.mark.parametrize("version", VERSIONS)
def test_plans_of_all_four_graphs(
    version: str, exported: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Built and run through the recorded interfaces; several sources share the runs of the stem."""
    install(monkeypatch, Ways(version=version))
    bundle = open_bundle(str(exported))
    engines = {}
    for role in ROLES:
        graph = bundle.manifest.graphs[role][0]
        request = PlanRequest(
            onnx=bundle.path(graph),
            output=tmp_path / f"{role}.engine",
            timing_cache=tmp_path / "timing.cache",
            profiles=profiles_for(role, graph.shapes, **SIZES),
            workspace_bytes=1 << 28,
            tactic_dram_bytes=1 << 29,
            optimization_level=3,
        )
        build_plan(request, lambda line: None, lambda: True)
        engines[role] = TensorRtEngine(request.output, DeviceContext.shared())
    plans = captioner_of(bundle, engines, monkeypatch)  # type: ignore[arg-type]
    reference = _reference(bundle, monkeypatch)
    sound = (0.1 * np.random.default_rng(2).standard_normal((2, 12 * 16_000))).astype(np.float32)
    of_each = [list(file_windows([channel], 16_000)) for channel in sound]
    for together in zip(*of_each, strict=True):
        rngs = [[window_rng(0, window.start) for window in together] for _ in range(2)]
        for one, other in zip(plans.describe(together, rngs[0]), reference.describe(together, rngs[1]), strict=True):
            assert isinstance(one, Description) and isinstance(other, Description)
            same(one, other, 1e-4)
    assert plans.shared_work is not None and plans.shared_work.reused == 2 * 2 * 17


def _reference(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> Captioner:
    """The exported graphs in ONNX Runtime."""
    return captioner_of(bundle, {}, monkeypatch)
