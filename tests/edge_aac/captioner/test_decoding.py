"""The decoding loop: what comes out keeps the rules, what goes in is the right cache."""

from __future__ import annotations

import numpy as np
import pytest

from edge_aac.captioner.bundle import DecodingRules
from edge_aac.captioner.decoding import CancelledError, Candidate, CandidateDecoder
from edge_aac.errors import ConfigError, DataError
from tests.edge_aac.fakes import FakeDecoderEngine

_VOCABULARY = 12
_END = 2


def _decode(engine: FakeDecoderEngine, rules: DecodingRules, seed: int = 0) -> list[Candidate]:
    decoder = CandidateDecoder(engine)
    return decoder.decode(engine.cross_keys, engine.cross_values, rules, np.random.default_rng(seed))


def _noise_engine(seed: int, end_bias: float, capacity: int = 32) -> FakeDecoderEngine:
    random = np.random.default_rng(seed)

    def logits(prefixes: np.ndarray) -> np.ndarray:
        scores = random.normal(0, 2, (len(prefixes), _VOCABULARY))
        scores[:, _END] += end_bias
        return scores

    return FakeDecoderEngine(logits, capacity)


@pytest.mark.parametrize("end_bias", [-100.0, -2.0, 2.0, 100.0])
@pytest.mark.parametrize("seed", range(25))
def test_every_candidate_keeps_the_rules(seed: int, end_bias: float) -> None:
    rules = DecodingRules(candidates=5, min_length=4, max_length=13, no_repeat_ngram=3)
    candidates = _decode(_noise_engine(seed, end_bias), rules, seed)
    assert len(candidates) == 5
    for candidate in candidates:
        whole = (rules.start_token_id, *candidate.token_ids, rules.eos_token_id)
        assert rules.min_length < len(whole) <= rules.max_length
        assert _END not in candidate.token_ids
        assert all(0 <= token < _VOCABULARY for token in candidate.token_ids)
        # The end itself may complete a repeat where it is forced.
        trigrams = [whole[start : start + 3] for start in range(len(whole) - 3)]
        assert len(trigrams) == len(set(trigrams))
        assert candidate.log_likelihood < 0
    lengths = {len(candidate.token_ids) for candidate in candidates}
    if end_bias == 100.0:
        assert lengths == {rules.min_length - 1}
    if end_bias == -100.0:
        assert lengths == {rules.max_length - 2}


def test_the_engine_sees_the_tokens_that_were_drawn() -> None:
    engine = _noise_engine(3, -1.0)
    rules = DecodingRules(candidates=4, max_length=20)
    candidates = _decode(engine, rules)
    assert (engine.prefixes[:, 0] == rules.start_token_id).all()
    for prefix, candidate in zip(engine.prefixes.tolist(), candidates, strict=True):
        seen = prefix[1:]
        tokens = list(candidate.token_ids)
        assert seen[: len(tokens)] == tokens[: len(seen)]
        # After its end a row is fed the end once, then padding.
        assert seen[len(tokens) :] in ([], [_END] + [rules.pad_token_id] * (len(seen) - len(tokens) - 1))


def test_a_captioner_full_of_an_older_window_starts_anew() -> None:
    engine = _noise_engine(4, -0.5)
    decoder = CandidateDecoder(engine)
    rules = DecodingRules(candidates=3, max_length=16)
    for seed in range(10):
        # The engine itself asserts, at each step, that the rows before the step are those of this window.
        decoder.decode(engine.cross_keys, engine.cross_values, rules, np.random.default_rng(seed))
    for count in (1, 7, 3):
        decoder.decode(
            engine.cross_keys,
            engine.cross_values,
            rules.model_copy(update={"candidates": count}),
            np.random.default_rng(0),
        )
    assert engine.windows == 13


def test_it_stops_when_all_have_ended() -> None:
    engine = _noise_engine(0, 100.0)
    _decode(engine, DecodingRules(candidates=6))
    assert engine.prefixes.shape == (6, 5)


