"""Candidates in two draws: the first ones alone where they agree, and all where they do not."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge_aac.bundle.manifest import MANIFEST, DecodingMethod, DecodingRules, RerankWeights
from edge_aac.bundle.store import open_bundle
from edge_aac.engines.contract import EngineOptions
from edge_aac.errors import ConfigError, DataError
from edge_aac.fluency.errors import FluencyError
from edge_aac.fluency.sound_names import Say, SoundNames, SoundWords
from edge_aac.models.candidates import candidates_a_window, candidates_of
from edge_aac.models.choices import Choices
from edge_aac.models.contract import Description, WindowModel, not_cancelled
from edge_aac.models.decoding import Candidate
from edge_aac.models.opening import open_captioning
from edge_aac.models.rerank import Reranker
from edge_aac.models.seq2seq import Captioner
from tests.edge_aac.fake_engines import FakeTextEmbedder
from tests.edge_aac.fakes import word_tokenizer
from tests.edge_aac.models.ensemble_bundles import descriptions, sounds
from tests.edge_aac.models.tiny_bundle import WORDS, captioner_table, write

ONE_THREAD = EngineOptions("onnxruntime", 1)
CANDIDATES, FIRST = 8, 2


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Its captions are drawn at a temperature at which some windows' first two agree, and others' do not."""
    folder = tmp_path_factory.mktemp("bundles") / "tiny"
    table = captioner_table(folder)
    table["decoding"] |= {"candidates": CANDIDATES, "temperature": 0.08, "max_length": 6}
    # Its text embedder hears the padding of a batch.
    table["rerank"] = {"log_likelihood": 1.0, "similarity": 0.0}
    return write(folder, table)


def _captioner(name: str, first: int | None, **choices: object) -> Captioner:
    return Captioner.open(name, ONE_THREAD, None, Choices(first_candidates=first, fluency_check=False, **choices))  # type: ignore[arg-type]


def _texts(found: Sequence[Description]) -> list[list[tuple[str, float, float | None]]]:
    return [[(caption.text, caption.hybrid, caption.log_likelihood) for caption in each.ranked] for each in found]


@pytest.mark.parametrize(
    ("rules", "found"),
    [
        ({"candidates": 6}, 6),
        ({"candidates": 6, "first_candidates": 2}, 2),
        ({"candidates": 2, "first_candidates": 2}, 2),
        ({"candidates": 6, "method": "greedy"}, 1),
        ({"candidates": 6, "first_candidates": 2, "method": "beam", "beams": 8}, 1),
    ],
)
def test_texts_are_remembered_by_as_many_as_a_window_has(rules: dict[str, Any], found: int) -> None:
    assert candidates_a_window(DecodingRules(**rules)) == found


@pytest.mark.parametrize(("method", "remembers"), [("nucleus", False), ("greedy", True), ("beam", True)])
def test_a_search_for_one_caption_remembers_texts(tiny: str, method: DecodingMethod, remembers: bool) -> None:
    captioner = _captioner(tiny, None, method=method, similarity_weight=1.0)
    assert captioner.reranker.remembers is remembers


def test_no_more_are_drawn_where_the_first_agree(tiny: str) -> None:
    windows = sounds(24)
    found, two = (descriptions(_captioner(tiny, first), windows) for first in (FIRST, None))
    numbers = [each.candidates for each in found]
    assert set(numbers) == {FIRST, CANDIDATES}, "or one of the two would not be seen"
    assert {each.candidates for each in two} == {CANDIDATES}
    for each in found:
        # Nothing is listed and nothing checked: two agree where they have the same words.
        assert (each.candidates == FIRST) == (len({frozenset(c.text.split()) for c in each.ranked}) == 1)


def test_the_first_are_those_of_a_captioner_that_draws_no_others(tiny: str) -> None:
    windows = sounds(24)
    found = descriptions(_captioner(tiny, FIRST), windows)
    few = descriptions(Captioner.open(tiny, ONE_THREAD, FIRST, Choices(fluency_check=False)), windows)
    for each, alone in zip(found, few, strict=True):
        texts = [caption.text for caption in each.ranked]
        assert {caption.text for caption in alone.ranked} <= set(texts)
        assert each.candidates == CANDIDATES or texts == [caption.text for caption in alone.ranked]


def test_a_window_does_not_depend_on_those_beside_it(tiny: str) -> None:
    model, windows = _captioner(tiny, FIRST), sounds(12)
    together = _texts(descriptions(model, windows))
    assert _texts(descriptions(model, windows[::-1])) == together[::-1]
    assert [_texts(descriptions(model, [window]))[0] for window in windows] == together


class _Encoded:
    """Windows by their numbers, of which some are all padding."""

    def __init__(self, numbers: Sequence[int], padding: Sequence[int] = ()) -> None:
        self.numbers = list(numbers)
        self.all_padding = np.isin(self.numbers, list(padding))


class _Stages:
    """Draws candidates that hold their window's number; writes down which windows are decoded together."""

    rules = DecodingRules(candidates=5, first_candidates=2)
    windows_decoded = 2

    def __init__(self, broken_at: dict[int, int], agreeing: Sequence[int]) -> None:
        self._broken_at, self._agreeing = broken_at, agreeing
        self.runs: list[tuple[list[int], int]] = []

    def decode(
        self, encoded: _Encoded, part: slice, rngs: Sequence[Any], cancelled: Any, held: Sequence[Any], rules: Any
    ) -> list[list[Candidate] | DataError]:
        numbers = encoded.numbers[part]
        assert (list(rngs), list(held)) == (numbers, [-number for number in numbers])
        self.runs.append((numbers, rules.candidates))
        return [
            DataError("none") if self._broken_at.get(number) == rules.candidates else _numbered(number, rules)
            for number in numbers
        ]

    def chosen(self, encoded: _Encoded, numbers: Sequence[int]) -> _Encoded:
        return _Encoded([encoded.numbers[number] for number in numbers])

    def agreed(self, candidates: Sequence[Candidate]) -> list[str]:
        return ["said"] if candidates[0].token_ids[0] in self._agreeing else []


