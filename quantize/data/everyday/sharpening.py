"""Events in the times and at the level of what sounds: a tagger hears two seconds at once and smears what is short.

A sneeze of half a second is heard in every window that holds it, two and a half seconds in all. A caption that tells of
what follows it, or of the louder one of two, needs the half second.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from edge_aac.timebase import SAMPLE_RATE
from quantize.data.clips import Waveform
from quantize.data.everyday.events import HeardEvent

FRAME_S = 0.05
"""What is shorter than a syllable is no end of a sound."""

FADED_DB = 25.0
"""So far below its loudest moment a sound that fades has ended."""

_LEAST_ALONE = 0.2
"""A level is taken where nothing else is heard if that is this share of the event's sounding time."""

_NOTHING = 1e-9
"""Power below which nothing sounds: -90 dBFS."""


def sharpened(events: Sequence[HeardEvent], waveform: Waveform) -> tuple[HeardEvent, ...]:
    """The events without the silence at both their ends, their levels measured where they sound.

    Args:
        events: of the waveform.
        waveform: (samples,) float32 in ±1 at 16 kHz.

    Returns:
        As many events, in the order of their onsets. One in which nothing sounds is as it was.
    """
    power = _power(waveform)
    trimmed = [_trimmed(event, power) for event in events]
    sounding = [_sounding(event, power) for event in trimmed]
    crowd = np.sum(sounding, axis=0) if sounding else np.zeros(len(power), int)
    levelled = [
        replace(event, level_db=_level_db(mask, crowd, power)) if mask.any() else event
        for event, mask in zip(trimmed, sounding, strict=True)
    ]
    return tuple(sorted(levelled, key=lambda event: (event.start_s, event.end_s)))


def _power(waveform: Waveform) -> npt.NDArray[np.float64]:
    samples = round(FRAME_S * SAMPLE_RATE)
    frames = -(-len(waveform) // samples)
    padded = np.zeros(frames * samples)
    padded[: len(waveform)] = waveform
    power: npt.NDArray[np.float64] = np.square(padded).reshape(frames, samples).mean(axis=1)
    return power


def _sounding(event: HeardEvent, power: npt.NDArray[np.float64]) -> npt.NDArray[np.bool_]:
    """The frames of the event that are not faded, of all frames."""
    inside = np.zeros(len(power), bool)
    inside[int(event.start_s / FRAME_S + 1e-6) : int(np.ceil(event.end_s / FRAME_S - 1e-6))] = True
    loudest = power[inside].max(initial=0.0)
    sounding: npt.NDArray[np.bool_] = inside & (power >= max(loudest * 10.0 ** (-FADED_DB / 10.0), _NOTHING))
    return sounding


def _trimmed(event: HeardEvent, power: npt.NDArray[np.float64]) -> HeardEvent:
    frames = np.flatnonzero(_sounding(event, power))
    if not frames.size:
        return event
    start_s, end_s = float(frames[0]) * FRAME_S, float(frames[-1] + 1) * FRAME_S
    return replace(event, start_s=max(event.start_s, start_s), end_s=min(event.end_s, end_s))


def _level_db(mask: npt.NDArray[np.bool_], crowd: npt.NDArray[np.int_], power: npt.NDArray[np.float64]) -> float:
    """Mean level where the event sounds alone, or its share of what sounds with it; dBFS."""
    alone = mask & (crowd == 1)
    if alone.sum() >= _LEAST_ALONE * mask.sum():
        return round(float(10.0 * np.log10(power[alone].mean())), 2)
    return round(float(10.0 * np.log10(power[mask].mean() / crowd[mask].mean())), 2)
