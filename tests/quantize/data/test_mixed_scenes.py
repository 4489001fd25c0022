"""What is said of two scenes mixed into one is true of the mix."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from edge_aac.fluency.english.sentences import fluency_errors
from edge_aac.timebase import SAMPLE_RATE
from quantize.data.captions import COUNT_WORDS, FAR_WORDS, LASTING_WORDS, NEAR_WORDS
from quantize.data.clips import ENVELOPE_SAMPLES, load_clips
from quantize.data.lexicon import LABELS, named_events
from quantize.data.merging import (
    EventMerger,
    merge_captions,
)
from quantize.data.mixed_scenes import MASKED_DB, MixedScenes, mixed_caption, mixed_scene
from quantize.data.mixup import Mix, mix
from quantize.data.scenes import SCENE_SAMPLES, Event, Relation, Scene, SceneBuilder, SceneRecipe

Tone = tuple[str, float, float, float]
"""Label, start and end in seconds, level in dB."""


def scene(
    *tones: Tone, seconds: float = 10.0, far: bool = False, count: int | None = None, scale: float = 0.01
) -> Scene:
    """Steady tones as events: noise of the given level, heard all the time from start to end."""
    samples = round(seconds * SAMPLE_RATE)
    waveform = np.zeros(samples)
    activity = np.zeros((samples // ENVELOPE_SAMPLES, len(LABELS)), bool)
    events = []
    for number, (label, start_s, end_s, level_db) in enumerate(tones):
        start, end = round(start_s * SAMPLE_RATE), round(end_s * SAMPLE_RATE)
        sound = np.random.default_rng([number, len(label)]).standard_normal(end - start)
        waveform[start:end] += scale * 10.0 ** (level_db / 20.0) * sound
        activity[start // ENVELOPE_SAMPLES : end // ENVELOPE_SAMPLES, LABELS.index(label)] = True
        events.append(Event(label, start, end, count, far, level_db))
    relation: Relation = ("none", "single", "overlap")[len(tones)]  # type: ignore[assignment]
    return Scene(waveform.astype(np.float32), tuple(events), relation, activity)


def added(first: Scene, second: Scene, gains: tuple[float, float] = (1.0, 1.0), offset: int = 0) -> MixedScenes:
    """Two scenes mixed at given gains, the second from ``offset`` on."""
    waveform = np.float32(gains[0]) * first.waveform
    waveform[offset : offset + len(second.waveform)] += np.float32(gains[1]) * second.waveform
    return MixedScenes(first, second, Mix(waveform, math.nan, gains, (0, offset)))


def wordings(mixed: MixedScenes, count: int = 300) -> set[str]:
    merged = mixed_scene(mixed)
    assert merged is not None
    rng = np.random.default_rng(0)
    return {mixed_caption(merged, rng) for _ in range(count)}


def with_words(texts: set[str], words: Sequence[str]) -> set[str]:
    return {text for text in texts if re.search(rf"\b(?:{'|'.join(words)})\b", text)}


IN_TURN = ("then", "followed by", "afterwards")


AT_ONCE = ("while", "as", "over the sound", "background", "behind")


def test_what_comes_one_after_the_other_is_captioned_in_that_order() -> None:
    late, early = scene(("dog_bark", 6.0, 9.0, 0.0)), scene(("rain", 0.5, 5.0, 0.0))
    texts = wordings(added(late, early))
    assert with_words(texts, IN_TURN) == texts
    assert not with_words(texts, AT_ONCE)
    assert {tuple(named_events(text)) for text in texts} == {("rain", "dog_bark")}


def test_what_lies_together_is_captioned_so() -> None:
    texts = wordings(added(scene(("dog_bark", 2.0, 4.0, 0.0)), scene(("rain", 0.0, 10.0, 0.0))))
    assert not with_words(texts, IN_TURN)
    assert with_words(texts, AT_ONCE)


def test_sounds_that_hardly_meet_are_neither_at_once_nor_in_turn() -> None:
    texts = wordings(added(scene(("rain", 0.0, 5.0, 0.0)), scene(("sea_waves", 4.0, 9.0, 0.0))))
    assert not with_words(texts, IN_TURN + AT_ONCE)
    assert with_words(texts, ("and",)) == texts


def test_the_offset_moves_the_events() -> None:
    short = scene(("dog_bark", 0.0, 1.0, 0.0), seconds=1.0)
    mixed = added(scene(("rain", 0.0, 4.0, 0.0)), short, offset=5 * SAMPLE_RATE)
    merged = mixed_scene(mixed)
    assert merged is not None
    assert [(event.label, event.start, event.end) for event in merged.events] == [
        ("rain", 0, 4 * SAMPLE_RATE),
        ("dog_bark", 5 * SAMPLE_RATE, 6 * SAMPLE_RATE),
    ]
    assert merged.relation == "sequence"
    heard = np.flatnonzero(merged.activity[:, LABELS.index("dog_bark")])
    assert (heard[0], heard[-1]) == (500, 599)
    assert with_words(wordings(mixed), IN_TURN) == wordings(mixed)


@pytest.mark.parametrize("rain_db", [-8.0, 0.0, 8.0])
def test_what_is_behind_and_what_is_near_follows_from_the_levels_in_the_mix(rain_db: float) -> None:
    # The scenes say nothing of each other's level; only the gains of the mix and their waveforms do.
    dog, rain = scene(("dog_bark", 2.0, 5.0, 0.0), scale=0.2), scene(("rain", 0.0, 10.0, 0.0), scale=0.001)
    texts = wordings(added(dog, rain, gains=(0.1, 20.0 * 10.0 ** (rain_db / 20.0))), 600)
    behind = with_words(texts, ("background", "behind"))
    near = with_words(texts, NEAR_WORDS)
    if rain_db < 0.0:
        assert behind
        assert all(re.search(r"\b(?:bark\w*|woof\w*)\b.* with ", text) for text in behind), (
            "rain is behind, not the dog"
        )
        assert near
        assert not any(re.search(rf"\brain\w*\b.*\b(?:{'|'.join(NEAR_WORDS)})", text) for text in near)
    else:
        assert not behind
        assert bool(near) == (rain_db > 0.0)


def test_levels_are_those_in_the_mix() -> None:
    first = scene(("rain", 0.0, 6.0, 0.0), ("dog_bark", 4.0, 8.0, -4.0), scale=0.05)
    second = scene(("sea_waves", 1.0, 10.0, 0.0), scale=0.02)
    merged = mixed_scene(added(first, second, gains=(0.5, 2.0)))
    assert merged is not None
    gains = {event.label: event.gain_db for event in merged.events}
    assert gains["rain"] - gains["dog_bark"] == pytest.approx(4.0)
    # 0.05 · 0.5 against 0.02 · 2.
    assert gains["rain"] - gains["sea_waves"] == pytest.approx(20.0 * math.log10(0.025 / 0.04), abs=0.3)
    assert sorted(gains.values())[1] == pytest.approx(0.0), "relative to the second loudest"


@pytest.mark.parametrize(("below_db", "named"), [(MASKED_DB - 4.0, True), (MASKED_DB + 4.0, False)])
def test_a_sound_that_the_other_scene_drowns_is_not_named(below_db: float, named: bool) -> None:
    loud, quiet = scene(("rain", 0.0, 10.0, 0.0)), scene(("sea_waves", 2.0, 8.0, 0.0))
    mixed = added(loud, quiet, gains=(1.0, 10.0 ** (-below_db / 20.0)))
    assert (mixed_scene(mixed) is not None) == named
    kept, report = merge_captions([mixed], EventMerger(np.random.default_rng(0)))
    assert (report.merged, report.empty) == ((1, 0) if named else (0, 1))
    assert (kept[0] is not None) == named


def test_a_sound_that_is_drowned_in_part_is_not_counted() -> None:
    barks = scene(("dog_bark", 2.0, 6.0, 0.0), count=3)
    loud = scene(("rain", 5.0, 10.0, 0.0))
    merged = mixed_scene(added(barks, loud, gains=(1.0, 10.0)))
    assert merged is not None
    [dog] = [event for event in merged.events if event.label == "dog_bark"]
    assert dog.count is None
    assert not merged.activity[500:600, LABELS.index("dog_bark")].any()
    assert merged.activity[200:499, LABELS.index("dog_bark")].all()
    quiet = mixed_scene(added(barks, loud, gains=(1.0, 0.5)))
    assert quiet is not None
    assert [event.count for event in quiet.events] == [3, None]


def test_the_same_sound_in_both_is_one() -> None:
    one, two = scene(("dog_bark", 0.0, 2.0, 0.0), count=1), scene(("dog_bark", 4.0, 6.0, 0.0), count=2)
    merged = mixed_scene(added(one, two))
    assert merged is not None
    [dog] = merged.events
    assert (dog.start, dog.end, dog.count, merged.relation) == (0, 6 * SAMPLE_RATE, 3, "single")
    assert dog.longest_gap_s == 2.0
    assert with_words(wordings(added(one, two)), COUNT_WORDS[3])
    together = mixed_scene(added(one, scene(("dog_bark", 1.0, 3.0, 0.0), count=2)))
    assert together is not None
    assert together.events[0].count is None, "barks at the same time may fall together"


def test_a_pause_between_two_scenes_of_rain_is_no_rain_throughout() -> None:
    texts = wordings(added(scene(("rain", 0.0, 4.5, 0.0)), scene(("rain", 5.5, 10.0, 0.0))), 600)
    assert not with_words(texts, LASTING_WORDS)
    texts = wordings(added(scene(("rain", 0.0, 5.0, 0.0)), scene(("rain", 5.0, 10.0, 0.0))), 600)
    assert with_words(texts, LASTING_WORDS)


def test_throughout_means_the_whole_mix() -> None:
    long = scene(("dog_bark", 15.0, 16.0, 0.0), seconds=20.0)
    texts = wordings(added(long, scene(("rain", 0.0, 10.0, 0.0))), 600)
    assert not with_words(texts, LASTING_WORDS), "10 s of 20"


def test_a_far_sound_that_mixing_made_the_louder_one_is_not_called_far() -> None:
    far, near = scene(("dog_bark", 2.0, 5.0, 0.0), far=True), scene(("rain", 0.0, 10.0, 0.0))
    quieter = wordings(added(far, near, gains=(0.6, 1.0)))
    assert with_words(quieter, FAR_WORDS)
    louder = wordings(added(far, near, gains=(2.0, 1.0)))
    assert not with_words(louder, FAR_WORDS)
    assert not with_words(louder, NEAR_WORDS), "nor near: its high frequencies are gone"
    one_of_two = added(scene(("dog_bark", 0.0, 3.0, 0.0), far=True), scene(("dog_bark", 5.0, 8.0, 0.0)))
    assert not with_words(wordings(one_of_two), [*FAR_WORDS, *NEAR_WORDS])


def test_four_sounds_are_captioned_in_groups() -> None:
    first = scene(("rooster", 0.0, 2.0, 0.0), ("rain", 5.0, 7.0, 0.0))
    second = scene(("sea_waves", 0.0, 4.0, 0.0), ("dog_bark", 8.0, 9.0, 0.0))
    for text in wordings(added(first, second)):
        names = list(named_events(text))
        assert set(names[:2]) == {"rooster", "sea_waves"}
        assert names[2:] == ["rain", "dog_bark"]
        assert len(with_words({text}, IN_TURN)) == 1


def test_two_quiet_scenes_have_nothing_to_say() -> None:
    rng = np.random.default_rng(0)
    quiet = [(1e-3 * rng.standard_normal(SCENE_SAMPLES)).astype(np.float32) for _ in range(2)]
    empty = [Scene(waveform, (), "none", np.zeros((1000, len(LABELS)), bool)) for waveform in quiet]
    mixed = MixedScenes(empty[0], empty[1], mix(quiet[0], quiet[1], rng))
    assert not any(named_events(text) for text in wordings(mixed))
    merged = mixed_scene(mixed)
    assert merged is not None
    assert merged.relation == "none"


def test_scenes_as_they_are_drawn_give_fluent_captions_that_name_what_is_there(recordings: Path) -> None:
    builder = SceneBuilder(load_clips(recordings, (1, 2)), SceneRecipe(augment=False))
    pairs = []
    for seed in range(40):
        rng = np.random.default_rng(seed)
        first, second = builder.scene(rng), builder.scene(rng)
        pairs.append(MixedScenes(first, second, mix(first.waveform, second.waveform, rng)))
    kept, report = merge_captions(pairs, EventMerger(np.random.default_rng(0)))
    assert report.merged >= 36
    assert report.merged + report.empty + report.too_long + report.not_fluent == report.pairs == 40
    for pair, text in zip(pairs, kept, strict=True):
        if text is not None:
            assert set(named_events(text)) == {*pair.first.labels, *pair.second.labels}
            assert fluency_errors(text) == ()
    again, _ = merge_captions(pairs, EventMerger(np.random.default_rng(0)))
    assert again == kept
