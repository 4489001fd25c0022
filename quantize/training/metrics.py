"""Event measures of captions: a caption names an event when a word of its class's lexicon occurs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from quantize.data.lexicon import named_events


@dataclass(frozen=True)
class EventScores:
    """Micro-averaged over all events of all captions.

    Attributes:
        precision: named events that are there, of all named.
        recall: events that are named, of all that are there.
        f1: their harmonic mean.
        exact: captions that name the events of their scene and no other, of all captions.
    """

    precision: float
    recall: float
    f1: float
    exact: float


def event_scores(captions: Sequence[str], truths: Sequence[Sequence[str]]) -> EventScores:
    """Compare captions with the event labels of their scenes."""
    hits = named = there = exact = 0
    for caption, truth in zip(captions, truths, strict=True):
        found, wanted = set(named_events(caption)), set(truth)
        hits += len(found & wanted)
        named += len(found)
        there += len(wanted)
        exact += found == wanted
    precision, recall = hits / max(named, 1), hits / max(there, 1)
    f1 = 2.0 * precision * recall / max(precision + recall, 1e-12)
    return EventScores(precision, recall, f1, exact / max(len(captions), 1))


def named_share(captions: Sequence[str], labels: Sequence[str]) -> float:
    """Share of single-sound clips whose caption names the right sound."""
    return sum(label in named_events(c) for c, label in zip(captions, labels, strict=True)) / max(len(captions), 1)


def order_share(captions: Sequence[str], truths: Sequence[Sequence[str]]) -> float:
    """Share of two-sound sequences whose caption names both sounds in the order they were heard."""
    right = [named_events(c) == list(truth) for c, truth in zip(captions, truths, strict=True)]
    return sum(right) / max(len(right), 1)
