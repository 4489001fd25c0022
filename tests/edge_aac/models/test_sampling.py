"""The rules for the next token: against the published system's own output, and one by one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edge_aac.bundle.manifest import DecodingRules
from edge_aac.models.sampling import (
    constrain,
    draw_by_rules,
    forbid_end,
    forbid_repeats,
    force_end,
    log_likelihood,
    log_softmax,
    nucleus,
)
from tests.edge_aac.models.drawn_tokens import ENDS, drawn_as, drawn_set

_PUBLISHED = DecodingRules()
_PLAIN = DecodingRules(min_length=0, no_repeat_ngram=0, temperature=1.0, top_p=1.0)
_FIXTURE = Path(__file__).parents[4] / "shared" / "reference" / "captioner_tiny" / "expected.npz"


def _softmax(logits: np.ndarray) -> np.ndarray:
    powers = np.exp(logits.astype(np.float64) - logits.max(axis=-1, keepdims=True))
    return powers / powers.sum(axis=-1, keepdims=True)


def _logits_of(*probabilities: float) -> np.ndarray:
    return np.log(np.array([probabilities], np.float32))


def test_published_probabilities() -> None:
    if not _FIXTURE.is_file():
        pytest.skip(f"no {_FIXTURE}: the reference folder is not part of a checkout")
    expected = np.load(_FIXTURE)
    given = expected["sampling.logits"], expected["sampling.prefix_ids"]
    probabilities = expected["sampling.probs"]
    assert drawn_as(probabilities, *given, _PUBLISHED)
    # The fixture is worth something: it tells when one of these rules is missing.
    for change in ({"no_repeat_ngram": 0}, {"top_p": 1.0}, {"temperature": 1.0}):
        rules = _PUBLISHED.model_copy(update=change)
        assert not drawn_as(probabilities, *given, rules, off=0.005)


def test_nothing_changes_the_logits_it_is_given() -> None:
    random = np.random.default_rng(0)
    logits = random.standard_normal((4, 30)).astype(np.float32)
    before = logits.copy()
    for length in (1, 4, 5, 12, 29):
        draw_by_rules(logits, random.integers(3, 6, (4, length)), _PUBLISHED, random.random(4))
        assert np.array_equal(logits, before)


@pytest.mark.parametrize(("length", "may_end"), [(1, False), (4, False), (5, True), (28, True)])
def test_minimum_length_counts_the_start_token(length: int, may_end: bool) -> None:
    rules = DecodingRules(top_p=1.0, no_repeat_ngram=0)
    drawn = drawn_set(np.zeros((1, 9), np.float32), np.full((1, length), 4), rules)
    assert drawn == [token for token in range(9) if may_end or token != rules.eos_token_id]


@pytest.mark.parametrize("length", [29, 30])
def test_the_end_is_forced(length: int) -> None:
    logits = np.zeros((1, 9), np.float32)
    logits[:, 2] = -1e9
    assert drawn_set(logits, np.full((1, length), 4), _PUBLISHED) == [2]


def test_forced_end_wins_over_minimum_length() -> None:
    rules = DecodingRules(min_length=20, max_length=6)
    assert drawn_set(np.zeros((1, 9), np.float32), np.full((1, 5), 4), rules) == [rules.eos_token_id]


def test_forbid_and_force_end() -> None:
    logits = np.arange(12, dtype=np.float32).reshape(2, 6)
    forbidden = forbid_end(logits, _PUBLISHED)
    assert np.isneginf(forbidden[:, 2]).all()
    assert np.array_equal(np.delete(forbidden, 2, 1), np.delete(logits, 2, 1))
    forced = force_end(logits, _PUBLISHED)
    assert np.array_equal(np.isfinite(forced), np.arange(6)[None] == np.array([[2], [2]]))


@pytest.mark.parametrize("size", [0, 1, 2, 3, 4])
@pytest.mark.parametrize("length", [1, 2, 3, 7, 20])
def test_repeats_against_every_ngram_spelled_out(size: int, length: int) -> None:
    random = np.random.default_rng(10 * size + length)
    prefixes = random.integers(0, 4, (16, length))
    scores = forbid_repeats(np.zeros((16, 4), np.float32), prefixes, size)
    for row, tokens in zip(scores, prefixes.tolist(), strict=True):
        held = {tuple(tokens[start : start + size]) for start in range(length - size + 1)} if size else set()
        for token in range(4):
            completed = tuple([*tokens, token][-size:]) if size else ()
            assert np.isneginf(row[token]) == (size > 0 and length >= size and completed in held)


def test_rows_do_not_forbid_each_other_anything() -> None:
    prefixes = np.array([[3, 4, 5, 3, 4], [4, 5, 3, 5, 4]])
    scores = forbid_repeats(np.zeros((2, 6), np.float32), prefixes, 3)
    assert np.argwhere(np.isneginf(scores)).tolist() == [[0, 5]]


@pytest.mark.parametrize(
    ("top_p", "kept"),
    [(1.0, [0, 1, 2, 3]), (0.95, [0, 1, 2]), (0.85, [0, 1, 2]), (0.79, [0, 1]), (0.5, [0, 1]), (0.4, [0]), (1e-9, [0])],
)
def test_nucleus_keeps_the_fewest_that_hold_the_mass(top_p: float, kept: list[int]) -> None:
    rules = _PLAIN.model_copy(update={"top_p": top_p})
    assert drawn_set(_logits_of(0.45, 0.35, 0.16, 0.04), np.full((1, 1), 0), rules) == kept


def _kept(logits: np.ndarray, top_p: float) -> list[list[int]]:
    """The tokens of each row's nucleus, in order."""
    tokens, kept = nucleus(logits, logits.max(axis=-1), top_p)
    return [of_row[found].tolist() for of_row, found in zip(tokens, kept, strict=True)]


