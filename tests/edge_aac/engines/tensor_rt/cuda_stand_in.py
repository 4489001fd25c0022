"""A stand-in for ``cuda.bindings.runtime`` that computes in the host's memory, with the manners of the real thing.

What is enqueued runs when the stream is waited for, not before: a buffer that is written too early, or read too early,
gives wrong numbers. Fresh memory is full of NaN. Addresses are checked against what was allocated, on the right side;
mapped memory has one on each side, which are not the same. A stream that is captured runs nothing, and must not be
waited for. Functions have the parameters, and enums the members, that ``tests/trt_api/cuda-*.json`` says.
"""

from __future__ import annotations

import ctypes
import json
import mmap
import os
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import IntEnum
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np

API = Path(__file__).parents[3] / "trt_api"
_ALIGNMENT = 256
_TEXTS = {
    "cudaErrorMemoryAllocation": b"out of memory",
    "cudaErrorInsufficientDriver": b"CUDA driver version is insufficient for CUDA runtime version",
    "cudaErrorNotSupported": b"operation not supported",
    "cudaErrorStreamCaptureInvalidated": b"operation failed due to a previous error during capture",
    "cudaErrorIllegalAddress": b"an illegal memory access was encountered",
}
# What the functions give besides the error code; None where that says that they failed.
_VALUES = {
    "cudaMemGetInfo": 2,
    **dict.fromkeys(("cudaGetDeviceCount", "cudaGetDeviceProperties", "cudaMalloc", "cudaMallocHost"), 1),
    **dict.fromkeys(("cudaDriverGetVersion", "cudaRuntimeGetVersion"), 1),
    **dict.fromkeys(("cudaStreamCreateWithFlags", "cudaStreamEndCapture", "cudaGraphInstantiate"), 1),
    **dict.fromkeys(("cudaStreamIsCapturing", "cudaHostAlloc", "cudaHostGetDevicePointer"), 1),
}


@dataclass
class _Allocation:
    memory: np.ndarray
    address: int
    size: int
    place: str
    mapped_at: int | None = None


@dataclass
class _Stream:
    handle: int
    queue: list[Callable[[], None]] = field(default_factory=list)
    captured: list[Callable[[], None]] | None = None
    spoilt: bool = False
    gone: bool = False

    def __int__(self) -> int:
        return self.handle

    def put(self, operation: Callable[[], None]) -> None:
        assert not self.gone, "the stream was destroyed"
        (self.queue if self.captured is None else self.captured).append(operation)


@dataclass
class _Graph:
    operations: list[Callable[[], None]]
    alive: bool = True


