"""An output that stayed on the GPU, until the decoder there reads it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from edge_aac.engines.tensor_rt.cuda_memory import Cuda, CudaStream, PinnedBuffer, size_bytes


@dataclass(frozen=True)
class DeviceArray:
    """See :class:`edge_aac.engines.steps.ResidentArray`.

    Attributes:
        cuda: runtime that allocated the memory.
        stream: stream that wrote the array, and that was waited for.
        location: address of the first number; good for as long as ``is_newest``.
        shape: shape of the array, which lies in the GPU's memory without gaps.
        dtype: the plan's own.
        is_newest: whether the engine has not run since.
    """

    cuda: Cuda
    stream: CudaStream
    location: int
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    is_newest: Callable[[], bool]

    @property
    def address(self) -> int:
        """The address of the first number; read it under the stream's lock, so that the engine does not run meanwhile.

        Raises:
            RuntimeError: the engine ran again, and other numbers are there now.
        """
        if not self.is_newest():
            raise RuntimeError("the engine ran again before this output was read; it holds another run's numbers now")
        return self.location

    def host(self) -> npt.NDArray[Any]:
        """A copy in the host's memory.

        Raises:
            RuntimeError: as for :attr:`address`.
        """
        size = size_bytes(self.dtype, self.shape)
        with self.stream.lock:
            pinned = PinnedBuffer(self.cuda, size)
            self.stream.download(pinned, self.address, size)
            self.stream.synchronise()
            return pinned.array(self.dtype, self.shape).copy()
