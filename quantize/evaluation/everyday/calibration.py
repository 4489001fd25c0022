"""Two numbers that make confidences right as often as they say, and how well they do on what they did not fit."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from quantize.evaluation.statistics import Floats

_CLIPPED = 1e-4
_STEPS = 100
_RIDGE = 1e-6
_SMALLEST_SCALE, _LARGEST_SCALE, _LARGEST_BIAS = 0.05, 20.0, 20.0


@dataclass(frozen=True)
class Platt:
    """What confidences are turned with: sigmoid(scale · logit(confidence) + bias).

    A table ``[sureness]`` that made the confidences becomes ``scale · its scale`` and ``scale · its bias + bias``.

    Attributes:
        scale: above 0, so that the order of confidences stays.
        bias: added.
    """

    scale: float = 1.0
    bias: float = 0.0

    def __call__(self, confidences: npt.ArrayLike) -> Floats:
        """Confidences (N,) in 0..1 → calibrated ones."""
        return _sigmoid(self.scale * _logits(confidences) + self.bias)


def fitted(confidences: npt.ArrayLike, right: npt.ArrayLike) -> Platt:
    """The likeliest fit to smoothed targets (Platt, *Probabilistic Outputs for Support Vector Machines*, 1999).

    Args:
        confidences: (N,) in 0..1, of names.
        right: (N,) bool, whether each name was right.

    Returns:
        Unchanged confidences where all names are right, or none: then there is nothing to fit.
    """
    logits, hits = _logits(confidences), np.asarray(right, bool)
    positives, negatives = int(hits.sum()), int((~hits).sum())
    if not positives or not negatives:
        return Platt()
    targets = np.where(hits, (positives + 1.0) / (positives + 2.0), 1.0 / (negatives + 2.0))
    design = np.stack([logits, np.ones_like(logits)], axis=1)
    weights, loss = np.array([1.0, 0.0]), np.inf
    for _ in range(_STEPS):
        predicted = _sigmoid(design @ weights)
        gradient = design.T @ (predicted - targets)
        curvature = (design * (predicted * (1.0 - predicted))[:, None]).T @ design + _RIDGE * np.eye(2)
        step = np.linalg.solve(curvature, gradient)
        # Newton's step, halved while it does not lower the loss: far from the optimum it may overshoot.
        while (after := _loss(design @ (weights - step), targets)) > loss and np.abs(step).max() > _RIDGE:
            step = step / 2.0
        weights, loss = weights - step, after
        if np.abs(step).max() < _RIDGE:
            break
    scale = float(np.clip(weights[0], _SMALLEST_SCALE, _LARGEST_SCALE))
    return Platt(scale, float(np.clip(weights[1], -_LARGEST_BIAS, _LARGEST_BIAS)))


def cross_fitted(confidences: npt.ArrayLike, right: npt.ArrayLike, halves: npt.ArrayLike) -> Floats:
    """Confidences of each half, calibrated by what was fitted on the other: none tells of what it was fitted on.

    Args:
        confidences: (N,) in 0..1.
        right: (N,) bool.
        halves: (N,) bool, which half each belongs to.
    """
    given, hits, first = np.asarray(confidences, np.float64), np.asarray(right, bool), np.asarray(halves, bool)
    turned: Floats = np.empty_like(given)
    for half in (first, ~first):
        turned[half] = fitted(given[~half], hits[~half])(given[half])
    return turned


def _logits(confidences: npt.ArrayLike) -> Floats:
    inside = np.clip(np.asarray(confidences, np.float64), _CLIPPED, 1.0 - _CLIPPED)
    logits: Floats = np.log(inside / (1.0 - inside))
    return logits


def _sigmoid(x: Floats) -> Floats:
    # By the tangent, which does not overflow.
    values: Floats = 0.5 + 0.5 * np.tanh(0.5 * x)
    return values


def _loss(logits: Floats, targets: Floats) -> float:
    return float((np.logaddexp(0.0, logits) - targets * logits).sum())
