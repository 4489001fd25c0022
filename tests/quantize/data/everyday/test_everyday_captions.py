"""Captions of everyday sounds: true, fluent, varied, and read back as they were meant."""

from __future__ import annotations

import os
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_aac.fluency.english.phrases import sound_phrases
from edge_aac.fluency.english.sentences import fluency_errors
from edge_aac.fluency.english.speech import tells_of_speech
from quantize.data.captions import NOTHING, UNKNOWN
from quantize.data.everyday.events import Belief, HeardEvent, believed
from quantize.data.everyday.reading import read
from quantize.data.everyday.story import Story, story
from quantize.data.everyday.wording import MIN_WORDS, caption, tell
from tests.quantize.data.everyday.event_lists import LEXICON, NAMES, drawn_event, drawn_events, seeds

MANY = int(os.environ.get("EDGE_AAC_EVERYDAY_CAPTIONS", "600"))
"""Captions that are tried at once; the long form has 20 000."""


@pytest.fixture(scope="module")
def told() -> list[tuple[Story, str]]:
    """Stories of realistic lists of events, each with a caption."""
    found = []
    for seed in range(MANY):
        rng = np.random.default_rng(seed)
        one = story(LEXICON, drawn_events(rng))
        found.append((one, tell(LEXICON, one, rng)))
    return found


def _moments(one: Story) -> list[frozenset[str]]:
    through = {one.through.sound} if one.through else set()
    groups = [frozenset(t.sound for t in group if t.sound) for group in one.groups]
    return [frozenset(name for name in group | through if name) for group in groups if group]


@given(seeds)
@settings(max_examples=150, deadline=None)
def test_a_caption_is_read_as_it_was_meant(seed: int) -> None:
    """Sounds, order, and whatever is said of each, from any events."""
    rng = np.random.default_rng(seed)
    events = drawn_events(rng)
    one = story(LEXICON, events)
    text = tell(LEXICON, one, rng)
    reading = read(LEXICON, text)
    assert list(reading.groups) == _moments(one), text
    assert reading.unknown == (bool(one.told) and not _moments(one)), text
    assert "nothing else" not in text or not one.told or all(event.named() for event in events), text
    for said in reading.statements:
        # A sound may be told of twice: then each says what is true of one of them.
        meant = [t for t in one.told if t.sound == said.sound]
        assert any(_true_of(said.count, t.event.count) for t in meant), text
        assert not said.many or any((t.event.count or 0) > 3 for t in meant), text
        assert said.far is None or any(t.event.far is said.far for t in meant), text
        assert not said.again or any(t.again for t in meant), text
        assert not said.behind or said.through or any(t.behind for t in meant), text
        assert not said.through or (one.through is not None and one.through.sound == said.sound), text
        assert said.lasting is None or any((t.event.seconds > 5.0) is said.lasting for t in meant), text


def _true_of(said: int | None, count: int | None) -> bool:
    return said is None or said == count


@given(seeds)
@settings(max_examples=50, deadline=None)
def test_captions_of_the_same_seed_are_the_same(seed: int) -> None:
    events = drawn_events(np.random.default_rng(seed))
    first, again = (caption(LEXICON, events, np.random.default_rng(seed)) for _ in range(2))
    assert first == again
    assert len(first.split()) >= MIN_WORDS or not events


@given(seeds, st.floats(0.0, 1.0))
@settings(max_examples=100, deadline=None)
def test_no_sound_is_named_that_is_less_sure_than_asked(seed: int, sure: float) -> None:
    rng = np.random.default_rng(seed)
    events = [_doubtful(rng) for _ in range(3)]
    allowed = {belief.sound for event in events for belief in event.beliefs if belief.confidence >= sure}
    assert set(read(LEXICON, caption(LEXICON, events, rng, sure=sure)).sounds) <= allowed


def _doubtful(rng: np.random.Generator) -> HeardEvent:
    """An event that is the surer the coarser it is told."""
    event = drawn_event(str(rng.choice(NAMES)), rng)
    confidences = np.sort(rng.random(len(event.beliefs)))
    beliefs = tuple(Belief(b.sound, float(c)) for b, c in zip(event.beliefs, confidences, strict=True))
    return HeardEvent(beliefs, event.start_s, event.end_s, event.level_db)


def test_captions_are_fluent(told: list[tuple[Story, str]]) -> None:
    assert [text for _, text in told if fluency_errors(text)] == []


def test_the_runtime_finds_the_sounds_of_captions(told: list[tuple[Story, str]]) -> None:
    """A stream splits a caption into phrases; each names one of the caption's sounds, and all are named."""
    wrong = []
    for one, text in told:
        named = [LEXICON.names.named(phrase) for phrase in sound_phrases(text)]
        meant = {t.sound for t in one.told if t.sound}
        if meant and ({name for names in named for name in names} != meant or any(len(names) != 1 for names in named)):
            wrong.append(text)
    assert len(wrong) <= 0.002 * len(told), wrong


def test_speech_is_told_where_there_is_speech_alone(told: list[tuple[Story, str]]) -> None:
    for one, text in told:
        speech = any(t.sound and LEXICON[t.sound].speech for t in one.told)
        birds = any(t.sound == "birdsong" for t in one.told)  # a bird that sings beside people is a doubt
        assert tells_of_speech(text) == speech or birds, text


def test_wording_varies(told: list[tuple[Story, str]]) -> None:
    """Of all captions few are the same; of one event list no five draws are."""
    first = [text for _, text in told[:1000]]
    assert len(set(first)) >= 0.9 * len(first)
    rain = [HeardEvent(believed(LEXICON, "rain"), 0.0, 10.0)]
    assert len({caption(LEXICON, rain, np.random.default_rng(seed)) for seed in range(200)}) >= 40


