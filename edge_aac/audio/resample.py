"""Any rate and any number of channels to mono at 16 kHz, as a stream."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import soxr

from edge_aac.timebase import SAMPLE_RATE

LOWEST_RATE = 1_000
HIGHEST_RATE = 1_000_000


class MonoResampler:
    """Averages channels and resamples to 16 kHz with soxr's high-quality filter.

    The output does not depend on how the input is cut. At 16 kHz mono the samples pass untouched.

    Args:
        rate: rate of the input in Hz, from 1 kHz to 1 MHz.

    Raises:
        ValueError: the rate is out of these bounds.
    """

    def __init__(self, rate: int) -> None:
        if not LOWEST_RATE <= rate <= HIGHEST_RATE:
            raise ValueError(f"a rate of {rate} Hz is not between {LOWEST_RATE} and {HIGHEST_RATE}")
        self.rate = rate
        self._stream = None if rate == SAMPLE_RATE else soxr.ResampleStream(rate, SAMPLE_RATE, 1, dtype="float32")

    def accept(self, frames: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Takes sound and gives what is ready of it.

        Args:
            frames: float32, shape (n, channels) at the input's rate.

        Returns:
            Mono samples at 16 kHz, float32, shape (m,); m may be 0 while the filter fills.
        """
        mono = frames[:, 0] if frames.shape[1] == 1 else frames.mean(axis=1, dtype=np.float32)
        return self._resampled(np.ascontiguousarray(mono), last=False)

    def flush(self) -> npt.NDArray[np.float32]:
        """Gives the rest, float32, shape (m,), and takes no more sound until :meth:`reset`."""
        return self._resampled(np.zeros(0, np.float32), last=True)

    def reset(self) -> None:
        """Forgets the past, as after a gap in the sound."""
        if self._stream is not None:
            self._stream.clear()

    def _resampled(self, mono: npt.NDArray[np.float32], *, last: bool) -> npt.NDArray[np.float32]:
        if self._stream is None:
            return mono
        return np.asarray(self._stream.resample_chunk(mono, last=last), dtype=np.float32)
