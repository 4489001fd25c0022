"""The captions of the demo, held against what its table says is heard."""

from __future__ import annotations

import json
from functools import cache
from typing import Any

import pytest

from edge_aac.audio.sources.demo import demo_programme
from edge_aac.bundle.store import DEFAULT_BUNDLE, open_bundle
from tests.edge_aac.demo_words import WORDS, tells
from tests.system.command import run_edge_aac

_SYNTHESISED = ("rain", "clock")
"""What a bundle of ten sounds knows of the demo. One that lists its sounds knows the recordings: what it makes of the
synthesised ones, see :data:`tests.edge_aac.demo_words.SYNTHESISED`."""

_LIKE = {"stream": ("stream", "rain")}
"""Who hears a stream in the synthesised rain is not wrong by much."""

_HEARD_S = 5.0
"""A sound that fills this much of a window must be told; one that fills less may be."""


@cache
def _captions() -> list[dict[str, Any]]:
    done = run_edge_aac("stream", "--device", "demo:?scene=programme", "--format", "json", "--every-window")
    assert done.returncode == 0, done.stderr
    records = [json.loads(line) for line in done.stdout.splitlines()]
    return [record for record in records if record["schema"] == "edge-aac/caption/1"]


def _seconds_of(sound: str, caption: dict[str, Any]) -> float:
    """How long a sound is heard in a caption's window."""
    events = [event for event in demo_programme() if event.sound in _LIKE.get(sound, (sound,))]
    return sum(
        max(0.0, min(event.end_s, caption["end_s"]) - max(event.start_s, caption["start_s"])) for event in events
    )


def _known() -> tuple[str, ...]:
    listed = open_bundle(DEFAULT_BUNDLE).manifest.sounds is not None
    return tuple(sound for sound in WORDS if (sound in _SYNTHESISED) is not listed)


def test_words_are_known_of_every_sound_of_the_demo() -> None:
    assert set(WORDS) == {event.sound for event in demo_programme()}


def test_each_sound_that_the_bundle_knows_is_told_while_it_is_heard() -> None:
    captions = _captions()
    assert len(captions) >= 20, "one each 2 s"
    for sound in _known():
        heard = [caption for caption in captions if _seconds_of(sound, caption) >= _HEARD_S]
        assert heard, sound
        told = [caption for caption in heard if tells(sound, caption["caption"])]
        assert len(told) >= len(heard) / 2, f"{sound} is told in {len(told)} of {len(heard)} windows"


def test_a_bundle_that_lists_its_sounds_tells_none_where_it_is_not_heard() -> None:
    captions = _captions()
    if _known() == _SYNTHESISED:
        pytest.skip("the bundle calls what it never learnt by the nearest name that it has")
    false = [
        caption["caption"]
        for caption in captions
        if any(tells(sound, caption["caption"]) and not _seconds_of(sound, caption) for sound in WORDS)
    ]
    assert len(false) <= len(captions) / 10, false


def test_different_things_are_said() -> None:
    assert len({caption["caption"] for caption in _captions()}) >= (2 if _known() == _SYNTHESISED else 5)
