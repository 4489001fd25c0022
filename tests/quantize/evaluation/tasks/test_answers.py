"""Answers to questions against those of people."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge_aac.errors import DataError
from quantize.data.clips import Waveform
from quantize.data.task_sets.contract import Question, TaskRecording
from quantize.evaluation.tasks.answer import (
    answer_questions,
    is_right,
    kind_of,
    plain_answer,
    question_answering,
    truths_of,
)
from quantize.evaluation.tasks.answerers import Answer, AnsweringModel, WaveformAnswerer
from tests.quantize import task_folders as folders

A, B = (TaskRecording(name, Path(name)) for name in ("a.wav", "b.wav"))


class _Says:
    """Answers by the question, and remembers what it heard."""

    def __init__(self, answers: dict[str, str], damaged: dict[str, Exception] | None = None) -> None:
        self.answers, self.damaged = answers, damaged or {}
        self.heard: list[str] = []

    def hear(self, path: Path) -> Answer:
        self.heard.append(path.name)
        if path.name in self.damaged:
            raise self.damaged[path.name]
        return self.answers.__getitem__


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("Yes.", "yes"),
        ("The Dog!", "dog"),
        ("a", "a"),
        ("2", "two"),
        ("12 birds", "twelve birds"),
        ("13", "13"),
        ("²", "²"),
        ("", ""),
    ],
)
def test_plain_answers(text: str, plain: str) -> None:
    assert plain_answer(text) == plain


def test_the_truth_is_what_most_people_say() -> None:
    assert truths_of(Question(A, "?", ("yes", "Yes", "no"))) == ("yes",)
    assert truths_of(Question(A, "?", ("2", "two", "3"))) == ("two",)
    # Nobody agrees: each of them may be right.
    assert truths_of(Question(A, "?", ("wind", "rain", "sea"))) == ("rain", "sea", "wind")


@pytest.mark.parametrize(
    ("text", "answers", "kind"),
    [
        ("Is it raining?", ("yes", "no", "no"), "yes or no"),
        ("How many dogs bark?", ("two",), "how many"),
        ("How loud is it?", ("loud",), "how"),
        ("In which room is it?", ("kitchen",), "which"),
        ("What barks?", ("dog",), "what"),
        ("Name the animal.", ("dog",), "other"),
    ],
)
def test_kinds_of_question(text: str, answers: tuple[str, ...], kind: str) -> None:
    assert kind_of(Question(A, text, answers)) == kind
    assert kind_of(Question(A, text, answers, "order")) == "order"


def test_right_answers() -> None:
    assert is_right("Yes, it does.", ("yes",)) and not is_right("No, yes", ("yes",))
    assert is_right("a dog", ("cat", "dog")) and not is_right("a dog barks", ("dog",))
    assert not is_right("", ("yes",)) and not is_right("", ("dog",))


def test_accuracy_by_kind_beside_the_majority_answer() -> None:
    questions = (
        Question(A, "is it one?", ("yes", "yes", "no")),
        Question(B, "is it two?", ("yes",)),
        Question(A, "is it three?", ("no",)),
        Question(A, "what is it?", ("dog", "dog")),
        Question(B, "what else?", ("cat",)),
    )
    says = _Says(
        {"is it one?": "yes", "is it two?": "no", "is it three?": "no", "what is it?": "the dog", "what else?": "a dog"}
    )
    answered, skipped = answer_questions(says, questions)
    assert skipped == {} and says.heard == ["a.wav", "b.wav"], "each recording is heard once"
    table = question_answering(answered)
    # Of yes, yes, no, dog, cat: yes is right twice; by kind yes twice and cat, before dog by the alphabet, once.
    assert (table["count"], table["accuracy"], table["majority_answer"], table["majority_accuracy"]) == (
        5,
        0.6,
        "yes",
        0.4,
    )
    assert table["majority_answers_by_kind"] == 0.6
    assert table["unanimous"] == {"count": 4, "accuracy": 0.5}
    of_polar, of_what = table["by_kind"]["yes or no"], table["by_kind"]["what"]
    assert (of_polar["count"], of_polar["accuracy"], of_polar["majority_answer"]) == (3, 0.6667, "yes")
    assert (of_what["count"], of_what["accuracy"], of_what["majority_accuracy"]) == (2, 0.5, 0.5)


def test_recordings_that_cannot_be_used_are_told() -> None:
    questions = (Question(A, "x?", ("yes",)), Question(B, "x?", ("yes",)))
    damaged = {"a.wav": DataError("it is damaged"), "b.wav": OSError(5, "Input/output error")}
    with pytest.raises(DataError, match="none of 2 recordings could be used, a.wav for one: it is damaged"):
        answer_questions(_Says({}, damaged), questions)
    del damaged["a.wav"]
    answered, skipped = answer_questions(_Says({"x?": "yes"}, damaged), questions)
    assert [each.recording for each in answered] == ["a.wav"]
    assert skipped == {"b.wav": "it cannot be read (Input/output error)"}


def test_a_model_is_given_the_whole_recording(tmp_path: Path) -> None:
    class Model:
        def answer_question(self, waveform: Waveform, question: str) -> str:
            return f"{len(waveform)} {question}"

    folders.write_sound(tmp_path / "a.wav", 1, 12.5)
    model = Model()
    assert isinstance(model, AnsweringModel)
    assert WaveformAnswerer(model).hear(tmp_path / "a.wav")("samples?") == "200000 samples?"
