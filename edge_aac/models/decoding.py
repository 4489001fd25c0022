"""The decoding loop: N candidates or beams of each of W windows side by side, over a cache that is kept."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from edge_aac.bundle.manifest import SHORTEST_CAPTION, DecodingRules
from edge_aac.engines.contract import Engine, Logits, TokenIds
from edge_aac.engines.steps import DecodingSteps, HostSteps, Memory, StepwiseEngine, largest_rows
from edge_aac.errors import ConfigError, DataError
from edge_aac.models.beam import beam_search
from edge_aac.models.contract import CancelledError, not_cancelled
from edge_aac.models.sampling import (
    Withheld,
    constrain,
    draw_by_rules,
    finite_windows,
    log_likelihood,
    probability_of,
    rows_of,
)
from edge_aac.models.whole_words import Held, RowWords

Array = npt.NDArray[np.float32]

MAX_ROWS = 128
"""Candidates in one batch, all windows together, where an engine sets no limit: of the published size, each takes about
1 MB of the cache."""
MAX_CACHE_BYTES = 1 << 30
"""Room for keys and values of all rows."""


@dataclass(frozen=True)
class Candidate:
    """A drawn caption, as tokens.

    Attributes:
        token_ids: without start and end tokens.
        log_likelihood: mean over its tokens, the end included, under the model's own distribution (no temperature,
            no top-p).
        own: the least probability that the model itself gave what was left to it of a word; 1 where it never had to
            finish another word than it may have begun.
    """

    token_ids: tuple[int, ...]
    log_likelihood: float
    own: float = 1.0


class CandidateDecoder:
    """Finds the candidates of windows, all of them in one batch.

    The self-attention cache is allocated once, for the largest batch so far. It has one array a layer in and one new
    row a step out, so a step copies nothing of it; what cross-attention needs of the windows goes in as the encoder
    gave it.
    An engine that computes in a memory of its own (:class:`~edge_aac.engines.steps.StepwiseEngine`) keeps it there.

    Args:
        engine: the bundle's decoder graph: token_ids (W × N, 1), step (1,), memory_padding (W, T), and for each layer i
            self_keys_i and self_values_i (W × N, heads, capacity, head_size), cross_keys_i and cross_values_i
            (W, heads, T, head_size) → logits (W × N, V), new_keys and new_values (layers, W × N, heads, 1, head_size).
            Row r belongs to window r // N.

    Raises:
        DataError: the graph has other inputs.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        shapes = engine.input_shapes
        self._layers = sum(name.startswith("self_keys_") for name in shapes)
        if not self._layers or "memory_padding" not in shapes:
            raise DataError(
                f"the decoder graph has no {'memory_padding' if self._layers else 'self_keys_0'}, its form is older "
                "than this edge-aac: export it again"
            )
        _, heads, capacity, head_size = shapes["self_keys_0"]
        self._heads, self._head_size = _fixed(heads), _fixed(head_size)
        self.capacity = capacity if isinstance(capacity, int) else None
        """Longest caption in tokens, the start token included, that the graph can hold; None = only positions limit."""
        self._caches: dict[int, tuple[Array, Array]] = {}

    def check(self, rules: DecodingRules) -> None:
        """Refuse rules that this decoder cannot follow.

        Raises:
            ConfigError: they ask for longer captions than it can count, or for shorter ones than they allow, or for
                more of them than there is room for.
        """
        if rules.max_length <= (shortest := max(rules.min_length, SHORTEST_CAPTION - 1)):
            raise ConfigError(
                f"max_length {rules.max_length} leaves no caption: the bundle's have more than {shortest} "
                "tokens (min_length), start and end counted"
            )
        limit = min(rules.max_positions, self.capacity or rules.max_positions)
        if rules.max_length > limit:
            raise ConfigError(
                f"max_length {rules.max_length} exceeds the decoder's capacity of {limit} tokens: use a smaller one"
            )
        rows = _rows_a_window(rules)
        if (size := rows * self._row_bytes(rules)) > MAX_CACHE_BYTES:
            raise ConfigError(
                f"{rows} captions of {self._positions(rules) + 1} tokens side by side need {size / 2**30:.1f} GiB: use "
                "fewer candidates or beams, or a smaller max_length"
            )

    def windows_at_once(self, rules: DecodingRules) -> int:
        """The largest number of windows in a batch, by what the engine was built for and the memory of the cache."""
        room = max(1, MAX_CACHE_BYTES // self._row_bytes(rules))
        rows = largest_rows(self._engine, "token_ids") or min(MAX_ROWS, room)
        windows = largest_rows(self._engine, "memory_padding") or MAX_ROWS
        return max(1, min(windows, rows // _rows_a_window(rules)))

    def decode(
        self,
        memory: Memory,
        rules: DecodingRules,
        rngs: Sequence[np.random.Generator],
        cancelled: Callable[[], bool] = not_cancelled,
        held: Sequence[Held] | None = None,
    ) -> list[list[Candidate] | DataError]:
        """Find candidates by ``rules.method``: ``rules.candidates`` of them by "nucleus", one by "greedy" or "beam".

        What is found for a window does not depend on the others.

        Args:
            memory: memory of W windows.
            rules: method of decoding and its numbers.
            rngs: generators, one a window; all randomness for a window comes from its own.
            cancelled: function that is called before every step; True ends the work.
            held: what holds the candidates of each window; None allows every token.

        Returns:
            One entry a window: its candidates, or what is wrong with its numbers.

        Raises:
            ConfigError: the rules ask for longer captions than the decoder can count.
            CancelledError: ``cancelled`` returned True.
        """
        self.check(rules)
        opened, _ = self.open_steps(memory, rules)
        return find_candidates(opened, rules, rngs, cancelled, held)

    def open_steps(self, memory: Memory, rules: DecodingRules) -> tuple[DecodingSteps, int]:
        """Begin windows, and tell the number of their rows."""
        rows = memory.windows * _rows_a_window(rules)
        return self._open(rows, self._positions(rules), memory), rows

    def _positions(self, rules: DecodingRules) -> int:
        """Length of the cache. The last token is never fed back, so it needs no position."""
        return self.capacity or rules.max_length - 1

    def _row_bytes(self, rules: DecodingRules) -> int:
        """Room that the cache of one row takes: keys and values."""
        return 2 * self._layers * self._heads * self._positions(rules) * self._head_size * np.dtype(np.float32).itemsize

    def _open(self, rows: int, positions: int, memory: Memory) -> DecodingSteps:
        if isinstance(self._engine, StepwiseEngine):
            return self._engine.open_steps(rows, positions, memory)
        return HostSteps(self._engine, self._cache(rows, positions), memory)

    def _cache(self, rows: int, positions: int) -> tuple[Array, Array]:
        """(layers, rows, heads, positions, head_size) keys and values: each layer's part has no gaps."""
        kept = self._caches.get(positions)
        if kept is None or kept[0].shape[1] < rows:
            shape = (self._layers, rows, self._heads, positions, self._head_size)
            kept = self._caches[positions] = (np.zeros(shape, np.float32), np.zeros(shape, np.float32))
        return kept[0][:, :rows], kept[1][:, :rows]


def find_candidates(
    steps: DecodingSteps,
    rules: DecodingRules,
    rngs: Sequence[np.random.Generator],
    cancelled: Callable[[], bool] = not_cancelled,
    held: Sequence[Held] | None = None,
) -> list[list[Candidate] | DataError]:
    """Find the candidates of windows that were begun; see :meth:`CandidateDecoder.decode`.

    Args:
        steps: gives the logits of the next token, whatever computes them; as many rows a window as ``rules`` need.
        rules: method of decoding and its numbers.
        rngs: generators, one a window.
        cancelled: function that is called before every step; True ends the work.
        held: what holds the candidates of each window; None allows every token.

    Raises:
        CancelledError: ``cancelled`` returned True.
    """

    def step(token_ids: TokenIds, position: int) -> Logits:
        if cancelled():
            raise CancelledError
        return steps.step(token_ids, position)

    words = None
    if held is not None and any(one is not None for one in held):
        words = RowWords(held, _rows_a_window(rules), rules.eos_token_id, rules.max_length)
    if rules.method == "beam":
        beams = beam_search(step, steps.reorder, rules, len(rngs), words)
        return [[Candidate(beam.token_ids, beam.log_likelihood)] if beam else _no_numbers() for beam in beams]
    return _side_by_side(step, rules, rngs, words)


def _rows_a_window(rules: DecodingRules) -> int:
    return {"nucleus": rules.candidates, "greedy": 1, "beam": rules.beams}[rules.method]


def _no_numbers() -> DataError:
    return DataError("the decoder gave NaN or infinite numbers: check the sound's level, or build the bundle again")


def _side_by_side(
    step: Callable[[TokenIds, int], Logits],
    rules: DecodingRules,
    rngs: Sequence[np.random.Generator],
    words: RowWords | None,
) -> list[list[Candidate] | DataError]:
    """Candidates that do not look at each other, until all have ended; drawn, or of each step the likeliest token."""
    windows, count = len(rngs), _rows_a_window(rules)
    ids = np.full((windows * count, rules.max_length), rules.pad_token_id, dtype=np.int64)
    ids[:, 0] = rules.start_token_id
    likelihood = np.zeros(len(ids), dtype=np.float64)
    lengths = np.zeros(len(ids), dtype=np.int64)
    running = np.ones(len(ids), dtype=bool)
    own, numbers = np.ones(len(ids), dtype=np.float64), np.arange(len(ids))
    sound = np.ones(windows, dtype=bool)
    for position in range(rules.max_length - 1):
        logits = step(ids[:, position : position + 1], position)
        going_on = running.reshape(windows, count).any(axis=1)
        sound &= finite_windows(logits, windows) | ~going_on
        going_on &= sound
        if not going_on.any():
            break
        # A window that has ended, or has no numbers, is fed padding until the others have ended, too.
        rows = slice(None) if going_on.all() else rows_of(going_on, count)
        prefixes = ids[rows, : position + 1]
        logits = logits[rows]
        withheld = None
        if words is not None:
            withheld = words.withheld(position + 1)[rows]
            inside = np.flatnonzero((words.unfinished & running)[rows])
            at = numbers[rows][inside]
            own[at] = np.minimum(own[at], probability_of(logits[inside], ~withheld[inside]))
        if rules.method == "greedy":
            chosen = _likeliest(logits, prefixes, rules, withheld)
        else:
            points = [rng.random(count) for rng, draws in zip(rngs, going_on, strict=True) if draws]
            chosen = draw_by_rules(logits, prefixes, rules, np.concatenate(points), withheld)
        likelihood[rows] += np.where(running[rows], log_likelihood(logits, chosen), 0.0)
        lengths[rows] += running[rows]
        ids[rows, position + 1] = np.where(running[rows], chosen, rules.pad_token_id)
        running[rows] &= chosen != rules.eos_token_id
        if not running[rows].any():
            break
        if words is not None:
            words.follow(ids[:, position + 1])

    def candidate(row: int) -> Candidate:
        return Candidate(
            tuple(ids[row, 1 : lengths[row]].tolist()), float(likelihood[row] / lengths[row]), float(own[row])
        )

    return [
        [candidate(row) for row in range(window * count, (window + 1) * count)] if sound[window] else _no_numbers()
        for window in range(windows)
    ]


def _likeliest(logits: Array, prefixes: TokenIds, rules: DecodingRules, withheld: Withheld | None) -> TokenIds:
    return np.asarray(constrain(logits, prefixes, rules, withheld).argmax(axis=-1), dtype=np.int64)


def _fixed(size: int | str | None) -> int:
    if not isinstance(size, int):
        raise DataError(f"the decoder graph leaves an axis of its cache open ({size!r}): export the bundle again")
    return size
