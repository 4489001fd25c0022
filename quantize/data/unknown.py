"""Sounds that are none of the known ones: what a captioner must not name.

A model that only ever heard its own classes calls every other sound by the nearest of them. Nobody has recordings of
all other sounds, but many have recordings of some, and others can be made: synthesised ones, and recordings distorted
until they are not what they were. Training on such outliers is known to carry over to others (Hendrycks et al., *Deep
Anomaly Detection with Outlier Exposure*, 2019); how far it does here is measured by leaving a class out
(docs/evaluation.md).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from edge_aac.timebase import SAMPLE_RATE
from quantize.data.clips import Waveform
from quantize.data.sound_shaping import at_speed, fast_length

_Doubles = npt.NDArray[np.float64]

_LOWEST_HZ, _HIGHEST_HZ = 60.0, 7000.0
_TWO_OUTLIERS, _AGAIN = 0.3, 0.8


def synthesised_sound(samples: int, rng: np.random.Generator) -> Waveform:
    """A sound of no kind that the captions know: tones, sweeps, chords, clicks, or shaped noise; (samples,) float32."""
    make = _MAKERS[int(rng.integers(len(_MAKERS)))]
    steady = make(samples, rng)
    sound = steady * _envelope(samples, rng)
    # Few knocks may all fall into pauses; silence must not be called a sound.
    return (sound if sound.any() else steady).astype(np.float32)


def outlying_sound(recordings: Sequence[Waveform], room: int, rng: np.random.Generator) -> Waveform:
    """One or two of the recordings, ``room`` samples at most; (samples,) float32.

    Their speed varies far more than that of a known sound may: nothing is said of them that it could make untrue.
    """
    first = _played(recordings[int(rng.integers(len(recordings)))], room, rng)
    if rng.random() >= _TWO_OUTLIERS:
        return first
    second = _played(recordings[int(rng.integers(len(recordings)))], room, rng)
    both = np.zeros(max(len(first), len(second)), dtype=np.float32)
    for sound in (first, second):
        start = int(rng.integers(len(both) - len(sound) + 1))
        both[start : start + len(sound)] += sound / max(float(np.abs(sound).max()), 1e-6)
    return both


def _played(recording: Waveform, room: int, rng: np.random.Generator) -> Waveform:
    """A recording at some speed, cut to the room; a short one sometimes again and again."""
    sound = at_speed(recording, float(np.exp(rng.uniform(-0.5, 0.5))))
    if len(sound) >= room:
        start = int(rng.integers(len(sound) - room + 1))
        return sound[start : start + room]
    pieces, length = [sound], len(sound)
    pause = rng.uniform(0.0, 1.5)
    while rng.random() < _AGAIN:
        gap = round(pause * rng.uniform(0.7, 1.4) * SAMPLE_RATE)
        if length + gap + len(sound) > room:
            break
        pieces += [np.zeros(gap, dtype=np.float32), sound]
        length += gap + len(sound)
    return np.concatenate(pieces)


def distorted_sound(waveform: Waveform, rng: np.random.Generator) -> Waveform:
    """A recording made into something else: its spectrum turned upside down, shifted far, or ring-modulated."""
    kind = int(rng.integers(3))
    if kind == 0:
        # Every second sample negated: what was at f is at 8 kHz − f.
        turned: Waveform = (waveform * np.where(np.arange(len(waveform)) % 2, -1.0, 1.0))[::-1].astype(np.float32)
        return turned
    if kind == 1:
        speed = float(rng.choice([0.35, 0.45, 2.2, 3.0]))
        return at_speed(waveform, speed)[::-1].copy()
    carrier = np.sin(2.0 * np.pi * rng.uniform(300.0, 2500.0) / SAMPLE_RATE * np.arange(len(waveform)))
    modulated: Waveform = (waveform * carrier)[::-1].astype(np.float32)
    return modulated


def _tones(samples: int, rng: np.random.Generator) -> _Doubles:
    """A harmonic tone whose pitch wanders."""
    knots = rng.uniform(np.log(80.0), np.log(1500.0)) + np.cumsum(rng.normal(0.0, rng.choice([0.02, 0.3]), 12))
    hertz = np.minimum(np.exp(np.interp(np.linspace(0.0, 11.0, samples), np.arange(12), knots)), _HIGHEST_HZ)
    phase: _Doubles = 2.0 * np.pi * np.cumsum(hertz) / SAMPLE_RATE
    decay = rng.uniform(0.3, 1.5)
    total = np.zeros(samples)
    for harmonic in range(1, int(rng.integers(1, 7)) + 1):
        # The lowest is heard however high the pitch wanders.
        if harmonic == 1 or hertz.max() * harmonic < _HIGHEST_HZ:
            total += np.sin(harmonic * phase) * harmonic**-decay
    return total


def _sweeps(samples: int, rng: np.random.Generator) -> _Doubles:
    """The same sweep again and again, as of an alarm."""
    period = round(rng.uniform(0.1, 1.5) * SAMPLE_RATE)
    low, high = np.sort(rng.uniform(200.0, 5000.0, 2))
    ramp = (np.arange(samples) % period) / period
    if rng.random() < 0.5:
        ramp = 1.0 - np.abs(2.0 * ramp - 1.0)
    return np.sin(2.0 * np.pi * np.cumsum(low + (high - low) * ramp) / SAMPLE_RATE)


def _chords(samples: int, rng: np.random.Generator) -> _Doubles:
    """Notes of a few tones each, as of an instrument."""
    total = np.zeros(samples)
    start = 0
    while start < samples:
        length = min(round(rng.uniform(0.15, 1.2) * SAMPLE_RATE), samples - start)
        seconds = np.arange(length) / SAMPLE_RATE
        for _ in range(int(rng.integers(1, 4))):
            hertz = 110.0 * 2.0 ** (rng.integers(36) / 12.0)
            tone = np.sin(2.0 * np.pi * hertz * seconds)
            tone = tone + 0.7 * tone**3  # overtones
            total[start : start + length] += tone * np.exp(-seconds * rng.uniform(0.5, 6.0))
        start += length
    return total


def _shaped_noise(samples: int, rng: np.random.Generator) -> _Doubles:
    """A band of noise whose level pulses."""
    size = fast_length(samples)
    spectrum = np.fft.rfft(rng.standard_normal(size))
    hertz = np.fft.rfftfreq(size, 1.0 / SAMPLE_RATE)
    centre = np.exp(rng.uniform(np.log(_LOWEST_HZ), np.log(_HIGHEST_HZ)))
    spectrum *= np.exp(-0.5 * (np.log2(np.maximum(hertz, 1.0) / centre) / rng.uniform(0.05, 0.6)) ** 2)
    seconds = np.arange(samples) / SAMPLE_RATE
    pulses = 1.0 + rng.uniform(0.0, 1.0) * np.sin(2.0 * np.pi * rng.uniform(0.3, 12.0) * seconds)
    return np.fft.irfft(spectrum, size)[:samples] * pulses


def _knocks(samples: int, rng: np.random.Generator) -> _Doubles:
    """Irregular knocks on something that rings."""
    total = np.zeros(samples)
    seconds = np.arange(round(0.3 * SAMPLE_RATE)) / SAMPLE_RATE
    hertz, damping = rng.uniform(80.0, 2500.0, 3), rng.uniform(15.0, 90.0)
    ringing = np.exp(-damping * seconds) * np.sin(2.0 * np.pi * np.outer(hertz, seconds)).sum(axis=0)
    for start in rng.integers(0, samples, int(rng.integers(2, 25))):
        part = ringing[: samples - start]
        total[start : start + len(part)] += rng.uniform(0.3, 1.0) * part
    return total


_MAKERS: tuple[Callable[[int, np.random.Generator], _Doubles], ...] = (_tones, _sweeps, _chords, _shaped_noise, _knocks)


def _envelope(samples: int, rng: np.random.Generator) -> _Doubles:
    """Steady, swelling, or cut into pieces with pauses."""
    knots = rng.uniform(0.2, 1.0, 8)
    if rng.random() < 0.5:
        drawn = rng.random(8)
        knots = knots * ((drawn < 0.6) | (drawn == drawn.min()))  # one is heard at least
    return np.interp(np.linspace(0.0, 7.0, samples), np.arange(8), knots)
