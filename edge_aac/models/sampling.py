"""The published rules for drawing the next token, in the published order.

Minimum length, forced end, no repeated n-gram, temperature, top-p (Holtzman et al., 2020); each a function of
logits (N, V) that returns new logits with what it forbids at -inf.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from edge_aac.bundle.manifest import DecodingRules
from edge_aac.engines.contract import Logits, TokenIds

Withheld = npt.NDArray[np.bool_]

FORBIDDEN = np.float32(-np.inf)


def apply_rules(logits: Logits, prefixes: TokenIds, rules: DecodingRules, withheld: Withheld | None = None) -> Logits:
    """All rules in order.

    Args:
        logits: (N, V) of the model.
        prefixes: (N, t) tokens so far, the start token included.
        rules: of the bundle.
        withheld: (V,) tokens that no caption of this window may hold; None = every token may be said.

    Returns:
        (N, V) logits whose softmax is what the next token is drawn from.
    """
    return nucleus(constrain(logits, prefixes, rules, withheld) / np.float32(rules.temperature), rules.top_p)


def constrain(logits: Logits, prefixes: TokenIds, rules: DecodingRules, withheld: Withheld | None = None) -> Logits:
    """What every method forbids: an early end, a late one, a repeated n-gram, and what is withheld from this window.
    Shapes as in :func:`apply_rules`."""
    length = prefixes.shape[1]
    scores = forbid_end(logits, rules) if length < rules.min_length else logits
    if withheld is not None:
        scores = np.where(withheld, FORBIDDEN, scores)
    if length >= rules.max_length - 1:
        return force_end(scores, rules)
    return forbid_repeats(scores, prefixes, rules.no_repeat_ngram)


def forbid_end(logits: Logits, rules: DecodingRules) -> Logits:
    """No caption ends before its minimum length."""
    scores = logits.copy()
    scores[:, rules.eos_token_id] = FORBIDDEN
    return scores


def force_end(logits: Logits, rules: DecodingRules) -> Logits:
    """Nothing but the end is left."""
    scores = np.full_like(logits, FORBIDDEN)
    scores[:, rules.eos_token_id] = 0.0
    return scores


def forbid_repeats(logits: Logits, prefixes: TokenIds, size: int) -> Logits:
    """Forbid every token that would complete an n-gram that its row already holds; ``size`` 0 forbids nothing."""
    length = prefixes.shape[1]
    if size == 0 or length < size:
        return logits
    scores = logits.copy()
    for row, tokens in enumerate(prefixes.tolist()):
        tail = tokens[length - size + 1 :]
        for start in range(length - size + 1):
            if tokens[start : start + size - 1] == tail:
                scores[row, tokens[start + size - 1]] = FORBIDDEN
    return scores


def nucleus(logits: Logits, top_p: float) -> Logits:
    """Keep the fewest tokens that together hold at least ``top_p`` of the probability, one at least."""
    if top_p >= 1.0:
        return logits
    weights = np.exp(logits - logits.max(axis=-1, keepdims=True))
    total = weights.sum(axis=-1, keepdims=True)
    # All tokens below this together hold less than 1 - top_p, so none of them is kept; of a vocabulary of 50 265 that
    # leaves a few dozen to be sorted.
    worth_sorting = weights >= total * np.float32((1.0 - top_p) / logits.shape[-1])
    scores = np.full_like(logits, FORBIDDEN)
    for row, worth in enumerate(worth_sorting):
        tokens = np.flatnonzero(worth)
        values = weights[row, tokens]
        descending = np.sort(values)[::-1]
        # A token is kept while those above it do not yet hold top_p.
        above = np.cumsum(descending, dtype=np.float64) - descending
        needed = max(1, int((above < top_p * total[row, 0]).sum()))
        kept = values > descending[needed - 1]
        # Among equals the later token ranks higher.
        equal = np.flatnonzero(values == descending[needed - 1])
        kept[equal[len(equal) - (needed - kept.sum()) :]] = True
        scores[row, tokens[kept]] = logits[row, tokens[kept]]
    return scores


def draw(logits: Logits, rng: np.random.Generator) -> TokenIds:
    """One token a row from the softmax of (N, V) logits: (N,) int64."""
    points = rng.random((len(logits), 1))
    drawn = np.zeros(len(logits), dtype=np.int64)
    for row, allowed in enumerate(logits > FORBIDDEN):
        tokens = np.flatnonzero(allowed)
        values = logits[row, tokens].astype(np.float64)
        cumulative = np.cumsum(np.exp(values - values.max()))
        # The first entry above the point.
        drawn[row] = tokens[(cumulative <= points[row, 0] * cumulative[-1]).sum()]
    return drawn


def log_likelihood(logits: Logits, tokens: TokenIds) -> npt.NDArray[np.float64]:
    """Log-probability of one token a row, (N,), under the softmax of (N, V) logits."""
    highest = logits.max(axis=-1).astype(np.float64)
    total = np.exp(logits - highest[:, np.newaxis].astype(np.float32)).sum(axis=-1, dtype=np.float64)
    chosen = logits[np.arange(len(tokens)), tokens].astype(np.float64)
    return np.asarray(chosen - highest - np.log(total), dtype=np.float64)


def log_softmax(logits: Logits) -> Logits:
    """Along the last axis; -inf stays -inf."""
    shifted = logits - logits.max(axis=-1, keepdims=True)
    normalised: Logits = shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))
    return normalised
