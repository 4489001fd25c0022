"""Windows of everyday sounds: what they hold, that they are the same each time, and what is refused."""

from __future__ import annotations

import csv
import itertools
import shutil
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import soundfile

from edge_aac.audio.windows import Window
from edge_aac.errors import DataError, InputMissingError, UsageError
from edge_aac.models.contract import ScoredCaption
from edge_aac.timebase import SAMPLE_RATE
from quantize.data.clips import Clip
from quantize.data.everyday.reading import read
from quantize.data.sounds.texts import SENTENCES as TRAINED_SENTENCES
from quantize.data.sounds.voices import VARIANTS
from quantize.evaluation.everyday import voices
from quantize.evaluation.everyday.quiet import handling_windows, hum_windows, noise_windows
from quantize.evaluation.everyday.recordings import Labelled, absent_sounds
from quantize.evaluation.everyday.scenes import sound_scenes
from quantize.evaluation.everyday.teacher import Teacher, top_sound
from quantize.evaluation.everyday.truth import SoundWindow
from quantize.evaluation.everyday.windows import Sizes, evaluation_set, judged_windows
from tests.quantize.evaluation.everyday.judged_cases import DOG, LEXICON, FakeTagger


def recording(sound: str, seconds: float, seed: int = 0) -> Labelled:
    rng = np.random.default_rng(seed)
    waveform = (0.1 * rng.standard_normal(round(seconds * SAMPLE_RATE))).astype(np.float32)
    return Labelled(Clip(f"{sound}.flac", sound, 4, "", "", "CC0", "", waveform, ()), sound, "everyday")


RECORDINGS = [
    recording(sound, seconds)
    for sound, seconds in (("dog", 0.4), ("dog_bark", 1.0), ("rain", 12.0), ("cat", 0.7), ("clock", 5.0))
]


def test_scenes_hold_two_or_three_unrelated_sounds_in_overlap_and_in_sequence() -> None:
    scenes = list(sound_scenes(LEXICON, RECORDINGS, 24, 1))
    assert [len([s for moment in scene.moments for s in moment]) for scene in scenes[:4]] == [2, 3, 2, 3]
    assert [len(scene.moments) for scene in scenes[:4]] == [1, 1, 2, 3]
    for scene in scenes:
        sounds = [sound for moment in scene.moments for sound in moment]
        assert not any(LEXICON.names.related(a, b) for a, b in itertools.combinations(sounds, 2))
        assert np.abs(scene.waveform).max() <= 1.0 and scene.waveform.shape == (160_000,)
        assert len(scene.references) == 5
        for reference in scene.references:
            assert set(read(LEXICON, reference).sounds) <= set(sounds)
    again = list(sound_scenes(LEXICON, RECORDINGS, 24, 1))
    assert all(
        np.array_equal(a.waveform, b.waveform) and a.moments == b.moments for a, b in zip(scenes, again, strict=True)
    )
    assert not np.array_equal(scenes[0].waveform, next(sound_scenes(LEXICON, RECORDINGS, 1, 2)).waveform)


def test_in_a_sequence_each_sound_begins_after_the_one_before() -> None:
    """Of tones of one pitch each, so that the scene itself tells where each lies."""
    times = np.arange(2 * SAMPLE_RATE) / SAMPLE_RATE
    pitches = {"dog_bark": 500.0, "rain": 1500.0, "cat": 3000.0}
    tones = [
        Labelled(
            Clip(name, name, 4, "", "", "", "", np.sin(2 * np.pi * hertz * times).astype(np.float32), ()),
            name, "everyday",
        )
        for name, hertz in pitches.items()
    ]  # fmt: skip
    for scene in sound_scenes(LEXICON, tones, 16, 3):
        if len(scene.moments) == 1:
            continue
        frames = np.abs(np.fft.rfft(scene.waveform.reshape(-1, 1600), axis=1))
        spans = []
        for (sound,) in scene.moments:
            level = frames[:, round(pitches[sound] / 10.0)]
            spans.append(np.flatnonzero(level > 0.5 * level.max())[[0, -1]])
        assert all(before[1] <= after[0] for before, after in itertools.pairwise(spans))


def test_scenes_of_three_sounds_need_three_unrelated_ones() -> None:
    with pytest.raises(DataError, match="three that are not examples"):
        next(sound_scenes(LEXICON, RECORDINGS[:3], 1, 1))


