"""`edge-aac evaluate --task` as a user calls it, with the default bundle and folders of a few short sounds."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge_aac import records
from edge_aac.audio.windows import file_windows
from edge_aac.bundle.manifest import MANIFEST
from edge_aac.bundle.store import ASKED_BUNDLE, DEFAULT_BUNDLE, open_bundle
from edge_aac.errors import ConfigError, DataError, EdgeAacError, InputMissingError, UsageError
from edge_aac.models.contract import Description, WindowModel
from edge_aac.models.opening import open_captioning
from edge_aac.models.seq2seq import window_rng
from quantize.bundles.dual_encoder import write_dual_encoder
from quantize.data.clips import Waveform
from quantize.evaluation.scenes import manifest_quality
from quantize.evaluation.tasks import run
from quantize.files import ATTRIBUTIONS
from tests.edge_aac.models.ensemble_bundles import tiny_member
from tests.quantize import task_folders as folders
from tests.quantize.cli.evaluate_calls import call, complaint

pytest.importorskip("pycocoevalcap.bleu.bleu", reason="needs pip install 'edge-aac[evaluate]'")


@pytest.fixture(autouse=True)
def nothing_exported(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("EDGE_AAC_DATA", "EDGE_AAC_BUNDLE", "EDGE_AAC_OUTLIERS"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(scope="module")
def captioner() -> WindowModel:
    return open_captioning(DEFAULT_BUNDLE)


@pytest.fixture(scope="module")
def labels_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The default bundle as a dual encoder with a prompt of its own."""
    output = tmp_path_factory.mktemp("bundles") / "some-labels"
    return write_dual_encoder(open_bundle(DEFAULT_BUNDLE), output, "some-labels", ["rain", "wind"], "{} falls")


def measured(output: Path, *arguments: object) -> tuple[dict[str, Any], str]:
    """The scores, and what was printed."""
    result = call(*arguments, "--output", output)
    assert result.exit_code == 0, result.exception
    return json.loads((output / "scores.json").read_text(encoding="utf-8")), result.stdout


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def nearest(model: WindowModel, path: Path, texts: Sequence[str]) -> tuple[int, float]:
    """Number of the text whose embedding is nearest to a recording of one window, and the cosine; by hand."""
    (window,) = list(file_windows(path))
    (description,) = model.describe([window], [window_rng(0, window.start)])
    assert isinstance(description, Description)
    sound = description.audio_embedding / np.linalg.norm(description.audio_embedding)
    cosines = model.embed(list(texts)) @ sound
    return int(np.argmax(cosines)), float(cosines.max())


def test_labels_by_the_captioner_s_own_space(captioner: WindowModel, tmp_path: Path) -> None:
    data, output = folders.esc50_folder(tmp_path / "ESC-50"), tmp_path / "report"
    words = ("--task", "classify", "--data", data, "--fold", 1)
    scores, printed = measured(output, *words, "--template", "{}")
    assert scores["schema"] == "edge-aac/scores/1" and scores["task"] == "classify"
    assert scores["measured_on"] == "ESC-50, fold 1" and len(scores["tables"]["esc50.csv"]) == 64
    assert scores["measured_by"] == 'edge-aac evaluate --task classify --fold 1 --template "{}" --seed 0'
    assert scores["own_wordings"] == {}
    assert "audio embeddings" in scores["compared"]["what"]
    table = scores["classification"]
    assert (table["count"], table["labels"], table["commonest_label"]["share"]) == (3, 3, 0.3333)
    rows = rows_of(output / "labels.csv")
    names = ["crackling_fire", "dog", "rain"]
    for row in rows:
        number, cosine = nearest(captioner, data / "audio" / row["file"], ["crackling fire", "dog", "rain"])
        assert row["found"] == names[number] and float(row["score"]) == pytest.approx(cosine, abs=1e-4)
        assert row["right"] == str(int(row["found"] == row["labels"]))
    right = sum(row["right"] == "1" for row in rows)
    assert table["accuracy"] == round(right / 3, 4)
    assert f"zero-shot labels, right one first  {right / 3:.3f}" in " ".join(printed.split()).replace(
        "first ", "first  "
    )
    assert "ESC-50, fold 1" in printed and "audio embeddings" in printed
    page = (output / "report.html").read_text(encoding="utf-8")
    assert "crackling fire" in page and "ESC-50, fold 1." in page and "Template: {}" in page
    assert manifest_quality(scores)["classification"]["count"] == 3
    assert manifest_quality(scores)["measured_on"] == "ESC-50, fold 1"


