"""The terms of the loss, each a small function."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from quantize.training.tensor_batch import TensorBatch

IGNORED = -100
"""Label of positions that take no part in the cross-entropy."""


def caption_cross_entropy(logits: Tensor, labels: Tensor, smoothing: float) -> Tensor:
    """Label-smoothed cross-entropy (Szegedy et al., 2016) of (N, S, V) logits; ``labels`` (N, S), −100 = ignored."""
    return functional.cross_entropy(
        logits.flatten(0, 1), labels.flatten(), ignore_index=IGNORED, label_smoothing=smoothing
    )


def info_nce(audio: Tensor, text: Tensor, same_events: Tensor, temperature: float | Tensor) -> Tensor:
    """Bidirectional InfoNCE (van den Oord et al., 2018) between audio and text embeddings of a batch.

    Other scenes with the same sounds are not negatives: their captions are as true of this scene as its own.

    Args:
        audio: (B, E), any length.
        text: (B, E), any length.
        same_events: (B, B) bool, True where two scenes hold the same sounds in the same relation.
        temperature: divides the cosine similarities.
    """
    similarity = functional.normalize(audio, dim=-1) @ functional.normalize(text, dim=-1).T / temperature
    own = torch.eye(len(similarity), dtype=torch.bool, device=similarity.device)
    similarity = similarity.masked_fill(same_events & ~own, float("-inf"))
    target = torch.arange(len(similarity), device=similarity.device)
    return 0.5 * (functional.cross_entropy(similarity, target) + functional.cross_entropy(similarity.T, target))


def activity_loss(logits: Tensor, activity: Tensor) -> Tensor:
    """Binary cross-entropy of which class is heard when.

    The captions of a scene say this too, but in words, and a few hundred recordings are few to learn words from. With a
    weight of 15 (and batches of 16) the training of esc10-tiny named 77 % of the held-out clips after six epochs, with
    a weight of 2 (and batches of 24) 52 %.

    Args:
        logits: (B, T, C) from the encoder's predictor.
        activity: (B, steps, C) bool, steps ≥ T; a token is active where any step that it covers is.
    """
    return functional.binary_cross_entropy_with_logits(logits, activity_of_tokens(activity, logits.shape[1]))


def activity_of_tokens(activity: Tensor, tokens: int) -> Tensor:
    """(B, steps, C) bool → (B, tokens, C) of 0 and 1: a token is active where any step that it covers is."""
    return functional.adaptive_max_pool1d(activity.float().transpose(1, 2), tokens).transpose(1, 2)


def activity_distillation(logits: Tensor, teacher_logits: Tensor) -> Tensor:
    """Binary cross-entropy with the teacher's soft activity (B, T', C) as the target; both are (B, T, C) at the end."""
    return functional.binary_cross_entropy_with_logits(logits, resampled(teacher_logits, logits.shape[1]).sigmoid())


@dataclass(frozen=True)
class TopTokens(TensorBatch):
    """A teacher's likeliest next tokens, all that is kept of its distribution.

    Attributes:
        log_probs: (N, S, K) at the temperature of the distillation.
        token_ids: (N, S, K) int64.
    """

    log_probs: Tensor
    token_ids: Tensor


def top_tokens(logits: Tensor, count: int, temperature: float) -> TopTokens:
    """The ``count`` likeliest tokens of (N, S, V) logits at a temperature."""
    log_probs, token_ids = (logits / temperature).log_softmax(dim=-1).topk(min(count, logits.shape[-1]), dim=-1)
    return TopTokens(log_probs, token_ids)


def token_distillation(logits: Tensor, teacher: TopTokens, labels: Tensor, temperature: float) -> Tensor:
    """KL divergence of the student's next-token distribution from the teacher's, times τ² (Hinton et al., 2015).

    The tokens that the teacher's list leaves out are one event, "another token": with those that it holds they make two
    whole distributions, whose divergence is a lower bound of that over all tokens.

    Args:
        logits: (N, S, V) of the student.
        teacher: at the same temperature.
        labels: (N, S); positions with −100 take no part.
        temperature: τ, softens both distributions.
    """
    log_probs = (logits / temperature).log_softmax(dim=-1)
    listed = log_probs.gather(-1, teacher.token_ids)
    divergence = (teacher.log_probs.exp() * (teacher.log_probs - listed)).sum(dim=-1)
    teacher_rest, rest = _remainder(teacher.log_probs), _remainder(listed)
    divergence = divergence + teacher_rest * (teacher_rest.log() - rest.log())
    counted = labels != IGNORED
    return temperature**2 * divergence[counted].mean()


def _remainder(log_probs: Tensor) -> Tensor:
    """The probability of all other tokens; kept above what half precision rounds away."""
    return (1.0 - log_probs.exp().sum(dim=-1)).clamp(min=1e-4)


def feature_matching(student: Tensor, teacher: Tensor) -> Tensor:
    """Squared error of features in units of the teacher's own variance (hints: Romero et al., *FitNets*, 2015).

    Args:
        student: (B, T, D), projected to the teacher's width.
        teacher: (B, T', D); resampled to T steps.
    """
    target = resampled(teacher, student.shape[1])
    return (student - target).square().mean() / target.var().clamp(min=1e-6)


def embedding_matching(student: Tensor, teacher: Tensor) -> Tensor:
    """1 − cosine of audio embeddings (B, E), as the reranking compares them by their direction alone."""
    return (1.0 - functional.cosine_similarity(student, teacher, dim=-1)).mean()


def similarity_matching(student: Tensor, teacher: Tensor) -> Tensor:
    """Mean squared difference of the two cosine matrices within a batch (similarity-preserving distillation, Tung &
    Mori, 2019, without their row normalisation); the widths of (B, Es) and (B, Et) may differ."""
    own, wanted = (functional.normalize(x, dim=-1) @ functional.normalize(x, dim=-1).T for x in (student, teacher))
    return (own - wanted).square().mean()


def resampled(sequence: Tensor, steps: int) -> Tensor:
    """(B, T, D) brought to so many steps of the same time: by averaging where they are fewer, else linearly."""
    if sequence.shape[1] == steps:
        return sequence
    channels_first = sequence.transpose(1, 2)
    if steps < sequence.shape[1]:
        return functional.adaptive_avg_pool1d(channels_first, steps).transpose(1, 2)
    return functional.interpolate(channels_first, steps, mode="linear").transpose(1, 2)
