"""The measurement of events: its scenes are what they say they are, and its figures count what they name."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.events import Heard, LongScene, Told, long_scene, score
from edge_aac.timebase import SAMPLE_RATE
from quantize.data.clips import Burst, Clip

pytestmark = pytest.mark.one_python


def _clip(label: str, bursts: tuple[Burst, ...] = ()) -> Clip:
    waveform = np.random.default_rng(0).normal(0.0, 0.1, 4 * SAMPLE_RATE).astype(np.float32)
    return Clip(f"{label}.flac", label, 1, label, "nobody", "CC0", "https://example.org/", waveform, bursts)


@pytest.mark.parametrize("seed", range(3))
def test_scenes_hold_the_sounds_that_they_list(seed: int) -> None:
    clips = [_clip("rain"), _clip("clock_tick"), _clip("dog_bark", (Burst(0, 4000), Burst(8000, 14_000)))]
    scene = long_scene(clips, np.random.default_rng(seed))
    assert scene.waveform.shape == (60 * SAMPLE_RATE,)
    assert 1 <= len({sound.label for sound in scene.sounds}) == len(scene.sounds) <= 3
    power = np.square(scene.waveform.reshape(-1, SAMPLE_RATE)).mean(axis=1)
    elsewhere = np.ones(60, bool)
    for sound in scene.sounds:
        assert 0.0 <= sound.start_s < sound.end_s <= 60.0
        first, last = int(sound.start_s), min(59, int(sound.end_s))
        elsewhere[first : last + 1] = False
        assert power[first : last + 1].max() > 1e-4, "louder than the bed of noise, at -62 dBFS"
    assert power[elsewhere].max(initial=0.0) < 1e-5
    assert np.array_equal(long_scene(clips, np.random.default_rng(seed)).waveform, scene.waveform)


def test_figures() -> None:
    nothing = np.zeros(0, np.float32)
    rain, dog = Heard("rain", 10.0, 40.0), Heard("dog_bark", 20.0, 24.0)
    told = [
        Told(("rain",), 11.0, 20.0),
        Told(("rain", "clock_tick"), 30.0, 41.0),
        Told((), 0.0, 8.0),
        Told(("dog_bark",), 50.0, 52.0),
    ]
    figures = score([(LongScene(nothing, (rain, dog)), told)])
    assert (figures["sounds"], figures["events"]) == (2, 4)
    assert (figures["sounds_told_once"], figures["sounds_told_again"], figures["sounds_missed"]) == (0, 1, 1)
    assert figures["events_a_sound_that_was_told"] == 2
    assert (figures["events_false"], figures["events_of_no_class"], figures["events_that_name_two_sounds"]) == (2, 1, 1)
    assert (figures["start_error_s_median"], figures["end_error_s_median"]) == (1.0, -20.0)