class StandInCuda:
    """One GPU.

    Args:
        version: of the cuda-bindings whose API it has.

    Attributes:
        module: what is imported as ``cuda.bindings.runtime``.
        copied: bytes by direction ("host to device", …), of what has run.
        did: how often each function was called.
        memory_bytes: of the GPU; more is refused.
        failing: function → name of the error that it gives; it does nothing then, so that a capture goes on.
        driver: version of CUDA that the driver is for; 0 where there is none.
        uncapturable: whether what TensorRT does cannot be captured, which spoils the capture.
        properties: of the GPU.
    """

    def __init__(self, version: str = "12.9.2") -> None:
        facts = json.loads((API / f"cuda-{version}.json").read_text())
        self.copied: Counter[str] = Counter()
        self.did: Counter[str] = Counter()
        self.memory_bytes = 1 << 32
        self.failing: dict[str, str] = {}
        self.uncapturable = False
        self.driver = 12_060
        self.properties: dict[str, Any] = dict(
            # Of 8 GB the firmware takes a part.
            **dict(name=b"Orin" + bytes(252), major=8, minor=7, integrated=1, canMapHostMemory=1),
            **dict(multiProcessorCount=8, totalGlobalMem=7_620 << 20),
        )
        assert set(self.properties) == set(facts["cudaDeviceProp"])
        self._allocations: dict[int, _Allocation] = {}
        self._streams: dict[int, _Stream] = {}
        self._enums: dict[str, Any] = {name: IntEnum(name, members) for name, members in facts["enums"].items()}  # type: ignore[misc]
        self.module = self._module(facts)

    def _module(self, facts: dict[str, Any]) -> ModuleType:
        module = ModuleType("cuda.bindings.runtime")
        for name, enum in self._enums.items():
            setattr(module, name, enum)
        for name, value in facts["constants"].items():
            setattr(module, name, value)
        for name, parameters in facts["functions"].items():
            setattr(module, name, self._function(name, len(parameters)))
        return module

    def _function(self, name: str, parameters: int) -> Callable[..., tuple[Any, ...]]:
        run: Callable[..., tuple[Any, ...]] = getattr(self, f"_{name}")

        def call(*arguments: Any) -> tuple[Any, ...]:
            if len(arguments) != parameters:
                raise TypeError(f"{name}() takes exactly {parameters} positional arguments ({len(arguments)} given)")
            self.did[name] += 1
            if name in self.failing:
                return self._error(self.failing[name]), *([None] * _VALUES.get(name, 0))
            code, *values = run(*arguments)
            return self._error(code), *values

        return call

    def _error(self, name: str) -> Any:
        return self._enums["cudaError_t"][name]

    # What the stand-in of TensorRT asks.

    def stream(self, handle: int) -> _Stream:
        """A stream by its handle; TensorRT must be given one, and not the default one."""
        assert handle in self._streams, "TensorRT warns of the default stream, and cannot be captured on it"
        stream = self._streams[handle]
        assert not stream.gone, "the stream was destroyed"
        return stream

    def view(self, address: int, dtype: Any, shape: tuple[int, ...], place: str = "device") -> np.ndarray:
        """What lies at an address."""
        size = int(np.prod(shape, dtype=np.int64)) * np.dtype(dtype).itemsize
        assert self._inside(address, size, place), f"{size} bytes at {address} are not allocated in the {place}"
        return np.frombuffer((ctypes.c_byte * size).from_address(address), dtype=dtype).reshape(shape)

    def _inside(self, address: int, size: int, place: str) -> bool:
        return any(
            allocation.place in ((place, "mapped") if place == "device" else (place,))
            and allocation.address <= address
            and address + size <= allocation.address + allocation.size
            for allocation in self._allocations.values()
        )

    def allocated(self, place: str) -> int:
        """Bytes in "device" or "pinned" memory, or of the latter in what the GPU sees as well, "mapped"."""
        return sum(allocation.size for allocation in self._allocations.values() if allocation.place == place)

    # The functions.

    def _cudaGetDeviceCount(self) -> tuple[Any, ...]:
        return "cudaSuccess", 1

    def _cudaGetDeviceProperties(self, device: int) -> tuple[Any, ...]:
        return ("cudaSuccess", SimpleNamespace(**self.properties)) if device == 0 else ("cudaErrorInvalidValue", None)

    def _cudaDriverGetVersion(self) -> tuple[Any, ...]:
        return "cudaSuccess", self.driver

    def _cudaRuntimeGetVersion(self) -> tuple[Any, ...]:
        return "cudaSuccess", 12_090

    def _cudaMemGetInfo(self) -> tuple[Any, ...]:
        return "cudaSuccess", self.memory_bytes - self.allocated("device"), self.memory_bytes

    def _cudaGetErrorString(self, error: Any) -> tuple[Any, ...]:
        return "cudaSuccess", _TEXTS.get(error.name, error.name.encode())

    def _cudaGetErrorName(self, error: Any) -> tuple[Any, ...]:
        return "cudaSuccess", error.name.encode()

    def _cudaMalloc(self, size: int) -> tuple[Any, ...]:
        return self._allocate(size, "device")

    def _cudaMallocHost(self, size: int) -> tuple[Any, ...]:
        return self._allocate(size, "pinned")

    def _cudaHostAlloc(self, size: int, flags: int) -> tuple[Any, ...]:
        assert flags == 2, "cudaHostAllocMapped"
        if self._capturing():
            return "cudaErrorStreamCaptureUnsupported", None
        file = os.memfd_create("mapped")
        os.ftruncate(file, size)
        host, device = (np.frombuffer(mmap.mmap(file, size), np.uint8) for _ in range(2))
        os.close(file)
        host[:] = 0xFF
        addresses = host.ctypes.data, device.ctypes.data
        self._allocations[addresses[0]] = _Allocation(host, addresses[0], size, "pinned", addresses[1])
        self._allocations[addresses[1]] = _Allocation(device, addresses[1], size, "mapped")
        return "cudaSuccess", addresses[0]

    def _cudaHostGetDevicePointer(self, address: int, flags: int) -> tuple[Any, ...]:
        assert flags == 0
        allocation = self._allocations.get(address)
        if allocation is None or allocation.mapped_at is None:
            return "cudaErrorInvalidValue", None
        return "cudaSuccess", allocation.mapped_at

    def _allocate(self, size: int, place: str) -> tuple[Any, ...]:
        if self._capturing():
            return "cudaErrorStreamCaptureUnsupported", None
        if self.allocated("device") + size > self.memory_bytes:
            return "cudaErrorMemoryAllocation", None
        memory = np.full(size + _ALIGNMENT, 0xFF, np.uint8)
        address = -(-memory.ctypes.data // _ALIGNMENT) * _ALIGNMENT
        self._allocations[address] = _Allocation(memory, address, size, place)
        return "cudaSuccess", address

    def _cudaFree(self, address: int) -> tuple[Any, ...]:
        return self._release(address, "device")

    def _cudaFreeHost(self, address: int) -> tuple[Any, ...]:
        return self._release(address, "pinned")

    def _release(self, address: int, place: str) -> tuple[Any, ...]:
        allocation = self._allocations.get(address)
        if allocation is None or allocation.place != place:
            return ("cudaErrorInvalidValue",)
        del self._allocations[address]
        if allocation.mapped_at is not None:
            del self._allocations[allocation.mapped_at]
        return ("cudaSuccess",)

    def _cudaMemcpyAsync(self, target: int, source: int, size: int, kind: Any, stream: _Stream) -> tuple[Any, ...]:
        return self._cudaMemcpy2DAsync(target, size, source, size, size, 1, kind, stream)

    def _cudaMemcpy2DAsync(
        self,
        target: int,
        target_pitch: int,
        source: int,
        source_pitch: int,
        width: int,
        height: int,
        kind: Any,
        stream: _Stream,
    ) -> tuple[Any, ...]:
        assert isinstance(kind, self._enums["cudaMemcpyKind"])
        source_place, target_place = {
            "cudaMemcpyHostToDevice": ("pinned", "device"),
            "cudaMemcpyDeviceToHost": ("device", "pinned"),
            "cudaMemcpyDeviceToDevice": ("device", "device"),
        }[kind.name]
        if width > min(target_pitch, source_pitch):
            return ("cudaErrorInvalidPitchValue",)
        for address, pitch, place in ((target, target_pitch, target_place), (source, source_pitch, source_place)):
            if not self._inside(address, pitch * (height - 1) + width, place):
                return ("cudaErrorInvalidValue",)

        def copy() -> None:
            self.copied[f"{source_place} to {target_place}"] += width * height
            for row in range(height):
                ctypes.memmove(target + row * target_pitch, source + row * source_pitch, width)

        stream.put(copy)
        return ("cudaSuccess",)

    def _cudaMemsetAsync(self, address: int, value: int, count: int, stream: _Stream) -> tuple[Any, ...]:
        if not self._inside(address, count, "device"):
            return ("cudaErrorInvalidValue",)
        stream.put(lambda: ctypes.memset(address, value, count) and None)
        return ("cudaSuccess",)

    def _cudaStreamCreateWithFlags(self, flags: int) -> tuple[Any, ...]:
        assert flags == 1, "or it waits for the default stream"
        stream = _Stream(handle=0x5000 + len(self._streams))
        self._streams[stream.handle] = stream
        return "cudaSuccess", stream

    def _cudaStreamDestroy(self, stream: _Stream) -> tuple[Any, ...]:
        stream.queue.clear()
        stream.gone = True
        return ("cudaSuccess",)

    def _cudaStreamSynchronize(self, stream: _Stream) -> tuple[Any, ...]:
        if stream.captured is not None:
            stream.spoilt = True
            return ("cudaErrorStreamCaptureUnsupported",)
        queue, stream.queue = stream.queue, []
        for operation in queue:
            operation()
        return ("cudaSuccess",)

    def _capturing(self) -> bool:
        """Whether a stream is being captured; what must not happen meanwhile spoils the capture."""
        captured = [stream for stream in self._streams.values() if stream.captured is not None]
        for stream in captured:
            stream.spoilt = True
        return bool(captured)

    def _cudaStreamBeginCapture(self, stream: _Stream, mode: Any) -> tuple[Any, ...]:
        assert isinstance(mode, self._enums["cudaStreamCaptureMode"])
        if stream.captured is not None:
            return ("cudaErrorIllegalState",)
        stream.captured, stream.spoilt = [], False
        return ("cudaSuccess",)

    def _cudaStreamIsCapturing(self, stream: _Stream) -> tuple[Any, ...]:
        state = "None" if stream.captured is None else "Invalidated" if stream.spoilt else "Active"
        return "cudaSuccess", self._enums["cudaStreamCaptureStatus"][f"cudaStreamCaptureStatus{state}"]

    def _cudaStreamEndCapture(self, stream: _Stream) -> tuple[Any, ...]:
        assert stream.captured is not None
        operations, stream.captured = stream.captured, None
        return ("cudaErrorStreamCaptureInvalidated", None) if stream.spoilt else ("cudaSuccess", _Graph(operations))

    def _cudaGraphInstantiate(self, graph: _Graph, flags: int) -> tuple[Any, ...]:
        assert (graph.alive, flags) == (True, 0)
        return "cudaSuccess", _Graph(graph.operations)

    def _cudaGraphLaunch(self, executable: _Graph, stream: _Stream) -> tuple[Any, ...]:
        assert executable.alive
        for operation in executable.operations:
            stream.put(operation)
        return ("cudaSuccess",)

    def _cudaGraphDestroy(self, graph: _Graph) -> tuple[Any, ...]:
        graph.alive = False
        return ("cudaSuccess",)

    _cudaGraphExecDestroy = _cudaGraphDestroy
