"""Published sets, told apart by what lies in their folders."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from edge_aac.errors import DataError, EdgeAacError, InputMissingError, UsageError
from quantize.data.task_sets.contract import ChosenPart
from quantize.data.task_sets.finding import captioned_set, labelled_set, question_set
from tests.quantize import task_folders as folders

Make = Callable[[Path], Path]


@pytest.mark.parametrize(
    ("make", "part", "about", "found", "labels"),
    [
        (
            folders.esc50_folder,
            ChosenPart(fold=1),
            ("ESC-50", "fold 1"),
            {"1-100-A-0.wav": ("rain",), "1-101-A-1.wav": ("dog",), "1-102-A-2.wav": ("crackling_fire",)},
            ("crackling_fire", "dog", "rain"),
        ),
        (
            folders.urbansound_folder,
            ChosenPart(fold=10),
            ("UrbanSound8K", "fold 10"),
            {"201-1-0-0.wav": ("air_conditioner",)},
            ("air_conditioner", "siren"),
        ),
        (
            folders.fsd50k_folder,
            ChosenPart(),
            ("FSD50K", "split eval"),
            {"21.wav": ("Bark", "Dog"), "22.wav": ("Rain",)},
            ("Bark", "Dog", "Rain", "Thunder"),
        ),
        (
            folders.fsd50k_folder,
            ChosenPart(split="val"),
            ("FSD50K", "split val"),
            {"13.wav": ("Rain", "Thunder")},
            ("Bark", "Dog", "Rain", "Thunder"),
        ),
    ],
)
def test_labelled_sets(
    make: Make,
    part: ChosenPart,
    about: tuple[str, str],
    found: dict[str, tuple[str, ...]],
    labels: tuple[str, ...],
    tmp_path: Path,
) -> None:
    labelled = labelled_set(make(tmp_path), part)
    assert (labelled.about.name, labelled.about.part) == about
    assert {each.recording.name: each.labels for each in labelled.recordings} == found
    assert all(each.recording.path.is_file() for each in labelled.recordings)
    # Of the whole set: also those that the part has no recording of.
    assert labelled.labels == labels
    assert labelled.multi_label == (about[0] == "FSD50K")


def test_all_folds_are_taken_where_none_is_asked_for(tmp_path: Path) -> None:
    labelled = labelled_set(folders.esc50_folder(tmp_path), ChosenPart())
    assert labelled.about.part == "all folds" and len(labelled.recordings) == 4
    assert len(labelled_set(tmp_path, ChosenPart(fold=2)).recordings) == 1


def test_the_dev_section_of_fsd50k_is_its_train_and_its_val(tmp_path: Path) -> None:
    folders.fsd50k_folder(tmp_path)
    sizes = {
        split: len(labelled_set(tmp_path, ChosenPart(split=split)).recordings) for split in ("dev", "train", "val")
    }
    assert sizes == {"dev": 3, "train": 2, "val": 1}


def test_recordings_of_esc50_are_known_by_their_names_in_esc10(tmp_path: Path) -> None:
    """Lists of training recordings have them without the number of the class."""
    recording = labelled_set(folders.esc50_folder(tmp_path), ChosenPart(fold=2)).recordings[0].recording
    assert recording.stems == {"2-103-A-0", "2-103-A"}


def test_clips_as_they_are_trained_on(recordings: Path) -> None:
    labelled = labelled_set(recordings, ChosenPart(fold=2))
    assert labelled.labels == ("clock_tick", "dog_bark", "rain") and len(labelled.recordings) == 6


def test_clotho(tmp_path: Path) -> None:
    captioned = captioned_set(folders.clotho_folder(tmp_path), ChosenPart())
    assert (captioned.about.name, captioned.about.part) == ("Clotho", "split evaluation")
    assert {clip.name: len(clip.captions) for clip in captioned.manifest.clips} == {
        "Rain on a roof.wav": 5,
        "dog.wav": 5,
    }
    assert [clip.name for clip in captioned.manifest.broken] == ["gone.wav"]
    other = captioned_set(tmp_path, ChosenPart(split="development"))
    assert [clip.name for clip in other.manifest.clips] == ["fire.wav"]


def test_clotho_as_its_archives_unpack(tmp_path: Path) -> None:
    folders.clotho_folder(tmp_path)
    (tmp_path / "clotho_csv_files").mkdir()
    (tmp_path / "clotho_audio_files").mkdir()
    for table in tmp_path.glob("*.csv"):
        table.rename(tmp_path / "clotho_csv_files" / table.name)
    (tmp_path / "evaluation").rename(tmp_path / "clotho_audio_files" / "evaluation")
    assert len(captioned_set(tmp_path, ChosenPart()).manifest.clips) == 2


def test_audiocaps(tmp_path: Path) -> None:
    captioned = captioned_set(folders.audiocaps_folder(tmp_path), ChosenPart())
    assert (captioned.about.name, captioned.about.part) == ("AudioCaps", "split test")
    assert [clip.captions for clip in captioned.manifest.clips] == [("rain falls", "it rains"), ("a dog barks",)]


def test_captions_of_ones_own(tmp_path: Path) -> None:
    for number, name in enumerate(("a.wav", "b.wav")):
        folders.write_sound(tmp_path / name, number)
    rows = [("a.wav", "Rain falls.", "train"), ("b.wav", "A dog barks.", "test")]
    folders.write_table(tmp_path / "captions.csv", ("file", "caption", "split"), rows)
    assert len(captioned_set(tmp_path, ChosenPart()).manifest.clips) == 2
    assert [clip.name for clip in captioned_set(tmp_path, ChosenPart(split="test")).manifest.clips] == ["b.wav"]
    with pytest.raises(UsageError, match="no split 'val'.*of test, train"):
        captioned_set(tmp_path, ChosenPart(split="val"))


def test_clotho_aqa(tmp_path: Path) -> None:
    asked = question_set(folders.clotho_aqa_folder(tmp_path), ChosenPart())
    assert (asked.about.name, asked.about.part) == ("ClothoAQA", "split test")
    assert [(question.recording.name, question.text, len(question.answers)) for question in asked.questions] == [
        ("a.wav", "Is it raining?", 3),
        ("a.wav", "How many dogs bark?", 3),
        ("b.wav", "What is heard?", 3),
    ]


def test_questions_of_ones_own(tmp_path: Path) -> None:
    folders.write_sound(tmp_path / "a.wav", 1)
    rows = [("a.wav", "is there rain?", "yes", "presence", "test"), ("a.wav", "how often?", "twice", "count", "train")]
    folders.write_table(tmp_path / "questions.csv", ("file", "question", "answer", "kind", "split"), rows)
    assert [question.kind for question in question_set(tmp_path, ChosenPart()).questions] == ["presence", "count"]
    assert len(question_set(tmp_path, ChosenPart(split="test")).questions) == 1
    with pytest.raises(UsageError, match="no split 'val'.*of test, train"):
        question_set(tmp_path, ChosenPart(split="val"))


def test_a_folder_of_two_sets_serves_both_tasks(tmp_path: Path) -> None:
    """ClothoAQA's recordings are Clotho's."""
    folders.clotho_folder(folders.clotho_aqa_folder(tmp_path))
    assert captioned_set(tmp_path, ChosenPart()).about.name == "Clotho"
    assert question_set(tmp_path, ChosenPart()).about.name == "ClothoAQA"


def _without_column(table: Path, column: str) -> None:
    text = table.read_text(encoding="utf-8")
    assert column in text.splitlines()[0]
    table.write_text(text.replace(column, "other", 1), encoding="utf-8")


@pytest.mark.parametrize(
    ("load", "make", "table", "column"),
    [
        (labelled_set, folders.esc50_folder, "meta/esc50.csv", "category"),
        (labelled_set, folders.urbansound_folder, "metadata/UrbanSound8K.csv", "slice_file_name"),
        (labelled_set, folders.fsd50k_folder, "FSD50K.ground_truth/eval.csv", "labels"),
        (captioned_set, folders.clotho_folder, "clotho_captions_evaluation.csv", "caption_4"),
        (captioned_set, folders.audiocaps_folder, "test.csv", "youtube_id"),
        (question_set, folders.clotho_aqa_folder, "clotho_aqa_test.csv", "QuestionText"),
    ],
)
def test_a_column_that_is_missing_is_named(load: Any, make: Make, table: str, column: str, tmp_path: Path) -> None:
    _without_column(make(tmp_path) / table, column)
    with pytest.raises(DataError, match=f"no column '{column}'") as refused:
        load(tmp_path, ChosenPart())
    assert len(str(refused.value).splitlines()) == 1


@pytest.mark.parametrize(
    ("load", "make", "file"),
    [
        (labelled_set, folders.esc50_folder, "audio/1-101-A-1.wav"),
        (labelled_set, folders.urbansound_folder, "audio/fold1/200-0-0-0.wav"),
        (labelled_set, folders.fsd50k_folder, "FSD50K.eval_audio/22.wav"),
        (question_set, folders.clotho_aqa_folder, "audio_files/b.wav"),
    ],
)
def test_a_recording_that_is_missing_is_named(load: Any, make: Make, file: str, tmp_path: Path) -> None:
    (make(tmp_path) / file).unlink()
    with pytest.raises(InputMissingError, match=f"1 recording of .* cannot be found, .*{Path(file).name}"):
        load(tmp_path, ChosenPart())


@pytest.mark.parametrize(
    ("load", "make", "part", "words"),
    [
        (labelled_set, folders.esc50_folder, ChosenPart(fold=3), "no fold 3: choose one with --fold, of 1, 2"),
        (labelled_set, folders.esc50_folder, ChosenPart(split="test"), "has folds, no splits"),
        (labelled_set, folders.fsd50k_folder, ChosenPart(fold=1), "has splits, no folds"),
        (labelled_set, folders.fsd50k_folder, ChosenPart(split="test"), "no split 'test'.*of dev, eval, train, val"),
        (captioned_set, folders.clotho_folder, ChosenPart(split="validation"), "no split 'validation'"),
        (captioned_set, folders.audiocaps_folder, ChosenPart(split="val"), "no split 'val'"),
        (question_set, folders.clotho_aqa_folder, ChosenPart(split="train"), "no split 'train'"),
    ],
)
def test_a_part_that_is_missing_is_refused(load: Any, make: Make, part: ChosenPart, words: str, tmp_path: Path) -> None:
    make(tmp_path)
    with pytest.raises(UsageError, match=words):
        load(tmp_path, part)


def test_a_split_without_a_recording_is_refused(tmp_path: Path) -> None:
    table = folders.fsd50k_folder(tmp_path) / "FSD50K.ground_truth" / "dev.csv"
    table.write_text(table.read_text(encoding="utf-8").replace(",val", ",train"), encoding="utf-8")
    with pytest.raises(DataError, match="no recording of the split 'val'"):
        labelled_set(tmp_path, ChosenPart(split="val"))


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ([("a.wav", "x", 0, "rain", "", 1, "A")], "line 2 has the fold 'x'"),
        ([("a.wav", 1, 0, " ", "", 1, "A")], "line 2 has no category"),
        ([], "lists no recording with a label"),
    ],
)
def test_rows_that_say_nothing_are_refused(rows: list[tuple[object, ...]], words: str, tmp_path: Path) -> None:
    folders.write_table(tmp_path / "meta" / "esc50.csv", folders.ESC50_HEADS, rows)
    with pytest.raises(DataError, match=words):
        labelled_set(tmp_path, ChosenPart())


def test_a_question_without_an_answer_is_refused(tmp_path: Path) -> None:
    folders.write_table(tmp_path / "questions.csv", ("file", "question", "answer"), [("a.wav", "what?", "")])
    with pytest.raises(DataError, match="line 2 lacks"):
        question_set(tmp_path, ChosenPart())


def test_a_folder_that_holds_something_else_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputMissingError, match="no folder"):
        labelled_set(tmp_path / "nowhere", ChosenPart())
    with pytest.raises(UsageError, match=r"no set with labels that is known.*ESC-50 \(meta/esc50.csv\)"):
        labelled_set(tmp_path, ChosenPart())
    # A test.csv of something else is no AudioCaps.
    folders.write_table(tmp_path / "test.csv", ("file", "text"), [("a", "b")])
    with pytest.raises(UsageError, match="no set with captions that is known"):
        captioned_set(tmp_path, ChosenPart())
    folders.clotho_folder(tmp_path)
    with pytest.raises(UsageError, match=r"holds Clotho .*, which has no labels: the task needs one of ESC-50"):
        labelled_set(tmp_path, ChosenPart())
    shutil.rmtree(tmp_path / "evaluation")
    with pytest.raises(InputMissingError, match="no folder of Clotho's evaluation recordings"):
        captioned_set(tmp_path, ChosenPart())
    with pytest.raises(EdgeAacError, match="holds Clotho"):
        question_set(tmp_path, ChosenPart())
