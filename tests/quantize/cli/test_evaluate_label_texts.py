"""What stands for the labels in `edge-aac evaluate --task classify`: wordings of listed sounds, templates, sounds."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edge_aac.audio.windows import file_windows
from edge_aac.bundle.store import DEFAULT_BUNDLE, open_bundle
from edge_aac.errors import UsageError
from edge_aac.models.contract import Description
from edge_aac.models.opening import open_captioning
from edge_aac.models.seq2seq import window_rng
from edge_aac.models.sound_table import sounds_of
from edge_aac.models.sound_wordings import SoundWordings
from tests.edge_aac.models.clip_bundles import write_clip_bundle
from tests.quantize import task_folders as folders
from tests.quantize.cli.evaluate_calls import call
from tests.quantize.cli.test_evaluate_task_verb import measured, nothing_exported, rows_of

__all__ = ["nothing_exported"]


def test_labels_that_are_listed_sounds_are_said_in_their_wordings(tmp_path: Path) -> None:
    data, output = folders.esc50_folder(tmp_path / "ESC-50"), tmp_path / "report"
    scores, printed = measured(output, "--task", "classify", "--data", data, "--fold", 1)
    # "crackling fire" is no wording of the fire that crackles.
    assert scores["own_wordings"] == {"dog": "dog", "rain": "rain"}
    assert "2 labels are said in all of the bundle's wordings" in printed
    assert "2 labels are said in all" in (output / "report.html").read_text(encoding="utf-8")
    captioner = open_captioning(DEFAULT_BUNDLE)
    names = sounds_of(open_bundle(DEFAULT_BUNDLE))
    assert names is not None
    said = [["crackling fire"], *(SoundWordings(names).of(sound) for sound in ("dog", "rain"))]
    means = np.stack([captioner.embed(list(texts)).mean(axis=0) for texts in said])
    means /= np.linalg.norm(means, axis=1, keepdims=True)
    for row in rows_of(output / "labels.csv"):
        (window,) = list(file_windows(data / "audio" / row["file"]))
        (description,) = captioner.describe([window], [window_rng(0, window.start)])
        assert isinstance(description, Description)
        cosines = means @ (description.audio_embedding / np.linalg.norm(description.audio_embedding))
        assert row["found"] == ["crackling_fire", "dog", "rain"][int(np.argmax(cosines))]
        assert float(row["score"]) == pytest.approx(float(cosines.max()), abs=1e-4)


def test_several_templates_and_the_sounds_that_labels_mean(tmp_path: Path) -> None:
    data, output = folders.esc50_folder(tmp_path / "ESC-50"), tmp_path / "report"
    table = data / "meta" / "esc50.csv"
    text = table.read_text(encoding="utf-8").replace("crackling_fire", "speech_of_nobody").replace("dog", "dog_bark")
    table.write_text(text, encoding="utf-8")
    templates = ("--template", "the sound of {}", "--template", "{} is heard")
    words = ("--task", "classify", "--data", data, "--fold", 1, "--sounds")
    scores, printed = measured(output, *words, *templates)
    assert scores["templates"] == ["the sound of {}", "{} is heard"] and scores["template"] == "the sound of {}"
    assert '--template "the sound of {}" --template "{} is heard" --sounds' in scores["measured_by"]
    table_of = scores["classification"]
    assert (table_of["count"], table_of["labels"]) == (2, 2) and set(table_of["by_label"]) == {"dog_bark", "rain"}
    assert list(scores["no_sound"].values()) == ["speech_of_nobody"] and "1 recordings have labels" in printed
    assert table_of["right_or_coarser"] >= table_of["accuracy"] and "right_or_coarser" in table_of["intervals"]
    assert "right one or a coarser one first" in printed
    words = (*words[:-1], "--listed-sounds")
    scores, _ = measured(output, *words)
    assert scores["classification"]["labels"] == 269 and scores["classification"]["count"] == 2
    assert len(scores["own_wordings"]) == 269 and "--listed-sounds" in scores["measured_by"]


def test_a_bundle_without_a_list_has_no_listed_sounds(tmp_path: Path) -> None:
    clap = write_clip_bundle(tmp_path / "tiny-clap")
    data = folders.esc50_folder(tmp_path / "ESC-50")
    error = call("--task", "classify", "--bundle", clap, "--data", data, "--listed-sounds").exception
    assert isinstance(error, UsageError) and "lists no sounds: give --sounds" in str(error)