def test_a_template_changes_the_texts(captioner: WindowModel, tmp_path: Path) -> None:
    data, output = folders.urbansound_folder(tmp_path / "us8k"), tmp_path / "report"
    scores, _ = measured(
        output, "--task", "classify", "--data", data, "--fold", 10, "--template", "This is a sound of {}."
    )
    assert scores["template"] == "This is a sound of {}."
    assert scores["measured_by"].endswith('--fold 10 --template "This is a sound of {}." --seed 0')
    (row,) = rows_of(output / "labels.csv")
    texts = ["this is a sound of air conditioner", "this is a sound of siren"]
    number, cosine = nearest(captioner, data / "audio" / "fold10" / row["file"], texts)
    assert row["found"] == ("air_conditioner", "siren")[number]
    assert float(row["score"]) == pytest.approx(cosine, abs=1e-4)


def test_labels_by_the_text_of_the_caption(captioner: WindowModel, tmp_path: Path) -> None:
    data, output = folders.esc50_folder(tmp_path / "ESC-50"), tmp_path / "report"
    scores, printed = measured(
        output, "--task", "classify", "--data", data, "--fold", 1, "--compare", "caption",
        "--template", "{}",
    )  # fmt: skip
    assert "caption" in scores["compared"]["what"] and "text embedding of the caption" in printed
    for row in rows_of(output / "labels.csv"):
        texts = captioner.embed([row["caption"], "crackling fire", "dog", "rain"])
        cosines = texts[1:] @ texts[0]
        assert row["found"] == ["crackling_fire", "dog", "rain"][int(np.argmax(cosines))]
        assert float(row["score"]) == pytest.approx(float(cosines.max()), abs=1e-4)


def test_several_labels_a_recording(tmp_path: Path) -> None:
    data, output = folders.fsd50k_folder(tmp_path / "fsd"), tmp_path / "report"
    scores, printed = measured(output, "--task", "classify", "--data", data)
    table = scores["classification"]
    assert scores["measured_on"] == "FSD50K, split eval" and table["count"] == 2
    # Thunder is in dev alone: it takes part in the ranking, and has no precision of its own.
    assert table["labels"] == 4 and table["labels_without_recordings"] == 1 and "Thunder" not in table["by_label"]
    by_label = [row["average_precision"] for row in table["by_label"].values()]
    assert table["map"] == pytest.approx(sum(by_label) / 3, abs=1e-3)
    assert "top_label_right" in table and "accuracy" not in table
    assert "mAP" in printed


def test_a_dual_encoder_ranks_the_labels_by_its_own_prompt(
    labels_bundle: Path, captioner: WindowModel, tmp_path: Path
) -> None:
    data, output = folders.esc50_folder(tmp_path / "ESC-50"), tmp_path / "report"
    arguments = ("--task", "classify", "--bundle", labels_bundle, "--data", data, "--fold", 2)
    scores, _ = measured(output, *arguments)
    assert scores["template"] == "{} falls" and scores["bundle"]["name"] == "some-labels"
    assert "candidates" not in scores and "candidates" not in (output / "report.html").read_text(encoding="utf-8")
    (row,) = rows_of(output / "labels.csv")
    _, cosine = nearest(captioner, data / "audio" / row["file"], ["crackling fire falls", "dog falls", "rain falls"])
    assert float(row["score"]) == pytest.approx(cosine, abs=1e-4)
    scores, _ = measured(output, *arguments, "--template", "{}")
    (row,) = rows_of(output / "labels.csv")
    _, cosine = nearest(captioner, data / "audio" / row["file"], ["crackling fire", "dog", "rain"])
    assert scores["template"] == "{}" and float(row["score"]) == pytest.approx(cosine, abs=1e-4)


