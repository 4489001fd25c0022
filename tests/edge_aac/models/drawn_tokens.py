"""What the product draws, held against probabilities: which token at which point of [0, 1)."""

from __future__ import annotations

import numpy as np

from edge_aac.bundle.manifest import DecodingRules
from edge_aac.models.sampling import Withheld, draw_by_rules

ENDS = (0.0, float(np.nextafter(1.0, 0.0)))


def drawn_as(
    probabilities: np.ndarray,
    logits: np.ndarray,
    prefixes: np.ndarray,
    rules: DecodingRules,
    withheld: Withheld | None = None,
    off: float = 1e-5,
) -> bool:
    """Whether each row draws its tokens from the stretches of [0, 1) that probabilities (N, V) give them, in the order
    of the tokens, each border no more than ``off`` away; and at the very ends something that is possible at all."""
    for row, of_row in enumerate(probabilities.astype(np.float64)):
        tokens = np.flatnonzero(of_row)
        ends = np.cumsum(of_row[tokens])
        starts = ends - of_row[tokens]
        wide = ends - starts > 2.0 * off
        points = np.concatenate([starts[wide] + off, ends[wide] - off, ENDS])
        wanted = np.concatenate([tokens[wide], tokens[wide]])
        masks = withheld if withheld is None or withheld.ndim == 1 else withheld[row]
        rows = np.repeat(row, len(points))
        drawn = draw_by_rules(logits[rows], prefixes[rows], rules, points, masks)
        if not np.array_equal(drawn[: len(wanted)], wanted) or not np.isin(drawn[len(wanted) :], tokens).all():
            return False
    return True


def drawn_set(
    logits: np.ndarray, prefixes: np.ndarray, rules: DecodingRules, withheld: Withheld | None = None, points: int = 1000
) -> list[int]:
    """All tokens that one row draws at so many points, and at the ends."""
    at = np.concatenate([np.arange(points) / points, ENDS])
    rows = np.zeros(len(at), np.int64)
    return sorted(set(draw_by_rules(logits[rows], prefixes[rows], rules, at, withheld).tolist()))
