"""Measures of rankings against values by hand."""

from __future__ import annotations

import numpy as np
import pytest

from quantize.evaluation.tasks.ranking import (
    average_precision,
    average_precision_at,
    first_is_relevant,
    ranks_of_relevant,
    recall_at,
)


def _flags(text: str) -> np.ndarray:
    return np.array([mark == "x" for mark in text])


def _scores(*values: float) -> np.ndarray:
    return np.array(values, dtype=np.float64)


@pytest.mark.parametrize(
    ("relevant", "scores", "value"),
    [
        ("xx--", _scores(4, 3, 2, 1), 1.0),
        ("--xx", _scores(4, 3, 2, 1), (1 / 3 + 2 / 4) / 2),
        ("x-x-", _scores(4, 3, 2, 1), (1 + 2 / 3) / 2),
        ("-x--", _scores(1, 4, 2, 3), 1.0),
        # All alike: of four, two are right, whatever their order in the table.
        ("xx--", _scores(1, 1, 1, 1), 0.5),
        ("--xx", _scores(1, 1, 1, 1), 0.5),
        # The first alone, then one of two that are alike.
        ("xx--", _scores(3, 2, 2, 1), (1 + 2 / 3) / 2),
    ],
)
def test_average_precision(relevant: str, scores: np.ndarray, value: float) -> None:
    assert average_precision(_flags(relevant), scores) == pytest.approx(value)


def test_average_precision_of_nothing() -> None:
    with pytest.raises(ValueError, match="nothing is relevant"):
        average_precision(_flags("--"), _scores(1, 2))


@pytest.mark.parametrize(
    ("relevant", "scores", "ranks"),
    [
        ("x---", _scores(4, 3, 2, 1), [1]),
        ("-x-x", _scores(4, 3, 2, 1), [2, 4]),
        # Equals count against: the first place is not its own.
        ("x---", _scores(1, 1, 1, 1), [4]),
        ("x---", _scores(2, 2, 1, 1), [2]),
        # Equals that both belong take the places one after the other.
        ("xx--", _scores(2, 2, 1, 2), [2, 3]),
        ("xx--", _scores(3, 3, 1, 2), [1, 2]),
    ],
)
def test_ranks(relevant: str, scores: np.ndarray, ranks: list[int]) -> None:
    assert ranks_of_relevant(_flags(relevant), scores).tolist() == ranks
    assert first_is_relevant(_flags(relevant), scores) == (ranks[0] == 1)


def test_recall() -> None:
    ranks = [np.array([1]), np.array([3, 4]), np.array([11])]
    assert [recall_at(ranks, limit) for limit in (1, 3, 10, 11)] == pytest.approx([1 / 3, 2 / 3, 2 / 3, 1])


@pytest.mark.parametrize(
    ("ranks", "limit", "value"),
    [
        ([1], 10, 1.0),
        ([4], 10, 1 / 4),
        ([11], 10, 0.0),
        ([1, 2, 3, 4, 5], 10, 1.0),
        ([2, 3, 20], 10, (1 / 2 + 2 / 3) / 3),
        # More belong than there are places.
        ([1, 2, 3], 2, 1.0),
    ],
)
def test_average_precision_at(ranks: list[int], limit: int, value: float) -> None:
    assert average_precision_at(np.array(ranks), limit) == pytest.approx(value)
