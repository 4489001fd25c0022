"""The decoding loop: what comes out keeps the rules, what goes in is the right cache."""

from __future__ import annotations

import numpy as np
import pytest

from edge_aac.bundle.manifest import DecodingMethod, DecodingRules
from edge_aac.engines.steps import HostSteps
from edge_aac.errors import ConfigError, DataError
from edge_aac.models.contract import CancelledError
from edge_aac.models.decoding import Candidate, CandidateDecoder
from tests.edge_aac.fake_engines import END, FakeDecoderEngine, Shape, prefix_logits

_VOCABULARY = 12


def _decode(engine: FakeDecoderEngine, rules: DecodingRules, seed: int = 0) -> list[Candidate]:
    return _decode_one(CandidateDecoder(engine), engine, rules, np.random.default_rng(seed))


def _decode_one(
    decoder: CandidateDecoder, engine: FakeDecoderEngine, rules: DecodingRules, rng: np.random.Generator
) -> list[Candidate]:
    """The candidates of the engine's one window; what is wrong with it is raised."""
    (found,) = decoder.decode(engine.memory, rules, [rng])
    if isinstance(found, DataError):
        raise found
    return found


def _noise_engine(seed: int, end_bias: float, capacity: int | None = 32) -> FakeDecoderEngine:
    random = np.random.default_rng(seed)

    def logits(prefixes: np.ndarray) -> np.ndarray:
        scores = random.normal(0, 2, (len(prefixes), _VOCABULARY))
        scores[:, END] += end_bias
        return scores

    return FakeDecoderEngine(logits, capacity)


@pytest.mark.parametrize("end_bias", [-100.0, -2.0, 2.0, 100.0])
@pytest.mark.parametrize("method", ["nucleus", "greedy", "beam"])
@pytest.mark.parametrize("seed", range(10))
def test_every_candidate_keeps_the_rules(seed: int, method: DecodingMethod, end_bias: float) -> None:
    rules = DecodingRules(method=method, candidates=5, min_length=4, max_length=13, no_repeat_ngram=3)
    candidates = _decode(_noise_engine(seed, end_bias, (None, 13, 32)[seed % 3]), rules, seed)
    assert len(candidates) == (5 if method == "nucleus" else 1)
    for candidate in candidates:
        whole = (rules.start_token_id, *candidate.token_ids, rules.eos_token_id)
        assert rules.min_length < len(whole) <= rules.max_length
        assert END not in candidate.token_ids
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
        assert seen[len(tokens) :] in ([], [END] + [rules.pad_token_id] * (len(seen) - len(tokens) - 1))


def test_a_captioner_full_of_an_older_window_starts_anew() -> None:
    engine = _noise_engine(4, -0.5)
    decoder = CandidateDecoder(engine)
    rules = DecodingRules(candidates=3, max_length=16)
    for seed in range(10):
        # The engine itself asserts, at each step, that the rows before the step are those of this window.
        _decode_one(decoder, engine, rules, np.random.default_rng(seed))
    for count in (1, 7, 3):
        _decode_one(decoder, engine, rules.model_copy(update={"candidates": count}), np.random.default_rng(0))
    assert engine.batches == 13


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
        scores[0, END if prefixes.shape[1] == 1 else 4] = 5.0
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


@pytest.mark.parametrize("capacity", [9, 12, 20, None])
@pytest.mark.parametrize("method", ["nucleus", "greedy", "beam"])
def test_capacity(method: DecodingMethod, capacity: int | None) -> None:
    rules = DecodingRules(method=method, max_length=9, max_positions=12)
    engine = _noise_engine(0, -100.0, capacity)
    assert CandidateDecoder(engine).capacity == capacity
    assert all(len(candidate.token_ids) == 7 for candidate in _decode(engine, rules))
    # An open axis gets no more rows than are read again.
    assert {shape[2] for shape in engine.cache_shapes} == {capacity or 8}
    limit = min(capacity or 12, 12)
    with pytest.raises(ConfigError, match=f"max_length {limit + 1} exceeds .* {limit} tokens"):
        _decode(engine, rules.model_copy(update={"max_length": limit + 1}))
    assert len(_decode(engine, rules.model_copy(update={"max_length": limit}))[0].token_ids) == limit - 2


