"""Events of the shipped bundle: the demo scene, and sounds in the words that the bundle has for them."""

from __future__ import annotations

import itertools
import threading
from collections import Counter

import numpy as np
import numpy.typing as npt
import pytest

from edge_aac.audio.sources.demo import DemoSource, demo_programme, play_programme, synthesise_demo
from edge_aac.audio.windows import WINDOW_SAMPLES, WindowSlicer
from edge_aac.bundle.store import DEFAULT_BUNDLE
from edge_aac.models.seq2seq import Captioner
from edge_aac.records import Caption, Event
from edge_aac.streaming.channel import ChannelSettings
from edge_aac.streaming.event_settings import EventSettings
from edge_aac.streaming.events import EventTracker
from edge_aac.streaming.gate import EnergyGate
from edge_aac.streaming.hub import Hub, Outlet
from edge_aac.streaming.session import Session
from edge_aac.streaming.sounds import caption_reader
from tests.edge_aac.demo_words import tells
from tests.edge_aac.fakes import FakeSink, scored

pytestmark = pytest.mark.one_python

_RATE = 16_000
_SOUNDS = {
    "rain": ["rain falls", "a rain shower drums down", "a rainstorm sprinkles and splatters", "there is rain falling",
             "a downpour of rain spatters", "the sound of rain falling", "drops of rain splash down"],
    "clock": ["a clock ticks", "a clock goes tick tock", "the second hand of a clock clicks along",
              "a clock is ticking", "the sound of a clock ticking", "the clock ticks away"],
    "dog": ["a dog barks", "a hound barks", "a dog lets out a bark", "there is a dog barking twice"],
    "baby": ["a baby cries", "an infant cries", "a baby fusses and cries", "an unhappy baby screams"],
    "fire": ["a fire crackles", "flames crackle and pop", "a fire snaps and pops", "burning logs crackle"],
}  # fmt: skip
"""In words that a bundle without a list of sounds was taught."""
_LISTED = {
    "rain": ["rain falls", "heavy rain pours down", "rain comes down", "there is rain pattering", "falling rain"],
    "clock": ["a clock ticks", "a watch ticks away", "there is a clock ticking", "the sound of ticking"],
    "dog": ["a dog barks", "dogs bark sharply", "a dog gives a bark", "there is a dog barking twice"],
    "baby": ["a baby cries", "there is a baby crying", "the sound of a baby crying"],
}
"""In words of the list of everyday sounds."""


@pytest.fixture(scope="module")
def captioner() -> Captioner:
    return Captioner.open(DEFAULT_BUNDLE)


def _heard(captioner: Captioner, *scenes: npt.NDArray[np.float32], seed: int = 0) -> list[FakeSink]:
    """What each scene gives, all in one session."""
    stop, sink = threading.Event(), FakeSink()
    session = Session(
        model=captioner,
        hub=Hub([Outlet("fake", sink, ("caption", "event"), 4096, stop)]),
        node="kitchen",
        stop=stop,
        health_interval_s=0.0,
    )
    for number, scene in enumerate(scenes):
        session.add(
            DemoSource(scene, label=str(number)),
            WindowSlicer(WINDOW_SAMPLES, 2 * _RATE),
            ChannelSettings(EnergyGate(-70.0), seed=seed, events=EventSettings().rules()),
        )
    session.run()
    sinks = [FakeSink() for _ in scenes]
    for record in sink.records:
        sinks[int(record.source)].records.append(record)
    return sinks


def _started(sink: FakeSink) -> Counter[str]:
    """How often each sound started an event."""
    texts = [record.caption for record in sink.records if isinstance(record, Event) and record.state == "start"]
    return Counter(
        next((sound for sound in ("clock", "rain", "birdsong") if tells(sound, text)), text) for text in texts
    )