def test_hum_is_of_both_mains_and_as_loud_as_it_says() -> None:
    windows = list(hum_windows(1))
    assert len(windows) == 20 and len({w.source for w in windows}) == 20
    for window in windows:
        _, mains, _, level, *_ = window.source.split()
        spectrum = np.abs(np.fft.rfft(window.waveform))
        # 10 s of sound: bins of 0.1 Hz; the strongest line is one of the first harmonics.
        order = spectrum.argmax() / 10.0 / float(mains)
        assert round(order) in range(1, 7) and abs(order - round(order)) < 0.02
        rms_db = 10.0 * np.log10(np.square(window.waveform).mean())
        assert rms_db == pytest.approx(float(level), abs=0.5)


def test_handling_noise_is_of_three_kinds_and_always_the_same() -> None:
    windows = list(handling_windows(1))
    assert {w.source.split()[0] for w in windows} == {"rubs", "knocks", "rumble"}
    assert len(windows) + len(list(hum_windows(1))) >= 40
    for window, again in zip(windows, handling_windows(1), strict=True):
        assert np.array_equal(window.waveform, again.waveform)
        assert window.moments == () and 0.0 < np.abs(window.waveform).max() <= 1.0


def test_noise_is_that_of_bundles_of_ten_sounds() -> None:
    assert [w.source for w in noise_windows(2, 4404)] == ["noise 0", "noise 1"]


def test_voices_and_sentences_are_none_of_those_that_train() -> None:
    languages = {language for language, *_ in voices.SPEAKERS}
    assert len(voices.SPEAKERS) == 8 and len({variant for _, variant, *_ in voices.SPEAKERS}) == 8
    assert len(languages) == 3 and not languages & TRAINED_SENTENCES.keys()
    assert not {variant for _, variant, *_ in voices.SPEAKERS} & set(VARIANTS)
    assert sum(len(voices.SENTENCES[language]) for language, *_ in voices.SPEAKERS) >= 48


@pytest.mark.skipif(shutil.which("espeak-ng") is None, reason="espeak-ng is not installed")
def test_each_voice_speaks() -> None:
    windows = list(itertools.islice(voices.speech_windows(1), 0, None, len(voices.SENTENCES["sk"])))
    assert len(windows) == 8 and voices.speech_left_out() == ""
    for window in windows:
        loud = np.abs(window.waveform) > 0.1 * np.abs(window.waveform).max()
        assert window.moments == (("speech",),) and loud.any()
        assert window.waveform.shape == (160_000,)


