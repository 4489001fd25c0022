"""The published rules for drawing the next token, in the published order.

Minimum length, forced end, no repeated n-gram, temperature, top-p (Holtzman et al., 2020); each a function of
logits (N, V) that returns new logits with what it forbids at -inf.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from edge_aac.captioner.bundle import DecodingRules

Logits = npt.NDArray[np.float32]
TokenIds = npt.NDArray[np.int64]

FORBIDDEN = np.float32(-np.inf)


def apply_rules(logits: Logits, prefixes: TokenIds, rules: DecodingRules) -> Logits:
    """All rules in order.

    Args:
        logits: (N, V) of the model.
        prefixes: (N, t) tokens so far, the start token included.
        rules: of the bundle.

    Returns:
        (N, V) logits whose softmax is what the next token is drawn from.
    """
    length = prefixes.shape[1]
    scores = forbid_end(logits, rules) if length < rules.min_length else logits
    if length >= rules.max_length - 1:
        return force_end(scores, rules)
    scores = forbid_repeats(scores, prefixes, rules.no_repeat_ngram)
    return nucleus(scores / np.float32(rules.temperature), rules.top_p)


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
    """Keep the likeliest tokens that together hold at least ``top_p`` of the probability, one at least."""
    if top_p >= 1.0:
        return logits
    order = np.argsort(logits, axis=-1, kind="stable")
    cumulative = np.cumsum(np.exp(log_softmax(np.take_along_axis(logits, order, axis=-1))), axis=-1)
    removed = cumulative <= 1.0 - top_p
    removed[:, -1] = False
    scores = logits.copy()
    np.put_along_axis(scores, order, np.where(removed, FORBIDDEN, np.take_along_axis(logits, order, axis=-1)), axis=-1)
    return scores


def draw(logits: Logits, rng: np.random.Generator) -> TokenIds:
    """One token a row from the softmax of (N, V) logits: (N,) int64."""
    cumulative = np.cumsum(np.exp(log_softmax(logits).astype(np.float64)), axis=-1)
    points = rng.random((len(logits), 1)) * cumulative[:, -1:]
    # The first entry above the point: an entry of no probability never is.
    return np.asarray((cumulative <= points).sum(axis=-1), dtype=np.int64)


def log_softmax(logits: Logits) -> Logits:
    """Along the last axis; -inf stays -inf."""
    shifted = logits - logits.max(axis=-1, keepdims=True)
    normalised: Logits = shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))
    return normalised
