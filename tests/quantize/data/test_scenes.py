"""Scenes and captions: what is said must be true of what was mixed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edge_aac.errors import DataError, InputMissingError
from quantize.data.captions import (
    BRIEF_WORDS,
    COUNT_WORDS,
    FAR_WORDS,
    LASTING_WORDS,
    MIN_WORDS,
    caption,
    captions,
)
from quantize.data.clips import find_bursts, load_clips, trim_silence
from quantize.data.lexicon import LABELS, LEXICON, named_events
from quantize.data.scenes import SCENE_SAMPLES, Event, Scene, SceneBuilder, SceneRecipe, two_sound_scenes


@pytest.fixture(scope="module")
def builder(recordings: Path) -> SceneBuilder:
    return SceneBuilder(load_clips(recordings, (1, 2)), SceneRecipe())


def scenes(builder: SceneBuilder, count: int) -> list[Scene]:
    return [builder.scene(np.random.default_rng(seed)) for seed in range(count)]


def test_only_the_folds_asked_for_are_opened(recordings: Path) -> None:
    assert {clip.fold for clip in load_clips(recordings, (2,))} == {2}


def test_missing_recordings_are_one_sentence(tmp_path: Path, recordings: Path) -> None:
    with pytest.raises(InputMissingError, match=r"clips\.csv"):
        load_clips(tmp_path, (1,))
    with pytest.raises(DataError, match="no clip in folds"):
        load_clips(recordings, (9,))


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("author", "by_whom", "no column 'author'"),
        ("rain.flac,rain,1", "rain.flac,rain,first", "whole number"),
        ("rain.flac,rain,1", "rain.flac,hail,1", "no words for the class 'hail'"),
    ],
)
def test_a_wrong_table_is_one_sentence(recordings: Path, tmp_path: Path, old: str, new: str, words: str) -> None:
    text = (recordings / "clips.csv").read_text(encoding="utf-8").replace(old, new)
    (tmp_path / "clips.csv").write_text(text, encoding="utf-8")
    for path in recordings.glob("*.flac"):
        (tmp_path / path.name).symlink_to(path)
    with pytest.raises(DataError, match=words):
        load_clips(tmp_path, (1,))


def test_one_class_makes_no_scenes(recordings: Path) -> None:
    clips = [clip for clip in load_clips(recordings, (1,)) if clip.label == "rain"]
    with pytest.raises(DataError, match="at least two"):
        SceneBuilder(clips, SceneRecipe())


def test_bursts_are_counted() -> None:
    waveform = np.zeros(48_000, dtype=np.float32)
    for start in (4_000, 20_000, 40_000):
        waveform[start : start + 3_000] = 0.5
    assert len(find_bursts(waveform)) == 3
    assert len(trim_silence(waveform)) == 39_000


def test_scene_is_ten_seconds_in_range_and_the_same_for_a_seed(builder: SceneBuilder) -> None:
    for seed, scene in enumerate(scenes(builder, 40)):
        assert scene.waveform.shape == (SCENE_SAMPLES,)
        assert scene.waveform.dtype == np.float32
        assert np.isfinite(scene.waveform).all()
        assert np.abs(scene.waveform).max() <= 1.0
        assert np.array_equal(scene.waveform, builder.scene(np.random.default_rng(seed)).waveform)


def test_relations_hold(builder: SceneBuilder) -> None:
    seen = set()
    for scene in scenes(builder, 150):
        seen.add(scene.relation)
        if len(scene.events) < 2:
            continue
        first, second = scene.events
        shared = min(first.end, second.end) - max(first.start, second.start)
        if scene.relation == "sequence":
            assert shared <= 0
        else:
            assert shared >= min(first.end - first.start, second.end - second.start) // 2
        assert abs(second.gain_db) <= 5.0
        assert first.label != second.label
    assert seen == {"none", "single", "overlap", "sequence"}


def test_activity_marks_the_events_and_nothing_else(builder: SceneBuilder) -> None:
    for scene in scenes(builder, 40):
        heard = {LABELS[index] for index in np.flatnonzero(scene.activity.any(axis=0))}
        assert heard == set(scene.labels)
        for event in scene.events:
            steps = np.flatnonzero(scene.activity[:, LABELS.index(event.label)])
            assert steps.min() * 160 >= event.start - 160
            assert steps.max() * 160 <= event.end


def test_captions_name_the_events_and_no_other(builder: SceneBuilder) -> None:
    rng = np.random.default_rng(0)
    for scene in scenes(builder, 150):
        for text in captions(scene, rng, 6):
            assert set(named_events(text)) == set(scene.labels), text
            assert text == text.lower()
            assert len(text.split()) >= MIN_WORDS
            if scene.relation == "sequence":
                assert named_events(text) == scene.labels, text


def one_event(label: str, **changes: object) -> Scene:
    fields = {"label": label, "start": 0, "end": 80_000, "count": None, "far": False, "gain_db": 0.0, **changes}
    return Scene(np.zeros(SCENE_SAMPLES, np.float32), (Event(**fields),), "single", np.zeros((1000, 10), bool))


def all_captions(scene: Scene) -> str:
    rng = np.random.default_rng(0)
    return " | ".join(caption(scene, rng) for _ in range(200))


def test_counts_are_captioned_only_where_they_are_known() -> None:
    assert not any(word in all_captions(one_event("dog_bark")) for words in COUNT_WORDS.values() for word in words)
    twice = all_captions(one_event("dog_bark", count=2))
    assert "twice" in twice
    assert "three times" not in twice
    assert "once" not in twice
    assert "several times" in all_captions(one_event("dog_bark", count=5))


def test_distance_is_captioned_only_of_far_sounds() -> None:
    assert not any(words in all_captions(one_event("rooster")) for words in FAR_WORDS)
    assert any(words in all_captions(one_event("rooster", far=True)) for words in FAR_WORDS)


def test_lasting_is_captioned_only_of_sounds_without_a_gap() -> None:
    assert any(words in all_captions(one_event("rain", end=160_000)) for words in LASTING_WORDS)
    assert not any(words in all_captions(one_event("rain", end=160_000, longest_gap_s=0.6)) for words in LASTING_WORDS)
    assert not any(words in all_captions(one_event("rain", end=100_000)) for words in LASTING_WORDS)
    assert any(words in all_captions(one_event("rain", end=30_000)) for words in BRIEF_WORDS)


def test_gaps_of_events_are_measured(builder: SceneBuilder) -> None:
    for scene in scenes(builder, 60):
        for event in scene.events:
            heard = scene.activity[event.start // 160 : event.end // 160, LABELS.index(event.label)]
            gap = longest = 0
            for step in heard:
                gap = 0 if step else gap + 1
                longest = max(longest, gap)
            # The scene's grid and the sound's own may lie up to a step apart.
            assert event.longest_gap_s == pytest.approx(longest * 0.01, abs=0.025)


def test_the_far_one_of_two_is_never_the_louder_one(builder: SceneBuilder) -> None:
    seen = 0
    for scene in scenes(builder, 300):
        if len(scene.events) == 2 and scene.events[0].far != scene.events[1].far:
            far, near = sorted(scene.events, key=lambda event: not event.far)
            assert far.gain_db <= near.gain_db
            seen += 1
    assert seen > 10


def test_plural_subjects_take_a_plural_verb() -> None:
    assert "there are waves" in all_captions(one_event("sea_waves"))
    assert "there is waves" not in all_captions(one_event("sea_waves"))
    assert "there is rain" in all_captions(one_event("rain"))


def test_every_phrase_names_its_class_alone() -> None:
    for label, sound in LEXICON.items():
        for phrase in sound.phrases:
            assert named_events(f"{phrase.subject} {phrase.present}") == [label]
            assert named_events(f"{phrase.subject} {phrase.gerund}") == [label]


def test_counts_of_repeated_bursts_are_those_rendered(builder: SceneBuilder) -> None:
    """What is rendered as "three times" holds three stretches of sound."""
    clips = [*builder.by_label["dog_bark"], *builder.by_label["rain"]]
    plain = SceneBuilder(clips, SceneRecipe(augment=False, far_probability=0.0, digital_silence_probability=1.0))
    counted = 0
    for seed in range(40):
        scene = plain.compose(["dog_bark"], "single", np.random.default_rng(seed))
        if scene.events[0].count is not None:
            counted += 1
            assert len(find_bursts(scene.waveform)) == scene.events[0].count
    assert counted > 10


def test_two_sound_scenes_are_reproducible(builder: SceneBuilder) -> None:
    first, again = two_sound_scenes(builder, 4, 7), two_sound_scenes(builder, 4, 7)
    assert [scene.labels for scene in first] == [scene.labels for scene in again]
    assert [scene.relation for scene in first] == ["overlap", "sequence"] * 2
    assert np.array_equal(first[0].waveform, again[0].waveform)
