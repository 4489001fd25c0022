"""Things that ring when they are struck, computed: bars, tubes, gongs, bells."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from edge_aac.timebase import SAMPLE_RATE

Sound = npt.NDArray[np.float64]
Generator = np.random.Generator

HIGHEST_HZ = 7600.0
"""Partials above are left out: sound is kept at 16 kHz."""


def seconds_of(seconds: float) -> Sound:
    """Time of each sample, in seconds."""
    return np.arange(round(seconds * SAMPLE_RATE)) / SAMPLE_RATE


def drawn_s(rng: Generator, low: float = 1.5, high: float = 7.0) -> float:
    """A length in seconds."""
    return float(rng.uniform(low, high))


def doorbell(rng: Generator) -> Sound:
    """Two or more struck bars, the second lower."""
    high = rng.uniform(500.0, 1100.0)
    notes = [high, high * rng.choice([0.794, 0.749, 0.841])]
    notes += [high * float(rng.choice([1.0, 0.667, 0.5])) for _ in range(int(rng.integers(0, 3)))]
    return struck_in_turn(notes, rng.uniform(0.4, 0.9), rng, rng.uniform(0.6, 2.5))


def chime(rng: Generator) -> Sound:
    """Tubes in the wind, struck at random."""
    scale = [rng.uniform(500.0, 900.0) * 2.0 ** (step / 12.0) for step in (0, 2, 4, 7, 9, 12, 14)]
    length = drawn_s(rng, 3.0, 8.0)
    total = np.zeros(round(length * SAMPLE_RATE) + 4 * SAMPLE_RATE)
    for at in np.sort(rng.uniform(0.0, length, int(rng.integers(4, 30)))):
        note = struck(float(rng.choice(scale)), rng.uniform(0.6, 2.0), rng) * rng.uniform(0.2, 1.0)
        start = round(float(at) * SAMPLE_RATE)
        total[start : start + len(note)] += note[: len(total) - start]
    return total[: round(length * SAMPLE_RATE)]


def ding(rng: Generator) -> Sound:
    """A small bell struck once or a few times."""
    hertz = rng.uniform(900.0, 4000.0)
    return struck_in_turn([hertz] * int(rng.integers(1, 4)), rng.uniform(0.15, 1.0), rng, rng.uniform(0.5, 2.5))


def church_bell(rng: Generator) -> Sound:
    """A large bell: hum, prime, minor third, fifth and nominal, each dying at its own pace."""
    hertz = rng.uniform(90.0, 400.0)
    ratios, length = (0.5, 1.0, 1.19, 1.5, 2.0, 2.5, 3.01, 4.1), len(seconds_of(rng.uniform(3.0, 5.0)))
    times = np.arange(length) / SAMPLE_RATE
    strike = sum(
        rng.uniform(0.3, 1.0) * np.sin(2.0 * np.pi * hertz * r * times) * np.exp(-times * rng.uniform(0.3, 1.0) * r)
        for r in ratios
        if hertz * r < HIGHEST_HZ
    )
    count = int(rng.integers(1, 5))
    gap = round(rng.uniform(0.9, 2.0) * SAMPLE_RATE)
    total = np.zeros(gap * (count - 1) + length)
    for index in range(count):
        total[index * gap : index * gap + length] += np.asarray(strike) * rng.uniform(0.7, 1.0)
    return total[: 10 * SAMPLE_RATE]


def struck(hertz: float, ring_s: float, rng: Generator) -> Sound:
    """A bar or gong that is struck: inharmonic partials, the high ones dying first."""
    times = seconds_of(min(4.0 * ring_s, 3.0))
    ratios = (1.0, *np.sort(rng.uniform(1.8, 6.5, 4)).tolist())
    total = np.zeros(len(times))
    for ratio in ratios:
        if hertz * ratio < HIGHEST_HZ:
            total += np.sin(2.0 * np.pi * hertz * ratio * times) * np.exp(-times / ring_s * ratio**0.7) / ratio
    return total


def struck_in_turn(notes: Sequence[float], gap_s: float, rng: Generator, ring_s: float) -> Sound:
    """Bars struck one after another, each ringing on."""
    played = [struck(note, ring_s, rng) for note in notes]
    gap = round(gap_s * SAMPLE_RATE)
    total = np.zeros(gap * (len(played) - 1) + max(len(note) for note in played))
    for index, note in enumerate(played):
        total[index * gap : index * gap + len(note)] += note
    return total