def test_recordings_and_texts_find_each_other(tmp_path: Path) -> None:
    data, output = folders.clotho_folder(tmp_path / "clotho"), tmp_path / "report"
    result = call("--task", "retrieve", "--data", data, "--output", output)
    assert result.exit_code == 0 and "skipped gone.wav" in result.stderr
    scores = json.loads((output / "scores.json").read_text(encoding="utf-8"))
    assert scores["measured_on"] == "Clotho, split evaluation" and scores["skipped"].keys() == {"gone.wav"}
    by_text, by_sound = scores["text_to_audio"], scores["audio_to_text"]
    assert (by_text["count"], by_text["pool"], by_sound["count"], by_sound["pool"]) == (10, 2, 2, 10)
    assert by_text["r_at_5"] == by_text["r_at_10"] == by_sound["r_at_10"] == 1.0
    rows = rows_of(output / "ranks.csv")
    of_texts = [int(row["rank"]) for row in rows if row["direction"] == "text_to_audio"]
    assert by_text["r_at_1"] == of_texts.count(1) / 10
    # Of one thing that belongs the precision is one by its rank.
    assert by_text["map_at_10"] == pytest.approx(sum(1 / rank for rank in of_texts) / 10, abs=1e-4)
    assert "recordings by a text, mAP@10" in result.stdout
    assert "gone.wav" in (output / "report.html").read_text(encoding="utf-8")


def test_a_text_that_two_recordings_have_finds_either(tmp_path: Path) -> None:
    for number, name in enumerate(("a.wav", "b.wav")):
        folders.write_sound(tmp_path / name, number)
    rows = [("a.wav", "It rains."), ("b.wav", "It rains.")]
    folders.write_table(tmp_path / "captions.csv", ("file", "caption"), rows)
    scores, _ = measured(tmp_path / "report", "--task", "retrieve", "--data", tmp_path)
    assert scores["text_to_audio"] | {"intervals": {}} == {
        "count": 1, "pool": 2, "r_at_1": 1.0, "r_at_5": 1.0, "r_at_10": 1.0, "map_at_10": 1.0, "intervals": {},
    }  # fmt: skip
    assert rows_of(tmp_path / "report" / "ranks.csv")[0]["relevant"] == "2"


