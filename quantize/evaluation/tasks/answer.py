"""Question answering: how often an answer is the one that people give, by kind of question."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from edge_aac.errors import DataError, InputMissingError
from quantize.data.task_sets.contract import Question, TaskRecording
from quantize.evaluation.caption_metrics import normalised
from quantize.evaluation.statistics import wilson
from quantize.evaluation.tasks.answerers import Answerer

YES_NO = "yes or no"
COUNT = "how many"
OTHER = "other"
_POLAR = ("yes", "no")
_ARTICLES = frozenset({"a", "an", "the"})
_NUMBERS = (
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve",
)  # fmt: skip
_ASKING = ("how", "what", "which", "where", "who", "when", "why")


@dataclass(frozen=True)
class AnsweredQuestion:
    """A question with its answer.

    Attributes:
        recording, question: what was asked.
        kind: kind of question.
        truths: answers that people gave most often, normalised; several where they disagree evenly.
        answer: of the model, as it gave it.
        right: whether it is one of the truths.
        unanimous: whether all people gave the same answer.
    """

    recording: str
    question: str
    kind: str
    truths: tuple[str, ...]
    answer: str
    right: bool
    unanimous: bool


def plain_answer(text: str) -> str:
    """An answer as it is compared: lower case, no punctuation, no article in front, numbers up to twelve in words."""
    words = normalised(text).split()
    while len(words) > 1 and words[0] in _ARTICLES:
        words = words[1:]
    return " ".join(
        _NUMBERS[int(word)] if re.fullmatch(r"[0-9]{1,2}", word) and int(word) < len(_NUMBERS) else word
        for word in words
    )


def truths_of(question: Question) -> tuple[str, ...]:
    """The answers that most people gave, normalised, from A to Z."""
    counts = Counter(plain_answer(answer) for answer in question.answers)
    most = max(counts.values())
    return tuple(sorted(answer for answer, count in counts.items() if count == most))


def kind_of(question: Question) -> str:
    """The kind that the table names; else by the truth and the first words of the question."""
    if question.kind:
        return question.kind
    if set(truths_of(question)) <= set(_POLAR):
        return YES_NO
    words = normalised(question.text).split()
    if words[:2] == ["how", "many"]:
        return COUNT
    return next((word for word in words if word in _ASKING), OTHER)


def is_right(answer: str, truths: Sequence[str]) -> bool:
    """Whether an answer is one of the truths.

    To yes or no the first word counts, so that "yes, a dog barks" is yes.
    """
    plain = plain_answer(answer)
    if set(truths) <= set(_POLAR):
        return plain.partition(" ")[0] in truths
    return plain in truths


def answer_questions(
    answerer: Answerer,
    questions: Sequence[Question],
    progress: Callable[[int], None] = lambda done: None,
) -> tuple[list[AnsweredQuestion], dict[str, str]]:
    """Ask all questions; each recording is heard once.

    Args:
        answerer: that answers.
        questions: at least one.
        progress: called with the number of recordings that were heard.

    Returns:
        The questions with their answers, recording by recording; and name of each recording that could not be used →
        why.

    Raises:
        DataError: not one recording could be used.
    """
    answered: list[AnsweredQuestion] = []
    skipped: dict[str, str] = {}
    for done, (recording, of_recording) in enumerate(_by_recording(questions), 1):
        try:
            answer = answerer.hear(recording.path)
            answered += [_answered(answer(question.text), question) for question in of_recording]
        except (DataError, InputMissingError) as error:
            skipped[recording.name] = str(error)
        except OSError as error:  # of a disk that is damaged, a network that is gone
            skipped[recording.name] = f"it cannot be read ({error.strerror or error})"
        progress(done)
    if not answered:
        name, reason = next(iter(skipped.items()))
        raise DataError(f"none of {len(skipped)} recordings could be used, {name} for one: {reason}")
    return answered, skipped


def question_answering(answered: Sequence[AnsweredQuestion]) -> dict[str, Any]:
    """Accuracy, over all questions and by kind, each beside what the answer that is most often right would reach.

    That answer is chosen on the same questions: no answerer that does not listen, and says the same to all questions
    of a kind, can do better.

    Args:
        answered: at least one.
    """
    by_kind: dict[str, list[AnsweredQuestion]] = defaultdict(list)
    for question in answered:
        by_kind[question.kind].append(question)
    kinds = {kind: _measured(group) for kind, group in sorted(by_kind.items(), key=lambda item: -len(item[1]))}
    always = sum(_majority(group)[1] for group in by_kind.values())
    agreed = [question.right for question in answered if question.unanimous]
    return {
        **_measured(answered),
        "majority_answers_by_kind": round(always / len(answered), 4),
        "unanimous": {"count": len(agreed), **({"accuracy": round(sum(agreed) / len(agreed), 4)} if agreed else {})},
        "by_kind": kinds,
    }


def _measured(group: Sequence[AnsweredQuestion]) -> dict[str, Any]:
    hits = sum(question.right for question in group)
    answer, count = _majority(group)
    return {
        "count": len(group),
        "accuracy": round(hits / len(group), 4),
        "majority_answer": answer,
        "majority_accuracy": round(count / len(group), 4),
        "intervals": {"accuracy": [round(bound, 4) for bound in wilson(hits, len(group))]},
    }


def _majority(group: Sequence[AnsweredQuestion]) -> tuple[str, int]:
    """The answer that would be right most often, and to how many of the questions."""
    counts = Counter(truth for question in group for truth in question.truths)
    return min(counts.items(), key=lambda item: (-item[1], item[0]))


def _answered(answer: str, question: Question) -> AnsweredQuestion:
    truths = truths_of(question)
    alike = len({plain_answer(given) for given in question.answers}) == 1
    return AnsweredQuestion(
        question.recording.name, question.text, kind_of(question), truths, answer, is_right(answer, truths), alike
    )


def _by_recording(questions: Sequence[Question]) -> Iterator[tuple[TaskRecording, list[Question]]]:
    """The questions about each recording, in the order of their first ones."""
    groups: dict[str, list[Question]] = {}
    for question in questions:
        groups.setdefault(question.recording.name, []).append(question)
    return ((group[0].recording, group) for group in groups.values())
