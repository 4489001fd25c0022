"""A clip's log-mel as CLAP's encoders hear it, by a bank of filters that comes with the model.

Power of the discrete Fourier transform of frames under a periodic Hann window, both ends of the clip reflected; the
filters; then ``10 · log10(max(·, 1e-10))`` (Kong et al., *PANNs*, 2020; ``ClapFeatureExtractor`` of transformers).
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

from edge_aac.errors import DataError

Array = npt.NDArray[np.float32]

_FLOOR = 1e-10
"""Of the mel power: silence is −100 dB exactly."""
_FRAMES_AT_ONCE = 256


class LogMel:
    """Waveform to log-mel.

    Args:
        fft: samples of a frame.
        hop: samples from frame to frame.
        filters: (fft // 2 + 1, M).
    """

    def __init__(self, fft: int, hop: int, filters: Array) -> None:
        self._fft, self._hop = fft, hop
        self._filters = filters.astype(np.float64)
        self._window = 0.5 - 0.5 * np.cos(2.0 * np.pi * np.arange(fft) / fft)

    def of(self, waveform: Array) -> Array:
        """Log-mel of a waveform, in dB.

        Args:
            waveform: (N,) with more samples than half a frame.

        Returns:
            (N // hop + 1, M) float32.
        """
        padded = np.pad(waveform.astype(np.float64), self._fft // 2, mode="reflect")
        frames = np.lib.stride_tricks.sliding_window_view(padded, self._fft)[:: self._hop]
        frames = frames[: len(waveform) // self._hop + 1]
        rows = []
        for start in range(0, len(frames), _FRAMES_AT_ONCE):
            spectrum = np.fft.rfft(frames[start : start + _FRAMES_AT_ONCE] * self._window, axis=1)
            power = np.square(spectrum.real) + np.square(spectrum.imag)
            rows.append(10.0 * np.log10(np.maximum(power @ self._filters, _FLOOR)))
        return np.concatenate(rows).astype(np.float32)


def read_filters(path: Path, fft: int, bins: int) -> Array:
    """A bank of mel filters from an array file of numpy; nothing in it is run.

    Raises:
        DataError: it is none, or one of other sizes.
    """
    try:
        filters = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise DataError(f"{path} is no array of numbers: install or convert the bundle again") from error
    if not isinstance(filters, np.ndarray) or filters.shape != (fft // 2 + 1, bins) or filters.dtype != np.float32:
        raise DataError(f"{path} holds no filters of {bins} bins over frames of {fft}: convert the bundle again")
    if not np.isfinite(filters).all():
        raise DataError(f"{path} holds what is no number: convert the bundle again")
    return filters