def test_captions_that_are_all_alike_find_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two recordings of the same sound: neither comes before the other, so that no query is right by luck."""
    for name in ("a.wav", "b.wav"):
        folders.write_sound(tmp_path / name, 1)
    rows = [("a.wav", "It rains."), ("b.wav", "A dog barks.")]
    folders.write_table(tmp_path / "captions.csv", ("file", "caption"), rows)
    scores, _ = measured(tmp_path / "report", "--task", "retrieve", "--data", tmp_path, "--compare", "caption")
    assert scores["text_to_audio"]["r_at_1"] == 0.0 and scores["text_to_audio"]["map_at_10"] == 0.5


def test_captions_against_references(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))  # no java
    data, output = folders.audiocaps_folder(tmp_path / "audiocaps"), tmp_path / "report"
    scores, printed = measured(output, "--task", "caption", "--data", data)
    assert scores["task"] == "caption" and scores["measured_on"] == "AudioCaps, split test"
    assert scores["caption_metrics"]["references"] == 3 and scores["corpus"]["recordings"] == 2
    assert "cider_d" in printed and "java" in scores["caption_metrics"]["left_out"]["meteor"]
    assert [row["file"] for row in rows_of(output / "captions.csv")] == ["aaaaaaaaaaa_30", "bbbbbbbbbbb_0"]


def test_a_dual_encoder_s_nearest_label_is_its_caption(labels_bundle: Path, tmp_path: Path) -> None:
    data, output = folders.audiocaps_folder(tmp_path / "audiocaps"), tmp_path / "report"
    measured(output, "--task", "caption", "--bundle", labels_bundle, "--data", data)
    assert {row["caption"] for row in rows_of(output / "captions.csv")} <= {"rain falls", "wind falls"}


def test_a_bundle_that_hears_sound_captions_it(tmp_path: Path) -> None:
    data, output = folders.audiocaps_folder(tmp_path / "audiocaps"), tmp_path / "report"
    scores, _ = measured(output, "--task", "caption", "--bundle", ASKED_BUNDLE, "--data", data)
    assert scores["corpus"]["recordings"] == 2 and all(row["caption"] for row in rows_of(output / "captions.csv"))


class _Answering:
    """A model that answers questions; what a bundle of the kind "prompted" is to a task."""

    identity = records.Model(bundle="answers", version="1", backend="onnxruntime", precision="fp32")

    def answer_question(self, waveform: Waveform, question: str) -> str:
        assert waveform.shape == (folders.RATE,) and waveform.dtype == np.float32
        return {"Is it raining?": "Yes.", "How many dogs bark?": "3", "What is heard?": "The dog"}[question]


def test_answers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run, "open_named", lambda *arguments: _Answering())
    data, output = folders.clotho_aqa_folder(tmp_path / "aqa"), tmp_path / "report"
    scores, printed = measured(output, "--task", "aqa", "--data", data)
    table = scores["question_answering"]
    assert scores["measured_on"] == "ClothoAQA, split test"
    assert (table["count"], table["accuracy"]) == (3, 0.6667)
    assert {kind: row["accuracy"] for kind, row in table["by_kind"].items()} == {
        "yes or no": 1.0,
        "how many": 0.0,
        "what": 1.0,
    }
    assert table["majority_answers_by_kind"] == 1.0 and table["unanimous"] == {"count": 1, "accuracy": 0.0}
    assert "how many: 0.000 of 1; always 'two': 1.000" in printed
    rows = rows_of(output / "answers.csv")
    assert [(row["truth"], row["answer"], row["right"]) for row in rows] == [
        ("yes", "Yes.", "1"),
        ("two", "3", "0"),
        ("dog", "The dog", "1"),
    ]
    assert "How many dogs bark?" in (output / "report.html").read_text(encoding="utf-8")


@pytest.mark.parametrize("kind", ["seq2seq", "dual_encoder"])
def test_a_bundle_that_answers_no_questions_is_refused(kind: str, labels_bundle: Path, tmp_path: Path) -> None:
    data = folders.clotho_aqa_folder(tmp_path)
    bundle = DEFAULT_BUNDLE if kind == "seq2seq" else labels_bundle
    error = complaint("--task", "aqa", "--bundle", bundle, "--data", data)
    assert isinstance(error, UsageError) and f"of the kind '{kind}', which answers no questions" in str(error)


def test_a_damaged_recording_is_skipped_and_told(tmp_path: Path) -> None:
    data = folders.esc50_folder(tmp_path / "ESC-50")
    (data / "audio" / "1-101-A-1.wav").write_bytes(b"no sound")
    scores, printed = measured(tmp_path / "report", "--task", "classify", "--data", data, "--fold", 1)
    assert scores["skipped"].keys() == {"1-101-A-1.wav"} and scores["classification"]["count"] == 2
    assert "1 recordings skipped" in printed
    for path in (data / "audio").glob("1-*.wav"):
        path.write_bytes(b"no sound")
    error = complaint("--task", "classify", "--data", data, "--fold", 1)
    assert isinstance(error, DataError) and "none of 3 recordings could be used" in str(error)


def test_a_bundle_trained_on_the_part_is_refused(tmp_path: Path) -> None:
    """The built-in bundle knows ESC-10's recordings by other names than ESC-50 has."""
    data, bundle = folders.esc50_folder(tmp_path / "ESC-50"), tmp_path / "bundle"
    shutil.copytree(open_bundle(DEFAULT_BUNDLE).folder, bundle)
    (bundle / ATTRIBUTIONS).write_text("file,label\nrain/2-103-A.flac,rain\n", encoding="utf-8")
    error = complaint("--task", "classify", "--bundle", bundle, "--data", data)
    assert isinstance(error, UsageError) and "was trained on 1 recordings of ESC-50, all folds" in str(error)
    assert call("--task", "classify", "--bundle", bundle, "--data", data, "--fold", 1).exit_code == 0


