"""The captions of the demo, held against what its table says is heard."""

from __future__ import annotations

import json
from functools import cache
from typing import Any

import pytest

from edge_aac.audio.sources.demo import demo_programme
from tests.edge_aac.demo_words import WORDS, tells
from tests.system.command import run_edge_aac

_KNOWN = {"esc10-tiny": ("rain", "clock")}
"""Sounds of the demo that a bundle learnt; one that is not here is taken to know them all."""

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
    events = [event for event in demo_programme() if event.sound == sound]
    return sum(
        max(0.0, min(event.end_s, caption["end_s"]) - max(event.start_s, caption["start_s"])) for event in events
    )


def _known(caption: dict[str, Any]) -> tuple[str, ...]:
    return _KNOWN.get(caption["model"]["bundle"], tuple(WORDS))


def test_words_are_known_of_every_sound_of_the_demo() -> None:
    assert set(WORDS) == {event.sound for event in demo_programme()}


def test_each_sound_that_the_bundle_knows_is_told_while_it_is_heard() -> None:
    captions = _captions()
    assert len(captions) >= 20, "one each 2 s"
    for sound in _known(captions[0]):
        heard = [caption for caption in captions if _seconds_of(sound, caption) >= _HEARD_S]
        assert heard, sound
        told = [caption for caption in heard if tells(sound, caption["caption"])]
        assert len(told) >= len(heard) / 2, f"{sound} is told in {len(told)} of {len(heard)} windows"


def test_a_bundle_that_knows_them_all_tells_none_where_it_is_not_heard() -> None:
    captions = _captions()
    if captions[0]["model"]["bundle"] in _KNOWN:
        pytest.skip("the bundle calls what it never learnt by the nearest name that it has")
    false = [
        caption["caption"]
        for caption in captions
        if any(tells(sound, caption["caption"]) and not _seconds_of(sound, caption) for sound in WORDS)
    ]
    assert len(false) <= len(captions) / 10, false


def test_a_bundle_that_knows_them_all_says_five_different_things() -> None:
    captions = _captions()
    known = _known(captions[0])
    different = {caption["caption"] for caption in captions}
    assert len(different) >= (5 if len(known) == len(WORDS) else 2)
