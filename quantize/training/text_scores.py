"""How well a text student stands in for its teacher: similarities of texts, and the choices made by them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from edge_aac.errors import DataError

Floats = npt.NDArray[np.floating]
Embed = Callable[[Sequence[str]], npt.NDArray[np.float32]]
"""Texts → (N, E), of unit length."""


@dataclass(frozen=True)
class CandidateWindow:
    """What a window's caption is chosen from.

    Attributes:
        texts: candidates, at least one.
        log_likelihoods: mean token log-likelihood of each.
        audio_embedding: (E,), any length but 0.
    """

    texts: tuple[str, ...]
    log_likelihoods: tuple[float, ...]
    audio_embedding: Floats


def text_student_scores(teacher: Floats, student: Floats) -> dict[str, float]:
    """Agreement of two embeddings of the same texts; time and memory grow with the square of their number.

    Args:
        teacher: (N, E), of unit length, N at least 3.
        student: (N, E'), of unit length.

    Returns:
        ``cosine`` (mean, of a text's two embeddings; left out where E and E' differ), and over all pairs of texts
        ``spearman`` (rank correlation of the two similarities), ``similarity_error_mean`` and ``similarity_error_max``
        (absolute).

    Raises:
        DataError: other numbers of texts, or fewer than three.
    """
    if len(teacher) != len(student) or len(teacher) < 3:  # noqa: PLR2004 - two texts make one pair: nothing to rank
        raise DataError(f"{len(teacher)} and {len(student)} embeddings cannot be compared: give three texts or more")
    pairs = np.triu_indices(len(teacher), k=1)
    of_teacher, of_student = ((vectors @ vectors.T)[pairs] for vectors in (teacher, student))
    error = np.abs(of_teacher - of_student)
    scores = {
        "spearman": spearman(of_teacher, of_student),
        "similarity_error_mean": float(error.mean()),
        "similarity_error_max": float(error.max()),
    }
    if teacher.shape[1] == student.shape[1]:
        scores["cosine"] = float((teacher * student).sum(axis=1).mean())
    return scores


def spearman(one: Floats, other: Floats) -> float:
    """Rank correlation of two (N,): Pearson's of the ranks, ties given their mean (Spearman, 1904).

    0 where all of either are equal: they rank nothing.
    """
    ranks = [_ranks(values) for values in (one, other)]
    centred = [values - values.mean() for values in ranks]
    scale = float(np.sqrt(np.square(centred[0]).sum() * np.square(centred[1]).sum()))
    return float(centred[0] @ centred[1]) / scale if scale else 0.0


def _ranks(values: Floats) -> npt.NDArray[np.float64]:
    """Ranks from 1; ties share the mean of theirs."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    means: npt.NDArray[np.float64] = np.cumsum(counts) - (counts - 1) / 2.0
    return means[inverse]


def choice_agreement(
    windows: Sequence[CandidateWindow],
    teacher: Embed,
    student: Embed,
    log_likelihood_weight: float = 0.3,
    similarity_weight: float = 0.7,
) -> float:
    """Share of windows for which the same text is best with the student's embeddings as with the teacher's.

    The score is the published one: weight × log-likelihood + weight × cosine to the audio embedding; of equals the
    likelier wins, then A to Z (:class:`edge_aac.captioner.rerank.Reranker`, without its fluency check).

    Args:
        windows: at least one.
        teacher: embeds texts as audio embeddings expect it.
        student: embeds them in as many dimensions.
        log_likelihood_weight: of the mean token log-likelihood.
        similarity_weight: of the cosine.

    Raises:
        DataError: there is no window.
    """
    if not windows:
        raise DataError("no windows to choose captions for: give at least one")
    weights = log_likelihood_weight, similarity_weight
    texts = list(dict.fromkeys(text for window in windows for text in window.texts))
    of_teacher, of_student = (dict(zip(texts, embed(texts), strict=True)) for embed in (teacher, student))
    same = [_best(window, of_teacher, weights) == _best(window, of_student, weights) for window in windows]
    return float(np.mean(same))


def _best(window: CandidateWindow, embeddings: dict[str, Floats], weights: tuple[float, float]) -> str:
    direction = window.audio_embedding / np.linalg.norm(window.audio_embedding)
    scored = [
        (-weights[0] * likelihood - weights[1] * float(embeddings[text] @ direction), -likelihood, text)
        for text, likelihood in zip(window.texts, window.log_likelihoods, strict=True)
    ]
    return min(scored)[2]
