"""The decoding loop: N candidates or beams side by side over a cache that is allocated once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from edge_aac.bundle.manifest import DecodingRules
from edge_aac.engines.contract import Engine, Logits, TokenIds
from edge_aac.engines.steps import CrossAttention, DecodingSteps, HostSteps, StepwiseEngine, on_host
from edge_aac.errors import ConfigError, DataError
from edge_aac.models.beam import beam_search
from edge_aac.models.contract import CancelledError, not_cancelled
from edge_aac.models.sampling import Withheld, apply_rules, constrain, draw, log_likelihood

Array = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Candidate:
    """One caption as tokens.

    Attributes:
        token_ids: without start and end tokens.
        log_likelihood: mean over its tokens, the end included, under the model's own distribution (no temperature,
            no top-p).
    """

    token_ids: tuple[int, ...]
    log_likelihood: float


class CandidateDecoder:
    """Finds the candidates of one window at a time.

    The self-attention cache is allocated once for each number of rows. It has one array a layer in and one new row a
    step out, so a step copies nothing of it; what cross-attention needs of the window goes in as the encoder gave it.
    An engine that computes in a memory of its own (:class:`~edge_aac.engines.steps.StepwiseEngine`) keeps it there.

    Args:
        engine: the bundle's decoder graph: token_ids (N, 1), step (1,), and for each layer i self_keys_i and
            self_values_i (N, heads, capacity, head_size), cross_keys_i and cross_values_i (heads, T, head_size)
            → logits (N, V), new_keys and new_values (layers, N, heads, 1, head_size).

    Raises:
        DataError: the graph has other inputs.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        shapes = engine.input_shapes
        self._layers = sum(name.startswith("self_keys_") for name in shapes)
        if not self._layers:
            raise DataError(
                "the decoder graph has no self_keys_0, its form is older than this edge-aac: export it again"
            )
        _, heads, capacity, head_size = shapes["self_keys_0"]
        self._heads, self._head_size = _fixed(heads), _fixed(head_size)
        self.capacity = capacity if isinstance(capacity, int) else None
        """Longest caption in tokens, the start token included, that the graph can hold; None = only positions limit."""
        self._caches: dict[tuple[int, int], tuple[Array, Array]] = {}

    def check(self, rules: DecodingRules) -> None:
        """Refuse rules that this decoder cannot follow.

        Raises:
            ConfigError: they ask for longer captions than it can count, or for shorter ones than they allow.
        """
        if rules.max_length <= rules.min_length:
            raise ConfigError(
                f"max_length {rules.max_length} leaves no caption: the bundle's have more than {rules.min_length} "
                "tokens (min_length), start and end counted"
            )
        limit = min(rules.max_positions, self.capacity or rules.max_positions)
        if rules.max_length > limit:
            raise ConfigError(f"max_length {rules.max_length} exceeds the decoder's capacity of {limit} tokens")

    def decode(
        self,
        cross_keys: CrossAttention,
        cross_values: CrossAttention,
        rules: DecodingRules,
        rng: np.random.Generator,
        cancelled: Callable[[], bool] = not_cancelled,
        withheld: Withheld | None = None,
    ) -> list[Candidate]:
        """Find candidates by ``rules.method``: ``rules.candidates`` of them by "nucleus", one by "greedy" or "beam".

        Args:
            cross_keys, cross_values: (layers, heads, T, head_size) of one window.
            rules: how to decode.
            rng: the source of all randomness.
            cancelled: asked before every step.
            withheld: (V,) tokens that no candidate may hold; None = every token may be said.

        Raises:
            ConfigError: the rules ask for longer captions than the decoder can count.
            DataError: the decoder's numbers are no numbers.
            CancelledError: ``cancelled`` said so.
        """
        self.check(rules)
        count = {"nucleus": rules.candidates, "greedy": 1, "beam": rules.beams}[rules.method]
        # The last token is never fed back, so it needs no row.
        window = self._open(count, self.capacity or rules.max_length - 1, cross_keys, cross_values)

        def step(token_ids: TokenIds, position: int) -> Logits:
            if cancelled():
                raise CancelledError
            return window.step(token_ids, position)

        if rules.method == "beam":
            beam = beam_search(step, window.reorder, rules, withheld)
            return [Candidate(beam.token_ids, beam.log_likelihood)]
        if rules.method == "greedy":
            return _side_by_side(
                step, rules, count, lambda logits, prefixes: _likeliest(logits, prefixes, rules, withheld)
            )
        return _side_by_side(
            step, rules, count, lambda logits, prefixes: draw(apply_rules(logits, prefixes, rules, withheld), rng)
        )

    def _open(self, count: int, rows: int, cross_keys: CrossAttention, cross_values: CrossAttention) -> DecodingSteps:
        if isinstance(self._engine, StepwiseEngine):
            return self._engine.open_steps(count, rows, cross_keys, cross_values)
        return HostSteps(self._engine, self._cache(count, rows), (on_host(cross_keys), on_host(cross_values)))

    def _cache(self, count: int, rows: int) -> tuple[Array, Array]:
        if (count, rows) not in self._caches:
            shape = (self._layers, count, self._heads, rows, self._head_size)
            self._caches[count, rows] = (np.zeros(shape, np.float32), np.zeros(shape, np.float32))
        return self._caches[count, rows]


def _side_by_side(
    step: Callable[[TokenIds, int], Logits],
    rules: DecodingRules,
    count: int,
    choose: Callable[[Logits, TokenIds], TokenIds],
) -> list[Candidate]:
    """Candidates that do not look at each other, until all have ended."""
    ids = np.full((count, rules.max_length), rules.pad_token_id, dtype=np.int64)
    ids[:, 0] = rules.start_token_id
    likelihood = np.zeros(count, dtype=np.float64)
    lengths = np.zeros(count, dtype=np.int64)
    running = np.ones(count, dtype=bool)
    for position in range(rules.max_length - 1):
        logits = step(ids[:, position : position + 1], position)
        chosen = choose(logits, ids[:, : position + 1])
        likelihood += np.where(running, log_likelihood(logits, chosen), 0.0)
        lengths += running
        ids[:, position + 1] = np.where(running, chosen, rules.pad_token_id)
        running &= chosen != rules.eos_token_id
        if not running.any():
            break
    return [
        Candidate(tuple(ids[row, 1 : lengths[row]].tolist()), float(likelihood[row] / lengths[row]))
        for row in range(count)
    ]


def _likeliest(logits: Array, prefixes: TokenIds, rules: DecodingRules, withheld: Withheld | None) -> TokenIds:
    return np.asarray(constrain(logits, prefixes, rules, withheld).argmax(axis=-1), dtype=np.int64)


def _fixed(size: int | str | None) -> int:
    if not isinstance(size, int):
        raise DataError(f"the decoder graph leaves an axis of its cache open ({size!r}): export the bundle again")
    return size
