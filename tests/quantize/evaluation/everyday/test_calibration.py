"""Confidences that are made right as often as they say."""

from __future__ import annotations

import numpy as np
import pytest

from quantize.evaluation.everyday.calibration import Platt, cross_fitted, fitted
from quantize.evaluation.everyday.reliability import reliability
from tests.quantize.evaluation.everyday.judged_cases import DOG, LEXICON, judged


def drawn(count: int, scale: float, bias: float, seed: int = 3) -> tuple[np.ndarray, np.ndarray]:
    """Confidences, and whether each is right: as often as sigmoid(scale · logit + bias) says."""
    rng = np.random.default_rng(seed)
    confidences = rng.uniform(0.05, 0.98, count)
    return confidences, rng.random(count) < Platt(scale, bias)(confidences)


@pytest.mark.parametrize(("scale", "bias"), [(1.0, 0.0), (0.4, -0.5), (2.5, 1.0)])
def test_the_fit_finds_what_the_names_were_drawn_with(scale: float, bias: float) -> None:
    found = fitted(*drawn(20_000, scale, bias))
    assert found.scale == pytest.approx(scale, rel=0.08)
    assert found.bias == pytest.approx(bias, abs=0.08)


def test_the_order_of_confidences_stays() -> None:
    # The surer, the less often right: a scale below 0 would fit best.
    turned = fitted([0.1, 0.2, 0.8, 0.9] * 10, [True, True, False, False] * 10)([0.1, 0.5, 0.9])
    assert (np.diff(turned) > 0).all()


@pytest.mark.parametrize("right", [True, False])
def test_all_right_or_none_leaves_confidences_as_they_are(right: bool) -> None:
    assert fitted([0.2, 0.9], [right, right]) == Platt()


def test_certain_ones_and_separable_ones_stay_finite() -> None:
    found = fitted([0.0, 0.0, 1.0, 1.0], [False, False, True, True])
    assert np.isfinite([found.scale, found.bias]).all()
    assert ((found([0.0, 1.0]) >= 0.0) & (found([0.0, 1.0]) <= 1.0)).all()


def test_neither_half_is_calibrated_by_itself() -> None:
    sure, right = np.full(8, 0.5), np.array([True] * 4 + [False] * 4)
    halves = np.array([True, True, True, False, True, False, False, False])
    turned = cross_fitted(sure, right, halves)
    # Of the first half three in four are right, of the other one in four: each has the other's share.
    assert (turned[halves] < 0.5).all() and (turned[~halves] > 0.5).all()


def test_the_report_says_what_would_calibrate() -> None:
    sure, right = drawn(600, 0.4, -0.5)
    windows = [
        judged("single", "dog_bark" if hit else "rain", DOG, "ten", {"dog_bark": float(confidence)})
        for confidence, hit in zip(sure, right, strict=True)
    ]
    table = reliability(LEXICON, windows)
    assert table["calibration"]["scale"] == pytest.approx(0.4, abs=0.15)
    assert table["calibration"]["expected_calibration_error"] < 0.5 * table["expected_calibration_error"]
