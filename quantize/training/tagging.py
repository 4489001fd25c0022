"""The encoder, taught by an audio tagger: what is heard in each second and in the whole, before any caption is learnt.

The student's vectors are mapped to the tagger's features, and those go through the tagger's own classifier: so its
posteriors are matched without 527 rare classes having to be learnt anew. What is mapped with is thrown away afterwards.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import islice
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from quantize.data.shards import ShardReader
from quantize.models.captioner import Captioner
from quantize.models.config import CaptionerConfig
from quantize.models.taggers import Tagger
from quantize.training.distributed import World
from quantize.training.loop import Progress, Terms, Trainer
from quantize.training.objective import similarity_matching
from quantize.training.precision import in_fp32
from quantize.training.settings import ListeningSettings, TaggingSettings
from quantize.training.tagged_mixtures import APART, TaggedBatch, TaggedMixtures, collate_tagged
from quantize.training.trainee import channels_last

FOLDER, STEM_FOLDER = "tagging", "stem"
_PARTS = ("encoder", "downsample_conv", "postencoder")
_STEM = "encoder.patch_embedding."
_STATISTICS_OF = 512
_LEAST_DEVIATION = 0.05


class Listener(nn.Module):
    """A captioner's encoder and the maps to a tagger's features.

    Args:
        config: of the captioner.
        feature_size: F of the tagger.
        taught: weights that it begins with, under the captioner's names; of the stem at least where that stays.
        stem_stays: the stem learns no more.
    """

    def __init__(
        self,
        config: CaptionerConfig,
        feature_size: int,
        taught: Mapping[str, Tensor] | None = None,
        stem_stays: bool = False,
    ) -> None:
        super().__init__()
        captioner = Captioner(config)
        left = captioner.load_state_dict(dict(taught or {}), strict=False)
        assert not left.unexpected_keys, f"the taught encoder has {left.unexpected_keys}"
        untaught = [name for name in left.missing_keys if name.startswith(_STEM)]
        assert not (stem_stays and untaught), f"the stem that stays lacks {untaught}"
        self.stem_stays = stem_stays
        captioner.encoder.patch_embedding.requires_grad_(not stem_stays)
        self.encoder, self.downsample_conv = captioner.encoder, captioner.downsample_conv
        self.postencoder = captioner.postencoder
        self.local = nn.Linear(config.beats.patch_embed_dim, feature_size)
        self.attention = nn.Linear(config.beats.dim, 1)
        self.overall = nn.Linear(2 * config.beats.dim, feature_size)

    def forward(self, fbank: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Hear mixtures.

        Args:
            fbank: (B, frames, 128).

        Returns:
            Features of the patches (B, P, F) and of the whole (B, F), both in units of the tagger's deviation; the
            pooled memory (B, 2 · D), by a learnt weight of each step and by the mean.
        """
        stem = _vectors(self.encoder.patch_embedding, fbank)
        hidden = self.encoder.encoder(self.encoder.tokens(stem), None)
        convolved = self.downsample_conv(hidden.transpose(1, 2)).transpose(1, 2)
        memory = self.postencoder(convolved).last_hidden_state
        weights = self.attention(memory).softmax(dim=1)
        pooled = torch.cat([(weights * memory).sum(dim=1), memory.mean(dim=1)], dim=-1)
        return self.local(stem), self.overall(pooled), pooled

    def train(self, mode: bool = True) -> Listener:
        """As of any module, but a stem that stays keeps the statistics of its norms."""
        super().train(mode)
        if self.stem_stays:
            self.encoder.patch_embedding.eval()
        return self

    def parts(self) -> dict[str, Tensor]:
        """The weights of the captioner among its own, under the captioner's names."""
        return {name: tensor for name, tensor in self.state_dict().items() if name.partition(".")[0] in _PARTS}


