"""Windows in which nothing is to be named, all computed here: noise, silence, mains hum, a touched microphone.

None of it is made by what training draws its noises from (:mod:`quantize.data.sounds.noises`), silence excepted.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from edge_aac.timebase import SAMPLE_RATE
from quantize.data.scenes import SCENE_SAMPLES
from quantize.data.sound_shaping import coloured_noise
from quantize.evaluation.everyday.truth import SoundWindow
from quantize.evaluation.windows import noises

Wave = npt.NDArray[np.float64]

MAINS_HZ = (50.0, 60.0)
HUM_DBFS = (-60.0, -50.0, -40.0, -30.0, -20.0)
HARMONIC_FALLS = (0.5, 1.2)
"""Strength of harmonic n is n^-fall: a buzzing supply, and a soft hum."""

HARMONICS = 20
HANDLING_WINDOWS = 24
_TIMES = np.arange(SCENE_SAMPLES) / SAMPLE_RATE


def noise_windows(count: int, seed: int) -> Iterator[SoundWindow]:
    """Noise from white to brown, at -60 to -35 dBFS: that which bundles of ten sounds are measured with."""
    for number, noise in enumerate(noises(count, seed)):
        yield SoundWindow("noise", f"noise {number}", noise)


def silent_windows(count: int) -> Iterator[SoundWindow]:
    """Digital silence."""
    for number in range(count):
        yield SoundWindow("silence", f"silence {number}", np.zeros(SCENE_SAMPLES, np.float32))


def hum_windows(seed: int) -> Iterator[SoundWindow]:
    """Mains hum: each frequency with each level (RMS in dBFS) and each fall of its harmonics.

    Phases are drawn, even harmonics are twice as strong as a transformer's core makes them, and noise lies 30 dB below.
    """
    rng = np.random.default_rng([seed, 1])
    orders = np.arange(1, HARMONICS + 1)
    for mains_hz in MAINS_HZ:
        for level_db in HUM_DBFS:
            for fall in HARMONIC_FALLS:
                strengths = orders**-fall * np.where(orders % 2, 1.0, 2.0)
                phases = rng.uniform(0.0, 2.0 * np.pi, HARMONICS)
                hertz = mains_hz * (1.0 + rng.normal(0.0, 5e-4))
                waves = np.sin(2.0 * np.pi * hertz * np.outer(orders, _TIMES) + phases[:, None])
                hum = _unit(np.asarray(strengths @ waves, np.float64)) + coloured_noise(SCENE_SAMPLES, rng) * 10.0 ** (
                    -30.0 / 20.0
                )
                source = f"hum {mains_hz:.0f} Hz {level_db:.0f} dBFS fall {fall}"
                yield SoundWindow("hum", source, _at_level(hum, level_db))


def handling_windows(seed: int, count: int = HANDLING_WINDOWS) -> Iterator[SoundWindow]:
    """A microphone that is touched: rubs, knocks at its case, rumble of moving air, in turn, at -45 to -15 dBFS.

    A rub is noise between 150 and 2500 Hz whose level follows strokes of 0.3 to 1.5 s; a knock is a resonance of the
    case (70 to 300 Hz) that dies in 20 to 90 ms after a click; rumble is noise below 120 Hz in gusts.
    """
    makers = (("rubs", _rubs), ("knocks", _knocks), ("rumble", _rumble))
    for number in range(count):
        name, make = makers[number % len(makers)]
        rng = np.random.default_rng([seed, 2, number])
        floor = coloured_noise(SCENE_SAMPLES, rng) * 10.0 ** (-40.0 / 20.0)
        wave = _at_level(_unit(make(rng)) + floor, rng.uniform(-45.0, -15.0))
        yield SoundWindow("handling", f"{name} {number}", wave)


def _rubs(rng: np.random.Generator) -> Wave:
    level, position = np.zeros(SCENE_SAMPLES), 0.0
    while position < SCENE_SAMPLES:
        stroke = round(rng.uniform(0.3, 1.5) * SAMPLE_RATE)
        start = round(position)
        end = min(start + stroke, SCENE_SAMPLES)
        level[start:end] += rng.uniform(0.2, 1.0) * np.sin(np.linspace(0.0, np.pi, stroke))[: end - start] ** 2
        position += stroke + rng.exponential(0.4) * SAMPLE_RATE
    return _band(rng, 150.0, 2500.0) * level


def _knocks(rng: np.random.Generator) -> Wave:
    wave = np.zeros(SCENE_SAMPLES)
    for _ in range(int(rng.integers(2, 12))):
        length = round(0.4 * SAMPLE_RATE)
        start = int(rng.integers(SCENE_SAMPLES - length))
        times = _TIMES[:length]
        ring = np.exp(-times / rng.uniform(0.02, 0.09)) * np.sin(2.0 * np.pi * rng.uniform(70.0, 300.0) * times)
        click = np.exp(-times / 0.002) * rng.standard_normal(length)
        wave[start : start + length] += rng.uniform(0.3, 1.0) * (ring + rng.uniform(0.0, 0.4) * click)
    return wave


def _rumble(rng: np.random.Generator) -> Wave:
    gusts = np.interp(_TIMES, np.arange(0.0, 11.0, 0.5), rng.uniform(0.05, 1.0, 22) ** 2)
    return _band(rng, 5.0, 120.0) * gusts


def _band(rng: np.random.Generator, low_hz: float, high_hz: float) -> Wave:
    """Noise between two frequencies, falling by 24 dB an octave outside."""
    spectrum = np.fft.rfft(rng.standard_normal(SCENE_SAMPLES))
    hertz = np.maximum(np.fft.rfftfreq(SCENE_SAMPLES, 1.0 / SAMPLE_RATE), 0.1)
    shape = 1.0 / np.sqrt((1.0 + (low_hz / hertz) ** 8) * (1.0 + (hertz / high_hz) ** 8))
    return np.fft.irfft(spectrum * shape, SCENE_SAMPLES)


def _unit(wave: Wave) -> Wave:
    scaled: Wave = wave / np.sqrt(np.square(wave).mean())
    return scaled


def _at_level(wave: Wave, level_db: float) -> npt.NDArray[np.float32]:
    """With so much RMS in dBFS, clipped as a converter does."""
    heard: npt.NDArray[np.float32] = np.clip(_unit(wave) * 10.0 ** (level_db / 20.0), -1.0, 1.0).astype(np.float32)
    return heard
