"""Scenes of two and three sounds of any labels, made of held-out recordings as they are, for evaluation alone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from edge_aac.errors import DataError
from edge_aac.timebase import SAMPLE_RATE
from quantize.data.clips import Waveform
from quantize.data.everyday.events import HeardEvent, believed
from quantize.data.everyday.lexicon import Lexicon
from quantize.data.everyday.wording import caption
from quantize.data.scenes import SCENE_SAMPLES, SceneRecipe
from quantize.data.sound_shaping import coloured_noise, faded, normalised
from quantize.evaluation.everyday.recordings import Labelled
from quantize.evaluation.everyday.truth import SoundWindow

REFERENCES_PER_SCENE = 5
"""As many as Clotho has."""

_CUTS_TRIED = 8
_Relation = Literal["overlap", "sequence"]


@dataclass(frozen=True)
class _Placed:
    sound: str
    start: int
    waveform: Waveform
    gain_db: float

    @property
    def end(self) -> int:
        return self.start + len(self.waveform)


def sound_scenes(lexicon: Lexicon, recordings: Sequence[Labelled], count: int, seed: int) -> Iterator[SoundWindow]:
    """``count`` scenes; the same for the same recordings and seed. Two and three sounds, overlap and sequence in turn.

    Sounds are drawn alike, whatever their number of recordings; none of a scene is an example of another. A recording
    is cut to the room it has, at the loudest of several places; levels of the sounds, noise below them and peak are
    those of :class:`quantize.data.scenes.SceneRecipe`. In an overlap each later sound has half of the shorter in common
    with the first; in a sequence each begins after the one before.

    Raises:
        DataError: there are no three sounds of which none is an example of another.
    """
    by_sound: dict[str, list[Labelled]] = {}
    for recording in recordings:
        by_sound.setdefault(recording.sound, []).append(recording)
    names = sorted(by_sound)
    if not _has_three(lexicon, names):
        raise DataError(
            f"scenes of three sounds need recordings of three that are not examples of each other, not {len(names)}"
        )
    for number in range(count):
        rng = np.random.default_rng([seed, 4, number])
        relation: _Relation = "sequence" if number // 2 % 2 else "overlap"
        yield _scene(lexicon, by_sound, _drawn(lexicon, names, 2 + number % 2, rng), relation, number, rng)


def _has_three(lexicon: Lexicon, names: Sequence[str]) -> bool:
    return any(
        not (lexicon.names.related(a, b) or lexicon.names.related(a, c) or lexicon.names.related(b, c))
        for i, a in enumerate(names)
        for j, b in enumerate(names[:i])
        for c in names[:j]
    )


def _drawn(lexicon: Lexicon, names: Sequence[str], size: int, rng: np.random.Generator) -> list[str]:
    while True:
        drawn = [str(name) for name in rng.choice(names, size=size, replace=False)]
        if not any(lexicon.names.related(one, other) for i, one in enumerate(drawn) for other in drawn[:i]):
            return drawn


def _scene(
    lexicon: Lexicon,
    by_sound: dict[str, list[Labelled]],
    sounds: Sequence[str],
    relation: _Relation,
    number: int,
    rng: np.random.Generator,
) -> SoundWindow:
    recipe, placed = SceneRecipe(), list[_Placed]()
    sequence = relation == "sequence"
    shares = rng.dirichlet(np.full(len(sounds), 8.0))
    cursor = 0
    for index, sound in enumerate(sounds):
        room = round(shares[index] * SCENE_SAMPLES) if sequence else SCENE_SAMPLES
        room = min(room, SCENE_SAMPLES - cursor)
        recordings = by_sound[sound]
        source = recordings[int(rng.integers(len(recordings)))].clip.waveform
        piece = normalised(faded(_cut(source, room, rng)))
        gain_db = float(rng.uniform(-recipe.gain_db, recipe.gain_db)) if index else 0.0
        low, high = cursor, cursor + room - len(piece)
        if placed and not sequence:
            low, high = _overlapping(len(piece), placed[0])
        placed.append(_Placed(sound, int(rng.integers(low, high + 1)), piece, gain_db))
        if sequence:
            cursor += room
    moments = tuple((one.sound,) for one in placed) if sequence else (tuple(sounds),)
    events = [
        HeardEvent(believed(lexicon, one.sound), one.start / SAMPLE_RATE, one.end / SAMPLE_RATE, -30.0 + one.gain_db)
        for one in placed
    ]
    wording = np.random.default_rng([number, REFERENCES_PER_SCENE])
    references = tuple(caption(lexicon, events, wording) for _ in range(REFERENCES_PER_SCENE))
    source_name = f"scene {number} of {len(sounds)} in {relation}"
    return SoundWindow("scene", source_name, _mixed(placed, rng), moments, "everyday", references)


def _cut(waveform: Waveform, room: int, rng: np.random.Generator) -> Waveform:
    """A stretch of a recording that is longer than the room: the loudest of some, so that its sound is in it."""
    if len(waveform) <= room:
        return waveform
    starts = rng.integers(len(waveform) - room + 1, size=_CUTS_TRIED)
    cuts = [waveform[start : start + room] for start in starts]
    return max(cuts, key=lambda cut: float(np.square(cut, dtype=np.float64).sum()))


def _overlapping(length: int, first: _Placed) -> tuple[int, int]:
    """First and last start of a sound of some length that has half of the shorter in common with another."""
    shared = min(length, len(first.waveform)) // 2
    return max(0, first.start + shared - length), min(SCENE_SAMPLES - length, first.end - shared)


def _mixed(placed: Sequence[_Placed], rng: np.random.Generator) -> Waveform:
    """The sounds together, over noise in most scenes."""
    recipe = SceneRecipe()
    mix = np.zeros(SCENE_SAMPLES, np.float32)
    for one in placed:
        mix[one.start : one.end] += one.waveform * np.float32(10.0 ** (one.gain_db / 20.0))
    if rng.random() >= recipe.digital_silence_probability:
        bed = coloured_noise(SCENE_SAMPLES, rng)
        mix += bed * np.float32(10.0 ** (-rng.uniform(*recipe.bed_snr_db) / 20.0))
    peak = 10.0 ** (rng.uniform(*recipe.peak_dbfs) / 20.0)
    return mix * np.float32(peak / max(float(np.abs(mix).max()), 1e-9))
