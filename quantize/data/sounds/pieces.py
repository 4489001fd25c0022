"""Pieces of stored sounds as mixtures and scenes hold them: cut, faster or slower, equalised, far away, repeated."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt
import soxr

from edge_aac.errors import DataError
from edge_aac.timebase import SAMPLE_RATE
from quantize.data.clips import Waveform
from quantize.data.sound_shaping import coloured_noise, fast_length
from quantize.data.sounds.store import FULL_SCALE, SoundStore, StoredSound
from quantize.models.config import ascending, not_negative

_Floats = npt.NDArray[np.float32]

NOISE_BED_S = 20
"""Length of a noise that beds are cut from, in seconds."""

_PAUSE_DB = 20.0
"""A part of a sound whose peak is this far below the whole's is a pause: as loud, it would be noise with a name."""

_TRIES = 4
_KNOTS = 8
_BEDS, _BED_SAMPLES = 24, NOISE_BED_S * SAMPLE_RATE


@dataclass(frozen=True)
class PieceRecipe:
    """How sounds are drawn and changed. Levels in dB, lengths in seconds.

    Attributes:
        speed_probability, speed_octaves: how often a sound is played faster or slower, by how much at most.
        equaliser_probability, equaliser_db: how often a smooth random equaliser shapes it, its greatest gain.
        distance_probability, reverberation_s: how often it is heard from afar, in a room with a reverberation time
            within these bounds.
        direct_db: bounds of the direct sound's level over the room's.
        repeat_probability: how often a sound of less than a third of the mixture is heard again and again.
        source_weights: pairs of the start of a source's name and how often its sounds are drawn relative to others;
            the first that fits counts, 1 where none does. 0 leaves a source out.
    """

    speed_probability: float = 0.3
    speed_octaves: float = 0.4
    equaliser_probability: float = 0.4
    equaliser_db: float = 10.0
    distance_probability: float = 0.3
    reverberation_s: tuple[float, float] = (0.15, 0.9)
    direct_db: tuple[float, float] = (-8.0, 12.0)
    repeat_probability: float = 0.4
    source_weights: tuple[tuple[str, float], ...] = ()

    def __post_init__(self) -> None:
        not_negative(self, "speed_octaves", "equaliser_db")
        ascending(self, "reverberation_s", "direct_db")


@dataclass(frozen=True)
class Piece:
    """A piece of a stored sound, changed.

    Attributes:
        waveform: (samples,) float32 with a peak of 1.
        row: the sound that it is a piece of.
        first: place in the row of the piece's first sample.
        speed: how many samples of the row one sample of the piece stands for.
        copies: where in the piece the sound begins, once or again and again.
        length: samples of one copy, the room's tail included.
        gain: what its samples were multiplied with to have that peak.
        direct_db: the direct sound's level over the room's; None for one without a room.
    """

    waveform: Waveform
    row: StoredSound
    first: int
    speed: float
    copies: tuple[int, ...]
    length: int
    gain: float
    direct_db: float | None


class PieceMaker:
    """Draws sounds of a store, and pieces of them.

    Args:
        store: holds the sounds.
        recipe: how they are drawn and changed.
        held_out: folds of which no sound is drawn, nor a copy of one.

    Raises:
        DataError: no sound is left.
    """

    def __init__(self, store: SoundStore, recipe: PieceRecipe, held_out: Sequence[int]) -> None:
        self.store, self.recipe = store, recipe
        self.rows = [row for row in store.training_rows(held_out) if _weight(row, recipe) > 0.0]
        if not self.rows:
            raise DataError(f"no sound is left to mix: the store holds none outside of the folds {sorted(held_out)}")
        self._cumulative = np.cumsum([_weight(row, recipe) for row in self.rows])

    def drawn(self, rng: np.random.Generator) -> StoredSound:
        """A sound, by the weights of the sources."""
        drawn = np.searchsorted(self._cumulative, rng.random() * self._cumulative[-1], side="right")
        return self.rows[min(int(drawn), len(self.rows) - 1)]

    def piece(self, row: StoredSound, samples: int, rng: np.random.Generator) -> Piece | None:
        """At most so many samples of a sound, changed; None where nothing but zeros is left."""
        recipe = self.recipe
        speed = 1.0
        if rng.random() < recipe.speed_probability:
            speed = float(2.0 ** rng.uniform(-recipe.speed_octaves, recipe.speed_octaves))
        first, read = self._cut(row, int(samples * speed) + 2, rng)
        sound = read.astype(np.float32)
        if speed != 1.0:
            sound = soxr.resample(sound, speed, 1.0, "QQ")
        sound = sound[:samples]
        equaliser = rng.random() < recipe.equaliser_probability
        distant = rng.random() < recipe.distance_probability
        direct_db = None
        if equaliser or distant:
            sound, direct_db = self._filtered(sound, samples, equaliser, distant, rng)
        copies: tuple[int, ...] = (0,)
        length = len(sound)
        if length < samples // 3 and rng.random() < recipe.repeat_probability:
            sound, copies = _repeated(sound, samples, rng)
        peak = float(np.abs(sound).max(initial=0.0))
        if peak <= 0.0:
            return None
        gain = np.float32(1.0) / np.float32(peak)
        return Piece(sound * gain, row, first, speed, copies, length, float(gain) * FULL_SCALE, direct_db)

    def _cut(self, row: StoredSound, wanted: int, rng: np.random.Generator) -> tuple[int, npt.NDArray[np.int16]]:
        """So many samples of a sound, and where they begin: a part in which the sound is heard, not a pause of it."""
        sound = self.store.sound[row.start : row.start + row.length]
        spare = row.length - wanted
        if spare <= 0:
            return 0, sound
        magnitudes = np.abs(sound.astype(np.int32))
        loudest = int(magnitudes.argmax())
        least = magnitudes[loudest] * 10.0 ** (-_PAUSE_DB / 20.0)
        for _ in range(_TRIES):
            first = int(rng.integers(spare + 1))
            if magnitudes[first : first + wanted].max() >= least:
                return first, sound[first : first + wanted]
        first = max(0, min(spare, loudest - int(rng.integers(wanted))))
        return first, sound[first : first + wanted]

    def _filtered(
        self, sound: _Floats, samples: int, equaliser: bool, distant: bool, rng: np.random.Generator
    ) -> tuple[_Floats, float | None]:
        """Equalised and put into a room, both in one transform; with the direct sound's level over the room's."""
        recipe = self.recipe
        tail = round(recipe.reverberation_s[1] * SAMPLE_RATE) if distant else 0
        length = min(len(sound) + tail, samples)
        size = fast_length(len(sound) + tail)
        spectrum = np.fft.rfft(sound, size)
        if equaliser:
            spectrum *= _equaliser(len(spectrum), recipe.equaliser_db, rng)
        direct_db = None
        if distant:
            response = room_response(recipe, rng)
            spectrum *= np.fft.rfft(response, size)
            energy = float(np.square(response[1:], dtype=np.float64).sum())
            direct_db = -10.0 * float(np.log10(max(energy, 1e-12)))
        return np.fft.irfft(spectrum, size)[:length].astype(np.float32), direct_db


