"""The sounds that a caption names."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_aac.fluency.english.phrases import sound_phrases
from edge_aac.fluency.languages import phrase_splitter


@pytest.mark.parametrize(
    ("caption", "phrases"),
    [
        ("rain falls", ["rain falls"]),
        ("a clock ticks while rain falls in the distance", ["a clock ticks", "rain falls in the distance"]),
        ("rain falls and then a clock goes tick tock", ["rain falls", "a clock goes tick tock"]),
        ("first a dog barks then a rooster crows", ["a dog barks", "a rooster crows"]),
        ("a rooster crows once followed by a dog barking twice", ["a rooster crows once", "a dog barking twice"]),
        ("a dog barks and afterwards a clock ticks", ["a dog barks", "a clock ticks"]),
        ("as rain falls a dog barks", ["rain falls", "a dog barks"]),
        ("rain falls with a fire crackling in the background", ["rain falls", "a fire crackling in the background"]),
        ("rain comes down with a clock ticking behind it", ["rain comes down", "a clock ticking"]),
        ("rain comes down over the sound of a clock", ["rain comes down", "the sound of a clock"]),
        ("a man speaks while music plays and a crowd cheers", ["a man speaks", "music plays", "a crowd cheers"]),
        ("birds chirping and people talking", ["birds chirping", "people talking"]),
        ("wind and rain", ["wind", "rain"]),
        ("speech and music", ["speech", "music"]),
        (
            "a buzzer sounds with the sound of typing in the background",
            ["a buzzer sounds", "the sound of typing in the background"],
        ),
        ("music plays with paper being crumpled behind it", ["music plays", "paper being crumpled"]),
        # One subject, or one sound of several.
        ("a fire snaps and pops", ["a fire snaps and pops"]),
        ("a rainstorm sprinkles and splatters", ["a rainstorm sprinkles and splatters"]),
        ("a man and a woman talk", ["a man and a woman talk"]),
        ("a baby fusses and cries", ["a baby fusses and cries"]),
        ("a dog barks then growls", ["a dog barks then growls"]),
        ("an aircraft with a rotor pulses", ["an aircraft with a rotor pulses"]),
        ("a man with a hat speaks", ["a man with a hat speaks"]),
        ("a rooster calls out cock a doodle doo once", ["a rooster calls out cock a doodle doo once"]),
        # What is not there is no sound.
        ("soft static and no distinct sound", ["soft static and no distinct sound"]),
        ("a faint hiss and nothing else", ["a faint hiss and nothing else"]),
        # The same sound twice is up to who compares them.
        ("a fire crackles while a fire crackles", ["a fire crackles"]),
        ("", [""]),
        ("while and then", ["while and then"]),
    ],
)
def test_phrases(caption: str, phrases: list[str]) -> None:
    assert list(sound_phrases(caption)) == phrases


_WORDS = "a the dog rain clock barks falls ticking and while then with followed by as sound of in background no xyzzy 5"


@given(st.lists(st.sampled_from(_WORDS.split()), max_size=14).map(" ".join))
@settings(max_examples=300, deadline=None)
def test_whatever_is_written_no_word_is_invented(caption: str) -> None:
    phrases = sound_phrases(caption)
    assert phrases and len(set(phrases)) == len(phrases)
    words = caption.split()
    for phrase in phrases:
        found = phrase.split()
        assert not found or any(words[start : start + len(found)] == found for start in range(len(words)))


def test_a_language_without_a_reader_has_none() -> None:
    splitter = phrase_splitter("en-GB")
    assert splitter is not None and splitter("a dog barks while rain falls") == ("a dog barks", "rain falls")
    assert phrase_splitter("und") is None
