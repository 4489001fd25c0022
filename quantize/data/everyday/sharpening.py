"""Events in the times and at the level of what sounds: a tagger hears two seconds at once and smears what is short.

A sneeze of half a second is heard in every window that holds it, two and a half seconds in all. A caption that tells of
what follows it, or of the louder one of two, needs the half second. What is heard for longer than a window beside its
loudest moments is heard in windows that hold none of them: that is no smear, but a faint sound beneath a louder one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

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

_Mask = npt.NDArray[np.bool_]


def sharpened(events: Sequence[HeardEvent], waveform: Waveform, window_s: float) -> tuple[HeardEvent, ...]:
    """The events without the silence at both their ends, their levels measured where they sound.

    Args:
        events: of the waveform.
        waveform: (samples,) float32 in ±1 at 16 kHz.
        window_s: length of the windows in which they were heard, in seconds: a sound is smeared by no more.

    Returns:
        As many events, in the order of their onsets. One in which nothing sounds is as it was.
    """
    power = _power(waveform)
    heard = [_heard(event, power, window_s) for event in events]
    crowd = np.sum([one.sounding for one in heard], axis=0) if heard else np.zeros(len(power), int)
    levelled = [
        replace(one.event, level_db=_level_db(one, crowd, power)) if one.sounding.any() else one.event for one in heard
    ]
    return tuple(sorted(levelled, key=lambda event: (event.start_s, event.end_s)))


@dataclass(frozen=True)
class _Heard:
    """An event without silence at its ends.

    Attributes:
        event: with these ends.
        sounding: (frames,), where it is not faded.
        other: (frames,), where what sounds is so much louder than it is elsewhere that it must be something else.
    """

    event: HeardEvent
    sounding: _Mask
    other: _Mask


def _power(waveform: Waveform) -> npt.NDArray[np.float64]:
    samples = round(FRAME_S * SAMPLE_RATE)
    frames = -(-len(waveform) // samples)
    padded = np.zeros(frames * samples)
    padded[: len(waveform)] = waveform
    power: npt.NDArray[np.float64] = np.square(padded).reshape(frames, samples).mean(axis=1)
    return power


def _heard(event: HeardEvent, power: npt.NDArray[np.float64], window_s: float) -> _Heard:
    inside = np.zeros(len(power), bool)
    inside[int(event.start_s / FRAME_S + 1e-6) : int(np.ceil(event.end_s / FRAME_S - 1e-6))] = True
    loud = _not_faded(inside, inside, power)
    nowhere = np.zeros(len(power), bool)
    trimmed = _trimmed(event, loud)
    if trimmed.start_s - event.start_s <= window_s and event.end_s - trimmed.end_s <= window_s:
        return _Heard(trimmed, loud, nowhere)
    ends = inside.copy()
    ends[slice(*np.flatnonzero(loud)[[0, -1]] + (0, 1))] = False
    sounding = _not_faded(inside, ends, power)
    if not (sounding & ~loud).any():
        return _Heard(trimmed, loud, nowhere)
    return _Heard(_trimmed(event, sounding), sounding, loud)


def _not_faded(inside: _Mask, loudest_in: _Mask, power: npt.NDArray[np.float64]) -> _Mask:
    """The frames ``inside`` that are no more than :data:`FADED_DB` below the loudest of others."""
    loudest = power[loudest_in].max(initial=0.0)
    sounding: _Mask = inside & (power >= max(loudest * 10.0 ** (-FADED_DB / 10.0), _NOTHING))
    return sounding


def _trimmed(event: HeardEvent, sounding: _Mask) -> HeardEvent:
    frames = np.flatnonzero(sounding)
    if not frames.size:
        return event
    start_s, end_s = float(frames[0]) * FRAME_S, float(frames[-1] + 1) * FRAME_S
    return replace(event, start_s=max(event.start_s, start_s), end_s=min(event.end_s, end_s))


def _level_db(heard: _Heard, crowd: npt.NDArray[np.int_], power: npt.NDArray[np.float64]) -> float:
    """Mean level where the event sounds alone, or its share of what sounds with it; dBFS."""
    mask = heard.sounding & ~heard.other
    alone = mask & (crowd == 1)
    if alone.sum() >= _LEAST_ALONE * mask.sum():
        return round(float(10.0 * np.log10(power[alone].mean())), 2)
    return round(float(10.0 * np.log10(power[mask].mean() / crowd[mask].mean())), 2)
