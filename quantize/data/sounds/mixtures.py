"""Mixtures that teacher and student both hear: one to three sounds, each changed, with room and noise, drawn by number.

Mixture ``i`` of epoch ``e`` comes from a generator seeded with (seed, e, i): the same in any process and any order, so
that what a teacher said of a mixture can be stored and the mixture made again. That both hear the very same sound, and
that there are always new mixtures of the same recordings, is what lets a student learn from little sound (Beyer et al.,
*Knowledge Distillation: A Good Teacher Is Patient and Consistent*, 2022).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from edge_aac.timebase import SAMPLE_RATE
from quantize.data.clips import Waveform
from quantize.data.sounds.pieces import NOISE_BED_S, PieceMaker, PieceRecipe, anywhere, noise_bed
from quantize.data.sounds.store import SoundStore, StoredSound
from quantize.models.config import ascending, not_negative, probabilities, within


@dataclass(frozen=True)
class MixtureRecipe(PieceRecipe):
    """How mixtures are drawn, and the pieces that they are made of. Levels in dB, lengths in seconds.

    Attributes:
        length_s: length of a mixture.
        sound_counts: probabilities of 1, 2, 3 … sounds.
        gain_db: how far below the loudest another sound may lie.
        peak_db: bounds of the peak of the whole, relative to full scale.
        noise_probability, noise_snr_db: how often noise lies under all, and how far below the sounds.
    """

    length_s: float = 5.0
    sound_counts: tuple[float, ...] = (0.5, 0.35, 0.15)
    gain_db: float = 20.0
    peak_db: tuple[float, float] = (-26.0, 0.0)
    noise_probability: float = 0.5
    noise_snr_db: tuple[float, float] = (8.0, 50.0)

    def __post_init__(self) -> None:
        super().__post_init__()
        probabilities(self, "sound_counts")
        within(self, "length_s", 0.5, NOISE_BED_S)
        not_negative(self, "gain_db")
        ascending(self, "peak_db", "noise_snr_db")


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
        self._pieces = PieceMaker(store, recipe, held_out)
        self._samples = round(recipe.length_s * SAMPLE_RATE)

    def mixture(self, epoch: int, index: int) -> Mixture:
        """The mixture of this number, the same whenever it is asked for."""
        recipe = self.recipe
        rng = np.random.default_rng([self.seed, epoch, index])
        count = 1 + int(rng.choice(len(recipe.sound_counts), p=recipe.sound_counts))
        total = np.zeros(self._samples, dtype=np.float32)
        rows = []
        for number in range(count):
            row = self._pieces.drawn(rng)
            rows.append(row)
            below_db = rng.uniform(0.0, recipe.gain_db) if number else 0.0
            piece = self._pieces.piece(row, self._samples, rng)
            if piece is not None:
                start = anywhere(self._samples - len(piece.waveform), rng)
                gain = np.float32(10.0 ** (-below_db / 20.0))
                total[start : start + len(piece.waveform)] += piece.waveform * gain
        level = float(np.sqrt(np.square(total).mean()))
        if rng.random() < recipe.noise_probability:
            total += noise_bed(self._samples, self.seed, rng) * np.float32(
                max(level, 1e-4) * 10.0 ** (-rng.uniform(*recipe.noise_snr_db) / 20.0)
            )
        peak = float(np.abs(total).max())
        if peak > 0.0:
            total *= np.float32(10.0 ** (rng.uniform(*recipe.peak_db) / 20.0) / peak)
        return Mixture(total, tuple(rows))
