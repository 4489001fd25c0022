"""Questions about events: each answer is worked out once more, from the events and the question's own words."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings

from quantize.data.everyday.events import SURE, Belief, HeardEvent, believed
from quantize.data.everyday.questions import (
    KINDS,
    NO,
    NOTHING,
    NUMBERS,
    YES,
    Question,
    named,
    questions,
    sounds_elsewhere,
)
from quantize.data.everyday.reading import read
from tests.quantize.data.everyday.event_lists import LEXICON, NAMES, drawn_events, seeds

ABOVE = LEXICON.names.ancestors


def _asked(events: Sequence[HeardEvent], seed: int = 0, count: int = 30) -> tuple[Question, ...]:
    return questions(LEXICON, events, np.random.default_rng(seed), count)


def _event(sound: str, start_s: float, end_s: float, level_db: float = -30.0, count: int | None = None) -> HeardEvent:
    return HeardEvent(believed(LEXICON, sound), start_s, end_s, level_db, count)


def _of(events: Sequence[HeardEvent], sound: str) -> list[HeardEvent]:
    return [event for event in events if event.named(SURE) == sound]


def _sounds_in(text: str) -> list[str]:
    """The sounds that a text names, in its order, found by the reader of captions."""
    return [
        sound for part in text.rstrip("?").replace(" or ", ", ").split(", ") for sound in read(LEXICON, part).sounds
    ]


def _is_true(question: Question, events: Sequence[HeardEvent]) -> bool:
    """Whether an answer follows; worked out apart from how it was made."""
    known = [str(event.named(SURE)) for event in events if event.named(SURE)]
    said = _sounds_in(question.answer)
    match question.kind:
        case "presence":
            (sound,) = question.sounds
            heard = any(sound == one or sound in ABOVE(one) for one in known)
            true = heard if question.answer == YES else not heard
        case "which":
            true = said[0] in known and sum(choice in known for choice in question.sounds) == 1
        case "count":
            (sound,) = question.sounds
            true = sum(event.count or 0 for event in _of(events, sound)) == NUMBERS.index(question.answer)
        case "sounds":
            true = len(set(known)) == NUMBERS.index(question.answer)
        case "events":
            firsts = {sound: min(event.start_s for event in _of(events, sound)) for sound in known}
            told = [] if question.answer == NOTHING else said
            true = sorted(told) == sorted(set(known)) and [firsts[one] for one in told] == sorted(firsts.values())
        case "first":
            earliest = min(events, key=lambda event: event.start_s)
            true = said == [earliest.named(SURE)]
        case "order":
            starts = {sound: min(event.start_s for event in _of(events, sound)) for sound in question.sounds}
            true = said == [min(starts, key=lambda sound: starts[sound])]
        case "before":
            one, other = (_of(events, sound) for sound in question.sounds)
            over = max(event.end_s for event in one) <= min(event.start_s for event in other)
            true = over == (question.answer == YES)
        case "after":
            over = max(event.end_s for event in _of(events, question.sounds[0]))
            later = {str(event.named(SURE)) for event in events if event.end_s > over and event.named(SURE)}
            true = later == (set() if question.answer == NOTHING else set(said)) and len(later) <= 1
        case "loudness":
            levels = {sound: max(event.level_db for event in _of(events, sound)) for sound in question.sounds}
            true = said == [max(levels, key=lambda sound: levels[sound])]
        case "duration":
            seconds = {sound: _covered_s(_of(events, sound)) for sound in question.sounds}
            true = said == [max(seconds, key=lambda sound: seconds[sound])]
        case _:
            raise AssertionError(question.kind)
    return true


def _covered_s(events: Sequence[HeardEvent]) -> float:
    """Time in which any of them is heard, in hundredths of a second that are counted one by one."""
    times = np.arange(0.0, 10.0, 0.01) + 0.005
    return float(sum(any(event.start_s <= time < event.end_s for event in events) for time in times)) / 100.0


@settings(max_examples=150)
@given(seeds)
def test_every_answer_follows_from_the_events(seed: int) -> None:
    events = drawn_events(np.random.default_rng(seed))
    for question in _asked(events, seed, 12):
        assert _is_true(question, events), (question, events)


def test_all_kinds_are_asked_of_drawn_events_and_answers_are_no_foregone_conclusion() -> None:
    answers: dict[str, Counter[str]] = {kind: Counter() for kind in KINDS}
    for seed in range(150):
        for question in _asked(drawn_events(np.random.default_rng(seed)), seed, 8):
            answers[question.kind][question.answer] += 1
    for kind, counted in answers.items():
        assert sum(counted.values()) >= 10 and len(counted) >= 2, kind
    presence = answers["presence"]
    assert 0.3 < presence[YES] / sum(presence.values()) < 0.7


def test_names_are_of_one_sound_each() -> None:
    assert len({named(LEXICON, sound) for sound in NAMES}) == len(NAMES)
    for sound in NAMES:
        assert read(LEXICON, named(LEXICON, sound)).sounds == (sound,)


def test_what_is_not_certain_is_not_asked() -> None:
    unknown = HeardEvent((), 0.0, 3.0)
    dog, siren = _event("dog_bark", 4.0, 5.0, count=2), _event("siren", 1.0, 2.0)
    for seed in range(20):
        for question in _asked([unknown, dog, siren], seed):
            # Anything may be the unknown one: nothing is surely absent, counted, or alone; and were it asked whether
            # the dog is there, all such scenes would be answered by "yes".
            assert question.kind in {"order", "before"}, question
    # An animal that may be a dog: neither its presence nor its absence is certain.
    maybe = HeardEvent((Belief("dog", 0.5), Belief("animal", 0.9)), 0.0, 2.0)
    for seed in range(30):
        asked = [question for question in _asked([maybe], seed) if question.kind == "presence"]
        related = {sound for sound in NAMES if LEXICON.names.related(sound, "dog")} - {"animal"}
        assert not any(set(question.sounds) & related for question in asked)


def test_a_count_is_asked_only_where_all_of_a_sound_was_counted() -> None:
    def counts(*events: HeardEvent) -> set[str]:
        found = (question for seed in range(10) for question in _asked(events, seed))
        return {question.answer for question in found if question.kind == "count"}

    assert counts(_event("dog_bark", 0.0, 1.0, count=2), _event("dog_bark", 3.0, 4.0, count=1)) == {"three"}
    assert counts(_event("dog_bark", 0.0, 1.0, count=2), _event("dog_bark", 3.0, 4.0)) == set()
    assert counts(_event("dog_bark", 0.0, 2.0, count=2), _event("dog_bark", 1.0, 4.0, count=2)) == set()
    assert counts(_event("dog_bark", 0.0, 9.0, count=40)) == set()


@pytest.mark.parametrize(
    ("gap_s", "louder_db", "kinds"),
    [(3.0, 12.0, {"first", "order", "before", "after", "loudness"}), (0.2, 1.0, {"after"})],
)
def test_what_is_nearly_alike_is_not_compared(gap_s: float, louder_db: float, kinds: set[str]) -> None:
    events = [_event("siren", 0.0, 2.0), _event("dog_bark", gap_s, gap_s + 2.0, -30.0 + louder_db)]
    asked = {question.kind for seed in range(20) for question in _asked(events, seed)}
    assert asked & {"first", "order", "before", "after", "loudness", "duration"} == kinds
    assert _asked(events, 1) == _asked(events, 1)


def test_nothing_is_heard_in_silence() -> None:
    asked = {question.kind: question.answer for seed in range(5) for question in _asked([], seed)}
    assert asked == {"presence": NO, "sounds": "zero", "events": NOTHING}


def test_that_a_sound_is_heard_often_does_not_answer_for_it() -> None:
    """Of a sound in half of the scenes "yes" and "no" are asked for as often: its name alone tells nothing."""
    scenes = [[_event("dog_bark", 1.0, 2.0)], [_event("rain", 0.0, 9.0)]] * 200
    elsewhere = sounds_elsewhere(LEXICON, scenes)
    assert elsewhere[:2] == ["dog_bark", "rain"] and len(elsewhere) == len(scenes)
    for others, few, most in ((elsewhere, 0.35, 0.65), ((), 0.9, 1.0)):
        answers = [
            question.answer
            for seed, events in enumerate(scenes)
            for question in questions(LEXICON, events, np.random.default_rng(seed), 12, others)
            if question.kind == "presence" and question.sounds == ("dog_bark",)
        ]
        assert len(answers) > 50
        assert few <= sum(answer == YES for answer in answers) / len(answers) <= most


def test_what_is_heard_elsewhere_is_a_choice_as_it_is_called_there() -> None:
    elsewhere = ["dog_bark"] * 50
    chosen = [
        question.sounds
        for seed in range(100)
        for question in questions(LEXICON, [_event("rain", 0.0, 9.0)], np.random.default_rng(seed), 12, elsewhere)
        if question.kind == "which"
    ]
    assert sum("dog_bark" in sounds for sounds in chosen) > 0.8 * len(chosen) > 40


def test_whether_is_asked_as_people_ask() -> None:
    asked = {
        question.text
        for seed in range(150)
        for question in questions(LEXICON, [_event("sea", 0.0, 9.0)], np.random.default_rng(seed), 3, ["dog_bark"] * 9)
        if question.kind == "presence"
    }
    assert {"is there a dog barking?", "is a dog barking?", "do you hear a dog barking?"} <= asked
    assert {"are waves rolling in?", "is the sea roaring?"} <= asked
