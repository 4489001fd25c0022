"""The decoding step on the GPU: cache and cross-attention stay there, token ids go in and logits come out.

Everything that TensorRT reads and writes keeps its address for as long as the shapes are the same, so one CUDA graph
(token ids in, the plan, logits out) serves every step of every batch. What differs from step to step, where in the
cache the new rows go, is one strided copy for keys and one for values, enqueued behind the graph. A graph is good for
one state of the execution context: it is captured at the second step of a new shape, for TensorRT must have run once
with it, and dropped when shapes or addresses change. That is when the number of windows or rows changes; padding is
masked and changes no shape. Where CUDA or TensorRT refuses a graph, the steps go on without one, launch by launch.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass

import numpy as np

from edge_aac.engines.contract import Logits, TokenIds
from edge_aac.engines.steps import CROSS_ATTENTION, CrossAttention, Memory, on_host
from edge_aac.engines.tensor_rt.cuda_memory import (
    Cuda,
    CudaGraph,
    CudaStream,
    DeviceBuffer,
    GpuRefusalError,
    PinnedBuffer,
    aligned,
    size_bytes,
)
from edge_aac.engines.tensor_rt.device_array import DeviceArray
from edge_aac.engines.tensor_rt.plan import BoundPlan, Shape
from edge_aac.engines.tensor_rt.read_back import ReadBack
from edge_aac.engines.tensor_rt.run_times import RunTimes
from edge_aac.errors import DataError

_log = logging.getLogger(__name__)

_CACHE = ("self_keys", "self_values")
_NEW_ROWS = ("new_keys", "new_values")


@dataclass(frozen=True)
class _Layers:
    """Arrays in one buffer, one a layer, each at an address that TensorRT accepts."""

    address: int
    layers: int
    array_bytes: int

    @property
    def pitch(self) -> int:
        return aligned(self.array_bytes)

    def layer(self, index: int) -> int:
        return self.address + index * self.pitch

    @property
    def pieces(self) -> list[tuple[int, int]]:
        """First layer and number of layers of every part that has no gap."""
        if self.pitch == self.array_bytes:
            return [(0, self.layers)]
        return [(layer, 1) for layer in range(self.layers)]


class DeviceDecoder:
    """The buffers of a decoder's plan, for the largest shapes that it was built for, and the graph of its step.

    Args:
        plan: plan of a decoder.
        cuda: runtime that allocates the buffers.
        stream: stream that all work is enqueued on.
        graphs: whether the step is captured as a CUDA graph, where the GPU can do that.
        times: of the steps.

    Raises:
        DataError: its inputs and outputs do not fit together.
        DeviceError: there is no room for the buffers.
    """

    def __init__(self, plan: BoundPlan, cuda: Cuda, stream: CudaStream, graphs: bool, times: RunTimes) -> None:
        self._plan = plan
        self._cuda = cuda
        self._stream = stream
        self._graphs = graphs
        self._times = times
        if "memory_padding" not in plan.inputs:
            raise DataError(
                f"{plan.path} has no memory_padding, its form is older than this edge-aac: export the bundle again"
            )
        if missing := [name for name in ("logits", *_NEW_ROWS) if name not in plan.outputs]:
            raise DataError(f"{plan.path} gives no {missing[0]}, so that it is no decoder: export the bundle again")
        self._layers = sum(name.startswith("self_keys_") for name in plan.inputs)
        self._dtypes = {kind: self._check(kind) for kind in (*_CACHE, *CROSS_ATTENTION)}
        for kind, rows in zip(_CACHE, _NEW_ROWS, strict=True):
            if plan.outputs[rows].dtype != self._dtypes[kind]:
                raise DataError(f"{plan.path} gives {rows} of another type than its cache: export the bundle again")
        self._buffers = {
            kind: DeviceBuffer(cuda, self._layers * aligned(plan.inputs[f"{kind}_0"].largest_bytes))
            for kind in (*_CACHE, *CROSS_ATTENTION)
        }
        self._moved = DeviceBuffer(cuda, self._buffers["self_keys"].size)
        self._rows = {name: DeviceBuffer(cuda, plan.outputs[name].largest_bytes) for name in _NEW_ROWS}
        self._logits = ReadBack(cuda, plan.outputs["logits"].largest_bytes)
        self._padding = DeviceBuffer(cuda, plan.inputs["memory_padding"].largest_bytes)
        self._padding_host = PinnedBuffer(cuda, self._padding.size)
        # Token ids and the step lie behind each other, so that they go in with one copy.
        self._step_offset = aligned(plan.inputs["token_ids"].largest_bytes)
        self._fed_host = PinnedBuffer(cuda, self._step_offset + plan.inputs["step"].largest_bytes)
        self._fed = DeviceBuffer(cuda, self._fed_host.size)
        self._staging: dict[str, PinnedBuffer] = {}
        self._shapes: dict[str, Shape] = {}
        self._addresses: dict[str, int] = {}
        self._ran = False
        self._graph: CudaGraph | None = None
        self.opened = 0
        """How many batches of windows were; only the newest owns the cache."""

    def open(self, rows: int, positions: int, memory: Memory) -> DeviceSteps:
        """See :meth:`edge_aac.engines.steps.StepwiseEngine.open_steps`.

        Raises:
            DataError: the plan was not built for so many rows, windows, positions or memory steps.
            DeviceError: the GPU failed.
            RuntimeError: the memory stayed on the device, and the encoder ran again since.
        """
        with self._stream.lock:
            self._set_shapes(rows, positions, memory.padding.shape)
            self._arrange()
            # What earlier windows left is masked, but 0 x NaN is NaN: a window of rubbish must not spoil the next.
            for kind in _CACHE:
                held = self._held(kind)
                self._stream.clear(held.address, held.layers * held.pitch)
            for kind, array in zip(CROSS_ATTENTION, (memory.keys, memory.values), strict=True):
                self._place(kind, array)
            dtype = self._plan.inputs["memory_padding"].dtype
            self._padding_host.array(dtype, memory.padding.shape)[...] = memory.padding
            self._stream.upload(self._padding.address, self._padding_host, size_bytes(dtype, memory.padding.shape))
            # The encoder may run again, and staged arrays be written again, as soon as this returns.
            self._stream.synchronise()
        self.opened += 1
        return DeviceSteps(self, positions)

    def step(self, token_ids: TokenIds, step: int) -> Logits:
        """Decode a step of the windows that are open; see :meth:`edge_aac.engines.steps.DecodingSteps.step`."""
        with self._stream.lock, self._times.one():
            self._arrange()
            fed = self._fed_host
            fed.array(self._plan.inputs["token_ids"].dtype, token_ids.shape)[...] = token_ids
            fed.array(self._plan.inputs["step"].dtype, (1,), self._step_offset)[0] = step
            if not self._launch():
                self._enqueue()
            for kind, rows in zip(_CACHE, _NEW_ROWS, strict=True):
                self._keep(kind, self._rows[rows].address, step)
            self._stream.synchronise()
            self._ran = True
            logits = self._logits.array(self._plan.outputs["logits"].dtype, self._logits_shape)
            return logits.astype(np.float32)

    def reorder(self, parents: TokenIds) -> None:
        """Move whole rows of the cache, by way of a second buffer: a row may be both read and written."""
        moved = [(row, int(parent)) for row, parent in enumerate(parents) if row != parent]
        row_bytes = size_bytes(self._dtypes["self_keys"], self._shapes["self_keys_0"][1:])
        with self._stream.lock:
            for kind in _CACHE:
                held = self._held(kind)
                beside = _Layers(self._moved.address, held.layers, held.array_bytes)
                for row, parent in moved:
                    self._copy_row(beside, row, held, parent, row_bytes)
                for row, _ in moved:
                    self._copy_row(held, row, beside, row, row_bytes)

    def _check(self, kind: str) -> np.dtype[np.generic]:
        """The type of all layers of a kind."""
        tensors = {self._plan.inputs.get(f"{kind}_{layer}") for layer in range(self._layers)}
        first = self._plan.inputs.get(f"{kind}_0")
        if first is None or tensors != {first}:
            raise DataError(f"{self._plan.path} has layers whose {kind} differ: export the bundle again")
        return first.dtype

    def _set_shapes(self, rows: int, positions: int, memory: tuple[int, ...]) -> None:
        """Set the input shapes of a batch whose padding has the shape ``memory``."""
        windows, memory_steps = memory
        shapes: dict[str, Shape] = {"token_ids": (rows, 1), "step": (1,), "memory_padding": (windows, memory_steps)}
        for layer in range(self._layers):
            for kind in _CACHE:
                _, heads, _, head_size = self._plan.inputs[f"{kind}_{layer}"].shape
                shapes[f"{kind}_{layer}"] = (rows, heads, positions, head_size)
            for kind in CROSS_ATTENTION:
                _, heads, _, head_size = self._plan.inputs[f"{kind}_{layer}"].shape
                shapes[f"{kind}_{layer}"] = (windows, heads, memory_steps, head_size)
        self._shapes = shapes
        self._addresses = {
            "token_ids": self._fed.address,
            "step": self._fed.address + self._step_offset,
            "memory_padding": self._padding.address,
            "logits": self._logits.address,
            **{name: buffer.address for name, buffer in self._rows.items()},
            **{
                f"{kind}_{layer}": self._held(kind).layer(layer)
                for kind in (*_CACHE, *CROSS_ATTENTION)
                for layer in range(self._layers)
            },
        }

    def _arrange(self) -> None:
        """Set shapes and addresses where they are not yet so; nothing, in all but the first step of a shape."""
        reshaped, rebound = self._plan.arrange(self._shapes), self._plan.bind(self._addresses)
        if reshaped or rebound:
            self._graph, self._ran = None, False
            self._logits_shape = self._plan.output_shapes()["logits"]

    def _launch(self) -> bool:
        """Enqueue the step's graph; False where there is none, for a shape that is new, or ever."""
        if not self._graphs or not self._ran:
            return False
        try:
            if self._graph is None:
                self._graph = self._stream.capture(self._enqueue)
            self._stream.launch(self._graph)
        except GpuRefusalError as error:
            # An error that outlasts its call, as that of a wrong address does, meets the plain launch as well.
            self._graphs, self._graph = False, None
            _log.warning(
                "%s; the steps of %s go on without a CUDA graph, which takes the processor longer "
                "(--no-cuda-graph asks for none)",
                error.why,
                self._plan.path,
            )
            return False
        return True

    def _enqueue(self) -> None:
        """Token ids in, the plan, logits out (unless the host sees them in place): the same addresses at every step."""
        self._stream.upload(self._fed.address, self._fed_host, self._fed.size)
        self._plan.enqueue(self._stream.handle)
        logits_bytes = size_bytes(self._plan.outputs["logits"].dtype, self._logits_shape)
        self._logits.fetch(self._stream, logits_bytes)

    def _held(self, kind: str) -> _Layers:
        array_bytes = size_bytes(self._dtypes[kind], self._shapes[f"{kind}_0"])
        return _Layers(self._buffers[kind].address, self._layers, array_bytes)

    def _keep(self, kind: str, new_rows: int, step: int) -> None:
        """Enqueue that a step's rows (layers, N, heads, 1, head_size) become position ``step`` of the cache."""
        rows, heads, positions, head_size = self._shapes[f"{kind}_0"]
        width = size_bytes(self._dtypes[kind], (head_size,))
        held = self._held(kind)
        for first, layers in held.pieces:
            self._stream.copy_rows(
                (held.layer(first) + step * width, positions * width),
                (new_rows + first * rows * heads * width, width),
                width,
                layers * rows * heads,
            )

    def _copy_row(self, target: _Layers, row: int, source: _Layers, parent: int, row_bytes: int) -> None:
        self._stream.copy_rows(
            (target.address + row * row_bytes, target.pitch),
            (source.address + parent * row_bytes, source.pitch),
            row_bytes,
            source.layers,
        )

    def _place(self, kind: str, cross: CrossAttention) -> None:
        """Enqueue that cross-attention keys or values (W, layers, …) come to where the plan reads them, by layer."""
        held = self._held(kind)
        windows, heads, memory_steps, head_size = self._shapes[f"{kind}_0"]
        if cross.shape != (windows, self._layers, heads, memory_steps, head_size):
            raise DataError(
                f"the encoder's {kind} {list(cross.shape)} do not fit {self._plan.path}: build the bundle again"
            )
        if not isinstance(cross, DeviceArray) or cross.dtype != self._dtypes[kind]:
            self._stage(kind, held, cross)
            return
        width = size_bytes(cross.dtype, (heads, memory_steps, head_size))
        for layer in range(self._layers):
            source = (cross.address + layer * width, self._layers * width)
            self._stream.copy_rows((held.layer(layer), width), source, width, windows)

    def _stage(self, kind: str, held: _Layers, cross: CrossAttention) -> None:
        """Copy by way of the host, where the encoder runs elsewhere or gives numbers of another type."""
        if isinstance(cross, DeviceArray):
            _log.warning("%s: the encoder's %s pass through the host, of another type", self._plan.path, kind)
        if kind not in self._staging:
            self._staging[kind] = PinnedBuffer(self._cuda, self._buffers[kind].size)
        staged = self._staging[kind].array(np.uint8, (held.layers, held.pitch))
        for target, layer in zip(staged, on_host(cross).swapaxes(0, 1), strict=True):
            target[: held.array_bytes].view(self._dtypes[kind])[...] = layer.ravel()
        self._stream.upload(held.address, self._staging[kind], staged.nbytes)


class DeviceSteps:
    """Windows on the GPU (see :class:`edge_aac.engines.steps.DecodingSteps`)."""

    def __init__(self, decoder: DeviceDecoder, positions: int) -> None:
        self._decoder = decoder
        self._positions = positions
        self._number = decoder.opened

    def step(self, token_ids: TokenIds, step: int) -> Logits:
        """See :meth:`edge_aac.engines.steps.DecodingSteps.step`."""
        self._must_be_open()
        if not 0 <= step < self._positions:
            raise IndexError(f"step {step} of a cache of {self._positions} positions")
        return self._decoder.step(token_ids, step)

    def reorder(self, parents: TokenIds, length: int) -> None:
        """See :meth:`edge_aac.engines.steps.DecodingSteps.reorder`; rows move whole, what is not written is masked."""
        self._must_be_open()
        self._decoder.reorder(parents)

    def _must_be_open(self) -> None:
        if self._decoder.opened != self._number:
            raise RuntimeError("other windows of the same engine were opened; the cache is their own now")
