"""Sounds of no known class: heard, captioned as unknown, and drawn as often as asked."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edge_aac.audio.features import filter_bank
from edge_aac.fluency.english.sentences import fluency_errors
from edge_aac.toml_files import parse_toml
from quantize.data import unknown
from quantize.data.caption_corpus import distinct_captions
from quantize.data.captions import MIN_WORDS, NOTHING, UNKNOWN, captions
from quantize.data.clips import Clip, load_clips
from quantize.data.lexicon import named_events
from quantize.data.mixed_scenes import MixedScenes, mixed_scene
from quantize.data.mixup import mix
from quantize.data.scenes import SCENE_SAMPLES, Scene, SceneBuilder, SceneRecipe
from quantize.data.tokenizer import train_tokenizer
from quantize.training.batches import example
from quantize.training.recipe import parse_recipe

LONG_ENOUGH = {text for text in UNKNOWN if len(text.split()) >= MIN_WORDS}


@pytest.fixture(scope="module")
def clips(recordings: Path) -> list[Clip]:
    return load_clips(recordings, (1,))


@pytest.fixture(scope="module")
def unknown_scenes(clips: list[Clip]) -> list[Scene]:
    builder = SceneBuilder(clips, SceneRecipe(unknown_probability=1.0))
    return [builder.scene(np.random.default_rng(seed)) for seed in range(30)]


@pytest.mark.parametrize("maker", range(len(unknown._MAKERS)))
@pytest.mark.parametrize("samples", [16_000, 52_345, SCENE_SAMPLES])
def test_synthesised_sounds_are_finite_and_not_nothing(maker: int, samples: int) -> None:
    for seed in range(4):
        made = unknown._MAKERS[maker](samples, np.random.default_rng(seed))
        assert made.shape == (samples,)
        assert np.isfinite(made).all() and np.abs(made).max() > 0.0
        sound = unknown.synthesised_sound(samples, np.random.default_rng(seed))
        assert sound.dtype == np.float32 and sound.shape == (samples,) and np.isfinite(sound).all()
        assert np.array_equal(sound, unknown.synthesised_sound(samples, np.random.default_rng(seed)))


@pytest.mark.parametrize(
    ("maker", "seed"),
    [
        (unknown._tones, 1307),  # of a pitch that wanders beyond what is synthesised
        (unknown._knocks, 156),  # all of them in pauses
        (unknown._sweeps, 10558),  # nothing but pauses
    ],
)
def test_no_draw_is_silence(maker: object, seed: int) -> None:
    rng = np.random.default_rng(seed)
    assert unknown._MAKERS[int(rng.integers(len(unknown._MAKERS)))] is maker
    assert np.abs(unknown.synthesised_sound(16_000, np.random.default_rng(seed))).max() > 1e-3


def test_pauses_leave_a_part_and_cost_no_draw_of_their_own() -> None:
    rng, state = np.random.default_rng(0), np.random.default_rng()
    paused = 0
    for _ in range(20_000):
        state.bit_generator.state = rng.bit_generator.state
        envelope = unknown._envelope(64, rng)
        assert envelope.max() > 0.01
        paused += int(envelope.min() == 0.0)
        state.uniform(0.2, 1.0, 8)
        if state.random() < 0.5:
            state.random(8)
        assert state.bit_generator.state == rng.bit_generator.state
    assert 8000 < paused < 12_000


def test_distorted_recordings_are_another_sound(clips: list[Clip]) -> None:
    """All three distortions come up, and none leaves the spectrum that the recording had."""
    rng = np.random.default_rng(0)
    noise = np.convolve(rng.standard_normal(32_000), np.ones(8) / 8, mode="same").astype(np.float32)
    before = _bands(noise)
    lengths = set()
    for seed in range(20):
        sound = unknown.distorted_sound(noise, np.random.default_rng(seed))
        assert sound.dtype == np.float32 and np.isfinite(sound).all()
        assert np.abs(_bands(sound) - before).sum() > 0.2
        lengths.add(len(sound))
    assert 32_000 in lengths and min(lengths) < 16_000 and max(lengths) > 64_000


def _bands(waveform: np.ndarray) -> np.ndarray:
    power = np.square(np.abs(np.fft.rfft(waveform)))
    bands = np.array([part.sum() for part in np.array_split(power, 8)])
    return bands / bands.sum()


def test_a_spectrum_is_turned_upside_down() -> None:
    tone = np.sin(2.0 * np.pi * 1000.0 / 16_000 * np.arange(16_000)).astype(np.float32)
    peaks = set()
    for seed in range(30):
        sound = unknown.distorted_sound(tone, np.random.default_rng(seed))
        peaks.add(int(np.argmax(np.abs(np.fft.rfft(sound))) * 16_000 / len(sound)))
    assert 7000 in peaks


def test_scenes_are_sound_without_events(unknown_scenes: list[Scene]) -> None:
    for scene in unknown_scenes:
        assert scene.relation == "unknown" and scene.events == ()
        assert scene.waveform.shape == (SCENE_SAMPLES,) and scene.waveform.dtype == np.float32
        assert np.isfinite(scene.waveform).all() and 0.0 < np.abs(scene.waveform).max() <= 1.0
        assert not scene.activity.any()
        assert scene.activity.shape == (1000, 10)


def test_captions_name_no_class_and_are_fluent(unknown_scenes: list[Scene]) -> None:
    rng = np.random.default_rng(0)
    drawn_texts = {text for scene in unknown_scenes for text in captions(scene, rng, 30)}
    assert drawn_texts <= LONG_ENOUGH and len(drawn_texts) > len(LONG_ENOUGH) // 2, "wordings are drawn evenly"
    for text in LONG_ENOUGH:
        assert named_events(text) == [] and fluency_errors(text) == ()
    assert not set(UNKNOWN) & set(NOTHING)


def test_unknown_and_silent_scenes_are_each_others_negatives(unknown_scenes: list[Scene], clips: list[Clip]) -> None:
    tokenizer = train_tokenizer([*UNKNOWN, *NOTHING], 900)
    silent = SceneBuilder(clips, SceneRecipe()).compose([], "none", np.random.default_rng(0))
    keys = []
    for scene in (*unknown_scenes[:2], silent):
        fbank = filter_bank(scene.waveform)
        keys.append(example(scene, fbank, captions(scene, np.random.default_rng(0), 1), tokenizer, 48).events)
    assert keys == [("unknown",), ("unknown",), ()]


def test_so_many_scenes_are_unknown_as_asked_for(clips: list[Clip]) -> None:
    builder = SceneBuilder(clips, SceneRecipe(unknown_probability=0.3))
    drawn = [builder.scene(np.random.default_rng(seed)).relation for seed in range(150)]
    # 45 expected, with a standard deviation of 5.6.
    assert abs(drawn.count("unknown") - 45) < 4 * 5.6
    assert {"single", "overlap", "sequence"} < set(drawn)


def test_without_unknown_sounds_no_random_number_is_drawn_for_them(clips: list[Clip]) -> None:
    """So that scenes are those that they were before there were any."""
    builder = SceneBuilder(clips, SceneRecipe(unknown_probability=0.0))
    for seed in range(10):
        rng = np.random.default_rng(seed)
        scene = builder.scene(rng)
        same = np.random.default_rng(seed)
        count = int(same.choice(3, p=builder.recipe.event_counts))
        labels = [str(label) for label in same.choice(list(builder.by_label), size=count, replace=False)]
        if count == 2:
            same.random()
        by_hand = builder.compose(labels, scene.relation, same)
        assert np.array_equal(scene.waveform, by_hand.waveform)
        assert rng.bit_generator.state == same.bit_generator.state


def test_a_recipe_that_says_nothing_of_it_has_none() -> None:
    _, table = parse_toml((Path("quantize/recipes") / "esc10-tiny.toml").read_bytes())
    assert parse_recipe(table).scenes.unknown_probability > 0.0
    del table["scenes"]
    assert parse_recipe(table).scenes.unknown_probability == 0.0


def test_captions_without_sound_speak_of_unknown_sounds_too() -> None:
    recipe = SceneRecipe(unknown_probability=0.5)
    drawn = set(distinct_captions(400, np.random.default_rng(0), recipe=recipe))
    assert len(LONG_ENOUGH & drawn) > 20
    plain = set(distinct_captions(400, np.random.default_rng(0), recipe=replace(recipe, unknown_probability=0.0)))
    assert not set(UNKNOWN) & plain


def test_a_mix_with_an_unknown_sound_says_nothing_untrue(unknown_scenes: list[Scene]) -> None:
    """Two unknown sounds are no silence, so "nothing but faint background noise" must not be said of them."""
    first, second = unknown_scenes[:2]
    mixed = mixed_scene(MixedScenes(first, second, mix(first.waveform, second.waveform, np.random.default_rng(0))))
    assert mixed is not None and mixed.relation == "unknown"
    assert set(captions(mixed, np.random.default_rng(0), 50)) <= LONG_ENOUGH
