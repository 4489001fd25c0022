"""Stand-ins for the three graphs of a bundle, so that a test needs no model."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from edge_aac.engines.contract import GraphDescription, TensorDescription
from edge_aac.engines.steps import Memory

Array = npt.NDArray[Any]
Shape = tuple[int | str | None, ...]
END = 2


_INTEGERS, _BOOLEANS = {"token_ids", "step", "attention_mask"}, {"memory_padding", "frame_padding"}


def described_as(inputs: Mapping[str, Shape], outputs: Mapping[str, Shape]) -> GraphDescription:
    """What a graph with these inputs and outputs declares."""

    def tensor(name: str, shape: Shape) -> TensorDescription:
        dtype = "int64" if name in _INTEGERS else "bool" if name in _BOOLEANS else "float32"
        return TensorDescription(dtype, shape)

    return GraphDescription(
        *({name: tensor(name, shape) for name, shape in part.items()} for part in (inputs, outputs))
    )


class FakeDecoderEngine:
    """A decoder graph that remembers what it gave out, and insists on getting it back.

    Every row that it gives out is unlike all others and stands for a prefix. The rows that come back in the cache say
    which prefix each of them goes on from: they must be those of one prefix from its first token on, the same in all
    layers, in keys and values. The logits are those of the prefix that the cache tells.

    Args:
        logits: (N, t) prefixes → (N, V) logits.
        capacity: tokens that the cache holds; None leaves the axis open.
        windows: how many share the batch.
    """

    layers, heads, head_size, memory_steps = 2, 3, 4, 5

    def __init__(self, logits: Callable[[Array], Array], capacity: int | None = 32, windows: int = 1) -> None:
        self._logits = logits
        self._capacity = capacity
        self._random = np.random.default_rng(99)
        self._given_out: dict[bytes, tuple[int, ...]] = {}
        self.prefixes = np.zeros((0, 0), np.int64)
        self.seen: set[tuple[int, ...]] = set()
        self.batches = 0
        self.cache_shapes: set[tuple[int, ...]] = set()
        self.cache_addresses: list[tuple[int, ...]] = []
        self.cross_keys, self.cross_values = self._random.standard_normal(
            (2, windows, self.layers, self.heads, self.memory_steps, self.head_size)
        ).astype(np.float32)
        self.padding: Array | None = None
        """(W, T) that it insists on; None = nothing is padding."""

    @property
    def memory(self) -> Memory:
        """What it insists on."""
        padding = np.zeros((len(self.cross_keys), self.memory_steps), bool) if self.padding is None else self.padding
        return Memory(self.cross_keys, self.cross_values, padding)

    @property
    def input_shapes(self) -> dict[str, Shape]:
        cache: Shape = ("rows", self.heads, self._capacity or "capacity", self.head_size)
        cross: Shape = ("windows", self.heads, "memory_steps", self.head_size)
        kinds = {"self_keys": cache, "self_values": cache, "cross_keys": cross, "cross_values": cross}
        states = {f"{kind}_{layer}": shape for kind, shape in kinds.items() for layer in range(self.layers)}
        return {"token_ids": ("rows", 1), "step": (1,), "memory_padding": ("windows", "memory_steps"), **states}

    @property
    def description(self) -> GraphDescription:
        new: Shape = (self.layers, "rows", self.heads, 1, self.head_size)
        outputs: dict[str, Shape] = {"logits": ("rows", None), "new_keys": new, "new_values": new}
        return described_as(self.input_shapes, outputs)

    def run(self, inputs: dict[str, Array]) -> dict[str, Array]:
        assert set(inputs) == set(self.input_shapes)
        token_ids, step = inputs["token_ids"], int(inputs["step"][0])
        count = len(token_ids)
        assert (token_ids.shape, token_ids.dtype) == ((count, 1), np.int64)
        assert (inputs["step"].shape, inputs["step"].dtype) == ((1,), np.int64)
        memory = self.memory
        assert count % memory.windows == 0
        assert inputs["memory_padding"].dtype == np.bool_
        assert np.array_equal(inputs["memory_padding"], memory.padding)
        for kind, expected in (("cross_keys", self.cross_keys), ("cross_values", self.cross_values)):
            for layer in range(self.layers):
                cross = inputs[f"{kind}_{layer}"]
                assert cross.flags.c_contiguous, "an engine would have to copy it, at every step"
                assert np.array_equal(cross, expected[:, layer]), f"{kind}_{layer}"
        if step == 0:
            self._given_out = {}
            self.batches += 1
        self.prefixes = np.concatenate((self._cached_prefixes(inputs, count, step), token_ids), axis=1)
        prefixes = [tuple(prefix) for prefix in self.prefixes.tolist()]
        self.seen.update(prefixes)
        keys, values = self._random.standard_normal((2, self.layers, count, self.heads, 1, self.head_size)).astype("f4")
        for row, prefix in enumerate(prefixes):
            self._given_out[_row_bytes(keys[:, row, :, 0], values[:, row, :, 0])] = prefix
        return {"logits": self._logits(self.prefixes).astype(np.float32), "new_keys": keys, "new_values": values}

    def accept(self, rows: Array, prefix: Array) -> None:
        """Take keys and values ``rows`` (layers, heads, head_size) for what was given out for a prefix."""
        self._given_out[_row_bytes(rows, rows)] = tuple(prefix.tolist())

    def _cached_prefixes(self, inputs: dict[str, Array], count: int, step: int) -> Array:
        """(N, step) tokens that the cache's rows stand for."""
        caches = [[inputs[f"{kind}_{layer}"] for layer in range(self.layers)] for kind in ("self_keys", "self_values")]
        self.cache_addresses.append(tuple(cache.ctypes.data for caches_of_kind in caches for cache in caches_of_kind))
        keys, values = np.array(caches)
        self.cache_shapes.add(keys.shape[1:])
        capacity = self._capacity or keys.shape[3]
        assert keys.shape == values.shape == (self.layers, count, self.heads, capacity, self.head_size)
        assert step <= capacity
        assert all(cache.dtype == np.float32 and cache.flags.c_contiguous for kind in caches for cache in kind)
        prefixes = np.zeros((count, step), np.int64)
        for row in range(count):
            for position in range(step):
                given = _row_bytes(keys[:, row, :, position], values[:, row, :, position])
                prefix = self._given_out.get(given)
                assert prefix is not None, f"position {position} of row {row} at step {step} was never given out"
                assert prefix[:-1] == tuple(prefixes[row, :position].tolist()), f"row {row} is of two prefixes"
                prefixes[row, position] = prefix[-1]
        return prefixes


