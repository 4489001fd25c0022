"""The demo's programme speaks the language of the lexicon."""

from __future__ import annotations

from edge_aac.audio.sources.demo import demo_programme
from quantize.data.everyday.lexicon import english


def test_sounds_of_the_demo_are_in_the_lexicon() -> None:
    sounds = {event.sound for event in demo_programme()}
    assert len(sounds) >= 5
    assert sounds <= set(english().order)
