"""Mixtures that teacher and student both hear: one to three sounds, each changed, with room and noise, drawn by number.

Mixture ``i`` of epoch ``e`` comes from a generator seeded with (seed, e, i): the same in any process and any order, so
that what a teacher said of a mixture can be stored and the mixture made again. That both hear the very same sound, and
that there are always new mixtures of the same recordings, is what lets a student learn from little sound (Beyer et al.,
*Knowledge Distillation: A Good Teacher Is Patient and Consistent*, 2022).
"""

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
from quantize.data.sounds.store import SoundStore, StoredSound
from quantize.models.config import ascending, not_negative, probabilities, within

_Floats = npt.NDArray[np.float32]

_KNOTS = 8
_BEDS, _BED_SAMPLES = 24, 20 * SAMPLE_RATE


@dataclass(frozen=True)
class MixtureRecipe:
    """How mixtures are drawn. Levels in dB, lengths in seconds.

    Attributes:
        length_s: length of a mixture.
        sound_counts: probabilities of 1, 2, 3 … sounds.
        gain_db: how far below the loudest another sound may lie.
        peak_db: bounds of the peak of the whole, relative to full scale.
        speed_probability, speed_octaves: how often a sound is played faster or slower, by how much at most.
        equaliser_probability, equaliser_db: how often a smooth random equaliser shapes it, its greatest gain.
        distance_probability, reverberation_s: how often it is heard from afar, in a room with a reverberation time
            within these bounds.
        direct_db: bounds of the direct sound's level over the room's.
        repeat_probability: how often a sound of less than a third of the mixture is heard again and again.
        noise_probability, noise_snr_db: how often noise lies under all, and how far below the sounds.
        source_weights: pairs of the start of a source's name and how often its sounds are drawn relative to others;
            the first that fits counts, 1 where none does. 0 leaves a source out.
    """

    length_s: float = 5.0
    sound_counts: tuple[float, ...] = (0.5, 0.35, 0.15)
    gain_db: float = 20.0
    peak_db: tuple[float, float] = (-26.0, 0.0)
    speed_probability: float = 0.3
    speed_octaves: float = 0.4
    equaliser_probability: float = 0.4
    equaliser_db: float = 10.0
    distance_probability: float = 0.3
    reverberation_s: tuple[float, float] = (0.15, 0.9)
    direct_db: tuple[float, float] = (-8.0, 12.0)
    repeat_probability: float = 0.4
    noise_probability: float = 0.5
    noise_snr_db: tuple[float, float] = (8.0, 50.0)
    source_weights: tuple[tuple[str, float], ...] = ()

    def __post_init__(self) -> None:
        probabilities(self, "sound_counts")
        within(self, "length_s", 0.5, _BED_SAMPLES / SAMPLE_RATE)
        not_negative(self, "gain_db", "speed_octaves", "equaliser_db")
        ascending(self, "peak_db", "reverberation_s", "direct_db", "noise_snr_db")


@dataclass(frozen=True)
class Mixture:
    """What both hear.

    Attributes:
        waveform: (samples,) float32 in −1 … 1.
        rows: the sounds in it.
    """

    waveform: Waveform
    rows: tuple[StoredSound, ...]


