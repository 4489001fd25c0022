"""Zero-shot classification: which of a set's labels is the nearest text."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from edge_aac.bundle import limits
from edge_aac.errors import DataError
from edge_aac.models.label_texts import LabelTexts, WritesTexts
from edge_aac.models.tokens import plain_text
from quantize.data.task_sets.contract import LabelledRecording, LabelledSet
from quantize.evaluation.statistics import wilson
from quantize.evaluation.tasks.listening import Heard, TextModel, Vectors, embedded
from quantize.evaluation.tasks.ranking import average_precision, first_is_relevant

Coarser: TypeAlias = Callable[[str, Sequence[str]], bool]
"""A label that was found and the true ones → whether it names one of these, exactly or more coarsely."""


@dataclass(frozen=True)
class ClassifiedRecording:
    """A recording with its label and what was found.

    Attributes:
        name: of the recording.
        labels: true ones.
        found: the nearest label.
        score: its cosine with the recording.
        right: whether a true label is nearer than all others.
        caption: that was compared; "" where the sound itself was.
    """

    name: str
    labels: tuple[str, ...]
    found: str
    score: float
    right: bool
    caption: str


def label_words(label: str) -> str:
    """A label of a table in words: "air_conditioner" is an air conditioner."""
    return " ".join(label.replace("_", " ").split())


def label_texts(labels: Sequence[str], bundle: WritesTexts, templates: Sequence[str] = ()) -> LabelTexts:
    """The texts that stand for each label.

    Args:
        labels: of a table.
        bundle: whose texts they are.
        templates: each makes a text of a label's words, which take the place of ``{}``; none for what the bundle itself
            makes of labels, see :class:`edge_aac.models.label_texts.LabelTexts`.

    Raises:
        DataError: a label has no words or too many, or two have the same.
    """
    for label in labels:
        if not plain_text(label_words(label)):
            raise DataError(f"the label {label!r} has no words: name it otherwise")
        if len(label) > limits.MAX_LABEL:
            raise DataError(f"the label {label[:40]!r}… has more than {limits.MAX_LABEL} characters: shorten it")
    found = LabelTexts.of(bundle, list(map(label_words, labels)), templates)
    times = Counter(found.texts)
    for label, texts in zip(labels, found.texts, strict=True):
        if times[texts] > 1:
            raise DataError(f"the label {label!r} has the same words as another: name it otherwise")
    return found


def classification(
    labelled: LabelledSet, heard: Heard, model: TextModel, texts: LabelTexts, coarser: Coarser | None = None
) -> tuple[dict[str, Any], list[ClassifiedRecording]]:
    """Measures of a labelled set, and its recordings.

    Args:
        labelled: the set; ``heard`` is of its recordings.
        heard: vectors of those that could be used.
        model: embeds the texts.
        texts: of each label of the set.
        coarser: whether a label that was found names a true one, exactly or more coarsely; None where no label is
            coarser than another.

    Returns:
        ``accuracy`` where each recording has one label, ``top_label_right`` where it may have several, and
        ``right_or_coarser`` where labels may be coarser, with Wilson intervals at 95 %; ``map``, the mean of the
        average precisions of all labels that a recording has.
    """
    kept = [labelled.recordings[number] for number in heard.numbers]
    places = texts.embedded(lambda some: embedded(model, some).astype(np.float32))
    scores: Vectors = heard.vectors @ places.astype(np.float64).T
    relevant = np.array([[label in recording.labels for label in labelled.labels] for recording in kept])
    captions = heard.captions or [""] * len(kept)
    classified = [
        ClassifiedRecording(
            recording.recording.name,
            recording.labels,
            labelled.labels[int(np.argmax(row))],
            float(row.max()),
            first_is_relevant(of_row, row),
            caption,
        )
        for recording, row, of_row, caption in zip(kept, scores, relevant, captions, strict=True)
    ]
    precisions = {
        label: average_precision(relevant[:, column], scores[:, column])
        for column, label in enumerate(labelled.labels)
        if relevant[:, column].any()
    }
    hits = sum(recording.right for recording in classified)
    measure = "top_label_right" if labelled.multi_label else "accuracy"
    counts = {measure: hits}
    if coarser is not None:
        counts["right_or_coarser"] = sum(coarser(each.found, each.labels) for each in classified)
    table = {
        "count": len(classified),
        "labels": len(labelled.labels),
        **{name: round(count / len(classified), 4) for name, count in counts.items()},
        "map": round(sum(precisions.values()) / len(precisions), 4),
        "commonest_label": _commonest(kept),
        "labels_without_recordings": len(labelled.labels) - len(precisions),
        "intervals": {
            name: [round(bound, 4) for bound in wilson(count, len(classified))] for name, count in counts.items()
        },
        "by_label": {
            label: {
                "count": sum(label in recording.labels for recording in classified),
                "found": round(_share(label, classified), 4),
                "average_precision": round(precision, 4),
            }
            for label, precision in precisions.items()
        },
    }
    return table, classified


def _commonest(recordings: Sequence[LabelledRecording]) -> dict[str, Any]:
    """The label that says the most by itself, and the share of recordings that have it."""
    counts = Counter(label for recording in recordings for label in recording.labels)
    label, count = min(counts.items(), key=lambda item: (-item[1], item[0]))
    return {"label": label, "share": round(count / len(recordings), 4)}


def _share(label: str, classified: Sequence[ClassifiedRecording]) -> float:
    """Of the recordings with a label, the share where it is the nearest."""
    of_label = [recording for recording in classified if label in recording.labels]
    return sum(recording.found == label and recording.right for recording in of_label) / len(of_label)