def _row_bytes(keys: Array, values: Array) -> bytes:
    return np.ascontiguousarray(keys).tobytes() + np.ascontiguousarray(values).tobytes()


def prefix_logits(vocabulary: int, seed: int, end_bias: float = 0.0) -> Callable[[Array], Array]:
    """Logits (N, V) that depend on nothing but the seed and each row's whole prefix."""

    def logits(prefixes: Array) -> Array:
        rows = [np.random.default_rng([seed, *prefix]).normal(0, 2, vocabulary) for prefix in prefixes.tolist()]
        scores = np.array(rows)
        scores[:, END] += end_bias
        return scores

    return logits


class FakeEncoderEngine:
    """An encoder that gives prepared outputs and keeps what it was asked.

    Args:
        cross_keys, cross_values: (W, layers, heads, T, head_size), of which each run gives the next windows' part.
        memory_padding: (W, T), True = padding; given where the encoder is one that takes ``frame_padding``.
    """

    audio_embedding = np.array([3.0, 4.0], np.float32)

    def __init__(self, cross_keys: Array, cross_values: Array, memory_padding: Array | None = None) -> None:
        self._outputs = {"cross_keys": cross_keys, "cross_values": cross_values}
        self._outputs["audio_embedding"] = np.tile(self.audio_embedding, (len(cross_keys), 1))
        self._given = 0
        self.input_shapes: dict[str, Shape] = {"fbank": ("windows", 998, 128)}
        if memory_padding is not None:
            self._outputs["memory_padding"] = memory_padding
            self.input_shapes["frame_padding"] = ("windows", 998)
        self.inputs: list[dict[str, Array]] = []

    @property
    def description(self) -> GraphDescription:
        """Sizes are left open: what is given may be of any."""
        ranks = {name: array.ndim for name, array in self._outputs.items()}
        outputs: dict[str, Shape] = {name: (None,) * rank for name, rank in ranks.items()}
        return described_as(self.input_shapes, outputs)

    def run(self, inputs: dict[str, Array]) -> dict[str, Array]:
        assert set(inputs) == set(self.input_shapes)
        assert all(len(array) == 1 for array in inputs.values()), "a processor gains nothing from more at once"
        self.inputs.append(dict(inputs))
        place = self._given % len(self._outputs["cross_keys"])
        self._given += 1
        return {name: array[place : place + 1] for name, array in self._outputs.items()}


class FakeTextEmbedder:
    """A text embedder that looks its vectors up by the token ids it is given, padding left out."""

    def __init__(self, vectors: Mapping[tuple[int, ...], Sequence[float]]) -> None:
        self._vectors = vectors
        self.calls = 0
        self.input_shapes: dict[str, Shape] = {name: ("texts", "tokens") for name in ("token_ids", "attention_mask")}

    @property
    def description(self) -> GraphDescription:
        return described_as(self.input_shapes, {"embedding": ("texts", None)})

    def run(self, inputs: dict[str, Array]) -> dict[str, Array]:
        self.calls += 1
        rows = zip(inputs["token_ids"], inputs["attention_mask"], strict=True)
        vectors = [self._vectors[tuple(ids[mask == 1].tolist())] for ids, mask in rows]
        return {"embedding": np.asarray(vectors, np.float32)}
