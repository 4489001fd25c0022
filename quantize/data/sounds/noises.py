"""Sounds without a signal in them, computed: hum, wind, fans, microphones that are touched, clicks, noise, trickles."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from edge_aac.timebase import SAMPLE_RATE
from quantize.data.sound_shaping import fast_length
from quantize.data.sounds.bells import Generator, Sound, drawn_s, seconds_of


def shaped_noise(length: int, rng: Generator, slope: float, low_hz: float = 20.0, high_hz: float = 8000.0) -> Sound:
    """Gaussian noise of unit RMS whose power falls as 1/f^slope between two frequencies, and steeply outside."""
    size = fast_length(length)
    spectrum = np.fft.rfft(rng.standard_normal(size))
    hertz = np.maximum(np.fft.rfftfreq(size, 1.0 / SAMPLE_RATE), 1.0)
    weight = hertz ** (-slope / 2.0) / (1.0 + (low_hz / hertz) ** 4) / (1.0 + (hertz / high_hz) ** 4)
    noise = np.fft.irfft(spectrum * weight, size)[:length]
    return np.asarray(noise / max(float(np.sqrt(np.square(noise).mean())), 1e-12))


def wandering(length: int, rng: Generator, per_second: float, low: float, high: float) -> Sound:
    """A curve that wanders between two values, with so many new values a second."""
    knots = max(4, round(length / SAMPLE_RATE * per_second) + 2)
    return np.interp(np.linspace(0.0, knots - 1.0, length), np.arange(knots), rng.uniform(low, high, knots))


def mains_hum(rng: Generator) -> Sound:
    """50 or 60 Hz and its harmonics, the even ones of a transformer stronger, with a little noise."""
    times = seconds_of(drawn_s(rng, 2.0))
    mains = float(rng.choice([50.0, 60.0])) * (1.0 + rng.normal(0.0, 0.001))
    total, fall = np.zeros(len(times)), rng.uniform(0.3, 1.6)
    for harmonic in range(1, int(rng.integers(6, 40))):
        strength = harmonic**-fall * (rng.uniform(1.0, 3.0) if harmonic % 2 == 0 else rng.uniform(0.1, 1.0))
        total += strength * np.sin(2.0 * np.pi * mains * harmonic * times + rng.uniform(0.0, 6.3))
    return total + shaped_noise(len(times), rng, 1.0) * rng.uniform(0.0, 0.3)


def hum(rng: Generator) -> Sound:
    """A motor or compressor far away: a few steady low tones over dull noise."""
    times = seconds_of(drawn_s(rng, 2.0))
    base = rng.uniform(30.0, 220.0)
    total = shaped_noise(len(times), rng, rng.uniform(1.0, 2.5)) * rng.uniform(0.1, 1.0)
    for harmonic in range(1, int(rng.integers(2, 8))):
        wobble = 1.0 + rng.uniform(0.0, 0.3) * np.sin(2.0 * np.pi * rng.uniform(0.2, 6.0) * times)
        total += rng.uniform(0.2, 1.0) * wobble * np.sin(2.0 * np.pi * base * harmonic * times + rng.uniform(0.0, 6.3))
    return total


def fan(rng: Generator) -> Sound:
    """A fan or ventilation: broad noise, the tone of its blades, slow beats."""
    times = seconds_of(drawn_s(rng, 2.0))
    noise = shaped_noise(len(times), rng, rng.uniform(0.3, 1.8), rng.uniform(20.0, 200.0), rng.uniform(800.0, 7000.0))
    blades = rng.uniform(40.0, 400.0)
    tone = sum(rng.uniform(0.0, 1.0) / n * np.sin(2.0 * np.pi * blades * n * times) for n in range(1, 5))
    return noise * (
        1.0 + rng.uniform(0.0, 0.4) * np.sin(2.0 * np.pi * rng.uniform(0.3, 8.0) * times)
    ) + tone * rng.uniform(0.0, 1.0)


def wind(rng: Generator) -> Sound:
    """Wind in trees or at a corner: noise whose band and level move with the gusts, sometimes whistling."""
    length = len(seconds_of(drawn_s(rng, 3.0, 10.0)))
    gust = wandering(length, rng, rng.uniform(0.4, 1.5), 0.1, 1.0)
    bands = [shaped_noise(length, rng, 1.0, low, 2.5 * low) for low in (60.0, 160.0, 400.0, 1000.0)]
    total = sum(band * gust ** (1.0 + index) for index, band in enumerate(bands))
    if rng.random() < 0.35:
        centre = rng.uniform(300.0, 1200.0)
        total = total + shaped_noise(length, rng, 0.0, centre, centre * 1.05) * gust**3 * rng.uniform(0.3, 1.5)
    return np.asarray(total)


def microphone_wind(rng: Generator) -> Sound:
    """Wind that blows at the microphone itself: rumble in bursts, clipped where it is strongest."""
    length = len(seconds_of(drawn_s(rng, 2.0, 8.0)))
    gust = wandering(length, rng, rng.uniform(2.0, 10.0), 0.0, 1.0) ** rng.uniform(1.5, 4.0)
    rumble = shaped_noise(length, rng, rng.uniform(2.0, 3.5), 15.0, rng.uniform(200.0, 900.0)) * gust
    return np.tanh(rumble * rng.uniform(1.0, 6.0))


def handling_noise(rng: Generator) -> Sound:
    """A microphone that is touched: thumps of its case, rubbing of fingers and cloth, now and then a knock."""
    length = len(seconds_of(drawn_s(rng, 1.0, 6.0)))
    total = shaped_noise(length, rng, 1.5) * rng.uniform(0.0, 0.03)
    for _ in range(int(rng.integers(2, 14))):
        part = len(seconds_of(rng.uniform(0.03, 0.7)))
        start = int(rng.integers(max(1, length - part)))
        if rng.random() < 0.5:
            times = seconds_of(part / SAMPLE_RATE)
            shape = np.exp(-times * rng.uniform(8.0, 40.0))
            piece = shape * np.sin(2.0 * np.pi * rng.uniform(35.0, 180.0) * times)
            piece = piece + shape**4 * shaped_noise(part, rng, 0.5, 300.0, 4000.0) * rng.uniform(0.0, 0.5)
        else:
            rub = shaped_noise(part, rng, rng.uniform(0.0, 1.5), rng.uniform(60.0, 400.0), rng.uniform(800.0, 6000.0))
            piece = 0.3 * rub * np.hanning(part) * wandering(part, rng, 30.0, 0.1, 1.0)
        end = min(length, start + part)
        total[start:end] += piece[: end - start] * rng.uniform(0.2, 1.0)
    return total


def clicks(rng: Generator) -> Sound:
    """Clicks of switches, keys or a clock: short resonances, regular or not."""
    length = len(seconds_of(drawn_s(rng, 1.0, 6.0)))
    total = np.zeros(length + SAMPLE_RATE)
    regular, gap_s, at = rng.random() < 0.5, rng.uniform(0.06, 1.0), 0.0
    times = seconds_of(0.06)
    hertz, damping = rng.uniform(600.0, 6000.0, 3), rng.uniform(80.0, 700.0)
    click = np.exp(-damping * times) * np.sin(2.0 * np.pi * np.outer(hertz, times)).sum(axis=0)
    while at * SAMPLE_RATE < length:
        start = round(at * SAMPLE_RATE)
        total[start : start + len(click)] += click * (1.0 if regular else rng.uniform(0.2, 1.0))
        at += gap_s if regular else rng.exponential(gap_s) + 0.01
    return total[:length]


def static(rng: Generator) -> Sound:
    """A radio between stations, or a bad contact: noise with crackle."""
    length = len(seconds_of(drawn_s(rng)))
    noise = shaped_noise(length, rng, rng.uniform(0.0, 0.6)) * wandering(length, rng, rng.uniform(0.5, 8.0), 0.2, 1.0)
    crackle = (rng.random(length) < rng.uniform(1.0, 60.0) / SAMPLE_RATE) * rng.uniform(-12.0, 12.0, length)
    crackling: Sound = np.convolve(crackle, np.exp(-np.arange(24) / rng.uniform(1.0, 8.0)))[:length]
    return noise + crackling


def white_noise(rng: Generator) -> Sound:
    """Flat noise."""
    return shaped_noise(len(seconds_of(drawn_s(rng))), rng, 0.0)


def pink_noise(rng: Generator) -> Sound:
    """Noise whose octaves have the same power."""
    return shaped_noise(len(seconds_of(drawn_s(rng))), rng, 1.0)


def rumble(rng: Generator) -> Sound:
    """Very low noise, as of traffic behind walls."""
    length = len(seconds_of(drawn_s(rng)))
    return shaped_noise(length, rng, rng.uniform(2.0, 3.0), 15.0, rng.uniform(80.0, 300.0)) * wandering(
        length, rng, 1.0, 0.3, 1.0
    )


def drops(rng: Generator) -> Sound:
    """Grains of any size: single drips to something like rain or frying. Nobody can say which; the label is none."""
    length = len(seconds_of(drawn_s(rng, 2.0)))
    impulses = np.zeros(length)
    count = max(2, round(length / SAMPLE_RATE * float(np.exp(rng.uniform(np.log(1.0), np.log(2000.0))))))
    np.add.at(impulses, rng.integers(0, length, count), rng.exponential(1.0, count) * rng.choice([-1.0, 1.0], count))
    times = seconds_of(0.08)
    low, high = np.sort(rng.uniform(200.0, 6000.0, 2))
    grain = np.exp(-times * rng.uniform(60.0, 900.0)) * np.sin(
        2.0 * np.pi * np.cumsum(np.linspace(low, high, len(times))) / SAMPLE_RATE
    )
    size = fast_length(length + len(grain))
    heard: Sound = np.fft.irfft(np.fft.rfft(impulses, size) * np.fft.rfft(grain, size), size)[:length]
    return heard + shaped_noise(length, rng, 1.0) * rng.uniform(0.0, 0.3) * float(np.sqrt(np.square(heard).mean()))


def engine(rng: Generator) -> Sound:
    """Pulses at the rate of a motor's firing through the resonances of its exhaust; no label: which is not clear."""
    length = len(seconds_of(drawn_s(rng, 2.0)))
    hertz = wandering(length, rng, rng.uniform(0.2, 1.0), 0.75, 1.25) * rng.uniform(12.0, 140.0)
    phase = np.cumsum(hertz) / SAMPLE_RATE
    pulses = np.diff(np.floor(phase), prepend=0.0) * rng.uniform(0.6, 1.0, length)
    times = seconds_of(0.12)
    body = sum(
        rng.uniform(0.2, 1.0) * np.exp(-times * rng.uniform(15.0, 120.0)) * np.sin(2.0 * np.pi * f * times)
        for f in np.exp(rng.uniform(np.log(50.0), np.log(2500.0), 6))
    )
    size = fast_length(length + len(times))
    heard = np.fft.irfft(np.fft.rfft(pulses, size) * np.fft.rfft(np.asarray(body), size), size)[:length]
    level = float(np.sqrt(np.square(heard).mean()))
    return heard + shaped_noise(length, rng, 1.0, 30.0, 3000.0) * rng.uniform(0.05, 0.7) * level


NOISES: dict[str, tuple[Callable[[Generator], Sound], ...]] = {
    "Mains hum": (mains_hum,),
    "Hum": (hum,),
    "Mechanical fan": (fan,),
    "Wind": (wind,),
    "Clicking": (clicks,),
    "Static": (static,),
    "White noise": (white_noise,),
    "Pink noise": (pink_noise,),
    "Rumble": (rumble,),
    "Noise": (microphone_wind, handling_noise, handling_noise),
    "": (drops, engine),
}
"""AudioSet's name of what is heard, "" where it has none or nobody can say, and what makes it."""
