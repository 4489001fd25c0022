"""Texts that follow a prefix of vectors: the decoder's cache, and the beam search of clapcap and Pengi.

Beams are ranked by the mean log-probability of their tokens. A beam stops at the stop token and then keeps its length;
the search ends when all have stopped. Facts from the code of Elizalde et al. (arXiv 2309.05767) and Deshmukh et al.
(arXiv 2305.11834), which is ClipCap's (Mokady et al., arXiv 2111.09734).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from edge_aac.engines.contract import Engine, Logits, TokenIds
from edge_aac.errors import DataError
from edge_aac.models.contract import CancelledError, not_cancelled
from edge_aac.models.prompted_manifest import SearchRules
from edge_aac.models.sampling import log_likelihood

Array = npt.NDArray[np.float32]

AFTER_THE_END = 0
"""Token that a stopped beam goes on with, at no cost."""
_NEW = ("new_keys", "new_values")


@dataclass(frozen=True)
class Beams:
    """What a search found.

    Attributes:
        token_ids: (beams, steps) int64, best first; 0 behind a text's end.
        lengths: (beams,) int64, tokens of each text; its stop token is one of them.
        scores: (beams,) float32, mean log-probability of a token, best first.
    """

    token_ids: TokenIds
    lengths: TokenIds
    scores: Array

    def rows(self) -> list[list[int]]:
        """The tokens of each text, best first."""
        return [ids[:length] for ids, length in zip(self.token_ids.tolist(), self.lengths.tolist(), strict=True)]


@dataclass(frozen=True)
class Followed:
    """What the decoder made of an answer that was given.

    Attributes:
        prefix: (P, D) of sound and prompt.
        logits: (T, V), each before its token was fed.
    """

    prefix: Array
    logits: Array

    def log_likelihood(self, token_ids: Sequence[int]) -> float:
        """Mean log-likelihood of the answer's tokens."""
        return float(log_likelihood(self.logits, np.array(token_ids, np.int64)).mean())