def _numbered(number: int, rules: DecodingRules) -> list[Candidate]:
    return [Candidate((number,), -float(rules.candidates))] * rules.candidates


def test_only_windows_that_are_not_settled_are_decoded_again() -> None:
    stages: Any = _Stages(broken_at={1: 2, 4: 3}, agreeing=[0, 3])
    encoded: Any = _Encoded(range(7), padding=[5])
    of_each: Any = [list(range(7)), [-number for number in range(7)]]
    found = candidates_of(stages, encoded, *of_each, not_cancelled, lambda number, text: (number, text) == (3, "said"))
    # 1 has no numbers, 5 no sound; 0 agrees, and 3 agrees on what may not be named.
    assert stages.runs == [([0, 1], 2), ([2, 3], 2), ([4, 5], 2), ([6], 2), ([2, 3], 3), ([4, 6], 3)]
    drawn = [None if isinstance(each, DataError) else [c.log_likelihood for c in each] for each in found]
    both = [-2.0, -2.0, -3.0, -3.0, -3.0]
    assert drawn == [[-2.0, -2.0], None, both, both, None, None, both]
    assert "padding" in str(found[5])
    assert [each[-1].token_ids for each in found if not isinstance(each, DataError)] == [(0,), (2,), (3,), (6,)]


def test_an_ensemble_of_a_bundle_with_itself_draws_as_the_bundle(tiny: str) -> None:
    windows = sounds(12)
    choices = Choices(first_candidates=FIRST, fluency_check=False)
    model: WindowModel = open_captioning(f"{tiny},{tiny}", None, ONE_THREAD, None, choices)
    found, alone = descriptions(model, windows), descriptions(_captioner(tiny, FIRST), windows)
    assert [each.candidates for each in found] == [each.candidates for each in alone]
    assert [each.best.text for each in found] == [each.best.text for each in alone]


@pytest.mark.parametrize(
    ("first", "method", "drawn"),
    [(CANDIDATES, "nucleus", CANDIDATES), (CANDIDATES + 1, "nucleus", CANDIDATES), (2, "greedy", 1), (2, "beam", 1)],
)
def test_where_there_is_nothing_to_draw_later_all_is_as_it_was(
    tiny: str, first: int, method: DecodingMethod, drawn: int
) -> None:
    windows = sounds(5)
    found, plain = (descriptions(_captioner(tiny, number, method=method), windows) for number in (first, None))
    assert _texts(found) == _texts(plain)
    assert {each.candidates for each in found} == {drawn}


def test_a_bundle_may_say_so_and_a_user_may_say_otherwise(tiny: str) -> None:
    bundle = open_bundle(tiny)
    table = json.loads((Path(tiny) / MANIFEST).read_text(encoding="utf-8"))
    table["decoding"]["first_candidates"] = 3
    manifest = type(bundle.manifest).model_validate(table)
    assert Choices().rules(manifest, None).first_candidates == 3  # type: ignore[arg-type]
    assert Choices(first_candidates=5).rules(manifest, None).first_candidates == 5  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="first_candidates"):
        Choices(first_candidates=1).rules(manifest, None)  # type: ignore[arg-type]


def _reranker(faulty: Sequence[str] = ()) -> Reranker:
    tokenizer = word_tokenizer(WORDS)

    def check(text: str) -> tuple[FluencyError, ...]:
        return (FluencyError.MISSING_VERB,) if text in faulty else ()

    return Reranker(FakeTextEmbedder({}), tokenizer, tokenizer, RerankWeights(), "", check)  # type: ignore[arg-type]


def _candidates(*texts: str) -> list[Candidate]:
    return [Candidate(tuple(word_tokenizer(WORDS).encode(text).ids), -1.0) for text in texts]


def _names() -> SoundNames:
    dog, rain = (SoundWords((), (Say((who,), (does,)),), ()) for who, does in (("dog", "barks"), ("rain", "falls")))
    return SoundNames({"dog": dog, "rain": rain}, ("and", "while"))


@pytest.mark.parametrize(
    ("texts", "listed", "agreed"),
    [
        (("rain falls", "rain falls"), False, True),
        (("rain falls on the roof", "on the roof rain falls"), False, True),
        (("rain falls", "rain falls on the roof"), False, False),
        (("rain falls", "rain falls on the roof"), True, True),
        (("a dog barks and rain falls", "rain falls while a dog barks"), True, False),
        (("rain falls", "a dog barks"), True, False),
        (("birds sing", "thunder rolls"), True, False),
        (("birds sing", "birds sing"), True, True),
        (("", ""), True, False),
    ],
)
def test_what_agrees(texts: tuple[str, ...], listed: bool, agreed: bool) -> None:
    found = _reranker().agreed(_candidates(*texts), _names() if listed else None)
    assert found == (list(dict.fromkeys(texts)) if agreed else [])


def test_texts_that_a_check_rejects_settle_nothing() -> None:
    both = _candidates("rain falls", "rain falls on the roof")
    assert _reranker(["rain falls"]).agreed(both, _names()) == ["rain falls on the roof"]
    assert _reranker(["rain falls", "rain falls on the roof"]).agreed(both, _names()) == []