class MixtureMaker:
    """Makes mixtures of the sounds of a store.

    Args:
        store: holds the sounds.
        recipe: how they are drawn.
        seed: of all draws.
        held_out: folds that no mixture may hold a sound of, nor a copy of one.

    Raises:
        DataError: no sound is left.
    """

    def __init__(self, store: SoundStore, recipe: MixtureRecipe, seed: int, held_out: Sequence[int]) -> None:
        self.store, self.recipe, self.seed = store, recipe, seed
        self.rows = [row for row in store.training_rows(held_out) if _weight(row, recipe) > 0.0]
        if not self.rows:
            raise DataError(f"no sound is left to mix: the store holds none outside of the folds {sorted(held_out)}")
        self._cumulative = np.cumsum([_weight(row, recipe) for row in self.rows])
        self._samples = round(recipe.length_s * SAMPLE_RATE)
        self._beds = _noise_beds(seed)

    def mixture(self, epoch: int, index: int) -> Mixture:
        """The mixture of this number, the same whenever it is asked for."""
        recipe = self.recipe
        rng = np.random.default_rng([self.seed, epoch, index])
        count = 1 + int(rng.choice(len(recipe.sound_counts), p=recipe.sound_counts))
        total = np.zeros(self._samples, dtype=np.float32)
        rows = []
        for number in range(count):
            drawn = np.searchsorted(self._cumulative, rng.random() * self._cumulative[-1], side="right")
            row = self.rows[min(int(drawn), len(self.rows) - 1)]
            rows.append(row)
            below_db = rng.uniform(0.0, recipe.gain_db) if number else 0.0
            self._add(total, row, np.float32(10.0 ** (-below_db / 20.0)), rng)
        level = float(np.sqrt(np.square(total).mean()))
        if rng.random() < recipe.noise_probability:
            bed = self._beds[int(rng.integers(_BEDS))]
            start = int(rng.integers(_BED_SAMPLES - self._samples + 1))
            total += bed[start : start + self._samples] * np.float32(
                max(level, 1e-4) * 10.0 ** (-rng.uniform(*recipe.noise_snr_db) / 20.0)
            )
        peak = float(np.abs(total).max())
        if peak > 0.0:
            total *= np.float32(10.0 ** (rng.uniform(*recipe.peak_db) / 20.0) / peak)
        return Mixture(total, tuple(rows))

    def _add(self, total: _Floats, row: StoredSound, gain: np.float32, rng: np.random.Generator) -> None:
        """Add a piece of a sound, changed and somewhere in the mixture."""
        recipe = self.recipe
        speed = 1.0
        if rng.random() < recipe.speed_probability:
            speed = float(2.0 ** rng.uniform(-recipe.speed_octaves, recipe.speed_octaves))
        # No more is read than is heard.
        wanted = int(self._samples * speed) + 2
        spare = row.length - wanted
        first = int(rng.integers(spare + 1)) if spare > 0 else 0
        piece = self.store.sound[row.start + first : row.start + min(row.length, first + wanted)]
        sound = piece.astype(np.float32)
        if speed != 1.0:
            sound = soxr.resample(sound, speed, 1.0, "QQ")
        sound = sound[: self._samples]
        equaliser = rng.random() < recipe.equaliser_probability
        distant = rng.random() < recipe.distance_probability
        if equaliser or distant:
            sound = self._filtered(sound, equaliser, distant, rng)
        if len(sound) < self._samples // 3 and rng.random() < recipe.repeat_probability:
            sound = _repeated(sound, self._samples, rng)
        peak = float(np.abs(sound).max(initial=0.0))
        if peak <= 0.0:
            return
        sound *= gain / np.float32(peak)
        room = self._samples - len(sound)
        start = int(rng.integers(room + 1)) if room > 0 else 0
        total[start : start + len(sound)] += sound

    def _filtered(self, sound: _Floats, equaliser: bool, distant: bool, rng: np.random.Generator) -> _Floats:
        """Equalised and put into a room, both in one transform."""
        recipe = self.recipe
        tail = round(recipe.reverberation_s[1] * SAMPLE_RATE) if distant else 0
        length = min(len(sound) + tail, self._samples)
        size = fast_length(len(sound) + tail)
        spectrum = np.fft.rfft(sound, size)
        if equaliser:
            spectrum *= _equaliser(len(spectrum), recipe.equaliser_db, rng)
        if distant:
            spectrum *= np.fft.rfft(room_response(recipe, rng), size)
        return np.fft.irfft(spectrum, size)[:length].astype(np.float32)


def _repeated(sound: _Floats, room: int, rng: np.random.Generator) -> _Floats:
    """A sound again and again, the pauses alike but not the same."""
    pause_s = rng.uniform(0.0, 1.2)
    pieces, length = [sound], len(sound)
    for _ in range(int(rng.integers(1, 12))):
        gap = round(pause_s * rng.uniform(0.7, 1.4) * SAMPLE_RATE)
        if length + gap + len(sound) > room:
            break
        pieces += [np.zeros(gap, dtype=np.float32), sound]
        length += gap + len(sound)
    return np.concatenate(pieces)


def room_response(recipe: MixtureRecipe, rng: np.random.Generator) -> _Floats:
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


def _weight(row: StoredSound, recipe: MixtureRecipe) -> float:
    for start, weight in recipe.source_weights:
        if row.source.startswith(start):
            return weight
    return 1.0