def anywhere(room: int, rng: np.random.Generator) -> int:
    """A place in so many samples of room, 0 where there is none."""
    return int(rng.integers(room + 1)) if room > 0 else 0


def noise_bed(samples: int, seed: int, rng: np.random.Generator) -> _Floats:
    """So many samples of one of a seed's noises, of unit RMS as a whole; at most :data:`NOISE_BED_S` of them."""
    bed = _noise_beds(seed)[int(rng.integers(_BEDS))]
    start = int(rng.integers(_BED_SAMPLES - samples + 1))
    part: _Floats = bed[start : start + samples]
    return part


def _repeated(sound: _Floats, room: int, rng: np.random.Generator) -> tuple[_Floats, tuple[int, ...]]:
    """A sound again and again, the pauses alike but not the same; and where each begins."""
    pause_s = rng.uniform(0.0, 1.2)
    pieces, length, starts = [sound], len(sound), [0]
    for _ in range(int(rng.integers(1, 12))):
        gap = round(pause_s * rng.uniform(0.7, 1.4) * SAMPLE_RATE)
        if length + gap + len(sound) > room:
            break
        starts.append(length + gap)
        pieces += [np.zeros(gap, dtype=np.float32), sound]
        length += gap + len(sound)
    return np.concatenate(pieces), tuple(starts)


def room_response(recipe: PieceRecipe, rng: np.random.Generator) -> _Floats:
    """A cheap room: the direct sound, then noise that dies exponentially, its treble first.

    Returns:
        (samples,) float32, the direct sound's energy and the room's in a drawn ratio.
    """
    reverberation_s = rng.uniform(*recipe.reverberation_s)
    length = round(reverberation_s * SAMPLE_RATE)
    times = np.arange(length, dtype=np.float32) / np.float32(SAMPLE_RATE)
    # 60 dB in the reverberation time.
    decay = np.exp(np.float32(-6.9078 / reverberation_s) * times)
    tail: _Floats = rng.standard_normal(length, dtype=np.float32) * decay
    # Walls and air swallow treble: more of it the longer the way.
    dull = np.float32(rng.uniform(0.2, 0.8))
    tail[1:] = (1.0 - dull) * tail[1:] + dull * tail[:-1]
    tail[: round(rng.uniform(0.001, 0.02) * SAMPLE_RATE)] = 0.0
    energy = float(np.square(tail, dtype=np.float64).sum())
    tail *= np.float32(np.sqrt(10.0 ** (-rng.uniform(*recipe.direct_db) / 10.0) / max(energy, 1e-12)))
    tail[0] = 1.0
    return tail


def _equaliser(bins: int, greatest_db: float, rng: np.random.Generator) -> _Floats:
    """A smooth curve over the octaves, as gains by frequency."""
    lower, share = _octaves(bins)
    knots = rng.uniform(-greatest_db, greatest_db, _KNOTS).astype(np.float32) * np.float32(np.log(10.0) / 20.0)
    gains: _Floats = np.exp(knots[lower] * (1.0 - share) + knots[lower + 1] * share)
    return gains


@lru_cache(maxsize=128)
def _octaves(bins: int) -> tuple[npt.NDArray[np.intp], _Floats]:
    """The octave above 62.5 Hz that each frequency lies in, and how far up in it."""
    place = np.log2(np.maximum(np.arange(bins), 1) * (SAMPLE_RATE / 2.0 / bins) / 62.5)
    place = np.clip(place, 0.0, _KNOTS - 1.001)
    lower = place.astype(np.intp)
    return lower, (place - lower).astype(np.float32)


@lru_cache(maxsize=2)
def _noise_beds(seed: int) -> _Floats:
    """Noises of unit RMS, their power falling as 1/f^c with c in 0 (white) to 2 (brown)."""
    rng = np.random.default_rng([seed, 1])
    return np.stack([coloured_noise(_BED_SAMPLES, rng) for _ in range(_BEDS)])


def _weight(row: StoredSound, recipe: PieceRecipe) -> float:
    for start, weight in recipe.source_weights:
        if row.source.startswith(start):
            return weight
    return 1.0