class PrefixDecoder:
    """A language model that reads a prefix of vectors and tokens, and then goes on token by token.

    Args:
        engine: the decoder graph: ``prefix`` (R, N, D) and ``token_ids`` (R, T), the first before the second, either of
            no length, at the positions from ``step`` (1,) on; for each layer i ``self_keys_i`` and ``self_values_i``
            (R, heads, capacity, head_size), of which the positions before ``step`` are read → ``logits`` (R, V) behind
            the last of them, ``new_keys`` and ``new_values`` (layers, R, heads, N + T, head_size).

    Raises:
        DataError: the graph has other inputs.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        shapes = engine.input_shapes
        self._layers = sum(name.startswith("self_keys_") for name in shapes)
        heads, size = shapes["self_keys_0"][1::2] if self._layers else (None, None)
        width = shapes.get("prefix", (None,))[-1]
        if not isinstance(heads, int) or not isinstance(size, int) or not isinstance(width, int):
            raise DataError("the decoder graph has no prefix, or no cache of known sizes: convert the bundle again")
        self._heads, self._head_size = heads, size
        self.width = width
        """D."""
        self._shape: tuple[int, ...] = ()
        self._shared = self._written = 0  # positions: those that all rows have alike, and all

    def open(self, beams: int, capacity: int) -> None:
        """Begin a text: ``beams`` rows, and room for ``capacity`` positions."""
        shape = (self._layers, beams, self._heads, capacity, self._head_size)
        if shape != self._shape:
            self._keys, self._values = np.zeros(shape, np.float32), np.zeros(shape, np.float32)
            self._shape = shape
        self._written = 0

    def read(self, prefix: Array, token_ids: Sequence[int] = ()) -> Logits:
        """Read what the text goes on from, the same for all rows.

        Args:
            prefix: (N, D).
            token_ids: tokens behind it.

        Returns:
            Logits (1, V) of the next token.
        """
        logits = self._run(prefix[None], np.array([token_ids], np.int64).reshape(1, -1), 1)
        for cache in (self._keys, self._values):
            cache[:, 1:, :, : self._written] = cache[:, :1, :, : self._written]
        self._shared = self._written
        return logits

    def step(self, token_ids: TokenIds) -> Logits:
        """Feed each row its token, (R,); gives the logits (R, V) of the next."""
        rows = len(token_ids)
        return self._run(np.zeros((rows, 0, self.width), np.float32), token_ids[:, None], rows)

    def reorder(self, parents: TokenIds) -> None:
        """Row i goes on from row ``parents[i]``."""
        if not np.array_equal(parents, np.arange(len(parents))):
            own = slice(self._shared, self._written)
            for cache in (self._keys, self._values):
                cache[:, :, :, own] = cache[:, parents, :, own]

    def _run(self, prefix: Array, token_ids: TokenIds, rows: int) -> Logits:
        cache = {
            f"self_{name}_{layer}": part[layer, :rows]
            for name, part in (("keys", self._keys), ("values", self._values))
            for layer in range(self._layers)
        }
        step = np.array([self._written], np.int64)
        found = self._engine.run({"prefix": prefix, "token_ids": token_ids, "step": step, **cache})
        logits = found["logits"]
        if not all(np.isfinite(found[name]).all() for name in ("logits", *_NEW)):
            raise DataError("the decoder gave NaN or infinite numbers: check the sound's level, or convert it again")
        end = self._written + prefix.shape[1] + token_ids.shape[1]
        for part, name in zip((self._keys, self._values), _NEW, strict=True):
            part[:, :rows, :, self._written : end] = found[name]
        self._written = end
        return logits


def beam_search(
    decoder: PrefixDecoder,
    prefix: Array,
    rules: SearchRules,
    additional: Sequence[int] = (),
    cancelled: Callable[[], bool] = not_cancelled,
) -> Beams:
    """Search the texts that follow one prefix.

    Args:
        decoder: the language model.
        prefix: (P, D) vectors, at positions from 0.
        rules: rules of the search; prefix, additional tokens and ``max_length`` must fit the decoder's positions.
        additional: tokens behind the prefix that the text goes on from.
        cancelled: function that is called before every step; True ends the work.

    Raises:
        CancelledError: ``cancelled`` returned True.
        DataError: the decoder's numbers are none.
    """
    if cancelled():
        raise CancelledError
    decoder.open(rules.beams, len(prefix) + len(additional) + rules.max_length - 1)
    first = _log_probabilities(decoder.read(prefix, additional), rules.temperature)[0]
    chosen = _best(first, rules.beams)
    sums, tokens = first[chosen], chosen[:, None]
    lengths = np.ones(rules.beams, np.int64)
    stopped = chosen == rules.stop_token_id
    vocabulary = len(first)
    while tokens.shape[1] < rules.max_length and not stopped.all():
        if cancelled():
            raise CancelledError
        after = _log_probabilities(decoder.step(tokens[:, -1]), rules.temperature)
        after[stopped] = -np.inf
        after[stopped, AFTER_THE_END] = 0.0
        longer = lengths + ~stopped
        # Ranked by the mean, carried on as the sum again: the roundings are those of the published code.
        means = ((sums[:, None] + after) / longer[:, None].astype(np.float32)).reshape(-1)
        best = _best(means, rules.beams)
        source, chosen = best // vocabulary, best % vocabulary
        lengths = longer[source]
        sums = means[best] * lengths.astype(np.float32)
        tokens = np.concatenate([tokens[source], chosen[:, None]], axis=1)
        stopped = stopped[source] | (chosen == rules.stop_token_id)
        decoder.reorder(source)
    scores = sums / lengths.astype(np.float32)
    order = np.argsort(-scores, kind="stable")
    tokens, lengths = tokens[order], lengths[order]
    tokens[np.arange(tokens.shape[1]) >= lengths[:, None]] = AFTER_THE_END
    return Beams(tokens, lengths, scores[order])


def _best(values: Array, count: int) -> TokenIds:
    """Places of the greatest ``count`` values, greatest first, of equals the first."""
    places = np.argpartition(-values, count - 1)[:count] if count < len(values) else np.arange(len(values))
    places.sort()
    return np.asarray(places[np.argsort(-values[places], kind="stable")][:count], np.int64)


def _log_probabilities(logits: Logits, temperature: float) -> Array:
    """(rows, V); −∞ where the probability is 0 in single precision, as the published code has it."""
    scaled = logits / np.float32(temperature)
    powers = np.exp(scaled - scaled.max(axis=-1, keepdims=True))
    with np.errstate(divide="ignore"):
        return np.asarray(np.log(powers / powers.sum(axis=-1, keepdims=True)), np.float32)
