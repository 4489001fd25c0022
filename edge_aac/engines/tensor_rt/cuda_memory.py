"""CUDA's memory, one stream and its graphs, through NVIDIA's cuda-python; every call is checked.

Written against cuda-bindings 12.9 and 13.5 (their signatures were read, and the calls made without a GPU); never run on
a GPU. The older layout ``from cuda import cudart`` is not supported: cuda-bindings 12.8 or newer.
"""

from __future__ import annotations

import ctypes
import importlib
import math
import threading
import weakref
from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np
import numpy.typing as npt

from edge_aac.board.gpu_access import access_fault
from edge_aac.errors import DeviceError

# What cudaMalloc gives is aligned to, and what TensorRT wants of every address.
ALIGNMENT_BYTES = 256

CUDA_PYTHON_MEND = (
    "run `pip install 'cuda-python>=12.8,<13'` on JetPack 6, `pip install 'cuda-python>=13,<14'` on JetPack 7"
)

_SUCCESS = 0
_NO_VERSION = "0.0"


def aligned(size: int) -> int:
    """The next size, in bytes, behind which an aligned address lies."""
    return -(-size // ALIGNMENT_BYTES) * ALIGNMENT_BYTES


def size_bytes(dtype: npt.DTypeLike, shape: tuple[int, ...]) -> int:
    """The bytes of an array without gaps."""
    return math.prod(shape) * np.dtype(dtype).itemsize


def load_runtime() -> ModuleType:
    """``cuda.bindings.runtime``.

    Raises:
        DeviceError: cuda-python is not installed, or too old.
    """
    try:
        return importlib.import_module("cuda.bindings.runtime")
    except ImportError as error:
        raise DeviceError(f"cuda-python cannot be imported ({error}): {CUDA_PYTHON_MEND}") from error


def _version(number: int) -> str:
    """12060 → "12.6", as CUDA counts its versions."""
    return f"{number // 1000}.{number % 1000 // 10}"


class GpuRefusalError(DeviceError):
    """The GPU, or TensorRT on it, did not do what it was asked for.

    Attributes:
        why: what it could not do and why, without the mend.
    """

    def __init__(self, why: str, mend: str) -> None:
        super().__init__(f"{why}: {mend}")
        self.why = why


class Cuda:
    """CUDA's runtime; each call either does what it says or raises.

    Raises:
        DeviceError: cuda-python is missing, or no GPU can be used.
    """

    def __init__(self) -> None:
        self.runtime: Any = load_runtime()
        error, count = self.runtime.cudaGetDeviceCount()
        if int(error) != _SUCCESS or not count:
            mend = (
                self._driver_mend(error)
                or access_fault()
                or (
                    "run on a Jetson as a user of the groups video and render, a container with `--runtime nvidia "
                    "--group-add $(stat -c %g /dev/dri/renderD128)`, or choose --backend onnxruntime"
                )
            )
            raise DeviceError(f"no CUDA GPU can be used here ({self._text(error)}): {mend}")

    def versions(self) -> tuple[str, str]:
        """Versions of CUDA ("12.6") that the driver and cuda-python are for; without a driver the first is "0.0"."""
        driver = self.checked("tell its driver's version", self.runtime.cudaDriverGetVersion())
        runtime = self.checked("tell its runtime's version", self.runtime.cudaRuntimeGetVersion())
        return _version(driver), _version(runtime)

    def _driver_mend(self, error: Any) -> str:
        """What mends a driver that is too old for cuda-python; empty for any other error.

        And where there is no driver, of which CUDA says the same.
        """
        if int(error) != int(self.runtime.cudaError_t.cudaErrorInsufficientDriver):
            return ""
        driver, runtime = self.versions()
        if driver == _NO_VERSION:
            return ""
        return f"the driver is for CUDA {driver} and this cuda-python for CUDA {runtime}, {CUDA_PYTHON_MEND}"

    def properties(self) -> Any:
        """``cudaDeviceProp`` of the first GPU."""
        return self.checked("look at the GPU", self.runtime.cudaGetDeviceProperties(0))

    def shares_memory(self) -> bool:
        """Whether the GPU has no memory but the host's, as on a Jetson, and sees what is pinned there."""
        found = self.properties()
        return bool(found.integrated and found.canMapHostMemory)

    def free_bytes(self) -> int:
        """Device memory that is free; on a Jetson that is the host's memory, less what caches hold."""
        free, _ = self.checked("ask for its free memory", self.runtime.cudaMemGetInfo())
        return int(free)

    def checked(self, doing: str, answer: tuple[Any, ...]) -> Any:
        """The results of a call without its error code.

        Args:
            doing: completes "the GPU could not …".
            answer: return value of a function of ``cuda.bindings.runtime``.

        Raises:
            GpuRefusalError: the code is an error.
        """
        error, *values = answer
        if int(error) == _SUCCESS:
            return values[0] if len(values) == 1 else tuple(values)
        if int(error) == int(self.runtime.cudaError_t.cudaErrorMemoryAllocation):
            mend = "stop other programs, or choose fewer --candidates"
        else:
            mend = "restart edge-aac, and the board where that does not mend it"
        raise GpuRefusalError(f"the GPU could not {doing} ({self._text(error)})", mend)

    def _text(self, error: Any) -> str:
        _, text = self.runtime.cudaGetErrorString(error)
        return str(text.decode() if isinstance(text, bytes) else text)


class DeviceBuffer:
    """Bytes in the GPU's memory, freed with the object.

    Raises:
        DeviceError: there is no room.
    """

    def __init__(self, cuda: Cuda, size: int) -> None:
        self.size = size
        self.address = int(cuda.checked(f"give {size} bytes of memory", cuda.runtime.cudaMalloc(size)))
        # A failure to free has no one to tell: at the interpreter's end CUDA may be gone before the buffer.
        self._freed = weakref.finalize(self, cuda.runtime.cudaFree, self.address)


class PinnedBuffer:
    """Bytes in the host's memory that the GPU copies from and to by itself, freed with the object.

    Raises:
        DeviceError: there is no room.
    """

    def __init__(self, cuda: Cuda, size: int) -> None:
        self.size = size
        self.address = int(cuda.checked(f"pin {size} bytes of memory", self._pin(cuda)))
        self._freed = weakref.finalize(self, cuda.runtime.cudaFreeHost, self.address)

    def _pin(self, cuda: Cuda) -> tuple[Any, ...]:
        answer: tuple[Any, ...] = cuda.runtime.cudaMallocHost(self.size)
        return answer

    def array(self, dtype: npt.DTypeLike, shape: tuple[int, ...], offset: int = 0) -> npt.NDArray[Any]:
        """A view of the bytes from ``offset`` on; good as long as the buffer."""
        size = size_bytes(dtype, shape)
        if offset + size > self.size:
            raise ValueError(f"{offset + size} bytes do not fit into {self.size}")
        # from_address: the memory is CUDA's, not Python's.
        memory = (ctypes.c_byte * size).from_address(self.address + offset)
        view: npt.NDArray[Any] = np.frombuffer(memoryview(memory), dtype=np.dtype(dtype)).reshape(shape)
        return view


class MappedBuffer(PinnedBuffer):
    """Pinned memory that the GPU also reads and writes in place.

    Raises:
        DeviceError: there is no room, or the GPU cannot see the host's memory.

    Attributes:
        device_address: address of the first byte for the GPU; the host's may be another.
    """

    def __init__(self, cuda: Cuda, size: int) -> None:
        super().__init__(cuda, size)
        answer = cuda.runtime.cudaHostGetDevicePointer(self.address, 0)
        self.device_address = int(cuda.checked("see the host's memory", answer))

    def _pin(self, cuda: Cuda) -> tuple[Any, ...]:
        answer: tuple[Any, ...] = cuda.runtime.cudaHostAlloc(self.size, cuda.runtime.cudaHostAllocMapped)
        return answer


class CudaGraph:
    """Work captured from a stream, to be launched again and again with the same addresses."""

    def __init__(self, cuda: Cuda, executable: Any) -> None:
        self.executable = executable
        self._freed = weakref.finalize(self, cuda.runtime.cudaGraphExecDestroy, executable)


class CudaStream:
    """A CUDA stream, not the default one: enqueued work runs in order, after the call has returned.

    Raises:
        DeviceError: CUDA refuses it.

    Attributes:
        handle: CUDA's own, as a number; another one after a capture that CUDA does not end.
        lock: lock that a thread holds from its first enqueued call until it has waited, so that threads may share the
            stream.
    """

    def __init__(self, cuda: Cuda) -> None:
        self._cuda = cuda
        self.lock = threading.RLock()
        self._open()

    def _open(self) -> None:
        cuda, runtime = self._cuda, self._cuda.runtime
        self._stream = cuda.checked("open a stream", runtime.cudaStreamCreateWithFlags(runtime.cudaStreamNonBlocking))
        self.handle = int(self._stream)
        self._freed = weakref.finalize(self, runtime.cudaStreamDestroy, self._stream)

    def upload(self, target: int, source: PinnedBuffer, size: int) -> None:
        """Enqueue a copy to a device address from a pinned buffer, which must stay as it is until then."""
        kind = self._cuda.runtime.cudaMemcpyKind.cudaMemcpyHostToDevice
        answer = self._cuda.runtime.cudaMemcpyAsync(target, source.address, size, kind, self._stream)
        self._cuda.checked("copy from the host", answer)

    def download(self, target: PinnedBuffer, source: int, size: int) -> None:
        """Enqueue a copy from a device address to a pinned buffer."""
        kind = self._cuda.runtime.cudaMemcpyKind.cudaMemcpyDeviceToHost
        answer = self._cuda.runtime.cudaMemcpyAsync(target.address, source, size, kind, self._stream)
        self._cuda.checked("copy to the host", answer)

    def copy_rows(self, target: tuple[int, int], source: tuple[int, int], width: int, height: int) -> None:
        """Enqueue a copy of rows within the device's memory.

        Args:
            target, source: address of the first row, and bytes from a row to the next.
            width: bytes of a row.
            height: rows.
        """
        kind = self._cuda.runtime.cudaMemcpyKind.cudaMemcpyDeviceToDevice
        answer = self._cuda.runtime.cudaMemcpy2DAsync(*target, *source, width, height, kind, self._stream)
        self._cuda.checked("copy within its memory", answer)

    def clear(self, address: int, size: int) -> None:
        """Enqueue zeros."""
        self._cuda.checked("clear memory", self._cuda.runtime.cudaMemsetAsync(address, 0, size, self._stream))

    def synchronise(self) -> None:
        """Wait until all that was enqueued has run."""
        self._cuda.checked("finish its work", self._cuda.runtime.cudaStreamSynchronize(self._stream))

    def capture(self, enqueue: Callable[[], None]) -> CudaGraph:
        """Make a graph of what ``enqueue`` puts on the stream; nothing of it runs yet.

        The stream takes work afterwards, however it went.

        Raises:
            DeviceError: something in it cannot be captured.
        """
        # Where the stream must be replaced, nothing may be left on the old one that runs beside the new one.
        self.synchronise()
        try:
            return CudaGraph(self._cuda, self._captured(enqueue))
        except BaseException:
            self._leave_capture()
            raise

    def _captured(self, enqueue: Callable[[], None]) -> Any:
        runtime = self._cuda.runtime
        mode = runtime.cudaStreamCaptureMode.cudaStreamCaptureModeThreadLocal
        self._cuda.checked("begin a graph", runtime.cudaStreamBeginCapture(self._stream, mode))
        try:
            enqueue()
        except BaseException:
            _, unfinished = runtime.cudaStreamEndCapture(self._stream)
            if unfinished is not None:
                runtime.cudaGraphDestroy(unfinished)
            raise
        graph = self._cuda.checked("capture a graph", runtime.cudaStreamEndCapture(self._stream))
        try:
            return self._cuda.checked("make a graph", runtime.cudaGraphInstantiate(graph, 0))
        finally:
            runtime.cudaGraphDestroy(graph)

    def _leave_capture(self) -> None:
        """A stream that is still in a capture, or in a spoilt one, takes no work: open another in its place."""
        runtime = self._cuda.runtime
        error, status = runtime.cudaStreamIsCapturing(self._stream)
        none = runtime.cudaStreamCaptureStatus.cudaStreamCaptureStatusNone
        if int(error) != _SUCCESS or int(status) != int(none):
            self._freed()
            self._open()

    def launch(self, graph: CudaGraph) -> None:
        """Enqueue a graph."""
        answer = self._cuda.runtime.cudaGraphLaunch(graph.executable, self._stream)
        self._cuda.checked("launch a graph", answer)
