"""The mixture of next-token distributions, against its formula in float64; and steps of several decoders as one."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

from edge_aac.models.mixture import MixtureSteps, log_mixture

SHARES = np.array([0.6, 0.3, 0.1])


def _log(shares: np.ndarray) -> np.ndarray:
    return np.log(shares).astype(np.float32)


def _by_formula(logits: list[np.ndarray], shares: np.ndarray) -> np.ndarray:
    total = np.zeros(logits[0].shape)
    for of_one, share in zip(logits, shares, strict=True):
        weights = np.exp(of_one.astype(np.float64) - of_one.max(axis=-1, keepdims=True))
        total += share * weights / weights.sum(axis=-1, keepdims=True)
    return np.log(total)


@pytest.fixture(autouse=True)
def _no_warning() -> object:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


def test_it_is_the_log_of_the_weighted_mean_of_probabilities() -> None:
    rng = np.random.default_rng(0)
    logits = [rng.normal(0.0, 3.0, (5, 40)).astype(np.float32) for _ in SHARES]
    mixed = log_mixture(logits, _log(SHARES))
    assert mixed.dtype == np.float32
    np.testing.assert_allclose(mixed, _by_formula(logits, SHARES), atol=3e-6)
    np.testing.assert_allclose(np.exp(mixed.astype(np.float64)).sum(axis=-1), 1.0, atol=1e-6)
    geometric = sum(share * of_one for share, of_one in zip(SHARES, logits, strict=True))
    assert np.abs(mixed - geometric).max() > 0.1, "no mean of logits"


def test_probabilities_below_what_float32_holds_keep_their_logarithms() -> None:
    """exp(-200) is 0 in float32: a plain mean would forbid the token."""
    logits = [np.array([[0.0, -200.0]], np.float32), np.array([[0.0, -250.0]], np.float32)]
    mixed = log_mixture(logits, _log(np.array([0.5, 0.5])))
    assert mixed[0] == pytest.approx([0.0, np.log(0.5) - 200.0], abs=1e-4)
    huge = [np.array([[3e38, 0.0]], np.float32)] * 2
    assert log_mixture(huge, _log(np.array([0.5, 0.5])))[0, 0] == pytest.approx(0.0, abs=1e-6)


def test_a_token_that_one_model_forbids_has_what_the_others_leave_it() -> None:
    never = np.array([[-np.inf, 0.0, 0.0]], np.float32)
    mixed = log_mixture([never, np.zeros((1, 3), np.float32)], _log(np.array([0.75, 0.25])))
    assert np.exp(mixed[0]) == pytest.approx([0.25 / 3, 0.375 + 0.25 / 3, 0.375 + 0.25 / 3])
    assert np.isneginf(log_mixture([never, never], _log(np.array([0.75, 0.25])))[0, 0])


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_row_without_numbers_of_one_model_has_none(bad: float) -> None:
    broken = np.zeros((2, 3), np.float32)
    broken[1] = bad
    mixed = log_mixture([np.zeros((2, 3), np.float32), broken], _log(np.array([0.5, 0.5])))
    assert np.isfinite(mixed[0]).all() and np.isnan(mixed[1]).all()


def test_a_share_too_small_for_a_float_changes_nothing() -> None:
    logits = [np.array([[0.0, 1.0]], np.float32), np.array([[9.0, 0.0]], np.float32)]
    alone = log_mixture(logits[:1], np.zeros(1, np.float32))
    assert np.array_equal(log_mixture(logits, np.array([0.0, -800.0], np.float32)), alone)


class _Steps:
    """Counts what it is fed."""

    def __init__(self, logits: np.ndarray) -> None:
        self.logits = logits
        self.fed: list[tuple[list[int], int]] = []
        self.moved: list[tuple[list[int], int]] = []

    def step(self, token_ids: np.ndarray, step: int) -> np.ndarray:
        self.fed.append((token_ids[:, 0].tolist(), step))
        return self.logits

    def reorder(self, parents: np.ndarray, length: int) -> None:
        self.moved.append((parents.tolist(), length))


def test_all_decoders_are_fed_and_reordered_alike() -> None:
    members = [_Steps(np.random.default_rng(seed).normal(size=(2, 4)).astype(np.float32)) for seed in range(3)]
    steps = MixtureSteps(members, _log(SHARES))
    found = steps.step(np.array([[7], [8]]), 3)
    steps.reorder(np.array([1, 1]), 4)
    np.testing.assert_allclose(found, _by_formula([member.logits for member in members], SHARES), atol=1e-5)
    assert all((member.fed, member.moved) == ([([7, 8], 3)], [([1, 1], 4)]) for member in members)
