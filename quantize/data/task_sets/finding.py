"""Which set a folder holds, told by the tables that lie in it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

from edge_aac.errors import EdgeAacError, InputMissingError, UsageError
from quantize.data.task_sets.captioned import audiocaps, clotho, own_captions
from quantize.data.task_sets.contract import CaptionedSet, ChosenPart, LabelledSet, QuestionSet
from quantize.data.task_sets.labelled import esc50, fsd50k, own_clips, urbansound8k
from quantize.data.task_sets.questions import clotho_aqa, own_questions

TaskSet = TypeVar("TaskSet", LabelledSet, CaptionedSet, QuestionSet)


@dataclass(frozen=True)
class Layout(Generic[TaskSet]):
    """A layout of a folder.

    Attributes:
        name: of the set, with the table that tells it.
        load: gives the part of the set; None where the folder does not hold it.
    """

    name: str
    load: Callable[[Path, ChosenPart], TaskSet | None]

    def lies_in(self, folder: Path) -> bool:
        """Whether the folder holds it, usable or not."""
        try:
            return self.load(folder, ChosenPart()) is not None
        except EdgeAacError:
            return True


LABELLED: tuple[Layout[LabelledSet], ...] = (
    Layout("ESC-50 (meta/esc50.csv)", esc50),
    Layout("UrbanSound8K (metadata/UrbanSound8K.csv)", urbansound8k),
    Layout("FSD50K (FSD50K.ground_truth/eval.csv)", fsd50k),
    Layout("recordings of one's own (clips.csv)", own_clips),
)
CAPTIONED: tuple[Layout[CaptionedSet], ...] = (
    Layout("Clotho (clotho_captions_evaluation.csv)", clotho),
    Layout("AudioCaps (test.csv)", audiocaps),
    Layout("captions of one's own (captions.csv)", own_captions),
)
QUESTIONED: tuple[Layout[QuestionSet], ...] = (
    Layout("ClothoAQA (clotho_aqa_test.csv)", clotho_aqa),
    Layout("questions of one's own (questions.csv)", own_questions),
)


def labelled_set(folder: Path, part: ChosenPart) -> LabelledSet:
    """The labelled recordings in a folder: ESC-50, UrbanSound8K, FSD50K or a ``clips.csv``.

    Raises:
        InputMissingError: there is no such folder, or a recording is missing.
        UsageError: the folder holds no such set, or the set has no such part.
        DataError: a table cannot be used.
    """
    return _found(folder, part, LABELLED, "labels")


def captioned_set(folder: Path, part: ChosenPart) -> CaptionedSet:
    """The recordings with captions in a folder: Clotho, AudioCaps or a ``captions.csv``.

    Raises:
        InputMissingError, UsageError, DataError: as :func:`labelled_set`.
    """
    return _found(folder, part, CAPTIONED, "captions")


def question_set(folder: Path, part: ChosenPart) -> QuestionSet:
    """The questions in a folder: ClothoAQA or a ``questions.csv``.

    Raises:
        InputMissingError, UsageError, DataError: as :func:`labelled_set`.
    """
    return _found(folder, part, QUESTIONED, "questions")


def _found(folder: Path, part: ChosenPart, layouts: Sequence[Layout[TaskSet]], wanted: str) -> TaskSet:
    """The part of the first set that lies in the folder."""
    if not folder.is_dir():
        raise InputMissingError(f"there is no folder {folder}: give the folder of a set with --data")
    for layout in layouts:
        if (found := layout.load(folder, part)) is not None:
            return found
    known = ", ".join(layout.name for layout in layouts)
    there = _lying_in(folder, LABELLED) + _lying_in(folder, CAPTIONED) + _lying_in(folder, QUESTIONED)
    held = f"holds {there[0]}, which has no {wanted}" if there else f"holds no set with {wanted} that is known"
    raise UsageError(f"{folder} {held}: the task needs one of {known}")


def _lying_in(folder: Path, layouts: Sequence[Layout[TaskSet]]) -> list[str]:
    """Names of the layouts that a folder holds."""
    return [layout.name for layout in layouts if layout.lies_in(folder)]
