"""Event measures of captions: a caption names an event when a word of its class's lexicon occurs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from quantize.data.lexicon import named_events

NOTHING_NAMED = "nothing"
"""Row of the confusion matrix for captions that name no class."""

EventCounts = npt.NDArray[np.int64]


@dataclass(frozen=True)
class EventScores:
    """Micro-averaged over all events of all captions.

    Attributes:
        precision: named events that are there, of all named.
        recall: events that are named, of all that are there.
        f1: harmonic mean of precision and recall.
        exact: captions that name the events of their scene and no other, of all captions.
    """

    precision: float
    recall: float
    f1: float
    exact: float


@dataclass(frozen=True)
class ClassScores:
    """Scores of one class over all captions.

    Attributes:
        precision: captions that name it rightly, of all that name it; 0 where none does.
        recall: captions that name it rightly, of all that should; 0 where none should.
        f1: harmonic mean of precision and recall.
        support: captions that should name it.
        named: captions that name it.
    """

    precision: float
    recall: float
    f1: float
    support: int
    named: int


def event_counts(captions: Sequence[str], truths: Sequence[Sequence[str]]) -> EventCounts:
    """Per caption: events named rightly, named, there, and whether it names exactly those there; (N, 4)."""
    rows = []
    for caption, truth in zip(captions, truths, strict=True):
        found, wanted = set(named_events(caption)), set(truth)
        rows.append((len(found & wanted), len(found), len(wanted), found == wanted))
    return np.array(rows, dtype=np.int64).reshape(-1, 4)


def event_scores(captions: Sequence[str], truths: Sequence[Sequence[str]]) -> EventScores:
    """Compare captions with the event labels of their scenes."""
    hits, named, there, exact = event_counts(captions, truths).sum(axis=0).tolist()
    return EventScores(*_precision_recall_f1(hits, named, there), exact / max(len(captions), 1))


def class_scores(captions: Sequence[str], truths: Sequence[Sequence[str]], labels: Sequence[str]) -> list[ClassScores]:
    """Compare captions with the event labels of their scenes, for each of ``labels`` alone."""
    found_sets = [set(named_events(caption)) for caption in captions]
    scores = []
    for label in labels:
        pairs = [(label in found, label in truth) for found, truth in zip(found_sets, truths, strict=True)]
        hits, named, there = (sum(column) for column in ((a and b for a, b in pairs), *zip(*pairs, strict=True)))
        scores.append(ClassScores(*_precision_recall_f1(hits, named, there), support=there, named=named))
    return scores


def confusion(captions: Sequence[str], labels: Sequence[str]) -> dict[str, dict[str, int]]:
    """Count captions by the class that they name (or :data:`NOTHING_NAMED`), then by the class of their clip.

    A caption that names two classes counts in both rows, so a column may hold more than the clips of its class.
    """
    table: dict[str, dict[str, int]] = {}
    for caption, label in zip(captions, labels, strict=True):
        for event in named_events(caption) or [NOTHING_NAMED]:
            row = table.setdefault(event, {})
            row[label] = row.get(label, 0) + 1
    return table


def named_share(captions: Sequence[str], labels: Sequence[str]) -> float:
    """Share of single-sound clips whose caption names the right sound."""
    return sum(label in named_events(c) for c, label in zip(captions, labels, strict=True)) / max(len(captions), 1)


def order_share(captions: Sequence[str], truths: Sequence[Sequence[str]]) -> float:
    """Share of two-sound sequences whose caption names both sounds in the order they were heard."""
    right = [named_events(c) == list(truth) for c, truth in zip(captions, truths, strict=True)]
    return sum(right) / max(len(right), 1)


def _precision_recall_f1(hits: int, named: int, there: int) -> tuple[float, float, float]:
    precision, recall = hits / max(named, 1), hits / max(there, 1)
    return precision, recall, 2.0 * precision * recall / max(precision + recall, 1e-12)
