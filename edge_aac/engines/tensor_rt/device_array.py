"""An output that stayed on the GPU, until the decoder there reads it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from edge_aac.engines.tensor_rt.cuda_memory import Cuda, CudaStream, PinnedBuffer, size_bytes


@dataclass(frozen=True)
class DeviceArray:
    """See :class:`edge_aac.engines.steps.ResidentArray`.

    Attributes:
        cuda: whose memory it is in.
        stream: that wrote it, and was waited for.
        address: of the first number.
        stored: its shape in the GPU's memory, without gaps.
        dtype: the plan's own.
        runs: what is kept of the axis before the last, as (start, stop); None = all.
    """

    cuda: Cuda
    stream: CudaStream
    address: int
    stored: tuple[int, ...]
    dtype: np.dtype[Any]
    runs: tuple[tuple[int, int], ...] | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        """Of what is kept."""
        kept = sum(stop - start for start, stop in self.kept_runs)
        return (*self.stored[:-2], kept, self.stored[-1])

    @property
    def kept_runs(self) -> tuple[tuple[int, int], ...]:
        """What is kept of the axis before the last, as (start, stop)."""
        return ((0, self.stored[-2]),) if self.runs is None else self.runs

    def __getitem__(self, index: int) -> DeviceArray:
        if not 0 <= index < self.stored[0]:
            raise IndexError(index)
        entry = size_bytes(self.dtype, self.stored[1:])
        return replace(self, address=self.address + index * entry, stored=self.stored[1:])

    def without(self, padding: npt.NDArray[np.bool_]) -> DeviceArray:
        """The same less what is padding on the axis before the last, (T,); once."""
        if self.runs is not None or padding.shape != (self.stored[-2],):
            raise ValueError(f"padding {padding.shape} of an array {self.stored} with runs {self.runs}")
        edges = np.flatnonzero(np.diff(np.concatenate(([True], padding, [True])).astype(np.int8)))
        return replace(self, runs=tuple((int(start), int(stop)) for start, stop in edges.reshape(-1, 2)))

    def host(self) -> npt.NDArray[Any]:
        """A copy in the host's memory."""
        size = size_bytes(self.dtype, self.stored)
        with self.stream.lock:
            pinned = PinnedBuffer(self.cuda, size)
            self.stream.download(pinned, self.address, size)
            self.stream.synchronise()
            whole = pinned.array(self.dtype, self.stored)
            kept = [whole[..., start:stop, :] for start, stop in self.kept_runs]
            return np.concatenate([whole[..., :0, :], *kept], axis=-2)
