"""The terms of the loss, each a small function."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

IGNORED = -100
"""Label of positions that take no part in the cross-entropy."""


def caption_cross_entropy(logits: Tensor, labels: Tensor, smoothing: float) -> Tensor:
    """Label-smoothed cross-entropy (Szegedy et al., 2016) of (N, S, V) logits; ``labels`` (N, S), −100 = ignored."""
    return functional.cross_entropy(
        logits.flatten(0, 1), labels.flatten(), ignore_index=IGNORED, label_smoothing=smoothing
    )


def info_nce(audio: Tensor, text: Tensor, same_events: Tensor, temperature: float) -> Tensor:
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
    pooled = functional.adaptive_max_pool1d(activity.float().transpose(1, 2), logits.shape[1]).transpose(1, 2)
    return functional.binary_cross_entropy_with_logits(logits, pooled)