def test_recordings_of_one_name_in_two_folds_are_two(tmp_path: Path) -> None:
    data, bundle = tmp_path / "own", tmp_path / "bundle"
    rows = [("night/storm.wav", "rain", 1), ("day/storm.wav", "rain", 2)]
    for number, (name, *_) in enumerate(rows):
        folders.write_sound(data / name, number)
    folders.write_table(data / "clips.csv", ("file", "label", "fold"), rows)
    shutil.copytree(open_bundle(DEFAULT_BUNDLE).folder, bundle)
    (bundle / ATTRIBUTIONS).write_text("file,label\nnight/storm.wav,rain\n", encoding="utf-8")
    arguments = ("--task", "classify", "--bundle", bundle, "--data", data, "--fold")
    assert call(*arguments, 2).exit_code == 0
    error = complaint(*arguments, 1)
    assert isinstance(error, UsageError) and "was trained on 1 recordings" in str(error)


def test_a_bundle_without_a_common_space_compares_its_captions(tmp_path: Path) -> None:
    data, bundle = folders.esc50_folder(tmp_path / "ESC-50"), tmp_path / "bundle"
    tiny_member(bundle, seed=3, rerank={"similarity": 0.0}, decoding={"candidates": 1})
    assert json.loads((bundle / MANIFEST).read_text(encoding="utf-8"))["rerank"]["similarity"] == 0.0
    result = call("--task", "classify", "--bundle", bundle, "--data", data, "--fold", 1)
    assert result.exit_code == 0 and "text embedding of the caption" in result.stdout
    assert "does not say what it was trained on" in result.stderr
    error = complaint("--task", "classify", "--bundle", bundle, "--data", data, "--compare", "audio")
    assert isinstance(error, UsageError) and "does not compare sounds with texts" in str(error)


@pytest.mark.parametrize(
    ("arguments", "kind", "words"),
    [
        (("--task", "classify"), UsageError, "give one --data"),
        (("--task", "classify", "--data", "x", "--data", "y"), UsageError, "give one --data"),
        (("--task", "classify", "--data", "nowhere"), InputMissingError, "no folder nowhere"),
        (("--task", "classify", "--data", "x", "--manifest", "y"), UsageError, "--manifest does not go with --task"),
        (("--task", "retrieve", "--data", "x", "--template", "{}"), UsageError, "--template does not go with"),
        (("--task", "caption", "--data", "x", "--compare", "audio"), UsageError, "--compare does not go with"),
        (("--task", "aqa", "--data", "x", "--format", "clotho"), UsageError, "--format does not go with --task aqa"),
        (("--task", "classify", "--data", "x", "--template", "sound"), UsageError, "does not hold {} once"),
        (("--task", "retrieve", "--data", "x", "--sounds"), UsageError, "--sounds does not go with"),
        (("--data", "x", "--sounds"), UsageError, "--sounds goes with --task"),
        (("--data", "x", "--split", "test"), UsageError, "--split goes with --task"),
        (("--data", "x", "--compare", "audio"), UsageError, "--compare goes with --task"),
    ],
)
def test_what_makes_no_sense_is_refused(
    arguments: tuple[str, ...], kind: type[EdgeAacError], words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    error = complaint(*arguments)
    assert isinstance(error, kind) and words in str(error)


def test_labels_that_cannot_be_told_apart_are_refused(labels_bundle: Path, tmp_path: Path) -> None:
    for number, name in enumerate(("a.wav", "b.wav")):
        folders.write_sound(tmp_path / name, number)
    rows = [("a.wav", "heavy_rain", 1), ("b.wav", "heavy rain", 1)]
    folders.write_table(tmp_path / "clips.csv", ("file", "label", "fold"), rows)
    error = complaint("--task", "classify", "--data", tmp_path)
    assert isinstance(error, DataError) and "has the same words as another" in str(error)
    error = complaint("--task", "classify", "--bundle", labels_bundle, "--data", tmp_path)
    assert isinstance(error, DataError) and "has the same words as another" in str(error)
    error = complaint("--task", "classify", "--bundle", labels_bundle, "--data", tmp_path, "--candidates", 2)
    assert isinstance(error, ConfigError) and "candidates means nothing" in str(error)
