"""The mixture of several decoders: their next-token distributions, averaged with weights, step by step."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from edge_aac.engines.contract import Logits, TokenIds
from edge_aac.engines.steps import DecodingSteps
from edge_aac.models.sampling import log_softmax


def log_mixture(logits: Sequence[Logits], log_shares: npt.NDArray[np.float32]) -> Logits:
    """Log of the weighted mean of softmax distributions: log Σ_m share_m · softmax(logits_m).

    An ensemble by the arithmetic mean of probabilities, as Sutskever et al. (2014) averaged translators at each step.
    It is summed around the largest term, so that a probability that float32 cannot hold keeps its logarithm.

    Args:
        logits: (N, V) of each of M models; -inf forbids a token to that model alone.
        log_shares: (M,) logarithms of shares that add up to 1.

    Returns:
        (N, V) log-probabilities; NaN in the rows where a model has NaN, +inf or no token left, as its own would be
        refused.
    """
    with np.errstate(invalid="ignore"):
        terms: list[Logits] = [log_softmax(of_one) + share for of_one, share in zip(logits, log_shares, strict=True)]
    if len(terms) == 1:
        return terms[0]
    highest: Logits = np.maximum.reduce(terms)
    # Where every model forbids a token, there is no finite term to sum around.
    around = np.where(np.isneginf(highest), np.float32(0.0), highest)
    total = np.zeros_like(highest)
    for term in terms:
        total += np.exp(term - around)
    with np.errstate(divide="ignore"):
        mixed: Logits = around + np.log(total)
    return mixed


class MixtureSteps:
    """Decoding steps of several decoders as if they were one: :class:`edge_aac.engines.steps.DecodingSteps`.

    Each decoder keeps a cache of its own; all are fed the same tokens.

    Args:
        members: steps of each decoder, over as many rows.
        log_shares: (M,) logarithms of their shares.
    """

    def __init__(self, members: Sequence[DecodingSteps], log_shares: npt.NDArray[np.float32]) -> None:
        self._members = members
        self._log_shares = log_shares

    def step(self, token_ids: TokenIds, step: int) -> Logits:
        """Log-probabilities (W × N, V) of the next token in the mixture."""
        return log_mixture([member.step(token_ids, step) for member in self._members], self._log_shares)

    def reorder(self, parents: TokenIds, length: int) -> None:
        """Every decoder's row i goes on from its row ``parents[i]``."""
        for member in self._members:
            member.reorder(parents, length)