class StemListener(nn.Module):
    """A captioner's stem and the maps to a tagger's features, on patches that do not overlap: half the work.

    Args:
        config: of the captioner, whose patches overlap by half.
        feature_size: F of the tagger.
    """

    def __init__(self, config: CaptionerConfig, feature_size: int) -> None:
        super().__init__()
        stem = Captioner(config).encoder.patch_stem
        assert stem is not None
        self.stem = stem
        stem.hop = APART * config.beats.stem_hop_frames
        self.local = nn.Linear(config.beats.patch_embed_dim, feature_size)
        self.overall = nn.Linear(config.beats.patch_embed_dim, feature_size)

    def forward(self, fbank: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Hear mixtures.

        Args:
            fbank: (B, frames, 128).

        Returns:
            As of :class:`Listener`, for every second of P patches; what is pooled is the mean of the stem's vectors.
        """
        vectors = _vectors(self.stem, fbank)
        pooled = vectors.mean(dim=1)
        return self.local(vectors), self.overall(pooled), pooled

    def parts(self) -> dict[str, Tensor]:
        """The weights of the stem under the captioner's names."""
        return {f"{_STEM}{name}": tensor for name, tensor in self.stem.state_dict().items()}


class TaggingObjective:
    """The terms of the loss.

    Args:
        tagger: the teacher, whose classifier the student's features go through.
        settings: the weights of the terms.
        local, overall: (N, F) examples of the tagger's features, whose means and deviations are the units.
    """

    def __init__(self, tagger: Tagger, settings: ListeningSettings, local: Tensor, overall: Tensor) -> None:
        self.tagger, self.settings = tagger, settings
        self.local, self.overall = _units(local), _units(overall)

    def __call__(self, listener: Listener | StemListener, batch: TaggedBatch) -> Terms:
        local, overall, pooled = listener(batch.fbank)
        settings = self.settings
        with in_fp32(local):
            local, overall = local.float(), overall.float()
            (mean, deviation), (overall_mean, overall_deviation) = self.local, self.overall
            terms = {
                "local": _feature_loss(local, (batch.local - mean) / deviation),
                "overall": _feature_loss(overall, (batch.overall - overall_mean) / overall_deviation),
                "classes": _posterior_loss(self.tagger.classify(local * deviation + mean), batch.local_logits)
                + _posterior_loss(self.tagger.classify(overall * overall_deviation + overall_mean), batch.logits),
                "similarity": similarity_matching(pooled.float(), (batch.overall - overall_mean) / overall_deviation),
            }
            weights = (
                settings.local_weight,
                settings.overall_weight,
                settings.classes_weight,
                settings.similarity_weight,
            )
            loss = torch.stack([weight * term for weight, term in zip(weights, terms.values(), strict=True)]).sum()
        return {"loss": loss, **terms}


class Tagging:
    """A run of its own, in a folder within the captioner's run.

    Args:
        config: of the captioner.
        settings: the recipe's table [tagging], or [stem]: then the stem learns alone.
        tagger: the teacher.
        mixtures: folder of :func:`quantize.training.tagged_mixtures.write_tagged`.
        folder: folder of the captioner's run.
        world: the processes.
        taught: weights of the encoder to begin with, under the captioner's names; of the stem at least where it stays.
    """

    def __init__(  # noqa: PLR0913, PLR0917 - what learns what from whom, where, from which start
        self,
        config: CaptionerConfig,
        settings: ListeningSettings,
        tagger: Tagger,
        mixtures: Path,
        folder: Path,
        world: World | None = None,
        taught: Mapping[str, Tensor] | None = None,
    ) -> None:
        torch.manual_seed(settings.seed)
        world = world or World()
        listener: Listener | StemListener
        if isinstance(settings, TaggingSettings):
            listener, hop = Listener(config, tagger.feature_size, taught, settings.stem_stays), None
        else:
            listener, hop = StemListener(config, tagger.feature_size), config.beats.stem_hop_frames
        place = folder / (FOLDER if hop is None else STEM_FOLDER)
        place.mkdir(parents=True, exist_ok=True)
        some = [sample.arrays for sample in islice(ShardReader(mixtures), _STATISTICS_OF)]
        local = torch.cat([torch.from_numpy(arrays["local"]).float() for arrays in some])
        overall = torch.stack([torch.from_numpy(arrays["overall"]).float() for arrays in some])
        self.trainer: Trainer[TaggedBatch] = Trainer(
            channels_last(listener),
            TaggingObjective(tagger.on(world.device), settings, local.to(world.device), overall.to(world.device)),
            lambda epoch: TaggedMixtures(mixtures, settings, epoch, hop),
            collate_tagged,
            settings,
            place,
            world,
        )

    def train(self, progress: Progress) -> dict[str, Tensor]:
        """Run what is left; returns the averaged weights of the encoder, under the captioner's names."""
        self.trainer.train(progress)
        averaged = self.trainer.averaged.module
        assert isinstance(averaged, Listener | StemListener)
        return averaged.parts()


def _vectors(stem: nn.Module, fbank: Tensor) -> Tensor:
    """What a stem makes of each of P patches: (B, frames, 128) → (B, P, patch_embed_dim)."""
    vectors: Tensor = stem(fbank.unsqueeze(1)).flatten(2).transpose(1, 2)
    return vectors


def _units(features: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and deviation of each of F features over N examples; one that hardly varies keeps a small weight."""
    return features.mean(0), features.std(0) + _LEAST_DEVIATION


def _feature_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """Squared error, and 1 - cosine: the direction is what a classifier reads."""
    return (student - teacher).square().mean() + (1.0 - functional.cosine_similarity(student, teacher, dim=-1)).mean()


def _posterior_loss(logits: Tensor, teacher: Tensor) -> Tensor:
    """Sum over the classes of the divergence of the student's posteriors from the teacher's, 0 where they agree."""
    target = teacher.sigmoid()
    crossed = functional.binary_cross_entropy_with_logits(logits, target, reduction="none")
    own = functional.binary_cross_entropy_with_logits(teacher, target, reduction="none")
    return (crossed - own).sum(dim=-1).mean()
