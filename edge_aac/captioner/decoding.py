"""The decoding loop: N candidates side by side over a cache of fixed capacity."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from edge_aac.captioner.bundle import DecodingRules
from edge_aac.captioner.sampling import apply_rules, draw, log_softmax
from edge_aac.engines.engine import Engine
from edge_aac.errors import ConfigError, DataError

Array = npt.NDArray[np.float32]


class CancelledError(Exception):
    """Decoding was told to stop: a slow board must not keep a stream from ending."""


def never() -> bool:
    """Nothing cancels."""
    return False


@dataclass(frozen=True)
class Candidate:
    """One drawn caption.

    Attributes:
        token_ids: without start and end tokens.
        log_likelihood: mean over its tokens, the end included, under the model's own distribution (no temperature,
            no top-p).
    """

    token_ids: tuple[int, ...]
    log_likelihood: float


class CandidateDecoder:
    """Draws candidates for one window at a time.

    The self-attention cache is allocated once for each number of candidates; a step hands it to the engine as it is
    and writes the one new row that comes back.

    Args:
        engine: the bundle's decoder graph: token_ids (N, 1), step (1,), self_keys and self_values
            (layers, N, heads, capacity, head_size), cross_keys and cross_values (layers, heads, T, head_size)
            → logits (N, V), new_keys and new_values (layers, N, heads, 1, head_size).
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        layers, _, heads, capacity, head_size = engine.input_shape("self_keys")
        self._layout = (_fixed(layers), _fixed(heads), _fixed(capacity), _fixed(head_size))
        self._caches: dict[int, tuple[Array, Array]] = {}

    @property
    def capacity(self) -> int:
        """Longest caption in tokens, the start token included, that the cache can hold."""
        return self._layout[2]

    def decode(
        self,
        cross_keys: Array,
        cross_values: Array,
        rules: DecodingRules,
        rng: np.random.Generator,
        cancelled: Callable[[], bool] = never,
    ) -> list[Candidate]:
        """Draw ``rules.candidates`` candidates.

        Args:
            cross_keys, cross_values: (layers, heads, T, head_size) of one window.
            rules: how to draw.
            rng: the source of all randomness.
            cancelled: asked before every step.

        Raises:
            ConfigError: the rules ask for longer captions than the cache holds.
            DataError: the decoder's numbers are no numbers.
            CancelledError: ``cancelled`` said so.
        """
        if rules.max_length > self.capacity:
            raise ConfigError(f"max_length {rules.max_length} exceeds the decoder's capacity of {self.capacity} tokens")
        count = rules.candidates
        keys, values = self._cache(count)
        ids = np.full((count, rules.max_length), rules.pad_token_id, dtype=np.int64)
        ids[:, 0] = rules.start_token_id
        likelihood = np.zeros(count, dtype=np.float64)
        lengths = np.zeros(count, dtype=np.int64)
        running = np.ones(count, dtype=bool)
        for step in range(rules.max_length - 1):
            if cancelled():
                raise CancelledError
            outputs = self._engine.run(
                {
                    "token_ids": ids[:, step : step + 1],
                    "step": np.array([step], dtype=np.int64),
                    "self_keys": keys,
                    "self_values": values,
                    "cross_keys": cross_keys,
                    "cross_values": cross_values,
                }
            )
            keys[:, :, :, step] = outputs["new_keys"][:, :, :, 0]
            values[:, :, :, step] = outputs["new_values"][:, :, :, 0]
            chosen = draw(apply_rules(outputs["logits"], ids[:, : step + 1], rules), rng)
            chosen_likelihood = log_softmax(outputs["logits"])[np.arange(count), chosen]
            likelihood += np.where(running, chosen_likelihood, 0.0)
            lengths += running
            ids[:, step + 1] = np.where(running, chosen, rules.pad_token_id)
            running &= chosen != rules.eos_token_id
            if not running.any():
                break
        if not np.isfinite(likelihood).all():
            raise DataError("the decoder graph gave NaN or infinite logits: build the bundle again")
        return [
            Candidate(tuple(ids[row, 1 : lengths[row]].tolist()), float(likelihood[row] / lengths[row]))
            for row in range(count)
        ]

    def _cache(self, count: int) -> tuple[Array, Array]:
        if count not in self._caches:
            layers, heads, capacity, head_size = self._layout
            shape = (layers, count, heads, capacity, head_size)
            self._caches[count] = (np.zeros(shape, np.float32), np.zeros(shape, np.float32))
        return self._caches[count]


def _fixed(size: int | str | None) -> int:
    if not isinstance(size, int):
        raise ConfigError(f"the decoder graph leaves an axis of its cache open ({size!r}); export the bundle again")
    return size
