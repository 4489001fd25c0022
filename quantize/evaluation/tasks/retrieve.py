"""Retrieval: recordings by a text, and texts by a recording."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from quantize.data.manifests import CaptionedClip
from quantize.evaluation.statistics import wilson
from quantize.evaluation.tasks.listeners import Listener
from quantize.evaluation.tasks.listening import Heard, embedded
from quantize.evaluation.tasks.ranking import average_precision_at, ranks_of_relevant, recall_at

LIMITS = (1, 5, 10)
"""Ranks of R@k."""
PRECISION_LIMIT = 10
"""Rank of mAP@k."""
TEXTS_BY_SOUND, SOUNDS_BY_TEXT = "audio_to_text", "text_to_audio"


@dataclass(frozen=True)
class RankedQuery:
    """A query and the rank of the first thing that belongs to it.

    Attributes:
        direction: :data:`SOUNDS_BY_TEXT` or :data:`TEXTS_BY_SOUND`.
        query: the text, or the recording's name.
        rank: from 1; behind all others of the same score.
        relevant: number of things that belong to it.
        first: what was ranked first: the recording's name, or the text.
    """

    direction: str
    query: str
    rank: int
    relevant: int
    first: str


def retrieval(
    clips: Sequence[CaptionedClip], heard: Heard, model: Listener
) -> tuple[dict[str, Any], list[RankedQuery]]:
    """Measures in both directions, over all recordings that could be used and all their distinct texts.

    A text that several recordings have is one query, to which each of these belongs.

    Args:
        clips: ``heard`` is of these.
        heard: vectors of those that could be used.
        model: embeds the texts.

    Returns:
        For each direction ``count`` (of queries), ``pool`` (what is ranked), ``r_at_1``, ``r_at_5``, ``r_at_10`` and
        ``map_at_10``.
    """
    kept = [clips[number] for number in heard.numbers]
    texts = list(dict.fromkeys(text for clip in kept for text in clip.captions))
    vectors = embedded(model, [model.written(text) for text in texts])
    place = {text: number for number, text in enumerate(texts)}
    belongs = np.zeros((len(kept), len(texts)), dtype=bool)
    for number, clip in enumerate(kept):
        belongs[number, [place[text] for text in clip.captions]] = True
    names = [clip.name for clip in kept]
    queries: list[RankedQuery] = []
    tables: dict[str, Any] = {}
    for direction, own, pool, pairs, asked, given in (
        (SOUNDS_BY_TEXT, vectors, heard.vectors, belongs.T, texts, names),
        (TEXTS_BY_SOUND, heard.vectors, vectors, belongs, names, texts),
    ):
        ranks = []
        # One query at a time: of a training split the whole matrix would need tens of gigabytes.
        for query, relevant, name in zip(own, pairs, asked, strict=True):
            scores = pool @ query
            ranks.append(ranks_of_relevant(relevant, scores))
            first, count = given[int(np.argmax(scores))], int(relevant.sum())
            queries.append(RankedQuery(direction, name, int(ranks[-1][0]), count, first))
        precision = [average_precision_at(of_query, PRECISION_LIMIT) for of_query in ranks]
        tables[direction] = {
            "count": len(ranks),
            "pool": len(given),
            **{f"r_at_{limit}": round(recall_at(ranks, limit), 4) for limit in LIMITS},
            f"map_at_{PRECISION_LIMIT}": round(sum(precision) / len(precision), 4),
            "intervals": _intervals(direction, [int(of_query[0]) for of_query in ranks]),
        }
    return tables, queries


def _intervals(direction: str, best: Sequence[int]) -> dict[str, list[float]]:
    """Of R@k of recordings; the texts of one recording are alike, so that theirs would be too narrow."""
    if direction == SOUNDS_BY_TEXT:
        return {}
    return {
        f"r_at_{limit}": [round(bound, 4) for bound in wilson(sum(rank <= limit for rank in best), len(best))]
        for limit in LIMITS
    }
