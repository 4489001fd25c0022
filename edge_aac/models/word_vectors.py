"""Texts compared by the words they share, for bundles that have nothing that embeds texts."""

from __future__ import annotations

import zlib
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from edge_aac.models.tokens import plain_text

DIMENSIONS = 1024
"""Two words share one about once in a thousand pairs."""
_GRAMMAR = frozenset(
    (
        *("a", "an", "and", "are", "as", "at", "be", "by", "for", "from", "in", "is", "it", "its", "of", "on", "or"),
        *("the", "then", "to", "while", "with"),
    )
)


def word_vectors(texts: Sequence[str]) -> npt.NDArray[np.float32]:
    """Counts of words, each at the place that its hash gives it (feature hashing: Weinberger et al., 2009).

    Words of grammar do not count, unless a text has no others.

    Args:
        texts: in any case and punctuation.

    Returns:
        (N, 1024), each row of unit length; the cosine of two says how many of their words they share.
    """
    rows = np.zeros((len(texts), DIMENSIONS), np.float32)
    for row, text in zip(rows, texts, strict=True):
        words = plain_text(text).split() or [""]
        for word in [word for word in words if word not in _GRAMMAR] or words:
            row[zlib.crc32(word.encode()) % DIMENSIONS] += 1.0
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), np.float32)
