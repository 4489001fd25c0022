"""`edge-aac evaluate` as a user calls it: recordings and a bundle in, scores and a report out."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from edge_aac.audio.windows import Window
from edge_aac.errors import DataError, InputMissingError, UsageError
from edge_aac.models.contract import Description
from edge_aac.models.seq2seq import Captioner
from quantize.data.clips import load_clips
from quantize.evaluation import windows
from quantize.evaluation.scenes import manifest_quality
from tests.quantize.cli.evaluate_calls import call, complaint
from tests.quantize.cli.ten_sound_bundles import PARAMETERS, trained_elsewhere

pytest.importorskip("matplotlib", reason="reports need pip install 'edge-aac[evaluate]'")
pytest.importorskip("pycocoevalcap.bleu.bleu", reason="caption metrics need pip install 'edge-aac[evaluate]'")


@pytest.fixture(autouse=True)
def few_windows_and_no_java(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(windows, "NOISE_WINDOWS", 2)
    monkeypatch.setattr(windows, "SILENT_WINDOWS", 1)
    monkeypatch.setenv("PATH", str(tmp_path))
    for name in ("EDGE_AAC_DATA", "EDGE_AAC_BUNDLE"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(scope="module")
def without_rain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle that says that it was never trained on rain nor on any recording made here."""
    return trained_elsewhere(tmp_path_factory.mktemp("bundles") / "without-rain")