def test_nucleus_gives_tokens_in_their_order() -> None:
    assert _kept(_logits_of(0.04, 0.45, 0.16, 0.35), 0.5) == [[1, 3]]


def test_nucleus_leaves_one_where_all_are_equal() -> None:
    assert _kept(np.zeros((1, 1000), np.float32), 1e-6) == [[999]]


def _logits_for(kind: str, random: np.random.Generator, vocabulary: int) -> np.ndarray:
    logits = random.normal(0, random.uniform(0.1, 6), (8, vocabulary))
    if kind == "ties":
        logits = np.round(logits)
    if kind == "forbidden":
        logits[random.random(logits.shape) < 0.3] = -np.inf
    return logits.astype(np.float32)


@pytest.mark.parametrize("kind", ["plain", "ties", "forbidden"])
@pytest.mark.parametrize("vocabulary", [50, 5000])
@pytest.mark.parametrize("seed", range(10))
def test_nucleus_against_sorted_indices(seed: int, vocabulary: int, kind: str) -> None:
    random = np.random.default_rng([seed, vocabulary])
    logits = _logits_for(kind, random, vocabulary)
    top_p = float(random.uniform(0.05, 0.99))
    for row, kept in zip(logits, _kept(logits, top_p), strict=True):
        probabilities = _softmax(row)
        # Most likely first; of equals the later one.
        order = np.lexsort((-np.arange(vocabulary), -row))
        before = np.concatenate(([0.0], np.cumsum(probabilities[order])))
        # In single precision two neighbours may become equals, and a sum over many is a little off.
        count, off = len(kept), 1e-5
        assert probabilities[kept].sum() == pytest.approx(before[count], abs=off)
        assert before[count - 1] < top_p + off
        assert before[count] >= top_p - off
        if kind == "ties" or vocabulary == 50:
            assert kept == sorted(order[:count])


@pytest.mark.parametrize(("top_p", "count"), [(0.125, 1), (0.25, 1), (0.5, 2), (0.625, 3), (0.75, 3)])
def test_no_more_than_the_mass_asks_for(top_p: float, count: int) -> None:
    # Quarters are exact in any precision.
    assert _kept(np.zeros((1, 4), np.float32), top_p) == [list(range(4 - count, 4))]


