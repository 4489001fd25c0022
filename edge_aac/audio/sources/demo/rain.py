"""Synthesised rain, and a clock that ticks over it."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from edge_aac.timebase import SAMPLE_RATE

_RAIN_DBFS = -32.0
_TICK_PEAK_DBFS = -5.0

# Frequency in Hz and amplitude over which the rain's noise is shaped: the mean spectrum of rain recorded under a roof.
_RAIN_SPECTRUM = ((20, 1.6), (125, 1.4), (250, 1.2), (500, 1.0), (1500, 1.1), (3000, 1.2), (5000, 0.9), (8000, 0.55))
_DROPS_PER_S = 1500
_DROP_SAMPLES, _FINE_STEPS = 320, 20
_DROPS_AT_ONCE = 256
# Hiss under the drops. Level, drops and hiss are such that the bundle esc10-tiny (ten sounds) hears rain, and the clock
# over it: it was taught to call synthesised noises unknown.
_WASH = 0.4

# Resonances of the case, as (frequency in Hz, decay in ms, amplitude): a tick is brighter than a tock.
_TICK = ((950.0, 9.0, 0.6), (2150.0, 6.0, 1.0), (3400.0, 4.0, 0.8), (5200.0, 2.5, 0.45))
_TOCK = ((720.0, 11.0, 0.8), (1750.0, 7.0, 1.0), (2900.0, 4.0, 0.6), (4600.0, 2.5, 0.3))


def synthesise_demo(seconds: float, seed: int = 0) -> npt.NDArray[np.float32]:
    """Makes rain with a clock ticking over it, one beat a second.

    Args:
        seconds: length of the scene.
        seed: the same seed and length give the same samples.

    Returns:
        Mono samples at 16 kHz in ±1, float32, shape (16000 × seconds,).
    """
    random = np.random.default_rng(seed)
    count = round(seconds * SAMPLE_RATE)
    scene = _rain(count, random) + _clock(count, random)
    return np.clip(scene, -1.0, 1.0).astype(np.float32)


def _rain(count: int, random: np.random.Generator) -> npt.NDArray[np.float64]:
    wash = _WASH * _shaped_noise(count, random)
    # Showers swell and fade within seconds.
    knots = np.arange(count // SAMPLE_RATE + 3)
    swell = 10 ** (random.normal(0.0, 1.0, len(knots)) / 20)
    wash *= np.interp(np.arange(count) / SAMPLE_RATE, knots, swell)

    rain = wash + _drops(count, random)
    level = np.sqrt(np.mean(np.square(rain))) if count else 1.0
    rain *= 10 ** (_RAIN_DBFS / 20) / max(float(level), 1e-9)
    return rain


def _drops(count: int, random: np.random.Generator) -> npt.NDArray[np.float64]:
    normal, uniform = random.normal, random.uniform
    lowest, highest = math.log(400.0), math.log(4000.0)
    drops = np.zeros(count + _DROP_SAMPLES)
    starts = random.integers(0, max(1, count), round(_DROPS_PER_S * count / SAMPLE_RATE))
    # Loudness over many drops is close to log-normal: most are far away, a few hit near the microphone.
    drawn = [(normal(0.0, 7.0), uniform(lowest, highest), uniform(0.001, 0.006)) for _ in starts]
    of_each = np.array(drawn).reshape(-1, 3)
    for first in range(0, len(starts), _DROPS_AT_ONCE):
        level_db, pitch, decay_s = of_each[first : first + _DROPS_AT_ONCE].T
        rings = (0.9 * 10 ** (level_db / 20))[:, None] * _rings(np.exp(pitch), decay_s)
        for start, ring in zip(starts[first : first + _DROPS_AT_ONCE].tolist(), rings, strict=True):
            drops[start : start + _DROP_SAMPLES] += ring
    return drops[:count]


def _rings(frequency: npt.NDArray[np.float64], decay_s: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Decaying tones, (tones, _DROP_SAMPLES): the imaginary part of powers of a complex number.

    Each power is a product of one of a few coarse ones and one of a few fine ones: sines take most of the time.
    """
    power = ((2j * np.pi * frequency - 1.0 / decay_s) / SAMPLE_RATE)[:, None]
    coarse = np.exp(power * np.arange(0, _DROP_SAMPLES, _FINE_STEPS))[:, :, None]
    fine = np.exp(power * np.arange(_FINE_STEPS))[:, None, :]
    rings: npt.NDArray[np.float64] = coarse.real * fine.imag + coarse.imag * fine.real
    return rings.reshape(-1, _DROP_SAMPLES)


def _shaped_noise(count: int, random: np.random.Generator) -> npt.NDArray[np.float64]:
    spectrum = np.fft.rfft(random.standard_normal(count)) if count else np.zeros(1, np.complex128)
    frequencies = np.fft.rfftfreq(max(count, 1), 1 / SAMPLE_RATE)
    corners, amplitudes = zip(*_RAIN_SPECTRUM, strict=True)
    spectrum *= np.interp(frequencies, corners, amplitudes, left=0.0)
    return np.fft.irfft(spectrum, count) if count else np.zeros(0)


def _clock(count: int, random: np.random.Generator) -> npt.NDArray[np.float64]:
    clock = np.zeros(count)
    for beat, start in enumerate(range(SAMPLE_RATE // 4, count, SAMPLE_RATE)):
        stroke = _stroke(_TICK if beat % 2 == 0 else _TOCK, random)
        kept = min(len(stroke), count - start)
        clock[start : start + kept] += stroke[:kept]
    return clock * 10 ** (_TICK_PEAK_DBFS / 20)


def _stroke(resonances: tuple[tuple[float, float, float], ...], random: np.random.Generator) -> npt.NDArray[np.float64]:
    """Makes one beat of the escapement: three impacts within 20 ms, ringing in the case; peak 1."""
    times = np.arange(SAMPLE_RATE // 8) / SAMPLE_RATE
    excitation = np.zeros(len(times))
    for at_s, strength in ((0.0, 0.45), (0.006, 1.0), (0.017, 0.3)):
        first = round((at_s + random.uniform(0.0, 0.0004)) * SAMPLE_RATE)
        click = random.standard_normal(24) * np.exp(-np.arange(24) / 6) * 0.3
        click[0] += 1.0
        excitation[first : first + 24] += strength * click
    response = np.zeros(len(times))
    for frequency, decay_ms, amplitude in resonances:
        response += amplitude * np.exp(-times / (decay_ms / 1000)) * np.sin(2 * np.pi * frequency * times)
    length = 2 * len(times)
    stroke = np.fft.irfft(np.fft.rfft(excitation, length) * np.fft.rfft(response, length), length)[: len(times)]
    peak_one: npt.NDArray[np.float64] = stroke / np.abs(stroke).max()
    return peak_one
