"""Several channels to one: no sound in any of them is lost, whatever its phase, place or neighbours."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_aac.audio.mixing import ChannelFacts, EqualizedMixer

_SECONDS = 2
_COUNT = 16_000 * _SECONDS


def _noise(seed: int, level_dbfs: float = -30.0, count: int = _COUNT) -> np.ndarray:
    return (10 ** (level_dbfs / 20) * np.random.default_rng(seed).standard_normal(count)).astype(np.float32)


def _tone(frequency: float, phase: float = 0.0, count: int = _COUNT) -> np.ndarray:
    return (0.1 * np.sin(2 * np.pi * frequency * np.arange(count) / 16_000 + phase)).astype(np.float32)


def _mixed(*channels: np.ndarray, chunk: int = 4_099, facts: list[ChannelFacts] | None = None) -> np.ndarray:
    frames = np.stack(channels, axis=1).astype(np.float32)
    mixer = EqualizedMixer(len(channels), None if facts is None else facts.append)
    pieces = [mixer.accept(frames[start : start + chunk]) for start in range(0, len(frames), chunk)]
    mixed = np.concatenate([*pieces, mixer.flush()])
    assert len(mixed) == len(frames) and mixed.dtype == np.float32
    return mixed


def _level(samples: np.ndarray) -> float:
    return float(10 * np.log10(np.mean(np.square(samples, dtype=np.float64))))


def _share_of(sound: np.ndarray, mixed: np.ndarray) -> float:
    """Gain in dB with which a sound is in a mix, whatever its sign, by correlation in stretches of 0.1 s."""
    one, other = sound.reshape(-1, 1_600).astype(np.float64), mixed.reshape(-1, 1_600).astype(np.float64)
    gains = np.abs((one * other).sum(axis=1)) / np.square(one).sum(axis=1)
    return float(20 * np.log10(np.median(gains)))


@given(
    channels=st.integers(2, 8),
    data=st.data(),
    level=st.floats(-80.0, 0.0),
    signs=st.lists(st.sampled_from([-1.0, 1.0]), min_size=8, max_size=8),
)
@settings(max_examples=40, deadline=None)
def test_equal_channels_in_any_phase_are_the_channel_itself(
    channels: int, data: st.DataObject, level: float, signs: list[float]
) -> None:
    sound = _noise(data.draw(st.integers(0, 99)), level, 8_000)
    mixed = _mixed(*(sign * sound for sign in signs[:channels]))
    scale = np.abs(sound).max()
    # The mean of each channel is averaged apart, and opposite ones cancel.
    assert np.abs(mixed - signs[0] * sound).max() < 0.1 * scale
    assert abs(_level(mixed) - _level(sound)) < 0.1


def test_equal_channels_are_the_channel_itself_with_its_dc() -> None:
    sound = _noise(0) + np.float32(0.25)
    assert np.abs(_mixed(sound, sound) - sound).max() < 1e-6


@given(channels=st.integers(2, 8), data=st.data(), level=st.floats(-80.0, 0.0))
@settings(max_examples=40, deadline=None)
def test_one_live_channel_keeps_its_level(channels: int, data: st.DataObject, level: float) -> None:
    sound = _noise(1, level, 8_000)
    silent = np.zeros_like(sound)
    place = data.draw(st.integers(0, channels - 1))
    mixed = _mixed(*(sound if number == place else silent for number in range(channels)))
    assert abs(_level(mixed) - _level(sound)) < 0.1


@given(
    channels=st.integers(2, 6),
    data=st.data(),
    phases=st.lists(st.floats(0.0, 2 * np.pi), min_size=6, max_size=6),
    frequency=st.floats(60.0, 7_500.0),
)
@settings(max_examples=150, deadline=None, derandomize=True)
def test_a_tone_in_any_phases_is_as_loud_as_in_its_loudest_channel(
    channels: int, data: st.DataObject, phases: list[float], frequency: float
) -> None:
    gains = [data.draw(st.floats(0.05, 1.0)) for _ in range(channels)]
    tones = [gain * _tone(frequency, phase, 8_000) for gain, phase in zip(gains, phases, strict=False)]
    mixed = _mixed(*tones)
    # The edges of bands cost up to 3 dB, where three channels or more meet in phases between equal and opposite.
    assert abs(_level(mixed[1_600:-1_600]) - max(_level(tone[1_600:-1_600]) for tone in tones)) < 3.0


def test_a_tone_on_the_edge_of_bands_is_not_turned_over_in_one_of_them() -> None:
    random = np.random.default_rng(0)
    for edge in (100, 300, 510, 770, 1_080, 2_000):
        for _ in range(60):
            frequency, phase = edge + random.uniform(-60, 20), random.uniform(0, 2 * np.pi)
            first, second = _tone(frequency, 0.0, 6_400), random.uniform(0.5, 1.0) * _tone(frequency, phase, 6_400)
            mixed = _mixed(first, second)[1_600:-1_600]
            assert abs(_level(mixed) - _level(first[1_600:-1_600])) < 0.7, (frequency, phase)


@pytest.mark.parametrize("loud", [-10.0, -30.0])
def test_two_independent_sounds_both_stay(loud: float) -> None:
    one, other = _noise(1, loud), _noise(2, loud)
    mixed = _mixed(one, other)
    assert _share_of(one, mixed) > -3.5
    assert _share_of(other, mixed) > -3.5


def test_sounds_in_different_bands_do_not_weaken_each_other() -> None:
    low, high = _tone(440.0), 0.1 * _tone(3_000.0)
    mixed = _mixed(low, high)
    assert abs(_share_of(low, mixed)) < 0.5
    assert abs(_share_of(high, mixed)) < 0.5


def test_opposite_phases_under_a_hum_that_is_in_phase() -> None:
    hum, sound = 3 * _tone(50.0), _noise(3, -40.0)
    mixed = _mixed(hum + sound, hum - sound)
    assert _share_of(hum, mixed) > -0.5
    spectrum = np.abs(np.fft.rfft(mixed)) ** 2
    expected = np.abs(np.fft.rfft(sound)) ** 2
    above = slice(320 * _SECONDS, None)
    assert 10 * np.log10(spectrum[above].sum() / expected[above].sum()) == pytest.approx(0.0, abs=0.5)


@pytest.mark.parametrize("sign", [-1.0, 1.0])
@pytest.mark.parametrize("quiet", [-60.0, -300.0])
def test_what_begins_in_a_silent_channel_is_there_at_once(sign: float, quiet: float) -> None:
    background = _noise(4, -60.0)
    begun = _noise(5, -20.0)
    begun[:17_003] = _noise(6, quiet)[:17_003]
    for mixed in (_mixed(background, sign * begun), _mixed(sign * begun, background), _mixed(begun, sign * begun)):
        first = slice(17_003, 17_003 + 1_600)
        assert abs(_level(mixed[first]) - _level(begun[first])) < 0.5


def test_a_channel_that_changes_its_phase_is_not_lost() -> None:
    sound = _noise(7)
    turned = sound.copy()
    turned[16_000:] *= -1
    mixed = _mixed(sound, turned)
    blocks = slice(0, _COUNT, 1_600)
    levels = [_level(mixed[start : start + 1_600]) for start in range(*blocks.indices(_COUNT))]
    assert min(levels) > _level(sound) - 3.0


def test_dc_of_a_channel_steers_nothing() -> None:
    sound, other = _noise(8, -50.0), _noise(9, -50.0)
    without = _mixed(sound, other)
    with_dc = _mixed(sound + np.float32(0.5), other - np.float32(0.3))
    assert np.abs(with_dc - 0.1 - without).max() < 1e-3
    assert np.std(np.diff(with_dc)) == pytest.approx(np.std(np.diff(without)), rel=1e-3)


def test_low_noise_in_other_channels_does_not_matter() -> None:
    sound = _noise(10, -20.0)
    mixed = _mixed(_noise(11, -70.0), sound, _noise(12, -70.0), _noise(13, -70.0))
    assert abs(_level(mixed) - _level(sound)) < 0.5
    assert _share_of(sound, mixed) > -0.5


def test_there_are_no_clicks() -> None:
    tones = (_tone(500.0), _tone(500.0, np.pi / 2), 0.9 * _tone(500.0, np.pi))
    mixed = _mixed(*tones)
    spectrum = np.abs(np.fft.rfft(mixed * np.hanning(_COUNT)))
    assert spectrum[4_000 * _SECONDS :].max() < 1e-3 * spectrum.max()


@given(cuts=st.lists(st.integers(1, 9_999), max_size=12), channels=st.integers(2, 5), count=st.integers(0, 10_000))
@settings(max_examples=40, deadline=None)
def test_cuts_make_no_difference(cuts: list[int], channels: int, count: int) -> None:
    frames = np.stack([_noise(seed, -20.0 - 5 * seed, count) for seed in range(channels)], axis=1)
    frames[: count // 3, 0] = 0
    whole, cut = EqualizedMixer(channels), EqualizedMixer(channels)
    expected = np.concatenate((whole.accept(frames), whole.flush()))
    edges = [0, *sorted(min(cut_at, count) for cut_at in cuts), count]
    pieces = [cut.accept(frames[start:end]) for start, end in zip(edges, edges[1:], strict=False)]
    assert np.array_equal(np.concatenate([*pieces, cut.flush()]), expected)
    assert len(expected) == count


def test_reset_starts_anew() -> None:
    frames = np.stack((_noise(1), -_noise(1)), axis=1)
    mixer = EqualizedMixer(2)
    first = np.concatenate((mixer.accept(frames), mixer.flush()))
    mixer.reset()
    assert np.array_equal(np.concatenate((mixer.accept(frames), mixer.flush())), first)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_what_is_no_number_spoils_nothing_later(value: float) -> None:
    sound = _noise(1)
    broken = _noise(2)
    broken[8_123] = value
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        mixed = _mixed(sound, broken)
    bad = np.flatnonzero(~np.isfinite(mixed))
    assert 8_123 in bad
    assert bad[0] >= 8_123 - 1_800 and bad[-1] < 8_123 + 1_800


def test_silence_stays_silence() -> None:
    assert not _mixed(np.zeros(5_000), np.zeros(5_000)).any()


def test_facts_are_powers_and_correlations() -> None:
    facts: list[ChannelFacts] = []
    sound = _noise(1, -20.0)
    _mixed(1e-4 * _noise(2), 0.5 * sound, -sound, np.zeros(_COUNT), facts=facts)
    assert len(facts) == _COUNT // 1_600
    powers = np.mean([each.powers for each in facts], axis=0)
    assert 10 * np.log10(powers[1:3]) == pytest.approx([-26.0, -20.0], abs=0.2)
    assert powers[3] == 0.0
    assert facts[3].correlations[1:] == pytest.approx([1.0, -1.0, 0.0], abs=1e-5)
