"""Where a plan writes what the host reads after each run: in memory that both see, where the board has but one.

On a Jetson CPU and GPU share the memory, and a copy from the one's part of it to the other's takes bandwidth and a
launch for nothing: of the logits of a step, 50 000 numbers a row. So the GPU writes them into pinned memory that is
mapped to an address of its own. That memory passes by the GPU's caches (NVIDIA, "CUDA for Tegra", Memory Management),
which is no loss for what it writes once and never reads. Over the bus of a card such writes would be slow; there the
numbers are copied, as one block.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from edge_aac.engines.tensor_rt.cuda_memory import Cuda, CudaStream, DeviceBuffer, MappedBuffer, PinnedBuffer


class ReadBack:
    """Room for one output of a plan.

    Args:
        cuda: runtime that allocates it.
        size: most bytes that the output has.

    Raises:
        DeviceError: there is no room.

    Attributes:
        address: device address that the plan writes to.
    """

    def __init__(self, cuda: Cuda, size: int) -> None:
        self._device: DeviceBuffer | None = None
        self._host: PinnedBuffer
        if cuda.shares_memory():
            mapped = MappedBuffer(cuda, size)
            self._host, self.address = mapped, mapped.device_address
        else:
            self._host, self._device = PinnedBuffer(cuda, size), DeviceBuffer(cuda, size)
            self.address = self._device.address

    def fetch(self, stream: CudaStream, size: int) -> None:
        """Enqueue what brings the first ``size`` bytes to the host; nothing, where they are there already."""
        if self._device is not None:
            stream.download(self._host, self._device.address, size)

    def array(self, dtype: npt.DTypeLike, shape: tuple[int, ...]) -> npt.NDArray[np.generic]:
        """A view of what the last run wrote; the stream was waited for since, and the next run overwrites it."""
        view: npt.NDArray[Any] = self._host.array(dtype, shape)
        return view
