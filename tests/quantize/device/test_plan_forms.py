"""Which form of a graph becomes its plan: INT8 (or FP8) has a way back to FP16, and the report says why it was taken.

Plans are built by the stand-in for TensorRT, in this process, and run through it.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from edge_aac.bundle.manifest import Graph, Seq2SeqManifest
from edge_aac.bundle.store import open_bundle
from edge_aac.engines.tensor_rt import engine as tensor_rt
from edge_aac.errors import DataError, DeviceError
from quantize.cli import build_engine as verb
from quantize.device import build
from quantize.device.build import BuildOptions
from quantize.device.check_windows import check_windows
from quantize.device.gate import Agreement
from quantize.device.report import BuildReport, FormReport
from quantize.device.tensorrt import forms as plan_forms
from quantize.device.tensorrt.builder import BuildRequest, BuiltPlan
from quantize.device.tensorrt.forms import Planned, PlanOptions
from quantize.device.tensorrt.plan_building import PlanRequest, build_plan
from tests.edge_aac.engines.tensor_rt.trt_cases import install
from tests.edge_aac.engines.tensor_rt.trt_stand_in import Ways
from tests.quantize.device.build_cases import FASTER, ROLES, SLOWER, SOME_LAYERS, built, precisions, spoil

OTHERS = tuple(role for role in ROLES if role != "encoder")


@pytest.fixture(scope="module")
def windows() -> list[np.ndarray]:
    return check_windows(1)


def _built_here(request: BuildRequest, log: Any) -> BuiltPlan:
    made = build_plan(
        PlanRequest(request.onnx, request.output, request.timing_cache, request.profiles, 1 << 28, 1 << 28, 3),
        log,
        lambda: True,
    )
    return BuiltPlan(
        path=request.output,
        tensorrt=made.tensorrt,
        gpu=made.gpu,
        seconds=1.0,
        precisions=made.summary.precisions,
        int8_matmuls=made.summary.int8_matmuls,
        attempts=1,
        node_range=made.node_range,
        fp8_matmuls=made.summary.fp8_matmuls,
        profiles=request.profiles,
    )


def _options(folder: Path, **changes: Any) -> BuildOptions:
    return BuildOptions(str(folder), backend="tensorrt", threads=1, leave=OTHERS, **changes)


@pytest.mark.usefixtures("quick_build")
@pytest.mark.parametrize(
    ("way", "kept", "why"),
    [
        ("refused", "fp16", "refused by TensorRT: TensorRT 10.3.0 cannot build an engine of "),
        ("unfaithful", "fp16", "unfaithful: "),
        ("slower", "fp16", "faithful, but not faster (1.30 of the time of fp16): fp16 is kept"),
        ("faster", "int8+fp16", "faithful and faster: 0.50 of the time of fp16"),
    ],
)
def test_int8_has_a_way_back(  # noqa: PLR0913, PLR0917
    way: str, kept: str, why: str, calibrated: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(monkeypatch, Ways(refuses=("INT8",) if way == "refused" else (), int8=0 if way == "slower" else 999))

    def build_here(request: BuildRequest, log: Any) -> BuiltPlan:
        if way == "unfaithful" and "int8" in request.onnx.name:
            spoil(request.onnx)
        return _built_here(request, log)

    monkeypatch.setattr(plan_forms, "build_engine", build_here)
    monkeypatch.setattr(plan_forms, "_where", lambda *_: "it parts somewhere")
    monkeypatch.setattr(plan_forms, "timing", lambda *_: SLOWER if way == "slower" else FASTER)
    report, lines = built(_options(calibrated))
    assert report.failure == "" and report.written
    assert precisions(calibrated)["encoder"] == [f"tensorrt {kept}", "onnxruntime fp32", f"tensorrt-onnx {kept}"]

    forms = {form["precision"]: form for form in report.to_table()["forms"]}
    assert list(forms) == ["fp16", "int8+fp16"], "no FP8 on an Orin"
    assert {name for name, form in forms.items() if form["written"]} == {kept}
    quantised = forms["int8+fp16"]
    assert quantised["outcome"].startswith(why) and quantised["outcome"] in report.to_text()
    assert quantised["outcome"].endswith("fp16 is kept") == (kept == "fp16")
    if way == "refused":
        assert "Could not find any implementation" in quantised["outcome"] and "agreement" not in quantised
        assert any("encoder: no int8+fp16 engine" in line for line in lines)
    if way == "slower":
        assert quantised["beside"]["precision"] == "fp16" and quantised["beside"]["ratio"] == 1.3
        warning = "warning: encoder, int8+fp16: TensorRT runs 0 of "
        for told in (report.notes, lines):
            assert any(line.startswith(warning) and "large products in INT8" in line for line in told)
    else:
        assert not any(note.startswith("warning") for note in report.notes)
    if way == "faster":
        assert forms["fp16"]["outcome"] == "faithful, but slower: int8+fp16 is kept"
        assert quantised["built"]["int8_matmuls"][0] >= SOME_LAYERS
        drawn = open_bundle(str(calibrated)).manifest_of(Seq2SeqManifest).decoding.candidates
        tuned = f"tensorrt plans are tuned for the candidates of one window: {drawn}, as the bundle draws"
        assert tuned in report.notes
        assert quantised["built"]["profiles"] == {"vectors": {"usual": [1, 19, 160], "largest": [1, 19, 160]}}


@pytest.mark.usefixtures("quick_build")
def test_a_form_that_is_asked_for_is_taken_fast_or_slow(
    calibrated: Path, board: list[BuildRequest], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plan_forms, "timing", lambda *_: SLOWER)
    built(_options(calibrated, precision="int8"))
    assert precisions(calibrated)["encoder"][0] == "tensorrt int8+fp16"
    assert [request.onnx.name for request in board] == ["encoder.int8+fp16.onnx"]
    with pytest.raises(DeviceError, match=r"Orin, 8 SMs, 16 GB does not compute in FP8.* 8\.9 or newer"):
        built(_options(calibrated, precision="fp8"))


@pytest.mark.usefixtures("quick_build")
def test_fp8_is_tried_where_the_gpu_has_it(
    calibrated: Path, board: list[BuildRequest], monkeypatch: pytest.MonkeyPatch
) -> None:
    thor = replace(build.this_gpu(), architecture="sm_110", model="Thor", tensorrt="10.13.3")
    for module in (build, tensor_rt):
        monkeypatch.setattr(module, "this_gpu", lambda: thor)
    report, _ = built(_options(calibrated))
    assert report.failure == ""
    assert [form.graph.precision for form in report.forms] == ["fp16", "int8+fp16", "fp8+fp16"]
    assert precisions(calibrated)["encoder"] == ["tensorrt fp8+fp16", "onnxruntime fp32", "tensorrt-onnx fp8+fp16"]
    assert report.forms[2].outcome == "faithful and faster: 0.50 of the time of int8+fp16"
    assert report.forms[2].agreement is not None and report.forms[2].agreement.audio_cosine > 0.99


@pytest.mark.usefixtures("quick_build")
def test_a_graph_that_no_form_is_built_of_says_why_of_each(
    calibrated: Path, board: list[BuildRequest], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(request: BuildRequest, log: Any) -> BuiltPlan:
        raise DataError(f"no {request.onnx.name}")

    monkeypatch.setattr(plan_forms, "build_engine", refuse)
    with pytest.raises(DataError, match=r"no encoder\.fp16\.onnx; as int8\+fp16: no encoder\.int8\+fp16\.onnx"):
        built(_options(calibrated))


def _planned(precision: str, spare: Planned | None = None) -> Planned:
    graph = Graph(
        file=f"{precision}.engine",
        sha256="0" * 64,
        backend="tensorrt",
        precision=precision,
        shapes={},
        built_with={},
        max_abs_difference=0.0,
    )
    return Planned(FormReport("encoder", graph, 1, outcome="faithful and faster"), graph, spare)


def test_a_form_that_was_built_and_cannot_be_run_is_not_faithful() -> None:
    """It gives numbers that are none, say: the others go on."""

    def measure(*_: object) -> None:
        raise DataError("the encoder gives NaN")

    planned = _planned("int8+fp16")
    check: Any = SimpleNamespace(measure=measure)
    orin = tensor_rt.GpuIdentity("sm_87", "Orin", 8, 16, "10.3.0", True)
    assert not plan_forms._is_faithful(check, "encoder", planned, orin, PlanOptions())
    assert planned.form.outcome == "unfaithful: it cannot be run: the encoder gives NaN"


def test_what_is_not_faithful_beside_the_others_steps_back(monkeypatch: pytest.MonkeyPatch) -> None:
    faithful = Agreement(1, 1.0, 1.0, 1.0, 0.0)
    given = [replace(faithful, captions_equal=0.5), faithful]
    captioned: list[list[str]] = []
    check: Any = SimpleNamespace(
        reference=None,
        outputs=lambda forms: captioned.append([plan.precision for plan, _ in forms.values()]),
    )
    monkeypatch.setattr(build, "agreement", lambda *_: given.pop(0))
    half, decoder = _planned("fp16"), _planned("fp16")
    report = BuildReport("garden", "folder")
    fast = _planned("int8+fp16", half)
    made = build._faithful_together(check, {"encoder": fast, "decoder": decoder}, report)
    assert made == {"encoder": half, "decoder": decoder} and report.failure == ""
    assert captioned == [["int8+fp16", "fp16"], ["fp16", "fp16"]]
    assert "50.0% of greedy captions are equal): fp16 is kept" in fast.form.outcome
    assert half.form.outcome == "faithful"

    given[:] = [replace(faithful, captions_equal=0.5)] * 2
    build._faithful_together(check, {"encoder": _planned("int8+fp16", half)}, report)
    assert "together are not faithful" in report.failure


@pytest.mark.parametrize(("given", "candidates"), [({}, None), ({"EDGE_AAC_CANDIDATES": "6"}, 6)])
def test_plans_are_tuned_for_what_the_captioner_is_told_to_draw(
    given: dict[str, str], candidates: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The variable that sets the captioner's candidates sets those of the plans."""
    asked: list[BuildOptions] = []

    def build_engines(options: BuildOptions, log: Any) -> BuildReport:
        asked.append(options)
        return BuildReport(options.bundle, "folder")

    monkeypatch.setattr(build, "build_engines", build_engines)
    done = CliRunner().invoke(verb.build_engine, ["--bundle", "garden", "--precision", "fp16"], env=given)
    assert done.exit_code == 0, done.output
    assert (asked[0].candidates, asked[0].precision) == (candidates, "fp16")
