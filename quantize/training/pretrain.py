"""The encoder alone, taught which sound is heard when on short mixes of single sounds.

A captioner that starts from random weights spends most of its training on telling sounds apart through the words of
captions. Short mixes teach that at a fraction of the cost, as BEATs' own pre-training does for the published system.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import torch
from torch import Tensor

from quantize.data.lexicon import LABELS
from quantize.data.sound_bank import MixDataset, SoundBank
from quantize.models.beats import Beats
from quantize.training.distributed import World
from quantize.training.loop import Progress, Terms, Trainer
from quantize.training.objective import activity_loss
from quantize.training.precision import in_fp32
from quantize.training.recipe import Recipe
from quantize.training.settings import TrainerSettings
from quantize.training.sources import SceneSource
from quantize.training.tensor_batch import TensorBatch
from quantize.training.validation import ValidationSet

FOLDER = "pretraining"
_BANK_SEED = 7
_LOUDEST_TOKENS = 6


@dataclass(frozen=True)
class MixBatch(TensorBatch):
    """Short mixes.

    Attributes:
        fbank: (B, frames, 128).
        activity: (B, frames, classes) bool.
    """

    fbank: Tensor
    activity: Tensor


class EncoderPretraining:
    """A run of its own, in a folder within the captioner's run.

    Args:
        encoder: is trained in place.
        recipe: a recipe with a table [pretrain].
        source: source of the recordings.
        folder: folder of the captioner's run.
        world: the processes.
    """

    def __init__(self, encoder: Beats, recipe: Recipe, source: SceneSource, folder: Path, world: World) -> None:
        assert recipe.pretrain is not None
        settings: TrainerSettings = recipe.pretrain
        self.recipe, self.source = recipe, source
        held_out = source.held_out() if world.first else None
        place = folder / FOLDER
        place.mkdir(parents=True, exist_ok=True)
        self.trainer: Trainer[MixBatch] = Trainer(
            encoder,
            mix_terms,
            lambda epoch: MixDataset(self._bank, recipe.mixes, settings.seed, epoch, settings.scenes_per_epoch),
            collate_mixes,
            settings,
            place,
            world,
            None if held_out is None else lambda averaged: encoder_scores(averaged, held_out),
        )

    def train(self, progress: Progress) -> dict[str, Tensor]:
        """Run what is left; returns the averaged weights."""
        self.trainer.train(progress)
        return self.trainer.averaged.module.state_dict()

    @cached_property
    def _bank(self) -> SoundBank:
        return SoundBank(self.source.builder, self.source.clips, self.recipe.mixes, _BANK_SEED)


def collate_mixes(examples: Sequence[tuple[Tensor, Tensor]]) -> MixBatch:
    """Stack mixes."""
    fbanks, activities = zip(*examples, strict=True)
    return MixBatch(torch.stack(fbanks), torch.stack(activities))


def mix_terms(encoder: Beats, batch: MixBatch) -> Terms:
    """Which class is heard when; see :func:`quantize.training.objective.activity_loss`."""
    hidden, _ = encoder(batch.fbank)
    logits = encoder.predictor(hidden)
    with in_fp32(logits):
        return {"loss": activity_loss(logits.float(), batch.activity)}


@torch.no_grad()
def encoder_scores(encoder: Beats, data: ValidationSet, batch: int = 32) -> dict[str, float]:
    """Held-out clips whose class is the likeliest, and sounds of two-sound scenes among the two likeliest.

    A class's likelihood is the mean over the tokens at which it is highest.
    """
    device = next(encoder.parameters()).device

    def likelihoods(fbanks: Tensor) -> Tensor:
        rows = [encoder.predictor(encoder(part.to(device))[0]).sigmoid().cpu() for part in fbanks.split(batch)]
        return torch.cat(rows).topk(_LOUDEST_TOKENS, dim=1)[0].mean(dim=1)

    single, double = likelihoods(data.clip_fbanks).argmax(dim=1), likelihoods(data.scene_fbanks).topk(2, dim=1)[1]
    right = [LABELS[guess] == clip.label for guess, clip in zip(single.tolist(), data.clips, strict=True)]
    found = [
        len({LABELS[guess] for guess in guesses} & set(scene.labels)) / 2
        for guesses, scene in zip(double.tolist(), data.scenes, strict=True)
    ]
    return {"clips_right": sum(right) / len(right), "scene_sounds_right": sum(found) / len(found)}
