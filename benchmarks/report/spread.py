"""Medians and spreads of repeated times, and ratios of times that were taken in turn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

Stages = Mapping[str, float]
"""Stage of a run → milliseconds."""

Spread = dict[str, float]
"""``median``, ``low`` and ``high`` (between which eight of ten values lie), ``count``."""

TOTAL = "total"


def spread(values: Sequence[float]) -> Spread:
    """The median of some values, their 10th and 90th percentile (linear between neighbours), and their number."""
    low, middle, high = (round(float(value), 4) for value in np.percentile(values, (10, 50, 90)))
    return {"median": middle, "low": low, "high": high, "count": len(values)}


def by_stage(rows: Sequence[Stages]) -> dict[str, Spread]:
    """Stage → spread over the repetitions, and that of their sums as ``total``."""
    stages = {name: spread([row[name] for row in rows]) for name in rows[0]}
    return {**stages, TOTAL: spread([sum(row.values()) for row in rows])}


def ratio(theirs: Sequence[Stages], ours: Sequence[Stages], stage: str | None = None) -> Spread:
    """How many times as long theirs takes as ours: the spread of the ratios of each repetition.

    Args:
        theirs, ours: repetitions that were run in turn.
        stage: a stage that both have; None compares the sums of all their stages.
    """

    def taken(row: Stages) -> float:
        return sum(row.values()) if stage is None else row[stage]

    return spread([taken(mine) / taken(own) for mine, own in zip(theirs, ours, strict=True)])
