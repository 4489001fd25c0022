"""One window being decoded, step by step, wherever its cache lies."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, Protocol, TypeAlias, runtime_checkable

import numpy as np
import numpy.typing as npt

from edge_aac.engines.contract import Arrays, Engine, Logits, TokenIds
from edge_aac.errors import DataError

Array = npt.NDArray[np.float32]

# What an engine keeps on its device between encoder and decoder.
CROSS_ATTENTION = ("cross_keys", "cross_values")


class ResidentArray(Protocol):
    """An output that stayed on the device that computed it; good until that engine runs again."""

    @property
    def shape(self) -> tuple[int, ...]:
        """As an array of the same numbers would have it."""

    def host(self) -> npt.NDArray[Any]:
        """A copy in the host's memory."""

    def __getitem__(self, index: int) -> ResidentArray:
        """One entry of the first axis."""

    def without(self, padding: npt.NDArray[np.bool_]) -> ResidentArray:
        """The same less what is padding on the axis before the last; nothing is moved yet."""


CrossAttention: TypeAlias = "Array | ResidentArray"
"""Keys or values (layers, heads, T, head_size) of one window, in the host's memory or the device's."""


class DecodingSteps(Protocol):
    """One window being decoded: N rows over a cache that is filled position by position."""

    def step(self, token_ids: TokenIds, step: int) -> Logits:
        """Feed one token a row, (N, 1), at position ``step``: logits (N, V) of the next, one finite a row at least.

        Raises:
            DataError: the decoder's numbers are no numbers.
        """

    def reorder(self, parents: TokenIds, length: int) -> None:
        """Row i goes on from row ``parents[i]``; ``length`` positions are written."""


@runtime_checkable
class StepwiseEngine(Protocol):
    """A decoder's engine that keeps the cache where it computes."""

    def open_steps(
        self, count: int, rows: int, cross_keys: CrossAttention, cross_values: CrossAttention
    ) -> DecodingSteps:
        """Begin a window with ``count`` rows and room for ``rows`` positions; an earlier window of the engine ends."""


@runtime_checkable
class ResidentEngine(Protocol):
    """An engine that can leave outputs where it computes."""

    def run_resident(self, inputs: Arrays, resident: Collection[str]) -> dict[str, Any]:
        """As :meth:`~edge_aac.engines.choice.Engine.run`, the outputs ``resident`` as :class:`ResidentArray`."""


def without_padding(cross: CrossAttention, padding: npt.NDArray[np.bool_]) -> CrossAttention:
    """Cross-attention keys or values less the memory steps that are padding.

    Args:
        cross: (layers, heads, T, head_size).
        padding: (T,), True = padding.
    """
    if isinstance(cross, np.ndarray):
        return np.ascontiguousarray(cross[:, :, ~padding])
    return cross.without(padding)


def on_host(cross: CrossAttention) -> Array:
    """Cross-attention keys or values for an engine that reads the host's memory."""
    return cross if isinstance(cross, np.ndarray) else np.asarray(cross.host(), dtype=np.float32)


def check_finite(logits: Logits, *kept: Array) -> None:
    """Refuse numbers that are none; -inf among the logits only forbids a token.

    Args:
        logits: (N, V).
        kept: what goes into the cache.

    Raises:
        DataError: a row of logits holds NaN or no finite number, or something kept is not finite.
    """
    # The highest logit of a row is NaN where any is, and infinite where none can be drawn.
    if not all(np.isfinite(array).all() for array in (logits.max(axis=-1), *kept)):
        raise DataError("the decoder gave NaN or infinite numbers: check the sound's level, or build the bundle again")


class HostSteps:
    """Steps over a cache in the host's memory, for an engine that only runs graphs.

    Args:
        engine: of the decoder graph.
        cache: keys and values (layers, N, heads, rows, head_size); written in place.
        cross: keys and values (layers, heads, T, head_size) that all rows share.
    """

    def __init__(self, engine: Engine, cache: tuple[Array, Array], cross: tuple[Array, Array]) -> None:
        self._engine = engine
        self._keys, self._values = cache
        # Views of contiguous parts: the engine reads them where they are.
        self._fixed_inputs: Mapping[str, npt.NDArray[np.generic]] = {
            f"{name}_{layer}": array[layer]
            for name, array in zip(("self_keys", "self_values", *CROSS_ATTENTION), (*cache, *cross), strict=True)
            for layer in range(len(array))
        }

    def step(self, token_ids: TokenIds, step: int) -> Logits:
        """See :class:`DecodingSteps`."""
        outputs = self._engine.run(
            {**self._fixed_inputs, "token_ids": token_ids, "step": np.array([step], dtype=np.int64)}
        )
        logits, keys, values = (outputs[name] for name in ("logits", "new_keys", "new_values"))
        # Before anything is kept: the cache outlives the window, and a NaN in it would spoil all that follow.
        check_finite(logits, keys, values)
        self._keys[:, :, :, step] = keys[:, :, :, 0]
        self._values[:, :, :, step] = values[:, :, :, 0]
        return logits

    def reorder(self, parents: TokenIds, length: int) -> None:
        """See :class:`DecodingSteps`; only the positions that are written are moved."""
        if not np.array_equal(parents, np.arange(len(parents))):
            for cache in (self._keys, self._values):
                cache[:, :, :, :length] = cache[:, parents, :, :length]