@pytest.mark.parametrize("capacity", [32, None])
@pytest.mark.parametrize("method", ["nucleus", "beam"])
def test_the_cache_is_allocated_once(method: DecodingMethod, capacity: int | None) -> None:
    engine = _noise_engine(1, -2.0, capacity)
    decoder = CandidateDecoder(engine)
    for _ in range(3):
        rules = DecodingRules(method=method)
        _decode_one(decoder, engine, rules, np.random.default_rng(0))
    assert len(engine.cache_addresses) > 10
    assert len(set(engine.cache_addresses)) == 1


class _OtherGraph(FakeDecoderEngine):
    """A graph that declares other inputs."""

    def __init__(self, shapes: dict[str, Shape]) -> None:
        super().__init__(prefix_logits(_VOCABULARY, 0))
        self._shapes = shapes

    @property
    def input_shapes(self) -> dict[str, Shape]:
        return self._shapes


@pytest.mark.parametrize(
    ("cache", "axis"),
    [((1, "heads", 32, 4), "heads"), ((1, 3, "capacity", "size"), "size"), ((1, 3, 32, None), "None")],
)
def test_a_cache_axis_that_must_be_fixed(cache: Shape, axis: str) -> None:
    with pytest.raises(DataError, match=f"open.*{axis}.*export"):
        CandidateDecoder(_OtherGraph({"self_keys_0": cache, "self_values_0": cache, "memory_padding": (1, 5)}))


@pytest.mark.parametrize(
    ("missing", "cache"),
    [
        ("self_keys_0", {"self_keys": (2, "candidates", 3, 32, 4)}),
        ("memory_padding", {"self_keys_0": ("candidates", 3, 32, 4)}),  # one window at a time
    ],
)
def test_a_graph_of_an_older_form(missing: str, cache: dict[str, Shape]) -> None:
    with pytest.raises(DataError, match=f"no {missing}, .*older.*export it again"):
        CandidateDecoder(_OtherGraph({"token_ids": ("candidates", 1), **cache}))


def test_reorder_moves_what_is_written_and_nothing_for_nothing() -> None:
    random = np.random.default_rng(0)
    shape = (FakeDecoderEngine.layers, 4, FakeDecoderEngine.heads, 8, FakeDecoderEngine.head_size)
    keys, values = random.standard_normal((2, *shape)).astype(np.float32)
    before = keys.copy(), values.copy()
    engine = _noise_engine(0, 0.0)
    window = HostSteps(engine, (keys, values), engine.memory)
    parents = np.array([2, 2, 0, 3])
    window.reorder(parents, 5)
    for cache, old in zip((keys, values), before, strict=True):
        assert np.array_equal(cache[:, :, :, :5], old[:, parents, :, :5])
        assert np.array_equal(cache[:, :, :, 5:], old[:, :, :, 5:])
    for cache in (keys, values):
        cache.flags.writeable = False
    window.reorder(np.arange(4), 5)
    with pytest.raises(ValueError, match="read-only"):
        window.reorder(parents, 5)


class _NoRandomness(np.random.Generator):
    """A generator that must not be asked."""

    def __init__(self) -> None:
        super().__init__(np.random.PCG64(0))

    def random(self, *_: object, **__: object) -> float:  # type: ignore[override]
        raise AssertionError("there is nothing to draw")


