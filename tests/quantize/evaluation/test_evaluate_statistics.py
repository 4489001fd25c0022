"""Intervals, ranks and thresholds against values worked out by hand, and the event tables that use them."""

from __future__ import annotations

import numpy as np
import pytest

from quantize.evaluation.statistics import (
    auroc,
    bootstrap,
    f1_of_sums,
    paired_bootstrap,
    threshold_that_keeps,
    wilson,
)
from quantize.training.metrics import NOTHING_NAMED, class_scores, confusion, event_counts, event_scores


def test_wilson_of_half_of_ten() -> None:
    # (0.5 + 0.19207 ± 1.95996 · sqrt(0.025 + 0.0096036)) / 1.384146, worked out by hand.
    assert wilson(5, 10) == pytest.approx((0.2366, 0.7634), abs=1e-4)


@pytest.mark.parametrize(("hits", "count"), [(0, 8), (8, 8), (1, 1)])
def test_wilson_stays_within_0_and_1_and_holds_the_share(hits: int, count: int) -> None:
    low, high = wilson(hits, count)
    assert 0.0 <= low <= hits / count <= high <= 1.0
    assert high - low > 0.05


def test_wilson_of_nothing_is_all() -> None:
    assert wilson(0, 0) == (0.0, 1.0)


def test_auroc_counts_pairs_and_halves_ties() -> None:
    # Pairs: 3>1, 3>2, 2>1, 2=2 (a half): 3.5 of 4.
    assert auroc([3.0, 2.0], [1.0, 2.0]) == pytest.approx(0.875)
    assert auroc([1.0, 1.0], [1.0]) == 0.5
    assert auroc([0.0], [1.0, 2.0]) == 0.0


def test_auroc_needs_both_groups() -> None:
    with pytest.raises(ValueError, match="both groups"):
        auroc([], [1.0])


def test_threshold_keeps_at_least_its_share_and_no_more_than_needed() -> None:
    scores = list(np.random.default_rng(0).permutation(20).astype(float))
    threshold = threshold_that_keeps(scores, 0.95)
    assert threshold == 1.0
    assert threshold_that_keeps([0.7], 0.95) == 0.7


def test_f1_of_sums_is_that_of_the_event_scores() -> None:
    captions = ["a dog barks while rain falls", "a clock ticks", "nothing at all"]
    truths = [["dog_bark", "rain"], ["rooster"], ["sneeze"]]
    sums = event_counts(captions, truths).sum(axis=0)
    assert sums.tolist() == [2, 3, 4, 1]
    assert float(f1_of_sums(sums)) == pytest.approx(event_scores(captions, truths).f1) == pytest.approx(4 / 7)


def test_bootstrap_of_equal_windows_has_no_width() -> None:
    assert bootstrap(np.array([[1, 1, 2, 0]] * 9)) == pytest.approx((2 / 3, 2 / 3))


def test_bootstrap_is_repeatable_and_narrows_with_more_windows() -> None:
    rng = np.random.default_rng(3)
    few = np.column_stack([rng.integers(0, 2, 20), np.ones(20), np.ones(20), np.zeros(20)]).astype(int)
    many = np.tile(few, (25, 1))
    assert bootstrap(few) == bootstrap(few)
    low, high = bootstrap(few)
    narrow_low, narrow_high = bootstrap(many)
    assert low < narrow_low < float(f1_of_sums(few.sum(axis=0))) < narrow_high < high


def test_paired_bootstrap_sees_what_two_intervals_hide() -> None:
    """One more hit in every fifth window: the intervals of each overlap, that of the difference does not hold 0."""
    rng = np.random.default_rng(4)
    hits = rng.integers(0, 2, 60)
    worse = np.column_stack([hits, np.full(60, 2), np.full(60, 2), np.zeros(60)]).astype(int)
    better = worse.copy()
    better[::5, 0] += 1
    assert bootstrap(better)[0] < bootstrap(worse)[1]
    assert paired_bootstrap(better, worse)[0] > 0.0
    assert paired_bootstrap(worse, worse) == (0.0, 0.0)


def test_pairs_need_the_same_windows() -> None:
    with pytest.raises(ValueError, match="same windows"):
        paired_bootstrap(np.ones((2, 4), int), np.ones((3, 4), int))


def test_scores_of_one_class() -> None:
    captions = ["a dog barks", "a dog barks", "rain falls", "rain falls"]
    truths = [["dog_bark"], ["rain"], ["rain", "dog_bark"], ["rain"]]
    dog, rooster = class_scores(captions, truths, ["dog_bark", "rooster"])
    assert (dog.precision, dog.recall, dog.f1, dog.support, dog.named) == (0.5, 0.5, 0.5, 2, 2)
    assert (rooster.f1, rooster.support, rooster.named) == (0.0, 0, 0)


def test_confusion_has_a_row_for_nothing_and_counts_both_names() -> None:
    captions = ["a dog barks while rain falls", "an almost silent room", "rain falls"]
    assert confusion(captions, ["dog_bark", "dog_bark", "rain"]) == {
        "dog_bark": {"dog_bark": 1},
        "rain": {"dog_bark": 1, "rain": 1},
        NOTHING_NAMED: {"dog_bark": 1},
    }


def test_no_captions_have_no_events() -> None:
    assert event_counts([], []).shape == (0, 4)
    assert event_scores([], []).f1 == 0.0
