"""The published rules for drawing the next token, in the published order.

Minimum length, forced end, no repeated n-gram, temperature, top-p (Holtzman et al., 2020). What forbids is a function
of logits (N, V) that returns new logits with what it forbids at -inf.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from edge_aac.bundle.manifest import DecodingRules
from edge_aac.engines.contract import Logits, TokenIds

Withheld = npt.NDArray[np.bool_]

FORBIDDEN = np.float32(-np.inf)


def draw_by_rules(
    logits: Logits,
    prefixes: TokenIds,
    rules: DecodingRules,
    points: npt.NDArray[np.float64],
    withheld: Withheld | None = None,
) -> TokenIds:
    """Draw a token for each row by all rules in order.

    Args:
        logits: scores (N, V) from the model.
        prefixes: (N, t) tokens so far, the start token included.
        rules: decoding rules of the bundle.
        points: (N,), uniform in [0, 1): the tokens that the rules leave share that stretch in their order, by the
            softmax of their logits.
        withheld: (V,) or (N, V) mask of tokens that no caption may hold; None allows every token.

    Returns:
        (N,) int64.
    """
    scores, highest = _constrained(logits, prefixes, rules, withheld)
    temperature = np.float32(rules.temperature)
    # Division keeps the order, so the highest stays the highest.
    scores, highest = scores / temperature, highest / temperature
    tokens, kept = nucleus(scores, highest, rules.top_p) if rules.top_p < 1.0 else _packed(scores > FORBIDDEN)
    return _drawn(scores, tokens, kept, points)


def constrain(logits: Logits, prefixes: TokenIds, rules: DecodingRules, withheld: Withheld | None = None) -> Logits:
    """Forbid what every method forbids: an early end, a late one, a repeated n-gram, and withheld tokens.

    Where that forbids every token of a row, its caption ends; where its end is withheld, too, the row is in the middle
    of a word, and finishes it with n-grams that it already holds. Shapes as in :func:`draw_by_rules`.
    """
    return _constrained(logits, prefixes, rules, withheld)[0]


def _constrained(
    logits: Logits, prefixes: TokenIds, rules: DecodingRules, withheld: Withheld | None
) -> tuple[Logits, Logits]:
    """What :func:`constrain` gives, and the highest logit of each row of it, (N,)."""
    length = prefixes.shape[1]
    scores = logits if withheld is None else np.where(withheld, FORBIDDEN, logits)
    if length < rules.min_length:
        scores = forbid_end(scores, rules)
    if length >= rules.max_length - 1:
        scores = force_end(scores, rules)
        return scores, scores[:, rules.eos_token_id]
    scores = forbid_repeats(scores, prefixes, rules.no_repeat_ngram)
    highest = scores.max(axis=-1)
    stuck = np.isneginf(highest)
    if stuck.any() and (stuck := stuck & np.isfinite(logits.max(axis=-1))).any():
        scores, highest = scores.copy(), highest.copy()
        scores[stuck, rules.eos_token_id] = highest[stuck] = 0.0
        if withheld is not None:
            held = np.broadcast_to(withheld, logits.shape)
            rows = np.flatnonzero(stuck & held[:, rules.eos_token_id] & ~held.all(axis=-1))
            scores[rows] = _finishing(logits[rows], held[rows])
            highest[rows] = scores[rows].max(axis=-1)
    return scores, highest


def _finishing(logits: Logits, withheld: Withheld) -> Logits:
    """What finishes words of which n-grams forbid every rest; where the model does so, too, each rest is alike."""
    scores = np.where(withheld, FORBIDDEN, logits)
    none = np.isneginf(scores.max(axis=-1))
    scores[none] = np.where(withheld[none], FORBIDDEN, np.float32(0.0))
    return scores


def forbid_end(logits: Logits, rules: DecodingRules) -> Logits:
    """No caption ends before its minimum length."""
    scores = logits.copy()
    scores[:, rules.eos_token_id] = FORBIDDEN
    return scores


def force_end(logits: Logits, rules: DecodingRules) -> Logits:
    """Forbid every token but the end."""
    scores = np.full_like(logits, FORBIDDEN)
    scores[:, rules.eos_token_id] = 0.0
    return scores


def forbid_repeats(logits: Logits, prefixes: TokenIds, size: int) -> Logits:
    """Forbid every token that would complete an n-gram that its row already holds; ``size`` 0 forbids nothing."""
    length = prefixes.shape[1]
    if size == 0 or length < size:
        return logits
    # (N, number of n-grams), whether one begins as the row ends now.
    begun = np.ones((len(prefixes), length - size + 1), dtype=bool)
    for place in range(size - 1):
        own = length - size + 1 + place
        begun &= prefixes[:, place : place + length - size + 1] == prefixes[:, own : own + 1]
    if not begun.any():
        return logits
    scores = logits.copy()
    rows, starts = np.nonzero(begun)
    scores[rows, prefixes[rows, starts + size - 1]] = FORBIDDEN
    return scores


def nucleus(logits: Logits, highest: Logits, top_p: float) -> tuple[TokenIds, npt.NDArray[np.bool_]]:
    """The fewest tokens that together hold at least ``top_p`` of the probability, one at least.

    Args:
        logits: (N, V).
        highest: (N,), the highest of each row.
        top_p: below 1.

    Returns:
        Tokens (N, M), in order, and (N, M) which of them are kept.
    """
    weights = np.exp(logits - highest[:, np.newaxis])
    total = weights.sum(axis=-1, keepdims=True)
    # All tokens below this together hold less than 1 - top_p, so none of them is kept; of a vocabulary of 50 265 that
    # leaves a few dozen to be sorted.
    tokens, found = _packed(weights >= total * np.float32((1.0 - top_p) / logits.shape[-1]))
    rows = np.arange(len(logits))[:, np.newaxis]
    values = np.where(found, weights[rows, tokens], np.float32(0.0))
    descending = np.sort(values, axis=1)[:, ::-1]
    # A token is kept while those above it do not yet hold top_p.
    above = np.cumsum(descending, axis=1, dtype=np.float64) - descending
    # Where the row has fewer tokens than another, zeros stand behind them: found is true of as many.
    needed = np.maximum(1, ((above < top_p * total) & found).sum(axis=1, keepdims=True))
    lowest = descending[rows, needed - 1]
    kept = found & (values >= lowest)
    if (kept.sum(axis=1, keepdims=True) != needed).any():
        kept, equal = values > lowest, found & (values == lowest)
        # Among equals the later token ranks higher.
        equals_from_here = np.cumsum(equal[:, ::-1], axis=1)[:, ::-1]
        kept |= equal & (equals_from_here <= needed - kept.sum(axis=1, keepdims=True))
    return tokens, kept


def _drawn(logits: Logits, tokens: TokenIds, kept: npt.NDArray[np.bool_], points: npt.NDArray[np.float64]) -> TokenIds:
    """Draw from those of the tokens (N, M) that are kept; what lies between them has no weight."""
    rows = np.arange(len(logits))
    values = np.where(kept, logits[rows[:, np.newaxis], tokens], FORBIDDEN).astype(np.float64)
    cumulative = np.cumsum(np.exp(values - values.max(axis=1, keepdims=True)), axis=1)
    # The first entry above the point.
    place = (cumulative <= points[:, np.newaxis] * cumulative[:, -1:]).sum(axis=1)
    return np.asarray(tokens[rows, place])


def _packed(chosen: npt.NDArray[np.bool_]) -> tuple[TokenIds, npt.NDArray[np.bool_]]:
    """The tokens that are chosen in each row of (N, V), in order, at its left.

    Returns:
        Tokens (N, M), 0 behind the last of a row, and (N, M) whether there is one; M of the row that has most.
    """
    # Over one axis numpy finds what is set several times as fast as over two.
    rows, columns = np.divmod(np.flatnonzero(chosen), chosen.shape[1])
    counts = np.bincount(rows, minlength=len(chosen))
    found = np.arange(max(1, counts.max(initial=0))) < counts[:, np.newaxis]
    tokens = np.zeros(found.shape, dtype=np.int64)
    tokens[found] = columns
    return tokens, found


def log_likelihood(logits: Logits, tokens: TokenIds) -> npt.NDArray[np.float64]:
    """Log-probability of one token a row, (N,), under the softmax of (N, V) logits."""
    highest = logits.max(axis=-1).astype(np.float64)
    total = np.exp(logits - highest[:, np.newaxis].astype(np.float32)).sum(axis=-1, dtype=np.float64)
    chosen = logits[np.arange(len(tokens)), tokens].astype(np.float64)
    return np.asarray(chosen - highest - np.log(total), dtype=np.float64)


def probability_of(logits: Logits, tokens: npt.NDArray[np.bool_]) -> npt.NDArray[np.float64]:
    """Probability that the softmax of (N, V) logits gives to some tokens, (N, V), together: (N,)."""
    weights = np.exp(logits - logits.max(axis=-1, keepdims=True))
    some = np.where(tokens, weights, np.float32(0.0)).sum(axis=-1, dtype=np.float64)
    return np.asarray(some / weights.sum(axis=-1, dtype=np.float64), dtype=np.float64)


def log_softmax(logits: Logits) -> Logits:
    """Along the last axis; -inf stays -inf."""
    shifted = logits - logits.max(axis=-1, keepdims=True)
    normalised: Logits = shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))
    return normalised


def finite_windows(logits: Logits, windows: int) -> npt.NDArray[np.bool_]:
    """Whether each window has a finite logit in every row and no NaN or +inf; -inf only forbids a token.

    Args:
        logits: (W × N, V), row r of window r // N.
        windows: W.
    """
    # The highest logit of a row is NaN where any is, and infinite where none can be drawn.
    return np.asarray(np.isfinite(logits.max(axis=-1)).reshape(windows, -1).all(axis=1))


def rows_of(windows: npt.NDArray[np.bool_], count: int) -> npt.NDArray[np.int64]:
    """Numbers of the rows of the windows that are chosen, (W,), of which each has ``count``."""
    return np.flatnonzero(np.repeat(windows, count))
