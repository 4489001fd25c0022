"""Windows that a built form must caption as its parent does: made here, the same on every machine."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from edge_aac.audio.features import filter_bank
from edge_aac.audio.sources.demo import synthesise_demo
from edge_aac.audio.windows import WINDOW_SAMPLES
from edge_aac.timebase import SAMPLE_RATE

Array = npt.NDArray[np.float32]
Sound = Callable[[int, np.random.Generator], npt.NDArray[np.float64]]

CHECK_WINDOWS = 48
_LOUDEST_DBFS, _QUIETEST_DBFS = -12.0, -45.0
_NOISE_DBFS = (-80.0, -40.0)


def check_windows(count: int = CHECK_WINDOWS, seed: int = 0) -> list[Array]:
    """Filter banks (998, 128) of scenes of one or two made-up sounds, at once or in turn, at many levels, over noise.

    Args:
        count: how many.
        seed: the same seed gives the same windows.
    """
    return [filter_bank(check_scene(number, seed)) for number in range(count)]


def check_scene(number: int, seed: int = 0) -> Array:
    """Waveform of one check window: 10 s at 16 kHz in ±1."""
    random = np.random.default_rng([seed, number])
    first = number % len(SOUNDS)  # all kinds occur, however few windows are asked for
    second = (first + int(random.integers(1, len(SOUNDS)))) % len(SOUNDS)
    scene = np.zeros(WINDOW_SAMPLES)
    relation = random.choice(["alone", "at once", "in turn"])
    if relation == "alone":
        scene += _levelled(SOUNDS[first](WINDOW_SAMPLES, random), random)
    elif relation == "at once":
        for sound in (first, second):
            scene += _levelled(SOUNDS[sound](WINDOW_SAMPLES, random), random)
    else:
        turn = random.integers(3 * SAMPLE_RATE, 7 * SAMPLE_RATE)
        scene[:turn] += _levelled(SOUNDS[first](int(turn), random), random)
        scene[turn:] += _levelled(SOUNDS[second](int(WINDOW_SAMPLES - turn), random), random)
    noise = random.standard_normal(WINDOW_SAMPLES)
    scene += noise * 10 ** (random.uniform(*_NOISE_DBFS) / 20)
    return np.clip(scene, -1.0, 1.0).astype(np.float32)


def _levelled(sound: npt.NDArray[np.float64], random: np.random.Generator) -> npt.NDArray[np.float64]:
    level = float(np.sqrt(np.mean(np.square(sound))))
    wanted = 10 ** (random.uniform(_QUIETEST_DBFS, _LOUDEST_DBFS) / 20)
    return sound * (wanted / max(level, 1e-9))


def _demo(count: int, random: np.random.Generator) -> npt.NDArray[np.float64]:
    """Rain and a clock."""
    return synthesise_demo(count / SAMPLE_RATE, int(random.integers(1 << 31)))[:count].astype(np.float64)


def _noise(count: int, random: np.random.Generator) -> npt.NDArray[np.float64]:
    """Noise that falls off with frequency by 0 to 12 dB an octave and swells: hiss, wind, sea."""
    spectrum = np.fft.rfft(random.standard_normal(count))
    spectrum[1:] /= np.arange(1, len(spectrum)) ** random.uniform(0.0, 2.0)
    noise = np.fft.irfft(spectrum, count)
    return noise * (1.1 + np.sin(_phase(count, random.uniform(0.05, 1.0), random)))


def _bursts(count: int, random: np.random.Generator) -> npt.NDArray[np.float64]:
    """Harmonic bursts that fall in pitch, as of a dog."""

    def burst(length: int) -> npt.NDArray[np.float64]:
        pitch = random.uniform(250.0, 700.0) * np.linspace(1.2, 0.8, length)
        phase = 2 * np.pi * np.cumsum(pitch) / SAMPLE_RATE
        tone = sum((np.sin(order * phase) / order for order in range(1, 6)), np.zeros(length))
        return tone * np.hanning(length)

    return _repeated(count, burst, (0.1, 0.4), (0.2, 1.5), random)


def _chirps(count: int, random: np.random.Generator) -> npt.NDArray[np.float64]:
    """Short sweeps above 2 kHz, as of a bird."""

    def chirp(length: int) -> npt.NDArray[np.float64]:
        pitch = np.linspace(random.uniform(2000.0, 6500.0), random.uniform(2000.0, 6500.0), length)
        return np.sin(2 * np.pi * np.cumsum(pitch) / SAMPLE_RATE) * np.hanning(length)

    return _repeated(count, chirp, (0.05, 0.3), (0.05, 1.0), random)


def _crackles(count: int, random: np.random.Generator) -> npt.NDArray[np.float64]:
    """Clicks at random moments, as of a fire."""

    def click(length: int) -> npt.NDArray[np.float64]:
        return random.standard_normal(length) * np.exp(-np.arange(length) / 30) * random.lognormal(0.0, 1.0)

    return _repeated(count, click, (0.005, 0.02), (0.005, 0.2), random)


def _engine(count: int, random: np.random.Generator) -> npt.NDArray[np.float64]:
    """Harmonics of a low tone over noise, as of a motor."""
    phase = _phase(count, random.uniform(20.0, 120.0), random)
    tone = sum((np.sin(order * phase) / order**0.7 for order in range(1, 20)), np.zeros(count))
    return tone + 0.5 * random.standard_normal(count)


def _repeated(
    count: int,
    sound: Callable[[int], npt.NDArray[np.float64]],
    length_s: tuple[float, float],
    pause_s: tuple[float, float],
    random: np.random.Generator,
) -> npt.NDArray[np.float64]:
    sounds = np.zeros(count)
    position = 0
    while position < count:
        made = sound(round(random.uniform(*length_s) * SAMPLE_RATE))[: count - position]
        sounds[position : position + len(made)] += made
        position += len(made) + round(random.uniform(*pause_s) * SAMPLE_RATE)
    return sounds


def _phase(count: int, frequency: float, random: np.random.Generator) -> npt.NDArray[np.float64]:
    phase: npt.NDArray[np.float64] = 2 * np.pi * (frequency * np.arange(count) / SAMPLE_RATE + random.uniform())
    return phase


SOUNDS: Sequence[Sound] = (_demo, _noise, _bursts, _chirps, _crackles, _engine)
