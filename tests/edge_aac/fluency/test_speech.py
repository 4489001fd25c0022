"""Captions of speech: what counts, in which language, and that a doubt counts."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_aac.errors import ConfigError
from edge_aac.fluency.english.speech import tells_of_speech
from edge_aac.fluency.speech import speech_check
from tests.edge_aac.outside_package import NAME, OutsidePackage

SPEECH = (
    "a man speaks while a dog barks",
    "women are talking",
    "people converse in the distance",
    "a conversation between two people",
    "children's voices are heard",
    "somebody whispers",
    "a crowd shouts",
    "a person yells and a car passes",
    "a radio announcer is heard over static",
    "a voice comes from a loudspeaker",
    "a robotic voice says hello",
    "an adult male is speaking and birds chirp",
    "a woman sings",
    "a song plays on the radio",
    "songs play while birds chirp",
    "a choir is heard",
    "a man sings as birds sing",
    "someone reads a book aloud",
    "a boy counts out loud",
    "a man calls out",
    "a woman calls a dog",
    "people chatter in a room",
    "a preacher prays",
    "he tells a story",
    "a parrot talks",
    "speech",
    "male speech, man speaking",
    "child speech, kid speaking",
    "narration, monologue",
    "speech synthesizer",
    "whispering",
    "hubbub, speech noise, speech babble",
    "Rapping",
    "A Man SPEAKS",
    "a man's voice",
    "a walkie-talkie crackles",
    "conversations\nfollow",
)
NO_SPEECH = (
    "a dog barks twice while rain falls",
    "a baby cries",
    "a person sneezes",
    "people laugh",
    "a crowd cheers and claps",
    "a man coughs",
    "a woman screams",
    "someone hums",
    "someone snores loudly",
    "footsteps of a man on gravel",
    "birds sing in the trees",
    "the song of a blackbird",
    "birdsong",
    "a bird's song",
    "a stream babbles",
    "a songbird sings",
    "crickets chatter",
    "a brook murmurs",
    "a rooster crows",
    "a door creaks",
    "a clock ticks",
    "a helicopter flies",
    "a chainsaw runs",
    "waves roll over the shore",
    "fire crackles",
    "a radio hisses",
    "a yellow bus passes",
    "an unknown sound is heard",
    "a sound that is hard to tell goes on",
    "some noise that cannot be told",
    "an odd noise that nothing here explains is heard",
    "",
)


@pytest.mark.parametrize("caption", SPEECH)
def test_captions_of_speech(caption: str) -> None:
    assert tells_of_speech(caption)


@pytest.mark.parametrize("caption", NO_SPEECH)
def test_captions_of_other_sounds(caption: str) -> None:
    assert not tells_of_speech(caption)


def test_what_stands_beside_it_hides_no_speech() -> None:
    hidden = {
        (speech, other)
        for speech, other in itertools.product(SPEECH, NO_SPEECH)
        if not tells_of_speech(f"{speech} while {other}") or not tells_of_speech(f"{other} and {speech}")
    }
    # Where there is a door, somebody may rap on it.
    assert hidden == {("Rapping", "a door creaks")}


@given(st.text())
def test_any_text_is_read(text: str) -> None:
    assert tells_of_speech(text) in {True, False}


@pytest.mark.parametrize("language", ["en", "EN", "en-GB"])
def test_english(language: str) -> None:
    assert speech_check(language) is tells_of_speech


def test_a_language_that_nobody_knows() -> None:
    assert speech_check("fr") is None and speech_check("") is None


def test_a_language_of_another_package(outside_package: OutsidePackage) -> None:
    outside_package.install(
        "def spricht(text):\n    return 'spricht' in text\n",
        {"edge_aac.speech": {"de": f"{NAME}:spricht", "nl": f"{NAME}:missing"}},
    )
    check = speech_check("de-AT")
    assert check is not None and check("ein mann spricht") and not check("ein hund bellt")
    with pytest.raises(ConfigError, match="'nl'"):
        speech_check("nl")
