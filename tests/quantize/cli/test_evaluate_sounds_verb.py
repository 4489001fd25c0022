"""`edge-aac evaluate` of a bundle that lists everyday sounds: folders and a teacher in, scores and a report out."""

from __future__ import annotations

import csv
import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile

from edge_aac.errors import DataError, UsageError
from edge_aac.fluency.sound_names import SoundNames, SoundWords
from quantize.bundles.sounds import SOUNDS, add_sounds
from quantize.evaluation.everyday import evaluate as module
from quantize.evaluation.everyday.report import sounds_report
from quantize.evaluation.everyday.tables import sound_tables
from tests.quantize.cli.evaluate_calls import call
from tests.quantize.cli.ten_sound_bundles import trained_elsewhere
from tests.quantize.evaluation.everyday.judged_cases import LEXICON, FakeTagger, some_judged

pytest.importorskip("matplotlib", reason="reports need pip install 'edge-aac[evaluate]'")
pytest.importorskip("pycocoevalcap.bleu.bleu", reason="caption metrics need pip install 'edge-aac[evaluate]'")

RATE = 16_000


@pytest.fixture(autouse=True)
def neither_java_nor_espeak(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    for name in ("EDGE_AAC_DATA", "EDGE_AAC_BUNDLE", "EDGE_AAC_OUTLIERS"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(scope="module")
def listed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle with the everyday sounds, saying that it was trained on nothing made here."""
    folder = trained_elsewhere(tmp_path_factory.mktemp("bundles") / "listed")
    add_sounds(folder, LEXICON.names)
    return folder


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of everyday recordings; one has a label that is no sound's."""
    folder = tmp_path_factory.mktemp("data") / "home"
    folder.mkdir()
    rows = ["file,label,fold,title,author,license,source_url"]
    for label in ("cat", "gear_shift"):
        noise = 0.1 * np.random.default_rng(len(rows)).standard_normal(RATE)
        soundfile.write(folder / f"{label}.flac", noise, RATE)
        rows.append(f"{label}.flac,{label},2,t,a,CC0,u")
    (folder / "clips.csv").write_text("\n".join(rows), encoding="utf-8")
    return folder


def test_several_folders_and_a_teacher(
    recordings: Path, home: Path, listed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "load_tagger", lambda path: FakeTagger({"Meow": 0.98, "Cat": 0.98}))
    output = tmp_path / "report"
    result = call(
        "--bundle", listed, "--data", recordings, "--data", home, "--fold", 2, "--scenes", 2, "--absent", "rain",
        "--tagger", tmp_path / "fake.pt", "--candidates", 3, "--output", output,
    )  # fmt: skip
    assert result.exit_code == 0
    scores = json.loads((output / "scores.json").read_text(encoding="utf-8"))
    assert scores["measured_by"] == (
        f"edge-aac evaluate --data {recordings.name} --data home --fold 2 --scenes 2 --seed 0 --absent rain "
        "--tagger fake.pt --candidates 3"
    )
    assert [folder["skipped"] for folder in scores["recordings"]] == [{}, {"gear_shift": 1}]
    assert "home: skipped 1 recordings whose label is no sound's (gear_shift)" in result.output
    assert "no windows of speech: espeak-ng is not installed" in result.output
    assert (scores["single_clips"]["count"], scores["everyday_clips"]["count"]) == (4, 1)
    assert (scores["two_sound_scenes"]["count"], scores["everyday_scenes"]["count"]) == (2, 2)
    assert scores["everyday_clips"]["teacher"]["right_or_coarser_named"] == 1.0
    assert scores["single_clips"]["teacher"]["right_or_coarser_named"] == 0.0
    assert scores["absent_windows"]["count"] == 4 and scores["quiet_windows"]["count"] == 104
    assert scores["caption_metrics"]["count"] == 4
    with (output / "captions.csv").open(newline="", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    kinds = {row["kind"] for row in rows}
    assert kinds == {"single", "scene", "noise", "silence", "hum", "handling", "absent"}
    assert len(rows) == 5 + 4 + 104 + 4
    answers = {row["kind"]: row["teacher"] for row in rows}
    assert LEXICON.names.related(answers["single"], "cat") and answers["noise"] == ""
    assert "everyday scenes, event F1, coarser half" in result.stdout
    assert "<svg" in (output / "report.html").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--absent", "no such thing"), "no sound 'no such thing'"),
        (("--absent", "dog"), "trained on dog_bark"),
        (("--outliers", "x"), "--outliers is for bundles of ten classes"),
    ],
)
def test_what_makes_no_sense_is_refused(recordings: Path, listed: Path, arguments: tuple[str, ...], words: str) -> None:
    error = call("--bundle", listed, "--data", recordings, "--fold", 2, *arguments).exception
    assert isinstance(error, UsageError) and words in str(error)


def test_a_bundle_of_ten_sounds_takes_one_folder_and_no_tagger(recordings: Path, home: Path, tmp_path: Path) -> None:
    bundle = trained_elsewhere(tmp_path / "ten")
    for arguments in (("--data", home), ("--tagger", home)):
        error = call("--bundle", bundle, "--data", recordings, "--fold", 2, *arguments).exception
        assert isinstance(error, UsageError) and "bundles that list everyday sounds" in str(error)


def test_a_bundle_of_another_lexicon_is_refused(recordings: Path, listed: Path, tmp_path: Path) -> None:
    folder = tmp_path / "other"
    shutil.copytree(listed, folder)
    names = dict(LEXICON.words())
    names["zither_player"] = SoundWords(nouns=("zither playing",))
    add_sounds(folder, SoundNames(names, ()))
    assert (folder / SOUNDS).is_file()
    error = call("--bundle", folder, "--data", recordings, "--fold", 2).exception
    assert isinstance(error, DataError) and "'zither_player'" in str(error)


def test_the_report_has_all_its_parts_and_loads_nothing() -> None:
    judged = some_judged()
    scores = {
        "schema": "edge-aac/scores/1",
        "measured_by": "edge-aac evaluate --fold 4",
        "bundle": {"name": "<b>tiny</b>", "version": "1"},
        "precision": "fp32",
        "candidates": 6,
        "tagger": "mn04.pt",
        "recordings": [{"folder": "home", "recordings": 6, "skipped": {"gear_shift": 2}}],
        **sound_tables(LEXICON, judged),
    }
    page = sounds_report(scores, LEXICON, judged)
    for words in (
        "Beside the teacher", "mn04.pt", "Absent sounds", "How surely, how often right", "Expected calibration error",
        "Captions of single recordings", "cat †", "gear_shift 2", "Wrong captions", "&lt;b&gt;tiny&lt;/b&gt;",
    ):  # fmt: skip
        assert words in page, words
    assert "dog bark †" not in page
    assert page.count("<svg") == 2
    assert not re.search(r"@import|url\((?!#)|<script|src=", page)
    ids = re.findall(r'\bid="([^"]+)"', page)
    assert len(ids) == len(set(ids)) > 0
    assert set(re.findall(r'href="#([^"]+)"', page)) <= set(ids)
    assert "#010203" not in page and "fill: #000000" not in page
