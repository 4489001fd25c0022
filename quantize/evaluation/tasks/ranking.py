"""How well a ranking puts what belongs together first. Scores that are equal never help.

A bundle that gives everything the same score, as a captioner that says the same of every recording does, would be
right by the order of a table; here it is wrong.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]


def average_precision(relevant: Flags, scores: Floats) -> float:
    """Average precision of a ranking by score: Σ (R_n − R_{n−1}) P_n over the distinct scores from the highest down,
    with recall R_n and precision P_n of what scores at least as much.

    Not interpolated, as scikit-learn's and TREC's is; items of the same score enter together.

    Args:
        relevant: (N,), at least one of them.
        scores: (N,).

    Raises:
        ValueError: nothing is relevant.
    """
    if not relevant.any():
        raise ValueError("nothing is relevant")
    order = np.argsort(-scores, kind="stable")
    hits = np.cumsum(relevant[order])
    # The last of each group of equals.
    ends = np.flatnonzero(np.append(np.diff(scores[order]) != 0.0, True))
    precision, recall = hits[ends] / (ends + 1.0), hits[ends] / hits[-1]
    return float(np.sum(np.diff(recall, prepend=0.0) * precision))


def ranks_of_relevant(relevant: Flags, scores: Floats) -> npt.NDArray[np.int64]:
    """Ranks, from 1 and ascending, of the relevant items: behind all others of the same score.

    Args:
        relevant: (N,).
        scores: (N,).
    """
    others, own = np.sort(-scores[~relevant]), np.sort(-scores[relevant])
    ranks: npt.NDArray[np.int64] = np.searchsorted(others, own, side="right") + 1 + np.arange(len(own))
    return ranks


def first_is_relevant(relevant: Flags, scores: Floats) -> bool:
    """Whether a relevant item scores higher than all others."""
    return int(ranks_of_relevant(relevant, scores)[0]) == 1


def recall_at(ranks: Sequence[npt.NDArray[np.int64]], limit: int) -> float:
    """R@k: the share of queries that have a relevant item among their first ``limit``.

    Args:
        ranks: of each query, at least one query, as :func:`ranks_of_relevant` gives them.
        limit: k.
    """
    return sum(int(of_query[0]) <= limit for of_query in ranks) / len(ranks)


def average_precision_at(ranks: npt.NDArray[np.int64], limit: int) -> float:
    """AP@k of a query: the sum, over its relevant items at a rank up to k, of the precision there, by the number of
    relevant items or by k, whichever is smaller. Of one relevant item it is one by its rank.

    Args:
        ranks: as :func:`ranks_of_relevant` gives them, at least one.
        limit: k.
    """
    precision = np.arange(1, len(ranks) + 1) / ranks
    return float(precision[ranks <= limit].sum() / min(len(ranks), limit))
