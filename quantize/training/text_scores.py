"""How well a text student stands in for its teacher: similarities of texts."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from edge_aac.errors import DataError

Floats = npt.NDArray[np.floating]


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
