"""What a student of CLAP learns from a batch of sounds and texts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from quantize.models.dual_student import DualStudent
from quantize.training.distributed import gather_with_gradient
from quantize.training.dual_recipe import DualSettings
from quantize.training.objective import info_nce
from quantize.training.precision import in_fp32
from quantize.training.tensor_batch import TensorBatch
from quantize.training.trainee import Terms


@dataclass(frozen=True)
class PairedExample:
    """A window, a text that says what is heard, and another one drawn from all, which need not.

    Attributes:
        fbank: (998, 128).
        token_ids: of both texts, (L,) each.
        heard: (D,), the teacher's embedding of the sound, of unit length.
        read: (2, D), the teacher's of the texts.
        group: of the first text; see :class:`quantize.training.dual_texts.Texts`.
    """

    fbank: Tensor
    token_ids: tuple[Tensor, Tensor]
    heard: Tensor
    read: Tensor
    group: int


@dataclass(frozen=True)
class PairedBatch(TensorBatch):
    """B windows and 2 B texts: first the B that say what is heard, then B others.

    Attributes:
        fbank: (B, 998, 128).
        token_ids, attention_mask: (2 B, L) int64.
        heard: (B, D), of unit length.
        read: (2 B, D), of unit length.
        groups: (B,) int64.
    """

    fbank: Tensor
    token_ids: Tensor
    attention_mask: Tensor
    heard: Tensor
    read: Tensor
    groups: Tensor


def collate_pairs(examples: Sequence[PairedExample]) -> PairedBatch:
    """Put examples together; texts are padded to the longest."""
    rows = [example.token_ids[which] for which in (0, 1) for example in examples]
    token_ids = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True)
    lengths = torch.tensor([len(row) for row in rows])
    return PairedBatch(
        torch.stack([example.fbank for example in examples]),
        token_ids,
        (torch.arange(token_ids.shape[1]) < lengths[:, None]).long(),
        torch.stack([example.heard for example in examples]),
        torch.stack([example.read[which] for which in (0, 1) for example in examples]),
        torch.tensor([example.group for example in examples]),
    )


class DualObjective:
    """Three terms, of which ``loss`` is the weighted sum.

    ``contrastive``: InfoNCE between the student's own embeddings of sounds and of the texts that say them, at its own
    learnt scale. ``feature``: 1 - cosine to the teacher's embeddings of the same sound and of the same texts, behind
    the learnt map where sizes differ. ``similarity``: the divergence of :func:`similarity_divergence`.

    Args:
        settings: the weights.
        teacher_scale: factor of the teacher's cosines.
    """

    def __init__(self, settings: DualSettings, teacher_scale: float) -> None:
        self._settings, self._teacher_scale = settings, teacher_scale

    def __call__(self, student: DualStudent, batch: PairedBatch) -> Terms:
        """All terms for one batch."""
        sound = student.sound(batch.fbank)
        text = student.text(batch.token_ids, batch.attention_mask)
        heard, read = student.to_teacher(sound), student.to_teacher(text)
        settings = self._settings
        with in_fp32(sound):
            sounds = gather_with_gradient(functional.normalize(sound.float(), dim=-1))
            # Of each process those that say its sounds come first.
            said, other = (gather_with_gradient(part) for part in text.float().chunk(2))
            groups = gather_with_gradient(batch.groups)
            same = groups[:, None] == groups[None]
            texts = torch.cat([said, other])
            teacher_texts = torch.cat([gather_with_gradient(part) for part in batch.read.chunk(2)])
            terms = {
                "contrastive": info_nce(sounds, said, same, 1.0 / student.scale),
                "feature": 0.5 * (_apart(heard.float(), batch.heard) + _apart(read.float(), batch.read)),
                "similarity": similarity_divergence(
                    student.scale * sounds @ texts.T,
                    self._teacher_scale * gather_with_gradient(batch.heard) @ teacher_texts.T,
                ),
            }
            weights = {
                "contrastive": settings.contrastive_weight,
                "feature": settings.feature_weight,
                "similarity": settings.similarity_weight,
            }
            loss = torch.stack([weights[name] * term for name, term in terms.items()]).sum()
        return {"loss": loss, **terms}


def similarity_divergence(student: Tensor, teacher: Tensor) -> Tensor:
    """KL divergence of the student's softmax over texts from the teacher's, for each sound, and over sounds for each
    text; the mean of both (Hinton et al., 2015, of the two directions in which CLIP reads its matrix).

    Args:
        student, teacher: (B, N), scaled cosines of the same sounds and texts.
    """
    ways = ((student, teacher), (student.T, teacher.T))
    return 0.5 * sum(
        (
            functional.kl_div(own.log_softmax(-1), wanted.log_softmax(-1), reduction="batchmean", log_target=True)
            for own, wanted in ways
        ),
        start=student.new_zeros(()),
    )


def _apart(student: Tensor, teacher: Tensor) -> Tensor:
    return (1.0 - functional.cosine_similarity(student, teacher, dim=-1)).mean()
