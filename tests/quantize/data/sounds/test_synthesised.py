"""Computed sounds: each kind is what it says, and the same for the same seed."""

from __future__ import annotations

import numpy as np
import pytest

from edge_aac.timebase import SAMPLE_RATE
from quantize.data.sounds import bells, noises, signals
from quantize.data.sounds.synthesised import synthesised_sounds

KINDS = sum(len(makers) for table in (signals.SIGNALS, noises.NOISES) for makers in table.values())


def spectrum(sound: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return np.fft.rfftfreq(len(sound), 1.0 / SAMPLE_RATE), np.abs(np.fft.rfft(sound * np.hanning(len(sound)))) ** 2


def peaks_hz(sound: np.ndarray, count: int) -> list[float]:
    hertz, power = spectrum(sound)
    found: list[float] = []
    for index in np.argsort(power)[::-1]:
        if all(abs(hertz[index] - other) > 15.0 for other in found):
            found.append(float(hertz[index]))
        if len(found) == count:
            break
    return sorted(found)


def pulses(sound: np.ndarray) -> list[float]:
    """Lengths in seconds of the stretches that are heard."""
    level = np.abs(sound).reshape(-1)[: len(sound) // 160 * 160].reshape(-1, 160).max(axis=1)
    loud = np.concatenate([[False], level > 0.1 * level.max(), [False]])
    edges = np.flatnonzero(np.diff(loud.astype(int))).reshape(-1, 2)
    return [(end - start) / 100.0 for start, end in edges]


def test_every_kind_makes_many_different_sounds_that_are_heard() -> None:
    rows = list(synthesised_sounds(2 * KINDS, 1))
    assert {row.title for row, _ in rows} == {
        make.__name__ for table in (signals.SIGNALS, noises.NOISES) for makers in table.values() for make in makers
    }
    for row, samples in rows:
        assert SAMPLE_RATE // 10 <= len(samples) <= 10 * SAMPLE_RATE, row.title
        assert np.abs(samples.astype(int)).max() > 3000, row.title
    assert len({samples.tobytes() for _, samples in rows}) == len(rows)
    assert {row.fold for row, _ in rows} == {1, 2}
    for (row, samples), (again, other) in zip(rows[:20], synthesised_sounds(20, 1), strict=True):
        assert row == again
        assert np.array_equal(samples, other)
    assert not np.array_equal(rows[0][1], next(iter(synthesised_sounds(1, 2)))[1])


@pytest.mark.parametrize("seed", range(5))
def test_a_key_of_a_telephone_is_one_row_and_one_column(seed: int) -> None:
    sound = signals.dialling(np.random.default_rng(seed))
    heard = np.flatnonzero(np.abs(sound) > 0)
    first = sound[heard[0] : heard[0] + round(0.055 * SAMPLE_RATE)]
    hertz, power = spectrum(np.pad(first, (0, 8 * len(first))))
    low, high = hertz < 1070.0, hertz >= 1070.0
    row, column = hertz[low][np.argmax(power[low])], hertz[high][np.argmax(power[high])]
    assert min(abs(row / known - 1.0) for known in (697.0, 770.0, 852.0, 941.0)) < 0.045
    assert min(abs(column / known - 1.0) for known in (1209.0, 1336.0, 1477.0)) < 0.045


@pytest.mark.parametrize("seed", range(5))
def test_a_smoke_alarm_gives_three_equal_pulses_and_a_pause(seed: int) -> None:
    sound = signals.smoke_alarm(np.random.default_rng(seed))
    assert 2600.0 < peaks_hz(sound, 1)[0] < 3600.0
    lengths = pulses(sound)
    assert len(lengths) >= 3
    assert 0.38 < lengths[0] < 0.63
    assert lengths[1] == pytest.approx(lengths[0], abs=0.03)


@pytest.mark.parametrize("seed", range(5))
def test_a_siren_rises_and_falls_without_a_step(seed: int) -> None:
    rng = np.random.default_rng(seed)
    sound = signals.wailing_siren(rng)
    frames = np.lib.stride_tricks.sliding_window_view(sound, 1024)[::512] * np.hanning(1024)
    power = np.abs(np.fft.rfft(frames, 8192, axis=1)) ** 2
    track = np.argmax(power, axis=1) * SAMPLE_RATE / 8192.0
    assert track.max() / track.min() > 1.5
    assert track.min() > 300.0


@pytest.mark.parametrize("seed", range(5))
def test_mains_hum_is_harmonics_of_the_mains(seed: int) -> None:
    sound = noises.mains_hum(np.random.default_rng(seed))
    for hertz in peaks_hz(sound, 3):
        assert min(abs(hertz / mains - round(hertz / mains)) for mains in (50.0, 60.0)) < 0.06


@pytest.mark.parametrize("slope", [0.0, 1.0, 2.0])
def test_noise_falls_with_its_slope(slope: float) -> None:
    hertz, power = spectrum(noises.shaped_noise(20 * SAMPLE_RATE, np.random.default_rng(1), slope))
    low, high = power[(hertz > 400) & (hertz < 600)].mean(), power[(hertz > 1600) & (hertz < 2400)].mean()
    assert 10.0 * np.log10(low / high) == pytest.approx(slope * 6.02, abs=1.0)


def test_wind_at_the_microphone_is_low_and_comes_in_bursts() -> None:
    sound = np.concatenate([noises.microphone_wind(np.random.default_rng(seed)) for seed in range(8)])
    hertz, power = spectrum(sound)
    assert power[hertz < 1000.0].sum() > 0.9 * power.sum()
    level = np.square(sound[: len(sound) // 1600 * 1600].reshape(-1, 1600)).mean(axis=1)
    assert level.std() > 0.5 * level.mean()


def test_a_struck_bar_dies_away() -> None:
    sound = bells.struck(800.0, 0.3, np.random.default_rng(1))
    third = len(sound) // 3
    assert np.square(sound[:third]).sum() > 20.0 * np.square(sound[-third:]).sum()


def test_no_partial_lies_above_what_is_kept() -> None:
    hertz, power = spectrum(signals.partials(3000.0, SAMPLE_RATE, [1.0] * 6))
    assert power[hertz > 6100.0].sum() < 1e-6 * power.sum()
