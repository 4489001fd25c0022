"""Single sounds kept as filter banks, from which short mixes are made without touching a waveform.

Powers of unrelated sounds add, so ``log(exp(a) + exp(b))`` of two log filter banks is that of their mix: a mix costs a
tenth of a scene that is mixed as sound. What it lacks (counts, distance, words) the scenes teach afterwards.
Between-class mixing as such: Tokozume et al., *Learning from Between-class Examples for Deep Sound Recognition*, 2018.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional
from torch.utils.data import Dataset

from edge_aac.audio.features import FBANK_SCALE, FRAME_LENGTH_SAMPLES, FRAME_SHIFT_SAMPLES, NUM_MEL_BINS, filter_bank
from edge_aac.timebase import SAMPLE_RATE
from quantize.data.clips import Clip
from quantize.data.lexicon import LABELS
from quantize.data.scenes import SceneBuilder
from quantize.data.sound_shaping import coloured_noise
from quantize.models.config import ascending, at_least_one, not_negative, probabilities, within

BANK_SAMPLES = 5 * SAMPLE_RATE
BANK_FRAMES = 1 + (BANK_SAMPLES - FRAME_LENGTH_SAMPLES) // FRAME_SHIFT_SAMPLES
REFERENCE_LEVEL = np.float32(0.05)
NOISES = 200
UNKNOWN_SOUNDS = 2500
NEPERS_A_DB = float(np.log(10.0) / 10.0)
"""Log powers are natural logarithms: what a decibel is in them."""

SCALE = float(FBANK_SCALE)
LOG_FLOOR = -31.36
"""Of the filter bank before its scale, relative to its mean: the value of digital silence."""


@dataclass(frozen=True)
class MixRecipe:
    """How short mixes are drawn. Levels in dB.

    Attributes:
        sound_counts: probabilities of 0, 1, 2 … sounds in a mix.
        frames: length of a mix, 10 ms each.
        variants_per_clip: how many versions of each recording the bank holds.
        gain_db: greatest difference in level between the first sound and another.
        bed_probability, bed_snr_db: how often noise lies under the sounds, and how far below the first.
        attenuation_db: of the whole mix.
        shift_bins: greatest shift of a sound along the mel axis (pitch).
        equaliser_db: greatest gain of a random smooth equaliser.
        unknown_probability: how often a sound of no known class takes part, alone where there is no other.
    """

    sound_counts: tuple[float, ...] = (0.06, 0.44, 0.40, 0.10)
    frames: int = 256
    variants_per_clip: int = 16
    gain_db: float = 5.0
    bed_probability: float = 0.6
    bed_snr_db: tuple[float, float] = (12.0, 45.0)
    attenuation_db: tuple[float, float] = (-4.0, 32.0)
    shift_bins: int = 3
    equaliser_db: float = 6.0
    unknown_probability: float = 0.0

    def __post_init__(self) -> None:
        probabilities(self, "sound_counts")
        at_least_one(self, "variants_per_clip")
        within(self, "frames", 1, BANK_FRAMES)
        within(self, "shift_bins", 0, NUM_MEL_BINS - 1)
        not_negative(self, "gain_db", "equaliser_db")
        ascending(self, "bed_snr_db", "attenuation_db")


class SoundBank:
    """Variants of recordings and beds of noise, as filter banks at one reference level.

    Attributes:
        fbank: (N, 498, 128) float16, normalised filter banks; silence where a sound is shorter.
        heard: (N, 498) bool, where the sound is heard.
        by_label: class → rows.
        noise, unknown: (M, 498, 128) float16.
    """

    def __init__(self, builder: SceneBuilder, clips: Sequence[Clip], recipe: MixRecipe, seed: int) -> None:
        rng = np.random.default_rng(seed)
        fbanks, heard, labels = [], [], []
        for clip in clips:
            for _ in range(recipe.variants_per_clip):
                sound, active = builder.variant(clip, BANK_SAMPLES, rng)
                fbanks.append(_filter_bank(sound))
                heard.append(_fitted(active, len(fbanks[-1])))
                labels.append(clip.label)
        self.fbank = torch.from_numpy(np.stack(fbanks))
        self.heard = torch.from_numpy(np.stack(heard))
        self.by_label = {label: [row for row, own in enumerate(labels) if own == label] for label in builder.by_label}
        unknown = [
            _filter_bank(_levelled(builder.unknown_sound(BANK_SAMPLES, rng)))
            for _ in range(UNKNOWN_SOUNDS if recipe.unknown_probability else 0)
        ]
        self.unknown = torch.from_numpy(np.stack(unknown)) if unknown else torch.zeros(0)
        self.noise = torch.from_numpy(
            np.stack([_filter_bank(coloured_noise(BANK_SAMPLES, rng)) for _ in range(NOISES)])
        )


class MixDataset(Dataset[tuple[Tensor, Tensor]]):
    """Mix ``i`` of epoch ``e`` is drawn from a generator seeded with (seed, e, i), so it is the same in any process.

    Items are a normalised filter bank (frames, 128) and the activity (frames, classes) bool.
    """

    def __init__(self, bank: SoundBank, recipe: MixRecipe, seed: int, epoch: int, count: int) -> None:
        self.bank, self.recipe, self.seed, self.epoch, self.count = bank, recipe, seed, epoch, count
        self.labels = list(bank.by_label)

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        rng = np.random.default_rng([self.seed, self.epoch, index])
        recipe = self.recipe
        mix = torch.full((recipe.frames, self.bank.fbank.shape[2]), LOG_FLOOR)
        activity = torch.zeros(recipe.frames, len(LABELS), dtype=torch.bool)
        count = int(rng.choice(len(recipe.sound_counts), p=recipe.sound_counts))
        for number, chosen in enumerate(rng.permutation(len(self.labels))[:count].tolist()):
            gain_db = rng.uniform(-recipe.gain_db, recipe.gain_db) if number else 0.0
            self._add(mix, activity, self.labels[chosen], gain_db, rng)
        unknown = bool(recipe.unknown_probability) and rng.random() < recipe.unknown_probability
        if unknown:
            gain_db = rng.uniform(-recipe.gain_db, recipe.gain_db)
            _add_powers(mix, self._piece(self.bank.unknown, rng) + NEPERS_A_DB * gain_db)
        sounds = bool(count) or unknown
        if not sounds or rng.random() < recipe.bed_probability:
            below_db = rng.uniform(*recipe.bed_snr_db) if sounds else rng.uniform(0.0, 20.0)
            _add_powers(mix, self._piece(self.bank.noise, rng) - NEPERS_A_DB * below_db)
        mix -= NEPERS_A_DB * rng.uniform(*recipe.attenuation_db)
        return mix.clamp_(min=LOG_FLOOR) / SCALE, activity

    def _add(self, mix: Tensor, activity: Tensor, label: str, gain_db: float, rng: np.random.Generator) -> None:
        """Add a piece of one sound, placed so that at least one moment at which it is heard lies in the mix."""
        rows = self.bank.by_label[label]
        row = rows[int(rng.integers(len(rows)))]
        heard = self.bank.heard[row]
        moments = heard.nonzero()[:, 0]
        start = int(moments[int(rng.integers(len(moments)))]) - int(rng.integers(len(mix))) if len(moments) else 0
        first, last = max(0, start), min(len(heard), start + len(mix))
        piece = self.bank.fbank[row, first:last].float() * SCALE + NEPERS_A_DB * gain_db
        shift = int(rng.integers(-self.recipe.shift_bins, self.recipe.shift_bins + 1))
        piece = _shifted(piece, shift) + self._equaliser(rng)
        place = slice(first - start, last - start)
        _add_powers(mix[place], piece)
        activity[place, LABELS.index(label)] |= heard[first:last]

    def _equaliser(self, rng: np.random.Generator) -> Tensor:
        greatest = NEPERS_A_DB * self.recipe.equaliser_db
        knots = torch.from_numpy(rng.uniform(-greatest, greatest, 6).astype(np.float32))
        bins = self.bank.fbank.shape[2]
        return functional.interpolate(knots[None, None], size=bins, mode="linear", align_corners=True)[0, 0]

    def _piece(self, bank: Tensor, rng: np.random.Generator) -> Tensor:
        """As much as a mix is long, from anywhere in one of the bank's rows."""
        row = bank[int(rng.integers(len(bank)))]
        start = int(rng.integers(len(row) - self.recipe.frames + 1))
        return row[start : start + self.recipe.frames].float() * SCALE


def _add_powers(mix: Tensor, piece: Tensor) -> None:
    torch.logaddexp(mix, piece, out=mix)


def _levelled(waveform: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Brought to unit RMS over its whole length."""
    return waveform / np.float32(max(float(np.sqrt(np.square(waveform, dtype=np.float64).mean())), 1e-6))


def _filter_bank(waveform: npt.NDArray[np.float32]) -> npt.NDArray[np.float16]:
    padded = np.pad(waveform * REFERENCE_LEVEL, (0, BANK_SAMPLES - len(waveform)))
    halves: npt.NDArray[np.float16] = filter_bank(padded).astype(np.float16)
    return halves


def _fitted(active: npt.NDArray[np.bool_], frames: int) -> npt.NDArray[np.bool_]:
    return np.pad(active[:frames], (0, max(0, frames - len(active))))


def _shifted(fbank: Tensor, bins: int) -> Tensor:
    """Moved along the mel axis; the edge is repeated where nothing is left."""
    if not bins:
        return fbank
    moved = torch.roll(fbank, bins, dims=1)
    if bins > 0:
        moved[:, :bins] = fbank[:, :1]
    else:
        moved[:, bins:] = fbank[:, -1:]
    return moved