def test_without_espeak_there_is_a_reason(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "apt-get install espeak-ng" in voices.speech_left_out()
    with pytest.raises(InputMissingError, match="espeak-ng is not installed"):
        next(voices.speech_windows(1))


def test_the_most_confident_sound_as_exact_as_it_is_sure() -> None:
    none = dict.fromkeys(LEXICON.sounds, 0.0)
    assert top_sound(LEXICON, none) is None
    dog = {**none, "animal": 0.95, "dog": 0.9, "dog_bark": 0.72, "rain": 0.71}
    assert top_sound(LEXICON, dog) == "dog_bark"
    assert top_sound(LEXICON, {**dog, "dog_bark": 0.6}) == "dog"
    # Nothing is sure: of those that are most likely the most exact.
    assert top_sound(LEXICON, {**none, "animal": 0.4, "dog": 0.4, "dog_bark": 0.3, "rain": 0.35}) == "dog"


def test_a_teacher_hears_a_recording_without_the_silence_behind_it() -> None:
    tagger = FakeTagger({"Bark": 0.98, "Dog": 0.98, "Animal": 0.98, "Silence": 0.99})
    answer = Teacher(LEXICON, tagger, "fake").answer(np.ones(3 * SAMPLE_RATE, np.float32))
    assert answer.sound == "dog_bark"
    assert answer.top_class_sound is not None and LEXICON.names.related(answer.top_class_sound, "dog_bark")
    Teacher(LEXICON, tagger, "fake").answer(np.ones(100, np.float32))
    assert tagger.lengths == [3 * SAMPLE_RATE, SAMPLE_RATE]


def test_absent_sounds_by_name_or_label_with_their_examples() -> None:
    assert {"dog", "dog_bark"} <= absent_sounds(LEXICON, ["dog"], ["rain"])
    assert absent_sounds(LEXICON, ["sea_waves"], []) >= {LEXICON.by_label["sea_waves"]}
    with pytest.raises(UsageError, match="no sound 'zither player'"):
        absent_sounds(LEXICON, ["zither player"], [])
    with pytest.raises(UsageError, match="trained on dog_bark"):
        absent_sounds(LEXICON, ["dog"], ["dog_bark"])


@pytest.fixture(scope="module")
def everyday(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Recordings of three sounds, and of a label that no sound has, in two folds."""
    folder = tmp_path_factory.mktemp("everyday")
    rows = []
    for fold in (1, 2):
        for label in ("cat", "dog_bark", "door_knock", "gear_shift"):
            name = f"e{fold}-{label}.flac"
            noise = 0.1 * np.random.default_rng([fold, len(rows)]).standard_normal(2 * SAMPLE_RATE)
            soundfile.write(folder / name, noise, SAMPLE_RATE)
            rows.append([name, label, fold, name, "somebody", "CC0", "https://example.org"])
    with (folder / "clips.csv").open("w", newline="", encoding="utf-8") as stream:
        csv.writer(stream).writerows([["file", "label", "fold", "title", "author", "license", "source_url"], *rows])
    return folder


def test_recordings_of_several_folders(recordings: Path, everyday: Path) -> None:
    found = evaluation_set(LEXICON, [recordings, everyday], 2, {}, Sizes(2, 1, 1), ["rain"])
    assert [folder.facts["recordings"] for folder in found.folders] == [6, 3]
    assert found.folders[1].skipped == {"gear_shift": 1}
    assert {one.collection for one in found.folders[0].recordings} == {"ten"}
    assert {one.collection for one in found.folders[1].recordings} == {"everyday"}
    windows = list(itertools.takewhile(lambda w: w.kind != "hum", found.windows()))
    assert all("rain" not in moment for window in windows for moment in window.moments)
    assert [w.kind for w in windows] == ["single"] * 7 + ["scene"] * 4 + ["noise", "silence"]
    assert [one.clip.fold for one in found.unheard] == [1, 1, 2, 2]


def test_what_was_trained_on_is_not_measured(recordings: Path, everyday: Path) -> None:
    heard = {"e2-cat.flac": "cat"}
    with pytest.raises(UsageError, match="trained on 1 recordings of fold 2"):
        evaluation_set(LEXICON, [recordings, everyday], 2, heard, Sizes(2))
    with pytest.raises(UsageError, match="trained on cat"):
        evaluation_set(LEXICON, [everyday], 1, heard, Sizes(2), ["cat"])
    with pytest.raises(UsageError, match="no recording of helicopter"):
        evaluation_set(LEXICON, [everyday], 1, {}, Sizes(2), ["helicopter"])
    with pytest.raises(DataError, match="no recording of fold 9"):
        evaluation_set(LEXICON, [everyday], 9, {}, Sizes(2))


class SaysDog:
    """A captioner that hears a dog in everything; it may tell how sure it is."""

    def __init__(self, **told: Any) -> None:
        self.told, self.samples = told, list[int]()

    def describe(self, windows: Sequence[Window], rngs: Sequence[np.random.Generator]) -> list[Any]:
        self.samples += [window.samples for window in windows]
        best = ScoredCaption(DOG, 0.5, -1.0, 0.5)
        return [SimpleNamespace(best=best, familiarity=None, **self.told) for _ in windows]


@pytest.mark.parametrize("told", [{"sounds": None}, {"sounds": {"dog_bark": 0.75}}])
def test_captions_are_read_and_confidences_taken_where_they_are_told(told: dict[str, Any]) -> None:
    sound = np.ones(160_000, np.float32)
    given = [
        SoundWindow("single", "a", sound, (("dog_bark",),), "ten", sound_samples=SAMPLE_RATE),
        SoundWindow("noise", "b", sound),
    ]
    captioner: Any = SaysDog(**told)
    teacher = Teacher(LEXICON, FakeTagger({"Bark": 0.98}), "fake")
    first, second = judged_windows(captioner, LEXICON, iter(given), 0, teacher)
    assert captioner.samples == [SAMPLE_RATE, 160_000]
    assert first.named == ("dog_bark",) and first.heard == ("dog_bark",) and second.heard == ()
    assert first.confidences == second.confidences == told["sounds"]
    assert first.teacher is not None and second.teacher is None
