"""Everyday scenes: the same by number, and what they say of themselves is what is heard in them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edge_aac.errors import ConfigError, DataError
from edge_aac.timebase import SAMPLE_RATE
from quantize.data.everyday.events import Belief, HeardEvent, believed
from quantize.data.everyday.lexicon import english
from quantize.data.everyday.scenes import EverydaySceneRecipe, EverydayScenes, without
from quantize.data.sounds.pieces import PieceMaker
from quantize.data.sounds.store import SoundStore
from tests.quantize.data.everyday.stored_tones import SOUNDS, TONES, stored_tones

LEXICON = english()
NAMES = {"Siren": "siren", "Bark": "dog_bark", "Rain": "rain"}
HEARD = [
    (HeardEvent(believed(LEXICON, NAMES[one.heard_as]), one.start_s, one.end_s, -20.0),)
    if one.heard_as in NAMES
    else ()
    for one in SOUNDS
]
PLAIN = EverydaySceneRecipe(
    sound_counts=(0.0, 1.0),
    speed_probability=0.0,
    equaliser_probability=0.0,
    distance_probability=0.0,
    repeat_probability=0.0,
    loop_probability=0.0,
    noise_probability=0.0,
)


@pytest.fixture
def store(tmp_path: Path) -> SoundStore:
    return stored_tones(tmp_path)


def scenes(store: SoundStore, recipe: EverydaySceneRecipe = PLAIN, held_out: tuple[int, ...] = (4,)) -> EverydayScenes:
    return EverydayScenes(store, HEARD, LEXICON, recipe, 7, held_out)


def heard_at(waveform: np.ndarray, hertz: float) -> np.ndarray:
    """Seconds at which a tone is heard, to 0.1 s."""
    size = SAMPLE_RATE // 10
    power = np.abs(np.fft.rfft(waveform.reshape(-1, size) * np.hanning(size))) ** 2
    level = power[:, round(hertz / 10.0)]
    return np.flatnonzero(level > 0.1 * level.max()) / 10.0


def test_a_scene_is_the_same_whenever_it_is_asked_for(store: SoundStore) -> None:
    recipe = EverydaySceneRecipe()
    one, other = scenes(store, recipe), scenes(store, recipe)
    for index in reversed(range(10)):
        other.scene(0, index)
    for index in range(10):
        first, again = one.scene(0, index), other.scene(0, index)
        assert np.array_equal(first.waveform, again.waveform) and first.events == again.events
        assert first.waveform.shape == (160_000,) and np.abs(first.waveform).max() <= 1.0 + 1e-6
    assert not np.array_equal(one.scene(0, 0).waveform, one.scene(1, 0).waveform)


@pytest.mark.parametrize("varied", ["plain", "faster", "looped", "repeated"])
def test_events_are_where_the_sound_is(store: SoundStore, varied: str) -> None:
    recipe = {
        "plain": PLAIN,
        "faster": replace(PLAIN, speed_probability=1.0, speed_octaves=0.3),
        "looped": replace(PLAIN, loop_probability=1.0),
        "repeated": replace(PLAIN, repeat_probability=1.0),
    }[varied]
    found = set()
    for index in range(40):
        scene = scenes(store, recipe).scene(0, index)
        for event in scene.events:
            found.add(event.named())
            heard_as = next(name for name, sound in NAMES.items() if sound == event.named())
            if varied == "faster":
                times = np.flatnonzero(np.abs(scene.waveform.reshape(-1, 1600)).max(1) > 1e-3) / 10.0
            else:
                times = heard_at(scene.waveform, TONES[heard_as])
            assert times[0] == pytest.approx(event.start_s, abs=0.11)
            assert times[-1] + 0.1 == pytest.approx(event.end_s, abs=0.11)
    assert found == set(NAMES.values())


def test_levels_are_those_of_the_scene(store: SoundStore) -> None:
    for index in range(20):
        scene = scenes(store).scene(0, index)
        for event in scene.events:
            part = scene.waveform[round(event.start_s * SAMPLE_RATE) : round(event.end_s * SAMPLE_RATE)]
            assert event.level_db == pytest.approx(20.0 * np.log10(np.sqrt(np.square(part).mean())), abs=0.3)


def test_sounds_in_turn_do_not_overlap(store: SoundStore) -> None:
    recipe = replace(PLAIN, sound_counts=(0.0, 0.0, 1.0), sequence_probability=1.0)
    told = [scenes(store, recipe).scene(0, index).events for index in range(30)]
    pairs = [events for events in told if len(events) == 2]
    assert len(pairs) > 10
    assert all(first.end_s <= second.start_s + 0.01 for first, second in pairs)


def test_what_is_held_out_is_not_heard(store: SoundStore) -> None:
    assert {row.fold for row in scenes(store).rows} == {1, 2, 3}
    with pytest.raises(DataError, match="no sound is left"):
        scenes(store, held_out=(1, 2, 3, 4))


def test_absent_sounds_are_left_out_by_label_and_by_ear(store: SoundStore) -> None:
    kept = without(store, HEARD, LEXICON, ["rain"])
    assert [row.label for row in kept.rows] == ["dog_bark", "siren", "Static"]
    assert [row.label for row in without(store, HEARD, LEXICON, ["animal"]).rows] == ["siren", "", "Static", "rain"]
    assert [row.label for row in without(store, HEARD, LEXICON, ["dog_bark"]).rows] == ["siren", "", "Static", "rain"]
    heard = {
        event.named()
        for index in range(30)
        for event in EverydayScenes(store, HEARD, LEXICON, PLAIN, 7, (4,), ["rain"]).scene(0, index).events
    }
    assert heard == {"dog_bark", "siren"}


def test_noise_is_no_sound_whatever_a_tagger_takes_it_for(store: SoundStore) -> None:
    heard = [*HEARD]
    heard[3] = (HeardEvent(believed(LEXICON, "siren"), 0.0, 4.0),)
    made = EverydayScenes(store, heard, LEXICON, PLAIN, 7, (4,))
    noise = next(row for row in store.rows if row.label == "Static")
    assert made.heard_in(noise) == ()


def test_where_nothing_is_to_be_named_there_is_noise_or_what_is_no_sound_of_a_thing(store: SoundStore) -> None:
    recipe = replace(PLAIN, sound_counts=(1.0,), background_probability=0.5)
    made = [scenes(store, recipe).scene(0, index) for index in range(20)]
    assert all(scene.events == () for scene in made)
    spectra = [np.abs(np.fft.rfft(scene.waveform)) for scene in made]
    hums = [spectrum.argmax() == round(TONES["Static"] * 10.0) for spectrum in spectra]
    assert 2 < sum(hums) < 18


def test_beside_a_label_only_what_is_sure_is_heard(store: SoundStore) -> None:
    heard = [*HEARD]
    heard[0] = (
        *HEARD[0],
        HeardEvent((Belief("speech", 0.75), Belief("voice", 0.8)), 0.0, 3.0),
        HeardEvent((Belief("rain", 0.95),), 0.0, 3.0),
    )
    made = EverydayScenes(store, heard, LEXICON, PLAIN, 7, (4,))
    assert [event.named() for event in made.heard_in(store.rows[0])] == ["dog_bark", "rain"]


def test_what_the_tagger_does_not_know_in_a_labelled_recording_is_its_label(store: SoundStore) -> None:
    heard = [*HEARD]
    heard[0] = (HeardEvent((), 1.0, 2.0), replace(HEARD[0][0], start_s=2.0))
    made = EverydayScenes(store, heard, LEXICON, PLAIN, 7, (4,))
    assert [(event.named(), event.start_s) for event in made.heard_in(store.rows[0])] == [
        ("dog_bark", 1.0),
        ("dog_bark", 2.0),
    ]


def test_who_hears_a_crowd_has_heard_nothing(store: SoundStore) -> None:
    heard = [*HEARD]
    crowd = tuple(HeardEvent((Belief(name, 0.99),), 0.0, 1.0) for name in list(LEXICON.sounds)[:20])
    heard[0] = heard[2] = crowd
    made = EverydayScenes(store, heard, LEXICON, PLAIN, 7, ())
    assert [event.named() for event in made.heard_in(store.rows[0])] == ["dog_bark"]
    assert [event.beliefs for event in made.heard_in(store.rows[2])] == [()]


def test_a_piece_is_cut_where_something_is_heard(store: SoundStore) -> None:
    """A bark from 1 s to 4 s of 5: a cut of half a second would be silence or its noise in two of five."""
    pieces = PieceMaker(store, PLAIN, ())
    rng = np.random.default_rng(3)
    for _ in range(60):
        piece = pieces.piece(store.rows[0], SAMPLE_RATE // 2, rng)
        assert piece is not None and piece.gain < 10.0


def test_static_is_fainter_than_rain_may_be(store: SoundStore) -> None:
    recipe = replace(PLAIN, sound_counts=(1.0,), background_probability=1.0)
    made = [np.abs(scenes(store, recipe).scene(0, index).waveform).max() for index in range(30)]
    assert min(made) >= 10.0 ** (-55.0 / 20.0) and max(made) <= 10.0 ** (-12.0 / 20.0) + 1e-6


def test_nothing_is_called_more_exactly_than_the_label(store: SoundStore) -> None:
    heard = [*HEARD]
    heard[4] = (HeardEvent(believed(LEXICON, "rain_on_surface"), 0.0, 6.0),)
    heard[2] = heard[4]
    made = EverydayScenes(store, heard, LEXICON, PLAIN, 7, ())
    assert [made.heard_in(row)[0].named() for row in (store.rows[4], store.rows[2])] == ["rain", "rain_on_surface"]


def test_what_nobody_knows_is_a_sound_without_a_name(store: SoundStore) -> None:
    heard = [*HEARD]
    heard[2] = ()
    ((event,),) = [EverydayScenes(store, heard, LEXICON, PLAIN, 7, ()).heard_in(store.rows[2])]
    assert (event.beliefs, event.start_s, event.end_s) == ((), 0.0, 8.0)


def test_a_tone_whose_class_names_no_thing_is_an_unknown_sound(store: SoundStore) -> None:
    rows = tuple(replace(row, label="Sine wave") if row.label == "Static" else row for row in store.rows)
    made = EverydayScenes(replace(store, rows=rows), HEARD, LEXICON, PLAIN, 7, ())
    ((event,),) = [made.heard_in(row) for row in rows if row.label == "Sine wave"]
    assert event.beliefs == ()


def test_what_is_too_faint_is_not_heard(store: SoundStore) -> None:
    faint = replace(PLAIN, peak_db=(-80.0, -70.0))
    assert not any(scenes(store, faint).scene(0, index).events for index in range(10))


def test_a_distant_sound_is_far_away(store: SoundStore) -> None:
    recipe = replace(PLAIN, distance_probability=1.0, direct_db=(-8.0, -6.0))
    events = [event for index in range(12) for event in scenes(store, recipe).scene(0, index).events]
    assert events and all(event.far for event in events)
    near = replace(recipe, direct_db=(6.0, 8.0))
    assert not any(event.far for index in range(12) for event in scenes(store, near).scene(0, index).events)


def test_without_sounds_there_is_noise_and_no_event(store: SoundStore) -> None:
    scene = scenes(store, replace(PLAIN, sound_counts=(1.0,))).scene(0, 0)
    assert scene.events == ()
    assert 1e-4 < np.sqrt(np.square(scene.waveform).mean()) < 0.1


def test_a_recipe_that_cannot_be_is_refused() -> None:
    for wrong in ({"sound_counts": (0.5, 0.6)}, {"peak_db": (0.0, -30.0)}, {"unlabelled_from": 1.5}, {"gain_db": -1.0}):
        with pytest.raises(ConfigError, match=next(iter(wrong))):
            EverydaySceneRecipe(**wrong)  # type: ignore[arg-type]
