"""Windows being decoded, step by step, wherever their cache lies."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias, runtime_checkable

import numpy as np
import numpy.typing as npt

from edge_aac.engines.contract import Arrays, Engine, Logits, TokenIds

Array = npt.NDArray[np.float32]

# What an engine keeps on its device between encoder and decoder.
CROSS_ATTENTION = ("cross_keys", "cross_values")


class ResidentArray(Protocol):
    """An output that stayed on the device that computed it.

    It is good until that engine runs again; whoever reads it later is refused with a RuntimeError.
    """

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape that an array of the same numbers has."""

    def host(self) -> npt.NDArray[Any]:
        """A copy in the host's memory."""


CrossAttention: TypeAlias = "Array | ResidentArray"
"""Keys or values (W, layers, heads, T, head_size) of W windows, in the host's memory or the device's."""


@dataclass(frozen=True)
class Memory:
    """Keys and values of W windows that cross-attention reads.

    Attributes:
        keys, values: (W, layers, heads, T, head_size) as the encoder gave them.
        padding: (W, T), True = padding, which is not attended to; what stands there must be finite.
    """

    keys: CrossAttention
    values: CrossAttention
    padding: npt.NDArray[np.bool_]

    @property
    def windows(self) -> int:
        """W."""
        return len(self.padding)

    def part(self, start: int, stop: int) -> Memory:
        """Some of the windows; of what stayed on a device, all of them only.

        Raises:
            ValueError: others are asked for.
        """
        if start == 0 and stop >= self.windows:
            return self
        if not isinstance(self.keys, np.ndarray) or not isinstance(self.values, np.ndarray):
            raise ValueError("what stayed on a device is decoded whole")
        return Memory(self.keys[start:stop], self.values[start:stop], self.padding[start:stop])

    def selected(self, numbers: Sequence[int]) -> Memory:
        """The windows with these numbers, in ascending order; what stayed on a device is copied to the host for that,
        unless all are selected."""
        if len(numbers) == self.windows:
            return self
        keys, values = (part if isinstance(part, np.ndarray) else part.host() for part in (self.keys, self.values))
        chosen = list(numbers)
        return Memory(keys[chosen], values[chosen], self.padding[chosen])


class DecodingSteps(Protocol):
    """Windows being decoded: W × N rows over a cache that is filled position by position; row r is of window r // N."""

    def step(self, token_ids: TokenIds, step: int) -> Logits:
        """Feed one token a row, (W × N, 1), at position ``step``.

        Returns:
            Logits (W × N, V) of the next token; a row is NaN where the decoder's numbers are none. Such a row spoils
            neither the others nor the windows that come after.
        """

    def reorder(self, parents: TokenIds, length: int) -> None:
        """Row i goes on from row ``parents[i]``, one of the same window; ``length`` positions are written."""


@runtime_checkable
class StepwiseEngine(Protocol):
    """A decoder's engine that keeps the cache where it computes."""

    def open_steps(self, rows: int, positions: int, memory: Memory) -> DecodingSteps:
        """Begin windows with ``rows`` rows in all and room for ``positions``; those opened before end."""


@runtime_checkable
class ResidentEngine(Protocol):
    """An engine that can leave outputs where it computes.

    The next run of the engine, whoever asks for it, overwrites them: threads that share one must not run it between
    :meth:`run_resident` and what reads its outputs. One that does spoils nothing unnoticed, the reader is refused.
    """

    def run_resident(self, inputs: Arrays, resident: Collection[str]) -> dict[str, Any]:
        """Run the graph and keep the outputs ``resident`` on the device, as :class:`ResidentArray`."""


@runtime_checkable
class BoundedEngine(Protocol):
    """An engine that was built for inputs up to some size."""

    @property
    def largest_shapes(self) -> Mapping[str, tuple[int, ...]]:
        """Largest shape that one run takes of every input."""


@runtime_checkable
class CoreEngine(Protocol):
    """An engine on the processor, which threads may run at the same time."""

    @property
    def runs_at_once(self) -> int:
        """The number of runs side by side that pay: one, and one for each core that it leaves idle."""

    @property
    def small(self) -> bool:
        """Whether its weights are so few that two runs cost about what one of twice as many rows does."""


def largest_rows(engine: Engine, name: str) -> int | None:
    """The largest length of an input's first axis; None where it is not limited."""
    return engine.largest_shapes[name][0] if isinstance(engine, BoundedEngine) else None


def on_host(cross: CrossAttention) -> Array:
    """Cross-attention keys or values for an engine that reads the host's memory."""
    return cross if isinstance(cross, np.ndarray) else np.asarray(cross.host(), dtype=np.float32)


class HostSteps:
    """Steps over a cache in the host's memory, for an engine that only runs graphs.

    Args:
        engine: engine that runs the decoder graph.
        cache: keys and values (layers, W × N, heads, positions, head_size), finite; written in place.
        memory: memory of W windows.
    """

    def __init__(self, engine: Engine, cache: tuple[Array, Array], memory: Memory) -> None:
        self._engine = engine
        self._keys, self._values = cache
        # An engine reads what is contiguous where it is, and copies all else at every step.
        crosses = [
            np.ascontiguousarray(on_host(cross).swapaxes(0, 1), np.float32) for cross in (memory.keys, memory.values)
        ]
        self._fixed_inputs: Mapping[str, npt.NDArray[np.generic]] = {
            "memory_padding": memory.padding,
            **{
                f"{name}_{layer}": array[layer]
                for name, array in zip(("self_keys", "self_values", *CROSS_ATTENTION), (*cache, *crosses), strict=True)
                for layer in range(len(array))
            },
        }

    def step(self, token_ids: TokenIds, step: int) -> Logits:
        """See :class:`DecodingSteps`."""
        outputs = self._engine.run(
            {**self._fixed_inputs, "token_ids": token_ids, "step": np.array([step], dtype=np.int64)}
        )
        logits, keys, values = (outputs[name] for name in ("logits", "new_keys", "new_values"))
        if not (np.isfinite(keys).all() and np.isfinite(values).all()):
            # The cache outlives the windows, and a NaN in it would spoil all that follow: 0 x NaN is NaN.
            whole = np.asarray((np.isfinite(keys) & np.isfinite(values)).all(axis=(0, 2, 3, 4)))
            logits = np.where(whole[:, np.newaxis], logits, np.float32(np.nan))
            keys, values = (np.where(whole[:, np.newaxis, np.newaxis, np.newaxis], new, 0.0) for new in (keys, values))
        self._keys[:, :, :, step] = keys[:, :, :, 0]
        self._values[:, :, :, step] = values[:, :, :, 0]
        return logits

    def reorder(self, parents: TokenIds, length: int) -> None:
        """See :class:`DecodingSteps`; only the positions that are written are moved."""
        if not np.array_equal(parents, np.arange(len(parents))):
            for cache in (self._keys, self._values):
                cache[:, :, :, :length] = cache[:, parents, :, :length]