def _event(name: str, start_s: float, end_s: float, level_db: float = -30.0) -> HeardEvent:
    return HeardEvent(believed(LEXICON, name), start_s, end_s, level_db)


def _orders(events: Sequence[HeardEvent]) -> set[tuple[frozenset[str], ...]]:
    return {read(LEXICON, caption(LEXICON, events, np.random.default_rng(seed))).groups for seed in range(60)}


def test_what_comes_first_is_told_first() -> None:
    events = [_event("rain", 5.0, 10.0), _event("dog_bark", 1.0, 3.0)]
    assert _orders(events) == {(frozenset({"dog_bark"}), frozenset({"rain"}))}
    texts = {caption(LEXICON, events, np.random.default_rng(seed)) for seed in range(60)}
    assert any(" after " in text for text in texts) and any(" before " in text for text in texts)


def test_what_is_heard_together_is_told_together() -> None:
    assert _orders([_event("rain", 0.0, 10.0), _event("dog_bark", 4.0, 6.0)]) == {(frozenset({"dog_bark", "rain"}),)}


def test_sounds_that_overlap_one_after_the_other_are_one_moment() -> None:
    events = [_event("speech", 0.0, 4.0), _event("rain", 2.0, 8.0), _event("siren", 6.0, 10.0)]
    assert _orders(events) == {(frozenset({"speech", "rain", "siren"}),)}


def test_what_is_behind_the_last_alone_is_not_told_behind_all() -> None:
    events = [_event("dog_bark", 0.0, 2.0), _event("speech", 4.0, 9.0), _event("fan", 4.0, 9.0, level_db=-45.0)]
    assert _orders(events) == {(frozenset({"dog_bark"}), frozenset({"speech", "fan"}))}


def test_nothing_else_is_said_only_where_nothing_else_is_heard() -> None:
    def texts(*more: HeardEvent) -> str:
        events = [_event("rain", 0.0, 10.0), *more]
        return " | ".join(caption(LEXICON, events, np.random.default_rng(seed)) for seed in range(200))

    assert "nothing else" in texts()
    assert "nothing else" not in texts(HeardEvent((), 2.0, 5.0))


def test_what_lasts_through_others_is_told_behind_both() -> None:
    events = [_event("rain", 0.0, 10.0), _event("dog_bark", 1.0, 2.0), _event("cough", 5.0, 6.0)]
    both = frozenset({"dog_bark", "rain"}), frozenset({"cough", "rain"})
    assert _orders(events) == {both}


def test_what_comes_back_is_told_again() -> None:
    events = [_event("dog_bark", 0.0, 1.0), _event("cough", 3.0, 4.0), _event("dog_bark", 7.0, 8.0)]
    text = caption(LEXICON, events, np.random.default_rng(1))
    assert "again" in text or "once more" in text
    assert [one.sound for one in read(LEXICON, text).statements] == ["dog_bark", "cough", "dog_bark"]


def test_a_kind_and_its_example_are_one_sound() -> None:
    events = [_event("animal", 0.0, 4.0), _event("dog_bark", 5.0, 6.0)]
    assert _orders(events) == {(frozenset({"dog_bark"}),)}


@pytest.mark.parametrize(("level_db", "behind"), [(-40.0, True), (-22.0, False)])
def test_only_what_is_weaker_is_in_the_background(level_db: float, behind: bool) -> None:
    events = [_event("speech", 0.0, 10.0, level_db=-20.0), _event("fan", 0.0, 10.0, level_db=level_db)]
    texts = [caption(LEXICON, events, np.random.default_rng(seed)) for seed in range(80)]
    assert any(one.behind for text in texts for one in read(LEXICON, text).statements) == behind


def test_many_sounds_are_told_as_three() -> None:
    events = [_event(name, 0.0, 10.0) for name in ("rain", "speech", "fan", "clock", "siren")]
    assert len(read(LEXICON, caption(LEXICON, events, np.random.default_rng(0))).sounds) == 3


def test_nothing_and_the_unknown_have_sentences_of_their_own() -> None:
    rng = np.random.default_rng(0)
    assert caption(LEXICON, [], rng) in NOTHING
    assert caption(LEXICON, [HeardEvent((), 0.0, 4.0)], rng) in UNKNOWN
    for text in (*NOTHING, *UNKNOWN):
        reading = read(LEXICON, text)
        assert reading.sounds == () and reading.unknown == (text in UNKNOWN)
        assert not tells_of_speech(text)


@pytest.mark.parametrize(
    ("text", "sounds"),
    [
        ("A dog barks, and rain falls.", ("dog_bark", "rain")),
        ("a barking dog", ("dog_bark",)),
        ("the old dog over there sleeps", ("dog",)),
        ("a train in the valley whistles", ("train_horn",)),
        ("xyzzy", ()),
        ("", ()),
    ],
)
def test_any_text_is_read_as_far_as_it_goes(text: str, sounds: tuple[str, ...]) -> None:
    assert read(LEXICON, text).sounds == sounds


@given(
    st.lists(
        st.sampled_from(
            ["a", "the", "dog", "barks", "rain", "then", "after", "while", "in", "background", "again", "7", "é"]
        ),
        max_size=12,
    )
)
@settings(max_examples=150, deadline=None)
def test_no_text_is_too_odd_to_be_read(words: list[str]) -> None:
    reading = read(LEXICON, " ".join(words))
    assert set(reading.sounds) <= {"dog", "dog_bark", "rain"}
    assert all(statement.group >= 0 for statement in reading.statements)
