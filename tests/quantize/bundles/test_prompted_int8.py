"""INT8 forms of bundles that answer prompts: faithful ones come first, others leave nothing behind."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edge_aac.bundle.manifest import MANIFEST
from edge_aac.bundle.store import Bundle, open_bundle
from edge_aac.engines.contract import EngineOptions
from edge_aac.errors import DataError
from edge_aac.models.prompted import Prompted
from quantize.bundles.prompted import convert_prompted, prompted_provenance, prompted_source
from quantize.bundles.prompted_int8 import Fidelity, add_int8
from quantize.device.kinds import prompted
from quantize.device.kinds.prompted import AnswerAgreement, CheckAnswers
from tests.quantize.models.audio_language_layout import CLIP_SAMPLES, write_clapcap
from tests.quantize.models.audio_language_reference import Reference

PROMPTS = ("generate audio caption", "this is a sound of")


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """Pengi's reference, which is wide enough for INT8."""
    source = prompted_source(Reference.of("EDGE_AAC_REFERENCE_PENGI", "pengi_tiny").folder)
    assert source is not None
    output = tmp_path_factory.mktemp("int8") / "pengi"
    return open_bundle(str(convert_prompted(source, output, prompted_provenance(source, "pengi"), lambda line: None)))


def _copy(bundle: Bundle, folder: Path) -> Bundle:
    return open_bundle(str(shutil.copytree(bundle.folder, folder)))


def _clips(bundle: Bundle) -> list[np.ndarray]:
    samples = bundle.manifest.clip.samples  # type: ignore[attr-defined]
    return [np.random.default_rng(seed).normal(0.0, 0.1, samples).astype(np.float32) for seed in range(2)]


def _names(bundle: Bundle, forms: Sequence[Sequence[object]]) -> set[str]:
    listed = {form.file for each in forms for form in each}  # type: ignore[attr-defined]
    return listed | {file.file for file in bundle.manifest.own_files()} | {MANIFEST, "README.md"}


def test_forms_that_pass_come_first(bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(AnswerAgreement, "complaints", lambda self: [])
    copy, lines = _copy(bundle, tmp_path / "copy"), list[str]()
    forms = add_int8(copy, _clips(copy), PROMPTS, lines.append)
    for role, (int8, exported) in forms.items():
        assert (int8.precision, exported.precision) == ("int8", "fp32")
        assert int8.parent_sha256 == exported.sha256
        assert any(line.startswith(f"{role}, INT8: cosine of prefixes") for line in lines)
    assert any("encoder and prompt_encoder and decoder together" in line for line in lines)
    assert {file.name for file in copy.folder.iterdir()} == _names(copy, list(forms.values()))
    manifest = copy.manifest.model_copy(update={"graphs": forms})
    model = Prompted(Bundle(copy.folder, manifest), EngineOptions(threads=1))
    assert model.identity.precision == "int8"
    assert model.answer(model.hear(_clips(copy)[0]), PROMPTS[0]).texts


def test_forms_that_fail_leave_nothing(bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prompted, "lowest_cosine", lambda left, right: float("nan"))
    copy, lines = _copy(bundle, tmp_path / "copy"), list[str]()
    forms = add_int8(copy, _clips(copy), PROMPTS, lines.append)
    assert [[form.precision for form in each] for each in forms.values()] == [["fp32"]] * 3
    assert all("audio embeddings differ (cosine nan)" in line and "left out" in line for line in lines)
    assert {file.name for file in copy.folder.iterdir()} == _names(copy, list(forms.values()))


def test_forms_that_are_not_faithful_together(bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    judged: list[int] = []

    def all_but_the_first_mixture(self: AnswerAgreement) -> list[str]:
        judged.append(1)
        # The three forms by themselves, then all of them together.
        return ["too far"] if len(judged) == 4 else []

    monkeypatch.setattr(AnswerAgreement, "complaints", all_but_the_first_mixture)
    copy = _copy(bundle, tmp_path / "copy")
    forms = add_int8(copy, _clips(copy), PROMPTS, lambda line: None)
    kept = [role for role, each in forms.items() if len(each) == 2]
    assert len(kept) == 2
    assert {file.name for file in copy.folder.iterdir()} == _names(copy, list(forms.values()))


def test_graphs_without_a_layer_that_is_large_enough(tmp_path: Path) -> None:
    source = prompted_source(write_clapcap(tmp_path / "weights"))
    assert source is not None
    lines: list[str] = []
    output = convert_prompted(
        source, tmp_path / "bundle", prompted_provenance(source, "small"), lines.append, int8=True
    )
    left_out = [line for line in lines if "INT8: none of its layers is large enough" in line]
    assert len(left_out) == 2
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
    assert "0.50 of fp32's time" in str(Fidelity(same, 0.5))
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
