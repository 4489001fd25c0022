"""The beam search behind a prefix, on a decoder whose every number is known."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import product

import numpy as np
import pytest

from edge_aac.errors import DataError
from edge_aac.models.contract import CancelledError
from edge_aac.models.prefix_search import Beams, PrefixDecoder, beam_search
from edge_aac.models.prompted_manifest import SearchRules

VOCABULARY, STOP, POSITIONS = 5, 3, 40
PREFIX = np.full((3, 2), 0.5, np.float32)


class Recalling:
    """A decoder whose logits follow from all that a row has read, which it finds in its cache and nowhere else."""

    def __init__(self, seed: int = 0, spoil_at: int | None = None) -> None:
        self._table = np.random.default_rng(seed).normal(0.0, 1.5, (POSITIONS, 7, VOCABULARY)).astype(np.float32)
        self._spoil_at = spoil_at
        cache = ("rows", 1, "capacity", 1)
        self.input_shapes = {
            "prefix": ("rows", "vectors", 2),
            "token_ids": ("rows", "tokens"),
            "step": (1,),
            "self_keys_0": cache,
            "self_values_0": cache,
        }

    def run(self, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        prefix, tokens, step = inputs["prefix"], inputs["token_ids"], int(inputs["step"][0])
        # A vector counts as 6, a token as itself.
        new = np.concatenate([np.full(prefix.shape[:2], 6.0), tokens], axis=1).astype(np.float32)
        read = np.concatenate([inputs["self_keys_0"][:, 0, :step, 0], new], axis=1)
        logits = np.stack([self.after(row.astype(int).tolist()) for row in read])
        if self._spoil_at is not None and step >= self._spoil_at:
            logits[0, 0] = np.nan
        shaped = new[None, :, None, :, None]
        return {"logits": logits, "new_keys": shaped, "new_values": shaped}

    def after(self, read: list[int]) -> np.ndarray:
        """Logits behind what was read."""
        return np.sum([self._table[place, token] for place, token in enumerate(read)], axis=0, dtype=np.float32)


def _search(engine: Recalling, **rules: float) -> Beams:
    return beam_search(PrefixDecoder(engine), PREFIX, SearchRules(stop_token_id=STOP, **rules))


def _mean(engine: Recalling, text: tuple[int, ...], before: tuple[int, ...] = ()) -> float:
    """Mean log-probability of a text behind the prefix."""
    read, total = [6] * len(PREFIX) + list(before), 0.0
    for token in text:
        logits = engine.after(read).astype(np.float64)
        total += float(logits[token] - np.log(np.exp(logits).sum()))
        read.append(token)
    return total / len(text)


def test_as_many_beams_as_texts_find_the_best_of_all() -> None:
    engine = Recalling()
    found = _search(engine, beams=5, max_length=2)
    texts = [(first,) if first == STOP else (first, second) for first, second in product(range(5), repeat=2)]
    wanted = sorted(set(texts), key=lambda text: -_mean(engine, text))[:5]
    assert [tuple(row) for row in found.rows()] == wanted
    np.testing.assert_allclose(found.scores, [_mean(engine, text) for text in wanted], rtol=1e-5)


@pytest.mark.parametrize("beams", [1, 3])
def test_scores_are_those_of_the_texts(beams: int) -> None:
    engine = Recalling(1)
    found = _search(engine, beams=beams, max_length=12)
    assert found.token_ids.shape[0] == beams
    assert list(found.scores) == sorted(found.scores, reverse=True)
    for row, score in zip(found.rows(), found.scores, strict=True):
        assert STOP not in row[:-1], "nothing follows the stop token"
        assert row[-1] == STOP or len(row) == 12
        assert score == pytest.approx(_mean(engine, tuple(row)), rel=1e-4)
    for ids, length in zip(found.token_ids, found.lengths, strict=True):
        assert not ids[length:].any()


def test_a_text_goes_on_from_additional_tokens() -> None:
    engine = Recalling(2)
    rules = SearchRules(stop_token_id=STOP, beams=2, max_length=4)
    found = beam_search(PrefixDecoder(engine), PREFIX, rules, [1, 4])
    (best, _), score = found.rows(), found.scores[0]
    assert score == pytest.approx(_mean(engine, tuple(best), (1, 4)), rel=1e-4)


def test_a_decoder_serves_one_search_after_the_other() -> None:
    engine = Recalling(3)
    decoder = PrefixDecoder(engine)
    rules = [SearchRules(stop_token_id=STOP, beams=beams, max_length=8) for beams in (4, 1, 4)]
    first, _, again = (beam_search(decoder, PREFIX, each) for each in rules)
    assert np.array_equal(first.token_ids, again.token_ids)
    assert np.array_equal(first.scores, again.scores)


def test_a_low_temperature_leaves_one_text() -> None:
    engine = Recalling(4)
    cold = _search(engine, beams=3, max_length=6, temperature=0.01)
    assert cold.rows()[0] == _search(engine, beams=1, max_length=6).rows()[0]
    assert cold.scores[0] == pytest.approx(0.0, abs=1e-3)


def test_numbers_that_are_none_are_refused() -> None:
    with pytest.raises(DataError, match="NaN or infinite"):
        _search(Recalling(spoil_at=0), beams=2)
    with pytest.raises(DataError, match="NaN or infinite"):
        _search(Recalling(spoil_at=len(PREFIX) + 1), beams=2)


def test_a_search_can_be_given_up() -> None:
    asked: list[int] = []

    def at_the_third() -> bool:
        asked.append(1)
        return len(asked) == 3

    rules = SearchRules(stop_token_id=STOP, beams=2, max_length=30)
    with pytest.raises(CancelledError):
        beam_search(PrefixDecoder(Recalling(1)), PREFIX, rules, cancelled=at_the_third)


def test_a_graph_without_a_cache_is_refused() -> None:
    engine = Recalling()
    del engine.input_shapes["self_keys_0"], engine.input_shapes["self_values_0"]
    with pytest.raises(DataError, match="no cache of known sizes"):
        PrefixDecoder(engine)
