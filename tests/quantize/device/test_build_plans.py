"""`edge-aac build-engine` on a machine with TensorRT, whose builder and runtime are stood in for by ONNX Runtime.

The builder itself is tested in test_engine_builder.py; no plan was ever built on a GPU.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import soundfile

from edge_aac.bundle.hashes import file_sha256
from edge_aac.bundle.manifest import MANIFEST
from edge_aac.bundle.store import open_bundle
from edge_aac.engines.choice import load_engine
from edge_aac.engines.contract import EngineOptions
from edge_aac.engines.tensor_rt import engine as tensor_rt
from edge_aac.errors import DataError, InputMissingError
from edge_aac.models.seq2seq import Captioner
from quantize.device import build
from quantize.device.build import BuildOptions, build_engines
from quantize.device.check_windows import check_scene
from quantize.device.cpu import forms as cpu_forms
from quantize.device.tensorrt import forms as plan_forms
from quantize.device.tensorrt.builder import BuildRequest, BuiltPlan
from quantize.device.tensorrt.forms import PLAN
from quantize.graphs import calibrating
from quantize.graphs.calibration import (
    Calibration,
    Observed,
    read_calibration,
)
from quantize.graphs.half import around
from quantize.graphs.layers import quantisable_layers
from quantize.graphs.onnx_file import OnnxFile
from quantize.graphs.qdq_lint import int8_products
from quantize.graphs.sensitivity import Sensitivity
from tests.quantize.device.build_cases import (
    FASTER,
    ROLES,
    SLOWER,
    SMALL,
    SOME_LAYERS,
    WINDOWS,
    built,
    contents,
    precisions,
    spoil,
)
from tests.quantize.graphs.int8_cases import FLOAT

pytestmark = pytest.mark.usefixtures("quick_build")


@pytest.fixture
def recordings(tmp_path: Path) -> Path:
    sound = tmp_path / "sound" / "deep"
    sound.mkdir(parents=True)
    for number in range(2):
        soundfile.write(sound / f"{number}.wav", check_scene(number), 16_000)
    return tmp_path / "sound"


def test_tensorrt_without_a_calibration_asks_for_recordings(folder: Path, board: list[BuildRequest]) -> None:
    before = contents(folder)
    for backend in ("auto", "tensorrt"):
        with pytest.raises(InputMissingError, match="--recordings"):
            build_engines(BuildOptions(str(folder), backend=backend), lambda line: None)  # type: ignore[arg-type]
    assert not board and contents(folder) == before


def test_plans_are_built_gated_and_stored(calibrated: Path, board: list[BuildRequest]) -> None:
    report, _ = built(BuildOptions(str(calibrated), threads=1, streams=2))
    assert report.failure == "" and report.written
    half, int8 = ["tensorrt fp16"], ["tensorrt int8+fp16"]
    processor = ["onnxruntime int8", "onnxruntime fp32"]
    without_ranges = {role: [*half, *processor, "tensorrt-onnx fp16"] for role in ROLES}
    assert precisions(calibrated) == without_ranges | {"encoder": [*int8, *processor, "tensorrt-onnx int8+fp16"]}
    bundle = open_bundle(str(calibrated))
    for plan, _, parent, source in bundle.manifest.graphs.values():
        assert plan.file.endswith(".sm_87-Orin-8SM-16GB.engine")
        assert plan.built_with["gpu"] == "sm_87 Orin, 8 SMs, 16 GB"
        assert plan.built_with.keys() == {"tensorrt", "gpu", "edge_aac"} and plan.built_with["tensorrt"] == "10.3.0"
        assert (plan.parent_sha256, source.parent_sha256) == (source.sha256, parent.sha256)
    shapes = {request.onnx.name.partition(".")[0]: request.profiles for request in board}
    assert [shape[0] for shape in shapes["encoder"]["vectors"]] == [1, 1, 2]
    assert [shape[0] for shape in shapes["decoder"]["token_ids"]] == [1, bundle.manifest.decoding.candidates, 2 * 16], (
        "two windows at once"
    )
    assert len({request.timing_cache for request in board}) == 1 and board[0].timing_cache.is_file()
    assert Captioner(bundle).encoder_graph.backend == "tensorrt"

    # The processor's forms alone anew, then the plans alone: what is not built stays as it is.
    built(BuildOptions(str(calibrated), backend="onnxruntime", threads=1, leave=("encoder",)))
    plans = {role: forms[0] for role, forms in bundle.manifest.graphs.items() if role != "encoder"}
    now = open_bundle(str(calibrated)).manifest.graphs
    assert {role: forms[0] for role, forms in now.items() if role != "encoder"} == plans
    assert [form.precision for form in now["encoder"]] == ["fp32"], "left as it was exported"
    built(BuildOptions(str(calibrated), backend="tensorrt", threads=1))
    newer = open_bundle(str(calibrated)).manifest.graphs
    for role, (plan, *others) in newer.items():
        assert plan.sha256 == bundle.manifest.graphs[role][0].sha256
        assert others[:-1] == [form for form in now[role] if form.backend == "onnxruntime"]


def test_boards_that_cuda_calls_alike_share_nothing(
    calibrated: Path, board: list[BuildRequest], monkeypatch: pytest.MonkeyPatch
) -> None:
    """One bundle for two Orins: each keeps its plan and its timings, and runs its own."""
    built(BuildOptions(str(calibrated), backend="tensorrt", threads=1, leave=SMALL))
    larger = replace(build.this_gpu(), multiprocessors=16, memory_gb=64)
    for module in (build, tensor_rt):
        monkeypatch.setattr(module, "this_gpu", lambda: larger)
    built(BuildOptions(str(calibrated), backend="tensorrt", threads=1, leave=SMALL))
    timings = [request.timing_cache.name for request in board]
    assert timings == [".timing-sm_87-Orin-8SM-16GB-10.3.0.cache", ".timing-sm_87-Orin-16SM-64GB-10.3.0.cache"]
    plans = [form for form in open_bundle(str(calibrated)).manifest.graphs["text_embedder"] if form.backend == PLAN]
    assert [plan.built_with["gpu"] for plan in plans] == ["sm_87 Orin, 16 SMs, 64 GB", "sm_87 Orin, 8 SMs, 16 GB"]
    assert len({plan.file for plan in plans}) == 2 and all((calibrated / plan.file).is_file() for plan in plans)
    engine, graph = load_engine(open_bundle(str(calibrated)), "text_embedder", EngineOptions("tensorrt"))
    assert graph == plans[0], "the one of this board"


def test_recordings_calibrate_anew(
    folder: Path, board: list[BuildRequest], recordings: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = calibrating.measure

    def some_layers(parent: Path, observed: Observed, inputs: list[Any]) -> Sensitivity:
        return whole(parent, replace(observed, ranges=dict(list(observed.ranges.items())[:SOME_LAYERS])), inputs[:1])

    monkeypatch.setattr(calibrating, "measure", some_layers)
    report, lines = built(BuildOptions(str(folder), recordings=recordings, backend="tensorrt", threads=1))
    assert report.failure == "" and report.check_windows == WINDOWS + 2
    assert any("Each layer quantised alone" in line for line in lines), "the table is shown"
    bundle = open_bundle(str(folder))
    assert bundle.manifest.calibration is not None
    stored = read_calibration(bundle.path(bundle.manifest.calibration))
    assert stored.windows == 2 and len(stored.graphs["encoder"].ranges) == SOME_LAYERS


def test_a_calibration_of_another_graph_is_refused(calibrated: Path, board: list[BuildRequest]) -> None:
    path = calibrated / "calibration.json"
    table = json.loads(path.read_text())
    table["graphs"]["encoder"]["parent_sha256"] = "0" * 64
    path.write_text(json.dumps(table))
    manifest = json.loads((calibrated / MANIFEST).read_text())
    manifest["calibration"]["sha256"] = file_sha256(path)
    (calibrated / MANIFEST).write_text(json.dumps(manifest))
    with pytest.raises(DataError, match="another encoder.*--recordings"):
        build_engines(BuildOptions(str(calibrated), threads=1), lambda line: None)


def test_a_plan_that_is_not_faithful_is_named_with_its_layers(
    calibrated: Path, board: list[BuildRequest], monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = plan_forms.build_engine

    def miscompile(request: BuildRequest, report: Callable[[str], None]) -> BuiltPlan:
        built = copy(request, report)
        if "encoder" in request.onnx.name:
            spoil(request.output)
        return built

    monkeypatch.setattr(plan_forms, "build_engine", miscompile)
    before = contents(calibrated)
    report, _ = built(BuildOptions(str(calibrated), backend="tensorrt", threads=1))
    assert "the TensorRT engine of the encoder is not faithful" in report.failure
    assert "it parts from the input to " in report.failure
    assert "in ONNX Runtime its ONNX file parts" in report.failure
    assert not report.written
    left = {name: content for name, content in contents(calibrated).items() if not name.startswith(".timing-")}
    assert left == before


def test_a_slow_plan_comes_after_the_processor(
    calibrated: Path, board: list[BuildRequest], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(build, "timing", lambda *_: SLOWER)
    built(BuildOptions(str(calibrated), backend="tensorrt", threads=1, leave=SMALL))
    assert precisions(calibrated)["text_embedder"] == ["onnxruntime fp32", "tensorrt fp16", "tensorrt-onnx fp16"]


@pytest.mark.parametrize("faithful", [True, False])
def test_plans_beside_processor_forms_are_gated(
    calibrated: Path, board: list[BuildRequest], monkeypatch: pytest.MonkeyPatch, faithful: bool
) -> None:
    """The encoder is faster on the processor, all else as a plan."""
    real_caption, real_agreement = cpu_forms.Check.outputs, build.agreement
    captioned: list[dict[str, str]] = []

    def caption(check: cpu_forms.Check, forms: dict[str, Any]) -> Any:
        captioned.append({role: some[0].backend for role, some in forms.items()})
        return real_caption(check, forms)

    def agreement(parent: Any, form: Any) -> Any:
        found = real_agreement(parent, form)
        return replace(found, captions_equal=0.5) if len(set(captioned[-1].values())) > 1 and not faithful else found

    monkeypatch.setattr(cpu_forms.Check, "outputs", caption)
    monkeypatch.setattr(build, "agreement", agreement)
    monkeypatch.setattr(build, "timing", lambda role, *_: SLOWER if role == "encoder" else FASTER)
    report, _ = built(BuildOptions(str(calibrated), threads=1))
    assert report.failure == "" and report.written
    assert captioned[-1] == dict.fromkeys(ROLES, "tensorrt") | {"encoder": "onnxruntime"}
    first = {role: order[0].partition(" ")[0] for role, order in precisions(calibrated).items()}
    assert first == (captioned[-1] if faithful else dict.fromkeys(captioned[-1], "tensorrt"))
    assert ("auto" in report.together) == faithful
    assert any("50.0% of greedy captions are equal" in note for note in report.notes) != faithful


@pytest.mark.parametrize("field", ["overflowing", "keep"])
def test_what_overflows_stays_fp32_in_what_plans_are_built_from(
    calibrated: Path, board: list[BuildRequest], monkeypatch: pytest.MonkeyPatch, calibration: Calibration, field: str
) -> None:
    """In files of earlier versions it stood in ``keep`` of the graphs that become FP16 alone."""
    roles = ("encoder", "text_embedder") if field == "overflowing" else ("text_embedder",)
    graphs, layers = dict(calibration.graphs), {}
    for role in roles:
        ranges = graphs[role].ranges
        parent = OnnxFile(calibrated / f"{role}.fp32.onnx")
        layers[role] = next(layer for layer in quantisable_layers(parent) if not ranges or layer.activation in ranges)
        graphs[role] = graphs[role].model_copy(update={field: (layers[role].name,)})
    monkeypatch.setattr(build, "stored_calibration", lambda *_: calibration.model_copy(update={"graphs": graphs}))
    report, _ = built(BuildOptions(str(calibrated), backend="tensorrt", threads=1, leave=("decoder",)))
    assert report.failure == ""
    bundle = open_bundle(str(calibrated))
    for role, layer in layers.items():
        source = bundle.path(bundle.manifest.graphs[role][-1])  # type: ignore[index]
        assert OnnxFile(source).element_types()[layer.result] == FLOAT
        if role == "encoder":
            count = int8_products(source, around(OnnxFile(source), [layer.name]))
            assert f"encoder: {count.int8} of {count.expected} large products have Q/DQ in int8+fp16" in report.notes
