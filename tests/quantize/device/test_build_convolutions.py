"""INT8 convolutions: as many as are faithful, and forms that are faithful beside each other."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from edge_aac.bundle.manifest import Seq2SeqManifest
from edge_aac.bundle.store import open_bundle
from quantize.device import build
from quantize.device.build import BuildOptions
from quantize.device.check_windows import check_windows
from quantize.device.cpu import forms as cpu_forms
from quantize.device.report import FormReport
from quantize.device.timing import Timing
from quantize.graphs.calibration import Calibration, GraphCalibration, observe
from quantize.graphs.layers import quantisable_layers
from quantize.graphs.onnx_file import OnnxFile
from quantize.graphs.sound_inputs import SoundInputs
from tests.quantize.device.build_cases import (
    CONVOLVED,
    FASTER,
    ROLES,
    built,
    precisions,
)

pytestmark = pytest.mark.usefixtures("quick_build")


def _with_ranges(folder: Path, spoilt: Callable[[str], bool], monkeypatch: pytest.MonkeyPatch) -> list[FormReport]:
    """Builds the encoder with ranges of which some are far too narrow: what is cut off is lost."""
    bundle = open_bundle(str(folder))
    (parent,) = bundle.manifest.graphs[CONVOLVED]
    parents = {role: bundle.path(bundle.manifest.graphs[role][0]) for role in ROLES}
    heard = SoundInputs.of_files(parents, bundle.manifest_of(Seq2SeqManifest).patches)
    observed = observe(bundle.path(parent), heard.of(CONVOLVED, check_windows(2)))
    ranges = {
        name: (low / 50, high / 50) if spoilt(name) else (low, high) for name, (low, high) in observed.ranges.items()
    }
    found = GraphCalibration(parent_sha256=parent.sha256, ranges=ranges)
    calibration = Calibration(
        schema="edge-aac/calibration/1", method="minmax", windows=2, source="a test", graphs={CONVOLVED: found}
    )
    monkeypatch.setattr(build, "stored_calibration", lambda *_: calibration)
    report, _ = built(BuildOptions(str(folder), leave=tuple(role for role in ROLES if role != CONVOLVED), threads=1))
    assert report.failure == ""
    return report.forms


def test_convolutions_that_are_not_faithful_stay_fp32(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    *others, last = _with_ranges(folder, lambda name: True, monkeypatch)
    doubled = ["the first", *(f"the first {2**number}" for number in range(1, len(others) - 1)), "its"]
    for form, left in zip(others, doubled, strict=True):
        assert not form.written and "unfaithful" in form.outcome
        assert f"made again with {left} " in form.outcome and "convolutions in fp32" in form.outcome
    assert last.written
    sizes = [form.size_bytes for form in (*others, last)]
    assert sizes == sorted(sizes) and sizes[0] < sizes[-1]
    assert precisions(folder)[CONVOLVED] == ["onnxruntime int8", "onnxruntime fp32"]


def test_no_more_convolutions_stay_fp32_than_must(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = open_bundle(str(folder)).folder / f"{CONVOLVED}.fp32.onnx"
    first = next(layer for layer in quantisable_layers(OnnxFile(path), wide_groups=True) if layer.kind == "Conv")
    *refused, taken = _with_ranges(folder, lambda name: name == first.activation, monkeypatch)
    assert "made again with the first of its convolutions in fp32" in refused[0].outcome
    assert taken.written and len(refused) < 6 and taken.size_bytes < 2 * refused[0].size_bytes


def test_of_forms_that_fail_together_the_slower_set_gives_way(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real_caption, real_agreement = cpu_forms.Check.outputs, cpu_forms.agreement
    captioned: list[set[str]] = []

    def caption(check: cpu_forms.Check, forms: dict[str, Any]) -> Any:
        captioned.append(set(forms))
        return real_caption(check, forms)

    def agreement(parent: Any, form: Any) -> Any:
        found = real_agreement(parent, form)
        return replace(found, captions_equal=0.5) if {"encoder", "decoder"} <= captioned[-1] else found

    saved = dict.fromkeys(ROLES, FASTER) | {"encoder": Timing(10.0, 9.0, 0.9, 9)}
    monkeypatch.setattr(cpu_forms.Check, "outputs", caption)
    monkeypatch.setattr(cpu_forms, "agreement", agreement)
    monkeypatch.setattr(cpu_forms, "timing", lambda role, *_: saved[role])
    report, _ = built(BuildOptions(str(folder), threads=1))
    assert report.failure == "" and report.written
    kept = {role: ["onnxruntime int8", "onnxruntime fp32"] for role in ROLES}
    assert precisions(folder) == kept | {"encoder": ["onnxruntime fp32"]}
    outcomes = {form.role: form.outcome for form in report.forms}
    assert "not beside the others (50.0% of greedy captions are equal)" in outcomes["encoder"]
    assert captioned[-1] == {*ROLES} - {"encoder"} and report.together["onnxruntime"].complaints() == []


def test_all_forms_together_are_tried_first(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever medians say that a passing load has turned round: the ratio of pairs is what a form is taken by."""
    timed = dict.fromkeys(ROLES, FASTER) | {"decoder": Timing(3.788, 3.833, 0.945, 60)}
    monkeypatch.setattr(cpu_forms, "timing", lambda role, *_: timed[role])
    report, _ = built(BuildOptions(str(folder), threads=1))
    assert [form.outcome for form in report.forms] == ["faithful and faster"] * len(ROLES)
    assert precisions(folder) == {role: ["onnxruntime int8", "onnxruntime fp32"] for role in ROLES}


def test_a_refused_form_makes_room_for_the_next(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    quantise = cpu_forms.dynamic_int8
    beside: list[list[str]] = []

    def watched(parent: Path, output: Path, *rest: Any) -> list[Path]:
        beside.append([path.name for path in output.parent.iterdir()])
        return quantise(parent, output, *rest)

    monkeypatch.setattr(cpu_forms, "dynamic_int8", watched)
    forms = _with_ranges(folder, lambda name: True, monkeypatch)
    assert len(beside) == len(forms) > 2 and not any(beside)
    assert [form.written for form in forms] == [False] * (len(forms) - 1) + [True]