def test_scenes_of_a_fold(recordings: Path, without_rain: Path, tmp_path: Path) -> None:
    output = tmp_path / "report"
    result = call(
        "--bundle", without_rain, "--data", recordings, "--fold", 2, "--scenes", 2, "--absent", "rain",
        "--candidates", 3, "--output", output,
    )  # fmt: skip
    scores = json.loads((output / "scores.json").read_text(encoding="utf-8"))
    assert scores["schema"] == "edge-aac/scores/1"
    assert scores["bundle"]["name"] == "without-rain"
    assert len(scores["bundle"]["manifest_sha256"]) == 64
    assert scores["candidates"] == 3
    assert scores["measured_by"].endswith("--fold 2 --scenes 2 --seed 0 --absent rain --candidates 3")
    # Two clips of each of the two classes that it knows; rain of both folds, for it heard none.
    assert scores["single_clips"]["count"] == 4
    assert scores["single_clips"]["by_class"].keys() == {"dog_bark", "clock_tick"}
    assert scores["absent_windows"]["count"] == 4
    assert scores["absent_windows"]["of_held_out_fold"]["count"] == 2
    assert scores["caption_metrics"]["references"] == 10
    assert "java" in scores["caption_metrics"]["left_out"]["meteor"]
    assert manifest_quality(scores)["absent_windows"]["classes"] == ["rain"]
    with (output / "captions.csv").open(newline="", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    assert [row["kind"] for row in rows] == ["single"] * 4 + ["scene"] * 2 + ["noise"] * 2 + ["silence"] + [
        "absent"
    ] * 4
    assert all("rain" not in row["truth"] for row in rows if row["kind"] in {"single", "scene"})
    assert "two-sound scenes, event F1" in result.stdout
    assert "<svg" in (output / "report.html").read_text(encoding="utf-8")


def test_an_ensemble_is_measured_as_one(recordings: Path, without_rain: Path, tmp_path: Path) -> None:
    """Of the bundle with itself: the same scores; each of its members is named, and must not have heard the fold."""
    arguments = ("--data", recordings, "--fold", 2, "--scenes", 1, "--absent", "rain")
    tables = []
    for number, chosen in enumerate((("--bundle", without_rain), ("--bundle", f"{without_rain},{without_rain}"))):
        output = tmp_path / str(number)
        weights = ("--weights", "3,1", "--min-familiarity", "-90") if number else ("--min-familiarity", "-90")
        result = call(*chosen, *weights, *arguments, "--output", output)
        assert result.exit_code == 0
        tables.append(json.loads((output / "scores.json").read_text(encoding="utf-8")))
    alone, both = tables
    assert both["measured_by"] == alone["measured_by"].replace(
        " --min-familiarity -90", " --weights 0.75,0.25 --min-familiarity -90"
    )
    for group in ("single_clips", "two_sound_scenes", "absent_windows", "precision", "candidates"):
        assert both[group] == alone[group]
    assert both["bundle"]["name"] == "without-rain,without-rain"
    assert both["bundle"]["graph_bytes"] == 2 * alone["bundle"]["graph_bytes"]
    assert alone["bundle"]["parameters"] == PARAMETERS
    assert both["bundle"]["parameters"] == {name: 2 * count for name, count in PARAMETERS.items()}
    assert both["ensemble"] == [{**alone["bundle"], "share": 0.75}, {**alone["bundle"], "share": 0.25}]
    assert "without-rain,without-rain" in (tmp_path / "1" / "report.html").read_text(encoding="utf-8")


def test_every_bundle_of_an_ensemble_must_not_have_heard_the_fold(
    recordings: Path, without_rain: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "heard"
    shutil.copytree(without_rain, folder)
    path = load_clips(recordings, (2,))[0].path
    (folder / "ATTRIBUTIONS.csv").write_text(f"file,label\n{path},dog_bark\n", encoding="utf-8")
    for names in (f"{folder},{without_rain}", f"{without_rain},{folder}"):
        error = complaint("--bundle", names, "--data", recordings, "--fold", 2)
        assert isinstance(error, UsageError) and "trained on 1 recordings of fold 2" in str(error)


@pytest.mark.parametrize("weights", ["1,x", "1,-1", "", "1;2"])
def test_weights_that_are_none(recordings: Path, without_rain: Path, weights: str) -> None:
    error = complaint("--bundle", f"{without_rain},{without_rain}", "--weights", weights, "--data", recordings)
    assert isinstance(error, UsageError) and "give numbers above 0" in str(error)


def test_recordings_with_captions(recordings: Path, without_rain: Path, tmp_path: Path) -> None:
    """Each in its windows of 10 s; those that cannot be used are told of."""
    audio, output = tmp_path / "audio", tmp_path / "report"
    shutil.copytree(recordings, audio)
    (audio / "broken.flac").write_bytes(b"not sound")
    manifest = tmp_path / "captions.csv"
    rows = [
        "1-0-rain.flac,Rain falls.",
        "1-0-rain.flac,It is raining.",
        "broken.flac,x",
        "gone.wav,x",
        "1-1-rain.flac,",
    ]
    manifest.write_text("\n".join(["file,caption", *rows]), encoding="utf-8")
    result = call("--bundle", without_rain, "--manifest", manifest, "--audio", audio, "--output", output)
    scores = json.loads((output / "scores.json").read_text(encoding="utf-8"))
    assert scores["corpus"]["recordings"] == 1
    assert scores["corpus"]["skipped"].keys() == {"broken.flac", "gone.wav", "1-1-rain.flac"}
    assert scores["caption_metrics"]["references"] == 2
    assert "1 recordings, 3 skipped" in result.stdout
    page = (output / "report.html").read_text(encoding="utf-8")
    assert "it is raining" in page and "gone.wav" in page


def test_the_captioner_gets_how_much_of_a_window_is_sound(
    recordings: Path, without_rain: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As `edge-aac caption` tells it; some bundles do not attend to the rest."""
    samples: list[int] = []
    describe = Captioner.describe

    def listen(self: Captioner, windows: Sequence[Window], *given: Any) -> list[Description | DataError]:
        samples.extend(window.samples for window in windows)
        return describe(self, windows, *given)

    monkeypatch.setattr(Captioner, "describe", listen)
    call("--bundle", without_rain, "--data", recordings, "--fold", 2, "--scenes", 2, "--absent", "rain")
    lengths = {
        absent: [len(clip.waveform) for clip in load_clips(recordings, folds) if (clip.label == "rain") == absent]
        for absent, folds in ((False, (2,)), (True, (1, 2)))
    }
    assert max(lengths[False]) <= 80_000
    # Between them are two scenes, two windows of noise and one of silence.
    assert samples == [*lengths[False], *[160_000] * 5, *lengths[True]]


def test_a_manifest_that_is_named_goes_before_an_exported_folder(
    recordings: Path, without_rain: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    manifest = tmp_path / "captions.csv"
    manifest.write_text("file,caption\n1-0-rain.flac,Rain falls.\n", encoding="utf-8")
    monkeypatch.setenv("EDGE_AAC_DATA", str(recordings))
    result = call("--bundle", without_rain, "--manifest", manifest, "--audio", recordings)
    assert result.exit_code == 0 and "1 recordings, 0 skipped" in result.stdout
    assert "either --data" in str(complaint("--data", recordings, "--manifest", manifest))


def test_a_bundle_trained_on_the_fold_is_refused(recordings: Path, without_rain: Path, tmp_path: Path) -> None:
    folder = tmp_path / "bundle"
    shutil.copytree(without_rain, folder)
    (folder / "ATTRIBUTIONS.csv").write_text("file,label\n2-0-rain.flac,rain\n", encoding="utf-8")
    error = complaint("--bundle", folder, "--data", recordings, "--fold", 2)
    assert isinstance(error, UsageError) and "1 recordings of fold 2" in str(error)


def test_a_list_of_recordings_without_its_columns_is_refused(
    recordings: Path, without_rain: Path, tmp_path: Path
) -> None:
    """Read as nothing, it would let a bundle be measured on what it was trained on."""
    folder = tmp_path / "bundle"
    shutil.copytree(without_rain, folder)
    (folder / "ATTRIBUTIONS.csv").write_text("name\n2-0-rain.flac\n", encoding="utf-8")
    error = complaint("--bundle", folder, "--data", recordings, "--fold", 2)
    assert isinstance(error, DataError) and "needs file, label" in str(error) and "export" in str(error)


@pytest.mark.parametrize(("label", "words"), [("dog_bark", "trained on dog_bark"), ("piano", "no class 'piano'")])
def test_a_class_that_is_not_absent_is_refused(recordings: Path, without_rain: Path, label: str, words: str) -> None:
    error = complaint("--bundle", without_rain, "--data", recordings, "--fold", 2, "--absent", label)
    assert isinstance(error, UsageError) and words in str(error)


def test_an_absent_class_needs_recordings(recordings: Path, without_rain: Path) -> None:
    error = complaint("--bundle", without_rain, "--data", recordings, "--fold", 2, "--absent", "rooster")
    assert "no recording of rooster" in str(error)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), "either --data"),
        (("--data", "x", "--manifest", "y"), "either --data"),
        (("--manifest", "y"), "give --audio"),
        (("--manifest", "y", "--audio", "z", "--absent", "rain"), "--absent goes with --data"),
    ],
)
def test_what_makes_no_sense_is_refused(arguments: tuple[str, ...], words: str) -> None:
    error = complaint(*arguments)
    assert isinstance(error, UsageError) and words in str(error)


def test_output_is_checked_before_anything_is_measured(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("")
    error = complaint("--data", tmp_path / "nowhere", "--output", file)
    assert isinstance(error, InputMissingError) and "--output" in str(error)