def test_of_equals_the_later_ones_stay() -> None:
    assert _kept(_logits_of(0.2, 0.2, 0.1, 0.2, 0.1, 0.2), 0.55) == [[1, 3, 5]]


def test_rows_of_a_nucleus_do_not_see_each_other() -> None:
    logits = _logits_for("ties", np.random.default_rng(4), 40)
    assert _kept(logits, 0.7) == [_kept(row[np.newaxis], 0.7)[0] for row in logits]


@pytest.mark.parametrize("length", [1, 4, 11, 12])
def test_constraints_come_first_and_know_no_temperature(length: int) -> None:
    random = np.random.default_rng(length)
    rules = DecodingRules(temperature=0.3, top_p=1.0, min_length=3, max_length=13, no_repeat_ngram=2)
    logits = random.normal(0, 2, (6, 8)).astype(np.float32)
    prefixes = random.integers(3, 8, (6, length))
    constrained = constrain(logits, prefixes, rules)
    # What is allowed keeps its own logit; all of a nucleus without end are what is allowed, at its temperature.
    if length < rules.max_length - 1:
        allowed = np.isfinite(constrained)
        assert np.array_equal(constrained[allowed], logits[allowed])
    assert drawn_as(_softmax(constrained / np.float32(0.3)), logits, prefixes, rules)
    assert np.isfinite(constrained[:, rules.eos_token_id]).all() == (length >= 3)


def test_temperature_comes_before_the_nucleus() -> None:
    # At temperature 0.5 the likeliest holds 0.36 / 0.46 = 78 % of the mass, at temperature 1 only 60 %.
    rules = DecodingRules(temperature=0.5, top_p=0.7, min_length=0, no_repeat_ngram=0)
    assert drawn_set(_logits_of(0.6, 0.3, 0.1), np.full((1, 1), 0), rules) == [0]


def test_draw_follows_the_probabilities() -> None:
    probabilities = np.array([0.5, 0.0, 0.3, 0.2, 0.0])
    with np.errstate(divide="ignore"):
        logits = np.log(probabilities).astype(np.float32)
    rows, prefixes = np.tile(logits, (20_000, 1)), np.zeros((20_000, 1), np.int64)
    tokens = draw_by_rules(rows, prefixes, _PLAIN, np.random.default_rng(3).random(20_000))
    assert tokens.dtype == np.int64
    counted = np.bincount(tokens, minlength=5) / len(tokens)
    assert counted[[1, 4]].tolist() == [0, 0]
    assert np.abs(counted - probabilities).max() < 0.015


@pytest.mark.parametrize("value", ENDS)
def test_draw_never_takes_what_is_forbidden(value: float) -> None:
    logits = np.full((1, 7), -np.inf, np.float32)
    for kept in ([3], [2, 4], [0, 6], [1, 2, 5]):
        scores = logits.copy()
        scores[0, kept] = np.linspace(-30, 1, len(kept))
        assert draw_by_rules(scores, np.zeros((1, 1), np.int64), _PLAIN, np.array([value]))[0] in kept


def test_draw_is_determined_by_its_points() -> None:
    logits = np.random.default_rng(0).standard_normal((8, 50)).astype(np.float32)
    prefixes = np.zeros((8, 1), np.int64)
    first, again, other = (
        draw_by_rules(logits, prefixes, _PLAIN, np.random.default_rng(seed).random(8)) for seed in (5, 5, 6)
    )
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


@pytest.mark.parametrize("kind", ["plain", "ties", "forbidden"])
@pytest.mark.parametrize("seed", range(5))
def test_a_row_is_drawn_as_it_is_alone(seed: int, kind: str) -> None:
    """Rows of other windows stand beside it, with more tokens or fewer to choose from."""
    random = np.random.default_rng(seed)
    logits, prefixes = _logits_for(kind, random, 200), random.integers(3, 6, (8, 9))
    for points in random.random((20, 8)):
        together = draw_by_rules(logits, prefixes, _PUBLISHED, points)
        for row in range(8):
            one = slice(row, row + 1)
            assert draw_by_rules(logits[one], prefixes[one], _PUBLISHED, points[one])[0] == together[row]