def test_mean_log_likelihood_by_hand() -> None:
    # Probabilities by step, of the tokens 0 (never), 1 (padding), 2 (end), 3 and 4.
    steps = np.array(
        [[0.1, 0.1, 0.6, 0.15, 0.05], [0.1, 0.1, 0.1, 0.2, 0.5], [0.05, 0.05, 0.5, 0.2, 0.2]], dtype=np.float64
    )
    engine = FakeDecoderEngine(lambda prefixes: np.log(np.tile(steps[prefixes.shape[1] - 1], (len(prefixes), 1))) + 7.0)
    # A nucleus of nothing takes the likeliest that is allowed; the temperature must not be in the likelihood.
    rules = DecodingRules(candidates=2, top_p=1e-6, temperature=0.25, min_length=2, max_length=9)
    candidates = _decode(engine, rules)
    # Step 0: the end is likeliest and forbidden, 3 follows; step 1: 4; step 2: the end.
    expected = np.log([0.15, 0.5, 0.5]).mean()
    for candidate in candidates:
        assert candidate.token_ids == (3, 4)
        assert candidate.log_likelihood == pytest.approx(expected, abs=1e-6)


def test_a_forced_end_counts_with_its_own_likelihood() -> None:
    probabilities = np.array([0.01, 0.01, 0.08, 0.6, 0.3])
    engine = FakeDecoderEngine(lambda prefixes: np.log(np.tile(probabilities, (len(prefixes), 1))))
    rules = DecodingRules(candidates=1, top_p=1e-6, min_length=0, max_length=4, no_repeat_ngram=0)
    (candidate,) = _decode(engine, rules)
    assert candidate.token_ids == (3, 3)
    assert candidate.log_likelihood == pytest.approx(np.log([0.6, 0.6, 0.08]).mean(), abs=1e-6)


def test_a_candidate_that_ended_is_left_alone() -> None:
    def logits(prefixes: np.ndarray) -> np.ndarray:
        # The first row ends at once and sees nonsense after that; the second goes on with 3.
        scores = np.full((2, 5), -5.0)
        scores[0, _END if prefixes.shape[1] == 1 else 4] = 5.0
        scores[1, 3] = 5.0
        return scores

    rules = DecodingRules(candidates=2, top_p=1e-6, min_length=0, max_length=6, no_repeat_ngram=0)
    ended, other = _decode(FakeDecoderEngine(logits), rules)
    likelihood = 5.0 - np.log(np.exp(5.0) + 4 * np.exp(-5.0))
    assert ended == Candidate((), pytest.approx(likelihood, abs=1e-6))
    assert other.token_ids == (3, 3, 3, 3)
    forced = -5.0 - np.log(np.exp(5.0) + 4 * np.exp(-5.0))
    assert other.log_likelihood == pytest.approx((4 * likelihood + forced) / 5, abs=1e-5)


def test_the_seed_decides() -> None:
    rules = DecodingRules(candidates=4)

    def frozen(prefixes: np.ndarray) -> np.ndarray:
        return np.random.default_rng(prefixes.shape[1]).standard_normal((len(prefixes), _VOCABULARY))

    first, again, other = (_decode(FakeDecoderEngine(frozen), rules, seed) for seed in (1, 1, 2))
    assert first == again
    assert first != other
    assert len({candidate.token_ids for candidate in first}) > 1


def test_capacity() -> None:
    assert CandidateDecoder(_noise_engine(0, 0.0, capacity=9)).capacity == 9
    with pytest.raises(ConfigError, match="capacity of 9"):
        _decode(_noise_engine(0, 0.0, capacity=9), DecodingRules(max_length=10))
    _decode(_noise_engine(0, -100.0, capacity=9), DecodingRules(max_length=9))
    with pytest.raises(ConfigError, match="open"):
        CandidateDecoder(FakeDecoderEngine(lambda prefixes: prefixes, capacity=None))


def test_cancelled_between_steps() -> None:
    engine = _noise_engine(0, -100.0)
    asked = iter([False, False, False, True])
    with pytest.raises(CancelledError):
        CandidateDecoder(engine).decode(
            engine.cross_keys, engine.cross_values, DecodingRules(), np.random.default_rng(0), lambda: next(asked)
        )
    assert next(asked, None) is None


@pytest.mark.parametrize("rubbish", [np.nan, np.inf])
def test_numbers_that_are_none_are_refused(rubbish: float) -> None:
    engine = FakeDecoderEngine(lambda prefixes: np.full((len(prefixes), _VOCABULARY), rubbish), 32)
    with pytest.raises(DataError, match="NaN"), np.errstate(invalid="ignore"):
        _decode(engine, DecodingRules())
