"""How sure a measured number is, and how well a score tells two groups apart."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

Interval = tuple[float, float]
Floats = npt.NDArray[np.float64]

Z_95 = 1.959964
RESAMPLES = 2000
BOOTSTRAP_SEED = 95


def wilson(successes: int, count: int) -> Interval:
    """95 % interval of a share by Wilson (1927), which holds for few trials and near 0 and 1, too.

    Nothing was tried: (0, 1), for nothing is known.
    """
    if count == 0:
        return 0.0, 1.0
    share, spread = successes / count, Z_95**2 / count
    middle = (share + spread / 2.0) / (1.0 + spread)
    half = Z_95 * math.sqrt(share * (1.0 - share) / count + spread / (4.0 * count)) / (1.0 + spread)
    return max(0.0, middle - half), min(1.0, middle + half)


def f1_of_sums(sums: npt.NDArray[np.int64]) -> Floats:
    """F1 of summed event counts (…, 4) as :func:`quantize.training.metrics.event_counts` gives them: (…,)."""
    f1: Floats = 2.0 * sums[..., 0] / np.maximum(sums[..., 1] + sums[..., 2], 1)
    return f1


def bootstrap(
    counts: npt.NDArray[np.int64], statistic: Callable[[npt.NDArray[np.int64]], Floats] = f1_of_sums
) -> Interval:
    """95 % percentile bootstrap (Efron, 1979) of a statistic of summed rows; whole windows are drawn again.

    Args:
        counts: (N, K), a row a window; N of at least 1.
        statistic: (resamples, K) sums → (resamples,).
    """
    return _percentiles(statistic(_draws(len(counts)) @ counts))


def paired_bootstrap(
    first: npt.NDArray[np.int64],
    second: npt.NDArray[np.int64],
    statistic: Callable[[npt.NDArray[np.int64]], Floats] = f1_of_sums,
) -> Interval:
    """95 % interval of ``statistic(first) - statistic(second)``, both of the same windows in the same order."""
    if first.shape != second.shape:
        raise ValueError(f"pairs need the same windows, not {first.shape} and {second.shape}")
    draws = _draws(len(first))
    return _percentiles(statistic(draws @ first) - statistic(draws @ second))


def auroc(positive: Sequence[float], negative: Sequence[float]) -> float:
    """Chance that a positive scores above a negative, ties by halves (Mann and Whitney, 1947); both not empty."""
    if not len(positive) or not len(negative):
        raise ValueError("both groups need a member")
    ordered = np.sort(np.asarray(negative, dtype=np.float64))
    below = np.searchsorted(ordered, positive, side="left") + np.searchsorted(ordered, positive, side="right")
    return float(below.mean() / (2.0 * len(ordered)))


def threshold_that_keeps(scores: Sequence[float], share: float) -> float:
    """The highest score that at least ``share`` of ``scores`` reach; not empty."""
    descending = np.sort(np.asarray(scores, dtype=np.float64))[::-1]
    # 0.95 × 20 is a little more than 19 in binary.
    needed = math.ceil(share * len(descending) - 1e-9)
    return float(descending[max(needed, 1) - 1])


def _draws(windows: int) -> npt.NDArray[np.int64]:
    """How often each window is drawn: (resamples, windows), always the same for the same number of windows."""
    rng = np.random.default_rng(BOOTSTRAP_SEED)
    return rng.multinomial(windows, np.full(windows, 1.0 / windows), size=RESAMPLES)


def _percentiles(values: Floats) -> Interval:
    low, high = np.percentile(values, (2.5, 97.5))
    return float(low), float(high)
