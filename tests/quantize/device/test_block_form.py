"""The form whose weights are in 8-bit blocks: made, gated, and kept where it is the fastest."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from edge_aac.bundle.manifest import MANIFEST
from edge_aac.bundle.store import check_all, open_bundle
from edge_aac.engines.processor import kind_here
from edge_aac.models.seq2seq import Captioner
from quantize.device.build import BuildOptions
from quantize.device.cpu import forms as cpu_forms
from quantize.device.kinds import captioners
from quantize.device.report import BuildReport
from quantize.device.timing import Timing
from tests.edge_aac.fakes import described
from tests.quantize.device.build_cases import ROLES, built, contents, precisions, spoil

OTHERS = tuple(role for role in ROLES if role != "decoder")
BLOCKS, INT8, FP32 = (f"onnxruntime {precision}" for precision in ("int8_blocks", "int8", "fp32"))


def _times(monkeypatch: pytest.MonkeyPatch, *ratios: float) -> None:
    """Of the forms in the order in which they are made, that in blocks first; then of the other beside it."""
    left = iter(ratios)
    monkeypatch.setattr(cpu_forms, "timing", lambda *_: Timing(10.0, 10.0, next(left), 9))


@pytest.fixture
def options(folder: Path, windows: list[np.ndarray], monkeypatch: pytest.MonkeyPatch) -> BuildOptions:
    monkeypatch.setattr(captioners, "check_windows", lambda: windows)
    return BuildOptions(str(folder), backend="onnxruntime", threads=1, leave=OTHERS)


def _changed(monkeypatch: pytest.MonkeyPatch, change: Any) -> None:
    """Change the file of every form in blocks that is made."""
    make = cpu_forms.weights_in_blocks

    def changed(parent: Path, output: Path, *rest: Any) -> list[Path]:
        files = make(parent, output, *rest)
        change(output)
        return files

    monkeypatch.setattr(cpu_forms, "weights_in_blocks", changed)


def _report(options: BuildOptions) -> BuildReport:
    report, _ = built(options)
    assert report.failure == ""
    return report


@pytest.mark.parametrize(("beside", "first"), [(1.3, BLOCKS), (0.8, INT8)])
def test_it_is_kept_where_it_is_the_fastest(
    options: BuildOptions, folder: Path, monkeypatch: pytest.MonkeyPatch, beside: float, first: str
) -> None:
    _times(monkeypatch, 0.7, 0.9, beside)
    report = _report(options)
    in_blocks, in_int8 = report.forms
    assert in_blocks.agreement and in_blocks.agreement.captions_equal >= 0.95
    kept, left = (in_blocks, in_int8) if first == BLOCKS else (in_int8, in_blocks)
    assert kept.outcome.endswith("faithful and faster") and (kept.written, left.written) == (True, False)
    named = {BLOCKS: "the one in blocks", INT8: "our int8"}[first]
    assert left.outcome == f"faithful, but slower than {named}"
    assert in_int8.to_table()["beside"] == {
        "precision": "the one in blocks",
        "reference_ms": 10.0,
        "form_ms": 10.0,
        "ratio": beside,
        "pairs": 9,
    }
    assert precisions(folder)["decoder"] == [first, FP32] == report.to_table()["order"]["decoder"]
    assert [path.name for path in folder.glob("decoder.int8*")] == [kept.graph.file]


def test_a_bundle_with_it_captions(options: BuildOptions, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _times(monkeypatch, 0.7, 1.2)
    report = _report(options)
    assert report.forms[1].outcome == "not faster here (1.20 of fp32's time): the one in blocks stays"
    bundle = open_bundle(str(folder))
    check_all(bundle)
    form, parent = bundle.manifest.graphs["decoder"]
    assert form.parent_sha256 == parent.sha256 and 0.0 < form.max_abs_difference < 5.0
    assert form.built_with["block"] == "128" and kind_here().items() <= form.built_with.items()
    captioner = Captioner(bundle)
    # Its ranges are found row by row: windows may share a run, as with one range a tensor they may not.
    assert captioner.limits == Captioner(_exported(bundle.folder)).limits
    assert described(captioner, np.zeros((998, 128), np.float32), np.random.default_rng(0)).ranked


def _exported(folder: Path) -> Any:
    bundle = open_bundle(str(folder))
    graphs = {
        role: [form for form in forms if not form.parent_sha256] for role, forms in bundle.manifest.graphs.items()
    }
    return type(bundle)(folder, bundle.manifest.model_copy(update={"graphs": graphs}))


def test_where_it_is_slower_or_not_faithful_the_other_stays(
    options: BuildOptions, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _times(monkeypatch, 0.96, 0.9)
    slower, other = _report(options).forms
    assert slower.outcome == "blocks of 128, not faster here (0.96 of fp32's time)" and not slower.fault
    assert other.written
    _changed(monkeypatch, spoil)
    _times(monkeypatch, 0.5, 0.5, 0.9)
    *refused, other = _report(options).forms
    for unfaithful, block in zip(refused, ("128", "32"), strict=True):
        assert unfaithful.outcome.startswith(f"blocks of {block}, unfaithful: ") and unfaithful.fault
    assert other.written
    assert precisions(folder)["decoder"] == [INT8, FP32]


def test_smaller_blocks_where_larger_are_not_faithful(
    options: BuildOptions, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make = cpu_forms.weights_in_blocks

    def spoiled(parent: Path, output: Path, keep: set[str], block: int) -> list[Path]:
        files = make(parent, output, keep, block)
        if block == 128:
            spoil(output)
        return files

    monkeypatch.setattr(cpu_forms, "weights_in_blocks", spoiled)
    _times(monkeypatch, 0.5, 0.6, 0.9, 1.4)
    assert [form.written for form in _report(options).forms] == [False, True, False]
    form = open_bundle(str(folder)).manifest.graphs["decoder"][0]
    assert form.precision == "int8_blocks" and form.built_with["block"] == "32"


def test_where_none_is_faithful_the_build_has_failed(
    options: BuildOptions, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def spoiled(parent: Path, output: Path, *rest: Any) -> list[Path]:
        files = quantise(parent, output, *rest)
        spoil(output)
        return files

    quantise = cpu_forms.dynamic_int8
    monkeypatch.setattr(cpu_forms, "dynamic_int8", spoiled)
    _changed(monkeypatch, spoil)
    _times(monkeypatch, 0.5, 0.5, 0.5)
    before = contents(folder)
    report, _ = built(options)
    assert report.failure.startswith("the INT8 form of the decoder is not faithful") and not report.written
    assert contents(folder) == before


def _without_operator(path: Path) -> None:
    """What an ONNX Runtime that lacks the operator sees: one that no ONNX Runtime has."""
    model = onnx.load(str(path))
    for node in model.graph.node:
        if node.op_type == "MatMulNBits":
            node.op_type = "MatMulNBitsOfTomorrow"
    onnx.save_model(model, str(path))


def test_where_the_operator_is_missing_that_is_said(
    options: BuildOptions, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _changed(monkeypatch, _without_operator)
    _times(monkeypatch, 0.9)
    report = _report(options)
    refused, other = report.forms
    assert (
        refused.outcome.startswith("blocks of 128, it cannot be run here: ")
        and "MatMulNBitsOfTomorrow" in refused.outcome
    )
    assert refused.to_table()["outcome"] in json.dumps(report.to_table())
    assert "timing" not in refused.to_table()
    assert other.written and precisions(folder)["decoder"] == [INT8, FP32]


def test_where_the_quantiser_is_missing_that_is_said(
    options: BuildOptions, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cpu_forms, "missing_quantiser", lambda: "ONNX Runtime 1.20 has no quantiser for them here")
    _times(monkeypatch, 0.9)
    report = _report(options)
    assert [form.graph.precision for form in report.forms] == ["int8"]
    said = "decoder: weights in 8-bit blocks were not tried: ONNX Runtime 1.20 has no quantiser for them here"
    assert report.notes == [said] and said in report.to_text()


def test_a_build_takes_the_place_of_the_one_before(
    options: BuildOptions, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _times(monkeypatch, 0.7, 1.2)
    _report(options)
    _times(monkeypatch, 1.1, 0.8)
    _report(options)
    assert precisions(folder)["decoder"] == [INT8, FP32]
    table = json.loads((folder / MANIFEST).read_text())
    assert not list(folder.glob("*int8_blocks*")) and "int8_blocks" not in json.dumps(table)
