"""Candidates whose decoder meant another word, which begins alike and may not be said."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge_aac.bundle.manifest import DecodingMethod, DecodingRules
from edge_aac.engines.contract import EngineOptions
from edge_aac.models import pipeline
from edge_aac.models.candidates import LED_ASTRAY, candidates_of, straight
from edge_aac.models.choices import Choices
from edge_aac.models.contract import not_cancelled
from edge_aac.models.decoding import Candidate, find_candidates
from edge_aac.models.sampling import probability_of
from edge_aac.models.seq2seq import Captioner
from edge_aac.models.tokens import to_text, ways_to_say
from edge_aac.models.whole_words import Held, RowWords
from tests.edge_aac.models.ensemble_bundles import descriptions, sounds
from tests.edge_aac.models.piece_words import KINDS, ORDER, sureness_of, tokenizer_of
from tests.edge_aac.models.tiny_bundle import captioner_table, write

END = 2
OF_NONE = (0.0,) * len(ORDER)


def _held(kind: str, told: Sequence[float]) -> Held:
    sureness = sureness_of(kind)
    return sureness.sayable(sureness.raised(np.array([told], np.float32))[0])


class _Wanting:
    """A decoder that wants some tokens in turn, then the end, and any other hardly."""

    def __init__(self, wanted: Sequence[int], vocabulary: int) -> None:
        self._wanted, self._vocabulary = wanted, vocabulary

    def step(self, token_ids: np.ndarray, step: int) -> np.ndarray:
        logits = np.zeros((len(token_ids), self._vocabulary), np.float32)
        logits[:, self._wanted[step] if step < len(self._wanted) else END] = 12.0
        return logits

    def reorder(self, parents: np.ndarray, length: int) -> None:
        pass


def _found(kind: str, text: str, told: Sequence[float], method: DecodingMethod = "nucleus") -> tuple[str, float]:
    tokenizer = tokenizer_of(kind)
    first, *others = text.split()
    wanted = [*ways_to_say(tokenizer, first)[0], *(t for word in others for t in ways_to_say(tokenizer, word)[1])]
    rules = DecodingRules(candidates=1, min_length=1, max_length=30, no_repeat_ngram=0, method=method)
    steps = _Wanting(wanted, tokenizer.get_vocab_size())
    (found,) = find_candidates(steps, rules, [np.random.default_rng(0)], held=[_held(kind, told)])
    assert isinstance(found, list)
    return to_text(tokenizer, found[0].token_ids), found[0].own


@pytest.mark.parametrize("method", ["nucleus", "greedy"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_word_that_was_not_meant_is_known_by_its_rest(kind: str, method: DecodingMethod) -> None:
    text, own = _found(kind, "the mouse", OF_NONE, method)
    assert text.split()[1] in {"more", "moved"} and own < LED_ASTRAY / 10
    assert _found(kind, "the mouse", tuple(float(name == "mouse") for name in ORDER), method)[1] > 0.9
    text, own = _found(kind, "the more", OF_NONE, method)
    assert text == "the more" and own > 0.9


@pytest.mark.parametrize("kind", KINDS)
def test_a_row_is_unfinished_only_where_nothing_but_a_rest_may_follow(kind: str) -> None:
    """Behind "dog" as well, which may become "dogs" and "dogged", only where "dog" itself may not be said."""
    dogs = tuple(float(name == "dog") for name in ORDER)
    for told, of_dog in ((dogs, False), (OF_NONE, True)):
        for word, left, unfinished in (("a", 0, False), ("dog", 0, of_dog), ("more", 1, True), ("more", 0, False)):
            rows = RowWords([_held(kind, told)], 1, END, 40)
            assert not rows.unfinished.any(), "nothing was begun"
            tokens = ways_to_say(tokenizer_of(kind), word)[0]
            assert len(tokens) > left
            for token in tokens[: len(tokens) - left]:
                rows.follow(np.array([token]))
            assert rows.unfinished.tolist() == [unfinished], word


def test_the_probability_of_some_tokens_together() -> None:
    logits = np.log(np.array([[0.5, 0.25, 0.25], [0.1, 0.2, 0.7]], np.float32)) + np.float32(90.0)
    tokens = np.array([[True, False, True], [False, True, False]])
    assert probability_of(logits, tokens) == pytest.approx([0.75, 0.2], abs=1e-5)
    assert probability_of(np.array([[0.0, -np.inf]], np.float32), np.array([[False, True]])).tolist() == [0.0]


def test_those_that_were_led_astray_are_left_out_unless_all_were() -> None:
    good, astray, worse = Candidate((1,), -1.0), Candidate((2,), -0.1, LED_ASTRAY / 2), Candidate((3,), -0.1, 0.0)
    assert straight([astray, good, worse]) == [good]
    assert straight([astray, worse]) == [astray, worse]
    assert straight([good]) == [good]


class _Encoded:
    """Windows by their numbers."""

    def __init__(self, numbers: Sequence[int]) -> None:
        self.numbers = list(numbers)
        self.all_padding = np.zeros(len(self.numbers), bool)


class _Stages:
    """Windows 1 and 2 have one first candidate and both that were led astray; all agree."""

    rules = DecodingRules(candidates=5, first_candidates=2)
    windows_decoded = 9

    def decode(self, encoded: _Encoded, part: slice, rngs: Any, cancelled: Any, held: Any, rules: Any) -> list[Any]:
        del rngs, cancelled, held
        return [
            [Candidate((number,), -1.0, 0.0 if place < number else 1.0) for place in range(rules.candidates)]
            for number in encoded.numbers[part]
        ]

    def chosen(self, encoded: _Encoded, numbers: Sequence[int]) -> _Encoded:
        return _Encoded([encoded.numbers[number] for number in numbers])

    def agreed(self, candidates: Sequence[Candidate]) -> list[str]:
        return ["said"]


def test_they_settle_nothing() -> None:
    stages, encoded = _Stages(), _Encoded(range(3))
    found = candidates_of(stages, encoded, [None] * 3, [None] * 3, not_cancelled, lambda number, text: False)  # type: ignore[list-item]
    assert [len(each) for each in found if isinstance(each, list)] == [2, 5, 5]


def test_a_window_is_captioned_by_the_others_and_tells_how_many_were_drawn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = Captioner.open(write(tmp_path, captioner_table(tmp_path)), EngineOptions("onnxruntime", 1), 2, Choices())
    window = sounds(1)
    good, other = Candidate((4, 5), -9.0), Candidate((6, 7), -0.1)
    texts = [to_text(model.reranker._decoder_tokenizer, each.token_ids) for each in (good, other)]
    for own, told in ((1.0, set(texts)), (0.0, {texts[0]})):
        drawn = [good, Candidate(other.token_ids, other.log_likelihood, own)]
        monkeypatch.setattr(pipeline, "candidates_of", lambda *given, drawn=drawn: [drawn])
        (found,) = descriptions(model, window)
        assert {caption.text for caption in found.ranked} == told and found.candidates == 2
