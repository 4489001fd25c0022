"""Windows that are decoded together: each is what it is alone, and none spoils another."""

from __future__ import annotations

import numpy as np
import pytest

from edge_aac.bundle.manifest import DecodingMethod, DecodingRules
from edge_aac.errors import DataError
from edge_aac.models.decoding import CandidateDecoder
from edge_aac.models.whole_words import Held
from tests.edge_aac.fake_engines import FakeDecoderEngine, prefix_logits

_VOCABULARY = 12
_METHODS: list[DecodingMethod] = ["nucleus", "greedy", "beam"]


@pytest.mark.parametrize("method", _METHODS)
@pytest.mark.parametrize("seed", range(6))
def test_a_window_in_a_batch_is_the_window_alone(seed: int, method: DecodingMethod) -> None:
    """Seed for seed: what is drawn for a window depends neither on the others nor on when they end."""
    rules = DecodingRules(method=method, candidates=3, beams=3, min_length=2, max_length=14)
    logits = prefix_logits(_VOCABULARY, seed, end_bias=1.5)
    withheld = np.zeros(_VOCABULARY, bool)
    withheld[5:8] = True
    masks: list[Held] = [None, withheld, None, None, withheld]
    together = CandidateDecoder(engine := FakeDecoderEngine(logits, windows=5)).decode(
        engine.memory, rules, [np.random.default_rng([seed, number]) for number in range(5)], held=masks
    )
    assert engine.batches == 1
    for number, found in enumerate(together):
        alone = CandidateDecoder(engine := FakeDecoderEngine(logits)).decode(
            engine.memory, rules, [np.random.default_rng([seed, number])], held=[masks[number]]
        )
        assert [found] == alone
    if method == "nucleus":
        lengths = {len(candidate.token_ids) for found in together if isinstance(found, list) for candidate in found}
        assert len(lengths) > 1, "some end earlier than others"


@pytest.mark.parametrize("method", _METHODS)
@pytest.mark.parametrize("rubbish", ["logits", "cache"])
@pytest.mark.parametrize("step", [0, 3])
def test_a_window_of_rubbish_spoils_no_other(method: DecodingMethod, rubbish: str, step: int) -> None:
    rules = DecodingRules(method=method, candidates=2, beams=2, min_length=5, max_length=12)
    logits = prefix_logits(_VOCABULARY, 3, end_bias=-1.0)
    rngs = [[np.random.default_rng(seed) for seed in range(4)] for _ in range(2)]
    expected = CandidateDecoder(whole := FakeDecoderEngine(logits, windows=4)).decode(whole.memory, rules, rngs[0])
    engine = FakeDecoderEngine(logits, windows=4)
    decoder, honest = CandidateDecoder(engine), engine.run
    spoilt = 1 if method == "greedy" else 3  # a row of the second window

    def of_the_second(inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        outputs = honest(inputs)
        if rubbish == "logits" and inputs["step"][0] >= step:
            outputs["logits"][spoilt] = np.nan
        if rubbish == "cache" and inputs["step"][0] == step:
            outputs["new_values"][:, spoilt] = np.inf
            # Zeros are kept in its place, which the engine shall take for what it gave out.
            engine.accept(np.zeros_like(outputs["new_keys"][:, spoilt, :, 0]), engine.prefixes[spoilt])
        return outputs

    engine.run = of_the_second  # type: ignore[method-assign]
    found = decoder.decode(engine.memory, rules, rngs[1])
    assert isinstance(found[1], DataError) and "NaN" in str(found[1])
    assert [found[0], *found[2:]] == [expected[0], *expected[2:]]
    assert all(np.isfinite(array).all() for arrays in decoder._caches.values() for array in arrays)


@pytest.mark.parametrize("method", _METHODS)
def test_a_batch_of_nothing_but_rubbish(method: DecodingMethod) -> None:
    engine = FakeDecoderEngine(lambda prefixes: np.full((len(prefixes), _VOCABULARY), np.nan), windows=3)
    rngs = [np.random.default_rng(0)] * 3
    found = CandidateDecoder(engine).decode(engine.memory, DecodingRules(method=method), rngs)
    assert [type(each) for each in found] == [DataError] * 3


def test_the_cache_serves_batches_of_all_sizes() -> None:
    logits = prefix_logits(_VOCABULARY, 0)
    engines = [FakeDecoderEngine(logits, windows=windows) for windows in (4, 1, 3, 4)]
    decoder = CandidateDecoder(engines[0])
    for engine in engines:
        decoder._engine = engine
        decoder.decode(engine.memory, DecodingRules(), [np.random.default_rng(0)] * engine.memory.windows)
    assert len({addresses for engine in engines for addresses in engine.cache_addresses}) == 1


def test_padding_is_given_to_the_graph() -> None:
    engine = FakeDecoderEngine(prefix_logits(_VOCABULARY, 0), windows=2)
    engine.padding = np.array([[False] * 5, [False, True, False, True, True]])
    # The engine itself insists on it.
    rngs = [np.random.default_rng(0)] * 2
    assert len(CandidateDecoder(engine).decode(engine.memory, DecodingRules(), rngs)) == 2


class _Bounded(FakeDecoderEngine):
    """An engine that was built for so many rows and windows."""

    largest_shapes: dict[str, tuple[int, ...]] = {"token_ids": (40, 1), "memory_padding": (7, 5)}


@pytest.mark.parametrize(("candidates", "windows"), [(2, 7), (6, 6), (40, 1), (50, 1)])
def test_as_many_windows_at_once_as_the_engine_was_built_for(candidates: int, windows: int) -> None:
    decoder = CandidateDecoder(_Bounded(prefix_logits(_VOCABULARY, 0)))
    assert decoder.windows_at_once(DecodingRules(candidates=candidates)) == windows
    assert decoder.windows_at_once(DecodingRules(method="greedy")) == 7
