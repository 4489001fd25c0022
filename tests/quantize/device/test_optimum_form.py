"""The INT8 form of a text tower that optimum makes: measured beside ours, and left out where it cannot be made."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import onnx
import pytest

from edge_aac.bundle.onnx_file import references
from edge_aac.bundle.store import open_bundle
from edge_aac.models.seq2seq import Captioner
from quantize.device.build import BuildOptions
from quantize.device.cpu import forms as cpu_forms
from quantize.device.cpu.optimum_form import optimum_int8, optimum_version
from quantize.device.gate import lowest_cosine
from quantize.device.kinds import captioners
from quantize.device.places import parent_of
from quantize.device.timing import Timing
from tests.quantize.device.build_cases import SMALL, built, precisions, spoil
from tests.quantize.graphs.int8_cases import run


def _times(monkeypatch: pytest.MonkeyPatch, *ratios: float) -> None:
    """Of the forms in the order in which they are made, optimum's first; then of ours beside optimum's."""
    left = iter(ratios)
    monkeypatch.setattr(cpu_forms, "timing", lambda *_: Timing(10.0, 10.0, next(left), 9))


@pytest.fixture
def options(folder: Path, windows: list[np.ndarray], monkeypatch: pytest.MonkeyPatch) -> BuildOptions:
    monkeypatch.setattr(captioners, "check_windows", lambda: windows)
    monkeypatch.setattr(cpu_forms, "in_blocks", lambda *_: None)
    return BuildOptions(str(folder), backend="onnxruntime", threads=1, leave=SMALL)


@pytest.mark.parametrize("beside", [1.2, 0.8])
def test_the_faster_of_two_faithful_forms_is_kept(
    options: BuildOptions, folder: Path, monkeypatch: pytest.MonkeyPatch, beside: float
) -> None:
    """In turn with one another: what each took of fp32's time, under another load, may say the opposite."""
    _times(monkeypatch, 0.5, 0.5, beside)
    report, _ = built(options)
    assert report.written and not report.failure and not report.notes
    theirs, ours = report.forms
    assert theirs.agreement and theirs.agreement.text_cosine >= 0.99
    kept, left = (theirs, ours) if beside > 1.0 else (ours, theirs)
    assert (kept.written, left.written) == (True, False)
    assert left.outcome == f"faithful, but slower than {'the one by optimum' if kept is theirs else 'our int8'}"
    assert ours.to_table()["beside"]["precision"] == "the one by optimum"
    form = open_bundle(str(folder)).manifest.graphs["text_embedder"][0]
    assert form.precision == "int8" and ("optimum_onnx" in form.built_with) == (kept is theirs)
    assert precisions(folder)["text_embedder"] == ["onnxruntime int8", "onnxruntime fp32"]
    embeddings = Captioner(open_bundle(str(folder))).embed(["a dog barks"])
    assert np.linalg.norm(embeddings) == pytest.approx(1.0, abs=1e-3)


def test_one_that_is_slower_than_fp32_leaves_ours(
    options: BuildOptions, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _times(monkeypatch, 1.2, 0.5)
    report, _ = built(options)
    assert report.forms[0].outcome == "by optimum, not faster here (1.20 of fp32's time)"
    assert "optimum_onnx" not in open_bundle(str(folder)).manifest.graphs["text_embedder"][0].built_with


def test_where_the_one_by_optimum_stays_ours_does_not_leave_fp32(
    options: BuildOptions, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _times(monkeypatch, 0.5, 1.2)
    report, _ = built(options)
    assert report.forms[1].outcome == "not faster here (1.20 of fp32's time): the one by optimum stays"
    assert "optimum_onnx" in open_bundle(str(folder)).manifest.graphs["text_embedder"][0].built_with


def test_one_that_is_not_faithful_leaves_ours(
    options: BuildOptions, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    quantise = cpu_forms.optimum_int8

    def spoiled(parent: Path, output: Path) -> list[Path]:
        files = quantise(parent, output)
        spoil(output)
        return files

    monkeypatch.setattr(cpu_forms, "optimum_int8", spoiled)
    _times(monkeypatch, 0.4, 0.6)
    report, _ = built(options)
    assert report.failure == "" and report.forms[0].outcome.startswith("by optimum, unfaithful: text embeddings differ")
    assert [form.written for form in report.forms] == [False, True]
    assert sorted(path.name for path in folder.glob("*int8*")) == ["text_embedder.int8.onnx"]


def test_of_a_graph_without_large_products_none_is_made(options: BuildOptions, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cpu_forms, "has_products", lambda *_: False)
    monkeypatch.setattr(cpu_forms, "by_optimum", lambda *_: pytest.fail("a table of tokens was quantised by optimum"))
    report, _ = built(options)
    assert not report.forms and not report.failure
    assert any(note.startswith("text_embedder: none of its products is large enough") for note in report.notes)


@pytest.mark.parametrize("fault", [ImportError, RuntimeError])
def test_an_optimum_that_cannot_be_imported_is_none(fault: type[Exception], monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> None:
        raise fault(f"{name} needs what is not there")

    lazy = ModuleType("optimum.onnxruntime")
    lazy.__dict__["__getattr__"] = missing
    monkeypatch.setitem(sys.modules, "optimum.onnxruntime", lazy)
    assert optimum_version() is None


def test_where_optimum_is_missing_that_is_said(options: BuildOptions, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cpu_forms, "optimum_version", lambda: None)
    _times(monkeypatch, 0.5)
    report, _ = built(options)
    assert report.written and len(report.forms) == 1
    assert report.notes == ["text_embedder: optimum is not installed here, so its INT8 form was not tried"]
    assert report.notes[0] in report.to_text()


def test_weights_beside_the_graph_stay_beside_it(folder: Path, tmp_path: Path) -> None:
    bundle = open_bundle(str(folder))
    parent = tmp_path / "tower.onnx"
    tower = onnx.load(str(bundle.path(parent_of(bundle, "text_embedder"))))
    # A constant that is no weight, as the mask of CLIP's text tower: it is put beside the graph as well.
    mask = onnx.numpy_helper.from_array(np.zeros(5000, np.float32), "mask")
    (embedding,) = (node for node in tower.graph.node if "embedding" in node.output)
    embedding.output[:] = ["bare"]
    tower.graph.node.extend(
        [
            onnx.helper.make_node("Constant", [], ["mask"], value=mask),
            onnx.helper.make_node("ReduceSum", ["mask"], ["nothing"], keepdims=0),
            onnx.helper.make_node("Add", ["bare", "nothing"], ["embedding"]),
        ]
    )
    onnx.save_model(
        tower,
        str(parent),
        save_as_external_data=True,
        location=f"{parent.name}.data",
    )
    (tmp_path / "made").mkdir()
    output = tmp_path / "made" / "form.onnx"
    files = optimum_int8(parent, output)
    assert (
        [file.name for file in files]
        == ["form.onnx", "form.onnx.data"]
        == sorted(file.name for file in output.parent.iterdir())
    )
    assert references(output) == {"form.onnx.data"}
    texts = {"token_ids": np.array([[5, 6, 7, 8, 9]]), "attention_mask": np.ones((1, 5), np.int64)}
    want, have = (run(path, texts)["embedding"] for path in (parent, output))
    assert 0.99 < lowest_cosine(want, have) < 1.0
