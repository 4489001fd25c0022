"""How right captions are where a coarser name counts half."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quantize.data.everyday.lexicon import english
from quantize.data.everyday.named_sounds import SoundScores, credit, matched, named_right, sound_scores
from quantize.data.everyday.reading import read

LEXICON = english()


def _scores(*pairs: tuple[str, list[list[str]]]) -> SoundScores:
    return sound_scores(LEXICON, [read(LEXICON, text) for text, _ in pairs], [truth for _, truth in pairs])


@pytest.mark.parametrize(
    ("named", "heard", "earned", "below_top"),
    [
        ("dog_bark", "dog_bark", 1.0, 1.0),
        ("dog", "dog_bark", 0.5, 0.5),
        ("animal", "dog_bark", 0.5, 0.0),
        ("animal", "animal", 1.0, 1.0),
        ("dog_bark", "dog", 0.0, 0.0),
        ("cat", "dog", 0.0, 0.0),
    ],
)
def test_credit(named: str, heard: str, earned: float, below_top: float) -> None:
    assert credit(LEXICON, named, heard) == earned
    assert credit(LEXICON, named, heard, below_top=True) == below_top


def test_a_coarser_name_counts_half() -> None:
    scores = _scores(("an animal makes a noise", [["dog_bark"]]), ("rain falls", [["rain"]]))
    assert (scores.precision, scores.recall, scores.exact, scores.exact_or_coarser) == (0.75, 0.75, 0.5, 1.0)


def test_a_false_sibling_counts_nothing() -> None:
    scores = _scores(("a cat meows", [["dog_bark"]]))
    assert (scores.f1, scores.exact_or_coarser) == (0.0, 0.0)


def test_one_name_answers_for_one_sound() -> None:
    scores = _scores(("an animal makes a noise", [["dog_bark", "cat"]]))
    assert (scores.precision, scores.recall, scores.exact_or_coarser) == (0.5, 0.25, 0.0)


def test_order() -> None:
    truth = [["dog_bark"], ["rain"]]
    assert _scores(("a dog barks then rain falls", truth)).order == 1.0
    assert _scores(("rain falls after a dog barks", truth)).order == 1.0
    assert _scores(("an animal makes a noise before rain falls", truth)).order == 1.0
    assert _scores(("rain falls then a dog barks", truth)).order == 0.0
    assert _scores(("a dog barks and rain falls", truth)).order == 0.0
    assert _scores(("a dog barks", truth)).order == 0.0
    assert _scores(("a dog barks", [["dog_bark"]])).ordered == 0


def test_what_lasts_through_all_has_no_place_in_the_order() -> None:
    truth = [["dog_bark", "rain"], ["cough", "rain"]]
    assert _scores(("a dog barks then somebody coughs with rain falling in the background", truth)).order == 1.0
    assert _scores(("somebody coughs then a dog barks with rain falling in the background", truth)).order == 0.0


def test_nothing_named_of_nothing_is_exact() -> None:
    scores = _scores(("only a quiet background hiss", []))
    assert (scores.exact, scores.exact_or_coarser, scores.precision) == (1.0, 1.0, 0.0)
    assert _scores().f1 == 0.0


def test_the_top_of_the_tree_is_no_answer_for_recordings() -> None:
    assert named_right(LEXICON, ["rain", "dog"], "dog_bark")
    assert not named_right(LEXICON, ["rain", "animal"], "dog_bark")
    assert named_right(LEXICON, ["animal"], "dog_bark", below_top=False)
    assert not named_right(LEXICON, [], "dog_bark")


_FEW = ["dog_bark", "dog", "animal", "cat", "rain", "water"]


@given(st.lists(st.sampled_from(_FEW), max_size=4), st.lists(st.sampled_from(_FEW), max_size=4))
@settings(max_examples=150, deadline=None)
def test_pairs_earn_all_that_can_be_earned(named: list[str], heard: list[str]) -> None:
    pairs = matched(LEXICON, named, heard)
    assert len({pair[0] for pair in pairs}) == len({pair[1] for pair in pairs}) == len(pairs)
    padded = [*heard, *[""] * len(named)]
    best = max(
        sum(credit(LEXICON, one, other) for one, other in zip(named, order, strict=False) if other)
        for order in itertools.permutations(padded, len(named))
    )
    assert sum(pair[2] for pair in pairs) == best
