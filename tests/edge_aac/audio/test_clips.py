"""Clips of any sound: however it arrives, they are those of the whole; short sound is filled as it was in training."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from edge_aac.audio.clips import Clip, ClipCutter
from edge_aac.audio.log_mel import LogMel
from edge_aac.audio.windowed_sinc import SincResampler
from edge_aac.errors import DataError

RATE, SAMPLES = 100, 200


def _clips(sound: np.ndarray, cuts: list[int], mixes: bool = False, pads: bool = False) -> list[Clip]:
    cutter, found = ClipCutter(RATE, SAMPLES, mixes, pads), []
    for start, end in pairwise([0, *cuts, len(sound)]):
        found += cutter.push(sound[start:end])
    return [*found, *cutter.flush()]


def _sound(length: int, channels: int = 1) -> np.ndarray:
    return np.random.default_rng(0).normal(size=(length, channels)).astype(np.float32)


@pytest.mark.parametrize("length", [1, 7, 199, 200, 201, 209, 210, 399, 400, 655, 2000])
@pytest.mark.parametrize("channels", [1, 2, 3])
def test_clips_do_not_depend_on_the_blocks(length: int, channels: int) -> None:
    sound = _sound(length, channels)
    whole = _clips(sound, [])
    for cuts in ([length // 2], list(range(1, length, 13)), [min(length, 201)]):
        again = _clips(sound, cuts)
        assert [(each.start_s, each.end_s, each.channel) for each in again] == [
            (each.start_s, each.end_s, each.channel) for each in whole
        ]
        for one, other in zip(whole, again, strict=True):
            assert np.array_equal(one.waveform, other.waveform)
    assert all(clip.waveform.shape == (SAMPLES,) for clip in whole)
    assert max(clip.end_s for clip in whole) > length / RATE - 0.1, "all but what is too short is heard"


def test_clips_follow_each_other_and_the_last_ends_with_the_sound() -> None:
    sound = _sound(655)
    found = _clips(sound, [])
    assert [(clip.start_s, clip.end_s) for clip in found] == [(0.0, 2.0), (2.0, 4.0), (4.0, 6.0), (4.55, 6.55)]
    assert np.array_equal(found[-1].waveform, sound[455:, 0])
    # Less than 0.1 s behind the last clip is in none.
    assert len(_clips(_sound(609), [])) == 3


def test_short_sound_is_repeated() -> None:
    sound = _sound(70)
    (cut,), (padded,) = _clips(sound, []), _clips(sound, [], pads=True)
    assert np.array_equal(cut.waveform, np.tile(sound[:, 0], 3)[:SAMPLES])
    assert np.array_equal(padded.waveform, np.concatenate([np.tile(sound[:, 0], 2), np.zeros(60, np.float32)]))
    assert (cut.start_s, cut.end_s) == (0.0, 0.7)


def test_channels_are_heard_one_after_the_other_or_mixed() -> None:
    sound = _sound(70, 2)
    (both,) = _clips(sound, [])
    assert np.array_equal(both.waveform[:140], sound.T.reshape(-1))
    assert np.array_equal(both.waveform[140:], sound[:60, 0])
    longer = _clips(_sound(150, 2), [])
    assert [clip.channel for clip in longer] == [1, 2], "together they are longer than a clip"
    (mixed,) = _clips(sound, [], mixes=True)
    np.testing.assert_allclose(mixed.waveform[:70], sound.mean(axis=1), atol=1e-6)
    with pytest.raises(DataError, match="1 channels and then 2"):
        cutter = ClipCutter(RATE, SAMPLES, False, False)
        list(cutter.push(_sound(3)))
        list(cutter.push(_sound(3, 2)))
    assert not _clips(_sound(0), [])


@pytest.mark.parametrize(("rate", "wanted"), [(48_000, 44_100), (8_000, 44_100), (96_000, 16_000)])
def test_resampling_does_not_depend_on_the_blocks(rate: int, wanted: int) -> None:
    sound = _sound(5000, 2)
    whole = SincResampler(rate, wanted)
    expected = np.concatenate([whole.accept(sound), whole.flush()])
    assert len(expected) == -(-5000 * wanted // rate)
    for size in (1, 77, 1024):
        parts = SincResampler(rate, wanted)
        pieces = [parts.accept(sound[start : start + size]) for start in range(0, len(sound), size)]
        np.testing.assert_allclose(np.concatenate([*pieces, parts.flush()]), expected, atol=1e-6)


def test_at_its_own_rate_sound_passes_untouched() -> None:
    resampler, sound = SincResampler(22_050, 22_050), _sound(100, 2)
    assert np.array_equal(resampler.accept(sound), sound)
    assert len(resampler.flush()) == 0


def test_a_tone_keeps_its_pitch_and_level() -> None:
    def tone(rate: int) -> np.ndarray:
        return np.sin(2 * np.pi * 440 * np.arange(rate) / rate).astype(np.float32)[:, np.newaxis]

    resampler = SincResampler(48_000, 44_100)
    found = np.concatenate([resampler.accept(tone(48_000)), resampler.flush()])
    np.testing.assert_allclose(found[500:-500], tone(44_100)[500:-500], atol=2e-3)


def test_log_mel_of_silence_and_of_a_tone() -> None:
    filters = np.zeros((129, 4), np.float32)
    filters[8, 1] = 1.0  # the bin of the tone
    mel = LogMel(256, 100, filters)
    assert np.array_equal(mel.of(np.zeros(1000, np.float32)), np.full((11, 4), -100.0, np.float32))
    tone = np.cos(2 * np.pi * 8 * np.arange(1000) / 256).astype(np.float32)
    found = mel.of(tone)
    # Half of the window's sum, which is half a frame: amplitude 64.
    assert found[5, 1] == pytest.approx(20 * np.log10(64.0), abs=1e-3)
    assert np.all(found[:, [0, 2, 3]] == -100.0)