@pytest.mark.parametrize("method", ["greedy", "beam"])
def test_what_is_not_drawn_knows_no_chance(method: DecodingMethod) -> None:
    rules = DecodingRules(method=method, max_length=12)
    candidates = set()
    for change in ({}, {"temperature": 5.0}, {"top_p": 0.01}, {"candidates": 17}):
        engine = FakeDecoderEngine(prefix_logits(_VOCABULARY, 7, end_bias=1.0))
        decoder = CandidateDecoder(engine)
        changed = rules.model_copy(update=change)
        candidates.update(_decode_one(decoder, engine, changed, _NoRandomness()))
    assert len(candidates) == 1


def test_greedy_by_hand() -> None:
    # Probabilities by step, of the tokens 0 to 5; 1 is padding, 2 the end.
    steps = np.array(
        [
            [0.1, 0.1, 0.4, 0.3, 0.05, 0.05],  # the end comes too early: 3
            [0.1, 0.1, 0.1, 0.1, 0.1, 0.5],  # 5
            [0.1, 0.1, 0.1, 0.6, 0.05, 0.05],  # 3
            [0.05, 0.05, 0.2, 0.1, 0.1, 0.5],  # 3, 5 would come a second time: the end
        ]
    )
    engine = FakeDecoderEngine(lambda prefixes: np.log(steps[[prefixes.shape[1] - 1]]) - 2.0)
    rules = DecodingRules(method="greedy", min_length=2, max_length=9, no_repeat_ngram=2)
    (candidate,) = _decode(engine, rules)
    assert candidate.token_ids == (3, 5, 3)
    assert candidate.log_likelihood == pytest.approx(np.log([0.3, 0.5, 0.6, 0.2]).mean(), abs=1e-6)


def test_greedy_takes_the_likeliest_at_every_step() -> None:
    logits = prefix_logits(_VOCABULARY, 3)
    rules = DecodingRules(method="greedy", min_length=0, max_length=15, no_repeat_ngram=0)
    (candidate,) = _decode(FakeDecoderEngine(logits), rules)
    prefix = [rules.start_token_id]
    while len(prefix) < rules.max_length - 1 and (token := int(logits(np.array([prefix])).argmax())) != END:
        prefix.append(token)
    assert candidate.token_ids == tuple(prefix[1:])


def test_cancelled_between_steps() -> None:
    engine = _noise_engine(0, -100.0)
    answers = iter([False, False, False, True])
    with pytest.raises(CancelledError):
        rngs = [np.random.default_rng(0)]
        CandidateDecoder(engine).decode(engine.memory, DecodingRules(), rngs, lambda: next(answers))
    assert next(answers, None) is None


@pytest.mark.parametrize("method", ["nucleus", "greedy", "beam"])
@pytest.mark.parametrize("rubbish", [np.nan, np.inf, -np.inf])
def test_numbers_that_are_none_are_refused(rubbish: float, method: DecodingMethod) -> None:
    engine = FakeDecoderEngine(lambda prefixes: np.full((len(prefixes), _VOCABULARY), rubbish), 32)
    with pytest.raises(DataError, match="NaN"), np.errstate(invalid="ignore"):
        _decode(engine, DecodingRules(method=method))


def test_a_window_of_rubbish_leaves_nothing_behind() -> None:
    """A NaN in the cache would spoil every window after it: masked rows have no weight, but 0 x NaN is NaN."""
    engine = _noise_engine(7, -0.5)
    expected = _decode(_noise_engine(7, -0.5), DecodingRules(candidates=3))
    decoder, honest = CandidateDecoder(engine), engine.run

    def rubbish(inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        outputs = honest(inputs)
        return {**outputs, "new_keys": np.full_like(outputs["new_keys"], np.nan)}

    engine.run = rubbish  # type: ignore[method-assign]
    with pytest.raises(DataError, match="NaN"):
        _decode_one(decoder, engine, DecodingRules(candidates=3), np.random.default_rng(0))
    assert all(np.isfinite(array).all() for arrays in decoder._caches.values() for array in arrays)
    assert len(expected) == 3
