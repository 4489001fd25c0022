"""Scenes: 10 s of sound mixed on the fly from recordings, whose event list is the ground truth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from edge_aac.errors import ConfigError, DataError
from edge_aac.timebase import SAMPLE_RATE
from quantize.data.clips import ENVELOPE_SAMPLES, Burst, Clip, Waveform
from quantize.data.lexicon import LABELS, LEXICON
from quantize.data.sound_shaping import (
    at_speed,
    coloured_noise,
    faded,
    fast_length,
    longest_gap_s,
    looped,
    normalised,
    where_heard,
)
from quantize.data.unknown import distorted_sound, outlying_sound, synthesised_sound
from quantize.models.config import ascending, not_negative, probabilities

SCENE_SAMPLES = 10 * SAMPLE_RATE
FAR_LOWPASS_HZ = 1800.0
MAX_EVENTS = 2
_OUTLIER_SHARE = 0.75
"""Of the unknown sounds, where there are recordings of such."""
Relation = Literal["none", "unknown", "single", "overlap", "sequence"]


@dataclass(frozen=True)
class Event:
    """One sound of a scene.

    Attributes:
        label: class of the sound.
        start, end: where it lies in the scene, in samples.
        count: how many single sounds it holds, where that is known for certain.
        far: it was low-passed and given reverberation; a partner that is not far is at least as loud.
        gain_db: its active level relative to the first event of the scene.
        longest_gap_s: the longest stretch in it, in seconds, in which it is not heard.
        covers: fraction of the scene's 10 s between start and end.
    """

    label: str
    start: int
    end: int
    count: int | None
    far: bool
    gain_db: float
    longest_gap_s: float = 0.0

    @property
    def covers(self) -> float:
        return (self.end - self.start) / SCENE_SAMPLES


@dataclass(frozen=True)
class Scene:
    """Sound and its truth.

    Attributes:
        waveform: (160000,) float32 in ±1 at 16 kHz.
        events: in the order of their onsets.
        relation: how two events stand to each other.
        activity: (10 ms steps, classes) bool, where each class is heard.
    """

    waveform: Waveform
    events: tuple[Event, ...]
    relation: Relation
    activity: npt.NDArray[np.bool_]

    @property
    def labels(self) -> list[str]:
        return [event.label for event in self.events]


@dataclass(frozen=True)
class SceneRecipe:
    """How scenes are drawn. Probabilities in 0..1, levels in dB, durations in seconds.

    ``unknown_probability`` is the share of scenes with one sound of no known class, of which nothing is said.
    """

    event_counts: tuple[float, float, float] = (0.04, 0.42, 0.54)
    unknown_probability: float = 0.0
    sequence_probability: float = 0.45
    gain_db: float = 5.0
    far_probability: float = 0.15
    digital_silence_probability: float = 0.4
    bed_snr_db: tuple[float, float] = (12.0, 45.0)
    peak_dbfs: tuple[float, float] = (-36.0, -0.5)
    speed: tuple[float, float] = (0.88, 1.14)
    equaliser_db: float = 6.0
    augment: bool = True

    def __post_init__(self) -> None:
        probabilities(self, "event_counts")
        not_negative(self, "gain_db", "equaliser_db")
        ascending(self, "bed_snr_db", "peak_dbfs", "speed")
        if not self.speed[0] > 0.0:
            raise ConfigError(f"speed is {list(self.speed)}; it must be above 0")


@dataclass(frozen=True)
class _Material:
    waveform: Waveform
    count: int | None


class SceneBuilder:
    """Draws scenes from recordings; all randomness comes from the generator that each call is given.

    Args:
        clips: recordings of the known classes.
        recipe: how scenes are drawn.
        outliers: recordings of no known class.
    """

    def __init__(self, clips: Sequence[Clip], recipe: SceneRecipe, outliers: Sequence[Clip] = ()) -> None:
        self.recipe = recipe
        self.outliers = [clip.waveform for clip in outliers]
        self.by_label = {label: [clip for clip in clips if clip.label == label] for label in LABELS}
        self.by_label = {label: found for label, found in self.by_label.items() if found}
        if len(self.by_label) < MAX_EVENTS:
            raise DataError(
                f"the recordings hold {len(self.by_label)} class of sound: scenes of two sounds need at least two"
            )

    def scene(self, rng: np.random.Generator) -> Scene:
        """One scene with none, one or two sounds, as the recipe's probabilities have it."""
        if self.recipe.unknown_probability and rng.random() < self.recipe.unknown_probability:
            return self._unknown(rng)
        count = int(rng.choice(3, p=self.recipe.event_counts))
        labels = [str(label) for label in rng.choice(list(self.by_label), size=count, replace=False)]
        relation: Relation = ("none", "single", "overlap")[count]
        if relation == "overlap" and rng.random() < self.recipe.sequence_probability:
            relation = "sequence"
        return self.compose(labels, relation, rng)

    def unknown_sound(self, room: int, rng: np.random.Generator) -> Waveform:
        """A sound of no known class, ``room`` samples at most: a recording of one where there are any, a synthesised
        one, or a distorted recording of a known class."""
        if self.outliers and rng.random() < _OUTLIER_SHARE:
            return outlying_sound(self.outliers, room, rng)
        if rng.random() < 0.5:
            return synthesised_sound(room, rng)
        clips = self.by_label[str(rng.choice(list(self.by_label)))]
        waveform = clips[int(rng.integers(len(clips)))].waveform
        return distorted_sound(looped(waveform, room, rng) if len(waveform) < room else waveform, rng)[:room]

    def _unknown(self, rng: np.random.Generator) -> Scene:
        """A scene with a sound that is none of the known ones; it counts as one without events."""
        sound = self.unknown_sound(round(rng.uniform(0.1, 1.0) * SCENE_SAMPLES), rng)
        sound = normalised(self._coloured(sound, rng.random() < self.recipe.far_probability, rng)[:SCENE_SAMPLES])
        mix = np.zeros(SCENE_SAMPLES, dtype=np.float32)
        start = int(rng.integers(SCENE_SAMPLES - len(sound) + 1))
        mix[start : start + len(sound)] = sound
        activity = np.zeros((SCENE_SAMPLES // ENVELOPE_SAMPLES, len(LABELS)), dtype=bool)
        return Scene(self._with_bed(mix, True, rng), (), "unknown", activity)

    def compose(self, labels: Sequence[str], relation: Relation, rng: np.random.Generator) -> Scene:
        """One scene with the given sounds in the given relation."""
        mix = np.zeros(SCENE_SAMPLES, dtype=np.float32)
        activity = np.zeros((SCENE_SAMPLES // ENVELOPE_SAMPLES, len(LABELS)), dtype=bool)
        events: list[Event] = []
        cursor = 0
        for index, label in enumerate(labels):
            far = rng.random() < self.recipe.far_probability
            room = SCENE_SAMPLES - cursor
            if relation == "sequence" and index == 0:
                room = round(rng.uniform(0.35, 0.65) * SCENE_SAMPLES)
            clips = self.by_label[label]
            material = self._material(clips[int(rng.integers(len(clips)))], room, relation, rng)
            sound = normalised(self._coloured(material.waveform, far, rng)[:room])
            gain_db = 0.0 if index == 0 else float(rng.uniform(-self.recipe.gain_db, self.recipe.gain_db))
            if index and far != events[0].far:
                # The far one of the two is never the louder one.
                gain_db = -abs(gain_db) if far else abs(gain_db)
            start = cursor + self._offset(room - len(sound), relation, index, rng)
            if relation == "overlap" and events:
                start = _overlapping(start, len(sound), events[0], rng)
            mix[start : start + len(sound)] += sound * np.float32(10.0 ** (gain_db / 20.0))
            heard = where_heard(sound)
            first = start // ENVELOPE_SAMPLES
            activity[first : first + len(heard), LABELS.index(label)] |= heard[: len(activity) - first]
            events.append(Event(label, start, start + len(sound), material.count, far, gain_db, longest_gap_s(heard)))
            if relation == "sequence":
                cursor = start + len(sound) + round(rng.uniform(0.0, 0.4) * SAMPLE_RATE)
        waveform = self._with_bed(mix, bool(labels), rng)
        ordered = tuple(sorted(events, key=lambda event: event.start))
        return Scene(waveform, ordered, relation, activity)

    def variant(self, clip: Clip, room: int, rng: np.random.Generator) -> tuple[Waveform, npt.NDArray[np.bool_]]:
        """A recording as a scene might hold it: cut or looped, speed and equaliser varied, near or far.

        Returns:
            Up to ``room`` samples of unit RMS where the sound is heard, and where that is, per 10 ms.
        """
        material = self._material(clip, room, "overlap", rng)
        far = rng.random() < self.recipe.far_probability
        sound = normalised(self._coloured(material.waveform, far, rng)[:room])
        return sound, where_heard(sound)

    def _material(self, clip: Clip, room: int, relation: Relation, rng: np.random.Generator) -> _Material:
        sound = LEXICON[clip.label]
        bursts = _single_sounds(clip, sound.burst_s) if sound.countable else ()
        if bursts and rng.random() < 0.6:
            return _repeated(clip, bursts, room, rng)
        waveform = clip.waveform
        # A recording that fits is often left whole, as the device will hear it; steady sounds may also go on longer.
        if not sound.countable and (relation == "sequence" or rng.random() < 0.5):
            waveform = looped(waveform, round(rng.uniform(0.5, 1.0) * room), rng)
        if len(waveform) > room:
            cut = int(rng.integers(len(waveform) - room + 1))
            return _Material(faded(waveform[cut : cut + room]), None)
        certain = sound.countable and len(bursts) == len(clip.bursts) > 0
        return _Material(faded(waveform), len(clip.bursts) if certain else None)

    def _coloured(self, waveform: Waveform, far: bool, rng: np.random.Generator) -> Waveform:
        """Speed, equaliser and, for a far sound, low-pass and reverberation, in one pass through the spectrum."""
        if not self.recipe.augment:
            return waveform
        waveform = at_speed(waveform, rng.uniform(*self.recipe.speed))
        tail = round(0.35 * SAMPLE_RATE) if far else 0
        size = fast_length(len(waveform) + tail)
        spectrum = np.fft.rfft(waveform, size)
        hertz = np.fft.rfftfreq(size, 1.0 / SAMPLE_RATE)
        octaves = np.log2(np.maximum(hertz, 50.0) / 50.0)
        knots = rng.uniform(-self.recipe.equaliser_db, self.recipe.equaliser_db, 8)
        response_db = np.interp(octaves, np.linspace(0.0, octaves[-1], len(knots)), knots).astype(np.float32)
        spectrum *= np.exp(response_db * np.float32(np.log(10.0) / 20.0))
        if far:
            spectrum /= 1.0 + (hertz / FAR_LOWPASS_HZ) ** 2
            decay = np.exp(-np.arange(tail) / (rng.uniform(0.04, 0.1) * SAMPLE_RATE)) * rng.standard_normal(tail)
            decay *= rng.uniform(0.3, 0.8) / np.sqrt(np.square(decay).sum())
            decay[0] = 1.0
            spectrum *= np.fft.rfft(decay, size)
        return np.fft.irfft(spectrum, size)[: len(waveform) + tail].astype(np.float32)

    def _offset(self, spare: int, relation: Relation, index: int, rng: np.random.Generator) -> int:
        if relation == "sequence":
            spare = min(spare, round(0.6 * SAMPLE_RATE)) if index == 0 else spare
        # Files start with their sound more often than a live stream does.
        return 0 if rng.random() < 0.25 else int(rng.integers(max(spare, 0) + 1))

    def _with_bed(self, mix: Waveform, sounds: bool, rng: np.random.Generator) -> Waveform:
        recipe = self.recipe
        bed = coloured_noise(SCENE_SAMPLES, rng)
        if not sounds:
            return bed * np.float32(10.0 ** (rng.uniform(-72.0, -34.0) / 20.0))
        if rng.random() >= recipe.digital_silence_probability:
            mix = mix + bed * np.float32(10.0 ** (-rng.uniform(*recipe.bed_snr_db) / 20.0))
        peak = 10.0 ** (rng.uniform(*recipe.peak_dbfs) / 20.0)
        return mix * np.float32(peak / max(float(np.abs(mix).max()), 1e-9))


def padded_clip(waveform: Waveform) -> Waveform:
    """A recording as the device hears it from a short file: at the start of 10 s, silence after it."""
    kept = waveform[:SCENE_SAMPLES]
    return np.pad(kept, (0, SCENE_SAMPLES - len(kept)))


def two_sound_scenes(builder: SceneBuilder, count: int, seed: int) -> list[Scene]:
    """``count`` scenes of two different sounds each, every second one a sequence; the same for the same seed."""
    scenes = []
    for index in range(count):
        rng = np.random.default_rng([seed, index])
        labels = [str(label) for label in rng.choice(list(builder.by_label), size=2, replace=False)]
        relation: Relation = "sequence" if index % 2 else "overlap"
        scenes.append(builder.compose(labels, relation, rng))
    return scenes


def _overlapping(start: int, length: int, other: Event, rng: np.random.Generator) -> int:
    """Move a sound until it shares at least half of the shorter of the two with the other: "while" must be true."""
    needed = min(length, other.end - other.start) // 2
    while min(start + length, other.end) - max(start, other.start) < needed:
        start = int(rng.integers(SCENE_SAMPLES - length + 1))
    return start


def _single_sounds(clip: Clip, burst_s: tuple[float, float]) -> tuple[Burst, ...]:
    shortest, longest = (round(seconds * SAMPLE_RATE) for seconds in burst_s)
    margin = round(0.1 * SAMPLE_RATE)
    return tuple(b for b in clip.bursts if shortest <= b.end - b.start - margin <= longest)


def _repeated(clip: Clip, bursts: tuple[Burst, ...], room: int, rng: np.random.Generator) -> _Material:
    """A known number of single sounds, one after the other with pauses, as many as fit."""
    wanted = int(rng.choice([1, 2, 3, 4, 5, 6], p=[0.3, 0.27, 0.2, 0.1, 0.08, 0.05]))
    pieces: list[Waveform] = []
    length = count = 0
    pause = rng.uniform(0.25, 1.0)
    for _ in range(wanted):
        burst = bursts[int(rng.integers(len(bursts)))]
        piece = faded(clip.waveform[burst.start : burst.end]) * np.float32(10.0 ** (rng.uniform(-2.5, 2.5) / 20.0))
        silence = round(pause * rng.uniform(0.8, 1.25) * SAMPLE_RATE) if count else 0
        # 20 % to spare: a slower speed must not push the last one out of the scene.
        if count and (length + silence + len(piece)) * 1.2 > room:
            break
        pieces += [np.zeros(silence, dtype=np.float32), piece]
        length += silence + len(piece)
        count += 1
    return _Material(np.concatenate(pieces), count)