@pytest.mark.parametrize("top_p", [0.5, 0.95, 1.0])
@pytest.mark.parametrize("kind", ["plain", "ties", "forbidden"])
@pytest.mark.parametrize("length", [2, 9, 29])
def test_drawing_by_rules_is_drawing_from_what_the_rules_leave(length: int, kind: str, top_p: float) -> None:
    random = np.random.default_rng(length)
    rules = _PUBLISHED.model_copy(update={"top_p": top_p, "max_length": 30})
    for withheld in (None, random.random(200) < 0.7, random.random((8, 200)) < 0.7, np.ones(200, bool)):
        logits, prefixes = _logits_for(kind, random, 200), random.integers(3, 6, (8, length))
        scores = constrain(logits, prefixes, rules, withheld) / np.float32(rules.temperature)
        left = np.zeros(scores.shape)
        for row, tokens in enumerate(_kept(scores, top_p) if top_p < 1.0 else map(np.flatnonzero, scores > -np.inf)):
            left[row, tokens] = _softmax(scores[row, tokens])
        assert draw_by_rules(logits, prefixes, rules, random.random(8), withheld).dtype == np.int64
        assert drawn_as(left, logits, prefixes, rules, withheld)


def test_log_softmax() -> None:
    logits = np.array([[1000.0, 999.0, -np.inf], [0.0, 0.0, 0.0]], np.float32)
    values = log_softmax(logits)
    assert values.dtype == np.float32
    assert np.isneginf(values[0, 2])
    assert np.allclose(np.exp(values).sum(axis=-1), 1)
    assert np.allclose(values[1], -np.log(3))


@pytest.mark.parametrize("vocabulary", [5, 50, 50_265])
def test_log_likelihood_is_that_of_the_softmax(vocabulary: int) -> None:
    random = np.random.default_rng(vocabulary)
    logits = random.normal(300, 20, (16, vocabulary)).astype(np.float32)
    logits[random.random(logits.shape) < 0.2] = -np.inf
    tokens = random.integers(0, vocabulary, 16)
    logits[:4, tokens[:4]] = -np.inf
    logits[np.arange(4, 8), tokens[4:8]] = 400.0
    rows = np.arange(16)
    likelihood = log_likelihood(logits, tokens)
    assert likelihood.dtype == np.float64
    assert np.isneginf(likelihood[:4]).all()
    with np.errstate(divide="ignore"):
        expected = np.log(_softmax(logits)[rows, tokens])
    sure = np.isfinite(expected)
    assert np.array_equal(np.isneginf(likelihood), ~sure)
    assert np.abs(likelihood[sure] - expected[sure]).max() < 1e-5
    assert np.abs(likelihood[sure] - log_softmax(logits)[rows, tokens][sure]).max() < 1e-4


def test_what_is_withheld_is_never_drawn() -> None:
    logits = _logits_of(0.6, 0.1, 0.1, 0.2)
    withheld = np.array([True, False, False, True])
    rules = DecodingRules(min_length=0, temperature=1.0, top_p=1.0)
    assert drawn_as(np.array([[0.0, 0.5, 0.5, 0.0]]), logits, np.array([[2]]), rules, withheld)
    assert np.array_equal(constrain(logits, np.array([[2]]), rules, np.zeros(4, bool)), logits)


def test_an_end_that_is_due_is_not_withheld() -> None:
    rules = DecodingRules(max_length=2, min_length=0)
    scores = constrain(_logits_of(0.25, 0.25, 0.25, 0.25), np.array([[2]]), rules, np.array([True, True, False, True]))
    assert scores[0].argmax() == rules.eos_token_id
