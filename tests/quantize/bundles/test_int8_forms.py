"""`edge-aac convert --int8`: forms are made and gated as build-engine does it, whatever time they take here."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edge_aac.bundle.manifest import MANIFEST
from edge_aac.bundle.store import check_all, open_bundle
from edge_aac.engines.contract import EngineOptions
from edge_aac.errors import DataError
from edge_aac.models.prompted import Prompted
from quantize.bundles.int8_forms import add_int8
from quantize.bundles.prompted import convert_prompted, prompted_provenance, prompted_source
from quantize.device.cpu import forms as cpu_forms
from quantize.device.kinds import prompted
from quantize.device.kinds.prompted import AnswerAgreement, CheckAnswers
from quantize.device.timing import Timing
from tests.quantize.models.audio_language_layout import CLIP_SAMPLES, write_clapcap
from tests.quantize.models.audio_language_reference import Reference

ROLES = ["encoder", "prompt_encoder", "decoder"]
SLOWER = Timing(10.0, 13.0, 1.3, 9)


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pengi's reference, which is wide enough for INT8."""
    source = prompted_source(Reference.of("EDGE_AAC_REFERENCE_PENGI", "pengi_tiny").folder)
    assert source is not None
    output = tmp_path_factory.mktemp("int8") / "pengi"
    return convert_prompted(source, output, prompted_provenance(source, "pengi"), lambda line: None)


@pytest.fixture
def folder(exported: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of it, on a machine on which no form is faster, and which has no optimum."""
    monkeypatch.setattr(cpu_forms, "timing", lambda *_: SLOWER)
    monkeypatch.setattr(cpu_forms, "TEXT_TOWERS", frozenset())
    return shutil.copytree(exported, tmp_path / "copy")


def _precisions(folder: Path) -> dict[str, list[str]]:
    graphs = open_bundle(str(folder)).manifest.graphs
    return {role: [form.precision for form in graphs[role]] for role in ROLES}


def _check_files(folder: Path) -> None:
    """Nothing lies there that the manifest does not name."""
    bundle = open_bundle(str(folder))
    check_all(bundle)
    assert {file.name for file in folder.iterdir()} == {file.file for file in bundle.manifest.files()} | {
        MANIFEST,
        "README.md",
    }


def test_forms_that_pass_come_first_though_they_are_slower_here(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(AnswerAgreement, "complaints", lambda self: [])
    lines: list[str] = []
    table = add_int8(folder, lines.append)
    assert _precisions(folder) == dict.fromkeys(ROLES, ["int8", "fp32"])
    assert [form["precision"] for form in table["graphs"]["decoder"]] == ["int8", "fp32"]
    assert [line for line in lines if "faithful, 1.30 of fp32's time here" in line] == [
        f"{role}, INT8: faithful, 1.30 of fp32's time here" for role in ROLES
    ]
    _check_files(folder)
    model = Prompted(open_bundle(str(folder)), EngineOptions(threads=1))
    assert model.identity.precision == "int8"
    noise = np.random.default_rng(0).normal(0.0, 0.1, model.manifest.clip.samples).astype(np.float32)
    assert model.answer(model.hear(noise), "generate audio caption").texts


def test_forms_that_fail_leave_nothing(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prompted, "lowest_cosine", lambda left, right: float("nan"))
    lines: list[str] = []
    add_int8(folder, lines.append)
    assert _precisions(folder) == dict.fromkeys(ROLES, ["fp32"])
    for role, line in zip(ROLES, lines, strict=False):
        assert line.startswith(f"{role}, INT8: unfaithful: audio embeddings differ (cosine nan)")
    assert lines[-1].endswith("no INT8 form is kept")
    _check_files(folder)


def test_forms_that_are_not_faithful_together(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    judged: list[int] = []

    def all_but_the_first_mixture(self: AnswerAgreement) -> list[str]:
        judged.append(1)
        # The three forms by themselves, then all of them together.
        return ["too far"] if len(judged) == 4 else []

    monkeypatch.setattr(AnswerAgreement, "complaints", all_but_the_first_mixture)
    add_int8(folder, lambda line: None)
    assert sorted(map(len, _precisions(folder).values())) == [1, 2, 2], "as many as may stand together"
    _check_files(folder)


def test_graphs_without_a_layer_that_is_large_enough(tmp_path: Path) -> None:
    source = prompted_source(write_clapcap(tmp_path / "weights"))
    assert source is not None
    lines: list[str] = []
    output = convert_prompted(
        source, tmp_path / "bundle", prompted_provenance(source, "small"), lines.append, int8=True
    )
    assert sum("none of its products is large enough for INT8" in line for line in lines) == 2
    model = Prompted(open_bundle(str(output)), EngineOptions(threads=1))
    assert model.identity.precision == "fp32"
    assert model.hear(np.ones(CLIP_SAMPLES, np.float32)).prefix.shape == (5, 16)


TOLD = CheckAnswers(
    answers=[[[1, 2]]],
    audio=np.eye(3, 4, dtype=np.float32),
    sound=np.eye(3, 6, dtype=np.float32),
    prompts=np.eye(2, 5, dtype=np.float32),
    tokens=np.arange(40),
    log_likelihood=-2.0,
)


def test_what_is_said_of_forms() -> None:
    same = TOLD.compared(TOLD)
    assert same.complaints() == [] and same.windows == 3
    other = TOLD.tokens.copy()
    other[:3] = -1
    for change, word in (
        ({"audio": TOLD.audio + 0.2}, "audio embeddings differ"),
        ({"sound": TOLD.sound + 0.2}, "audio embeddings differ"),
        ({"sound": TOLD.sound * np.nan}, "audio embeddings differ (cosine nan"),
        ({"prompts": TOLD.prompts[::-1]}, "text embeddings differ"),
        ({"tokens": other}, "92.5% of the likeliest tokens"),
        ({"log_likelihood": -2.05}, "differs by 2.5%"),
        ({"log_likelihood": float("nan")}, "differs by nan"),
    ):
        (complaint,) = TOLD.compared(replace(TOLD, **change)).complaints()
        assert word in complaint
    with pytest.raises(DataError, match="another prefix"):
        TOLD.compared(replace(TOLD, sound=TOLD.sound[:, :3]))