def _scene(captioner: Captioner, seconds: int, seed: int) -> tuple[npt.NDArray[np.float32], tuple[str, ...]]:
    """Sound that the bundle knows, and what it is: the synthesised rain and clock; of a bundle that lists its sounds a
    recording of birds, again and again (tests/edge_aac/demo_words.py says why)."""
    if captioner.sound_names is None:
        return synthesise_demo(seconds, seed), ("clock", "rain")
    birds = next(event for event in demo_programme() if event.sound == "birdsong")
    heard = play_programme(birds.end_s)[round(birds.start_s * _RATE) :]
    return np.tile(heard, 1 + seconds * _RATE // len(heard))[: seconds * _RATE], ("birdsong",)


def test_each_sound_of_a_scene_is_told_once(captioner: Captioner) -> None:
    asked = [(20, 0), (30, 0), (60, 0), (60, 1)]
    scenes = [_scene(captioner, seconds, seed) for seconds, seed in asked]
    for given, (_, sounds), sink in zip(asked, scenes, _heard(captioner, *(scene for scene, _ in scenes)), strict=True):
        started = _started(sink)
        assert [started[sound] for sound in sounds] == [1] * len(sounds), (given, started)
        captions = [record for record in sink.records if isinstance(record, Caption)]
        assert all(any(tells(sound, record.caption) for record in captions) for sound in sounds)
        assert len(captions) <= 3, "a listener is told of each sound once"
        ends = [record for record in sink.records if isinstance(record, Event) and record.state == "end"]
        assert {record.event for record in ends} == set(range(started.total()))
        assert all(record.start_s is not None and record.start_s < (record.end_s or 0.0) for record in ends)


def test_what_stops_has_an_end_and_what_comes_back_is_another_event(captioner: Captioner) -> None:
    scene, sounds = _scene(captioner, 20, 3)
    # Windows of 10 s may have the sound on both sides of a gap, and a gap of 30 s ends it.
    silence = np.zeros(60 * _RATE, np.float32)
    (sink,) = _heard(captioner, np.concatenate([scene, silence, scene]))
    ends = [record for record in sink.records if isinstance(record, Event) and record.state == "end"]
    ends = [record for record in ends if any(tells(sound, record.caption) for sound in sounds)]
    spans = [(record.start_s or 0.0, record.end_s or 0.0) for record in ends]
    for began_s, ceased_s in ((0.0, 20.0), (80.0, 100.0)):
        own = [(start, end) for start, end in spans if began_s - 4.0 <= start and end <= ceased_s + 4.0]
        assert len(own) == len(sounds), (began_s, spans)
        assert abs(min(start for start, _ in own) - began_s) <= 4.0
        assert abs(max(end for _, end in own) - ceased_s) <= 4.0
    started = _started(sink)
    assert [started[sound] for sound in sounds] == [2] * len(sounds), started


def test_a_source_has_the_events_that_it_has_alone(captioner: Captioner) -> None:
    scenes = [synthesise_demo(16, seed) for seed in range(3)]
    beside = _heard(captioner, *scenes, seed=5)
    (alone,) = _heard(captioner, scenes[1], seed=5)
    assert [record.to_table() | {"source": "1"} for record in alone.records if isinstance(record, Event)] == [
        record.to_table() for record in beside[1].records if isinstance(record, Event)
    ]


def test_every_wording_of_a_sound_is_one_event_and_no_two_sounds_are(captioner: Captioner) -> None:
    """Two sounds together, in any of the words that the bundle was taught for them."""
    sounds, reader = _LISTED if captioner.sound_names else _SOUNDS, caption_reader(captioner)
    for one, other in itertools.combinations(sounds, 2):
        tracker = EventTracker(captioner.same_similarity, captioner.embed, EventSettings().rules(), reader)
        started = []
        for number in range(14):
            words, more = sounds[one], sounds[other]
            text = f"{words[number % len(words)]} while {more[number % len(more)]}"
            start = 2 * _RATE * number
            caption = scored(text)
            started += tracker.observe(start, start + WINDOW_SAMPLES, [caption]).started
        assert started == [0, 1], (one, other)
