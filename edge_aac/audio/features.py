"""Streaming mel filter bank: each frame is computed once, and does not depend on how the stream is cut.

The frames are Kaldi's (``compute-fbank-feats``), which BEATs (arXiv 2212.09058) was trained with: the mean taken off, a
pre-emphasis of 0.97, a "povey" window (Hann to the power of 0.85), 512 points of a Fourier transform, triangles that
are straight on the mel scale. Row by row: no sum runs over several frames, so that equal samples give equal bits.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from edge_aac.timebase import SAMPLE_RATE

NUM_MEL_BINS = 128
FRAME_SHIFT_SAMPLES = 160
FRAME_LENGTH_SAMPLES = 400
FFT_SIZE = 512
LOWEST_HZ = 20.0
PRE_EMPHASIS = 0.97

# Mean and deviation over AudioSet that BEATs (arXiv 2212.09058) was trained with; the factor 2 is BEATs' own.
FBANK_MEAN = np.float32(15.41663)
FBANK_SCALE = np.float32(2 * 6.55582)
_INT16_SCALE = np.float32(2**15)
_FLOOR = np.finfo(np.float32).eps
_PIECE_FRAMES = 128
"""Frames that are computed at a time: what lies between fits into a small processor's cache."""

_Floats = npt.NDArray[np.float32]


class FilterBank:
    """Log-mel filter bank as the captioner was trained on, normalised, for one stream.

    128 mel bins, frames of 25 ms every 10 ms, no padding at the edges: frame ``i`` covers samples
    ``160 i`` to ``160 i + 400``. Memory stays flat however long the stream is.
    """

    def __init__(self) -> None:
        self._unfinished = np.zeros(0, np.float32)

    def reset(self) -> None:
        """Starts a new stream: the next sample is the first of frame 0."""
        self._unfinished = np.zeros(0, np.float32)

    def accept(self, samples: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Takes samples and gives the frames that they complete.

        Args:
            samples: mono at 16 kHz in ±1, float32, shape (any,).

        Returns:
            Normalised frames, float32, shape (n, 128); n may be 0.
        """
        sound = np.concatenate((self._unfinished, samples * _INT16_SCALE))
        count = max(0, 1 + (len(sound) - FRAME_LENGTH_SAMPLES) // FRAME_SHIFT_SAMPLES)
        self._unfinished = sound[count * FRAME_SHIFT_SAMPLES :].copy()
        frames = np.empty((count, NUM_MEL_BINS), np.float32)
        if count:
            cut = np.lib.stride_tricks.sliding_window_view(sound, FRAME_LENGTH_SAMPLES)[::FRAME_SHIFT_SAMPLES]
            for start in range(0, count, _PIECE_FRAMES):
                frames[start : start + _PIECE_FRAMES] = _log_mel(cut[start : min(start + _PIECE_FRAMES, count)])
        return frames


def filter_bank(waveform: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Computes all frames of a whole waveform: the numbers that :class:`FilterBank` streams, bit for bit.

    Args:
        waveform: mono at 16 kHz in ±1, float32, shape (samples,).

    Returns:
        Normalised frames, float32, shape (1 + (samples - 400) // 160, 128), no rows where samples < 400.
    """
    return FilterBank().accept(waveform)


def _log_mel(frames: _Floats) -> _Floats:
    """Normalised log energies (n, 128) of frames (n, 400) in the range of 16-bit samples."""
    window, rising, falling, stretches = _tables()
    sound = frames - frames.mean(axis=1, keepdims=True)
    sound[:, 1:] -= PRE_EMPHASIS * sound[:, :-1]
    sound[:, 0] *= np.float32(1.0 - PRE_EMPHASIS)
    sound *= window
    # numpy 1 transforms in 64 bits and gives 128, numpy 2 stays in 32.
    spectrum = np.fft.rfft(sound, FFT_SIZE, axis=1)
    # From here on a row is a frequency, of all frames: what is added up are whole rows.
    power = np.empty((spectrum.shape[1], len(frames)), np.float32)
    np.add(np.square(spectrum.real).T, np.square(spectrum.imag).T, out=power, casting="same_kind")
    # Between two mel edges one triangle rises, and the one before it falls.
    up, down = (_summed(power * share, stretches) for share in (rising, falling))
    mel = up[:NUM_MEL_BINS] + down[1 : NUM_MEL_BINS + 1]
    np.maximum(mel, _FLOOR, out=mel)
    np.log(mel, out=mel)
    mel -= FBANK_MEAN
    mel /= FBANK_SCALE
    return mel.T


def _summed(weighted: _Floats, stretches: _Stretches) -> _Floats:
    """The sums (129, n) of the frequencies between two mel edges each; 0 where none lies there.

    The first one of a stretch is added to the sum of its others, which are added in order: this is what
    ``np.add.reduceat`` does with a row of so few, bit for bit.
    """
    first, *others = (weighted.take(rows, axis=0) for rows in stretches.rows)
    if others:
        rest, *more = others
        for further in more:
            rest[: len(further)] += further
        first[: len(rest)] += rest
    sums = np.zeros((NUM_MEL_BINS + 1, weighted.shape[1]), np.float32)
    sums[stretches.order] = first
    return sums


class _Stretches(NamedTuple):
    """Which frequencies lie between two mel edges each.

    Attributes:
        order: the stretches that hold any, those that hold the most first.
        rows: of the i-th of each the frequency, for those stretches of ``order`` that hold so many.
    """

    order: npt.NDArray[np.intp]
    rows: tuple[npt.NDArray[np.intp], ...]


@lru_cache(maxsize=1)
def _tables() -> tuple[_Floats, _Floats, _Floats, _Stretches]:
    """What frames are computed with.

    Returns:
        The window, (400,). Of each frequency its share in the triangle that rises there and in the one that falls,
        (257, 1) each. The 129 stretches between two mel edges.
    """
    mels = mel_of(np.arange(FFT_SIZE // 2 + 1) * (SAMPLE_RATE / FFT_SIZE))
    edges = mel_edges()
    stretch = np.searchsorted(edges, mels, side="right") - 1
    stretch[-1] = NUM_MEL_BINS + 1  # Kaldi leaves the last frequency out.
    inside = np.flatnonzero((stretch >= 0) & (stretch <= NUM_MEL_BINS))
    rising, falling = np.zeros((2, len(mels), 1), np.float32)
    share = (mels[inside] - edges[stretch[inside]]) / (edges[1] - edges[0])
    rising[inside, 0], falling[inside, 0] = share, 1.0 - share
    starts, ends = (np.searchsorted(stretch, np.arange(NUM_MEL_BINS + 1), side) for side in ("left", "right"))
    counts = ends - starts
    order = np.argsort(-counts, kind="stable")[: np.count_nonzero(counts)]
    rows = tuple(starts[order[counts[order] > place]] + place for place in range(counts.max()))
    return povey_window(), rising, falling, _Stretches(order, rows)


def povey_window() -> npt.NDArray[np.float32]:
    """Kaldi's default window, (400,): a Hann window to the power of 0.85."""
    phases = 2.0 * np.pi * np.arange(FRAME_LENGTH_SAMPLES) / (FRAME_LENGTH_SAMPLES - 1)
    window: _Floats = ((0.5 - 0.5 * np.cos(phases)) ** 0.85).astype(np.float32)
    return window


def mel_edges() -> npt.NDArray[np.float64]:
    """The corners of the triangles on the mel scale, (130,): the i-th rises from edge i to i + 1 and falls to i + 2."""
    return np.linspace(float(mel_of(LOWEST_HZ)), float(mel_of(SAMPLE_RATE / 2)), NUM_MEL_BINS + 2)


def mel_of(hertz: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """The mel scale of Kaldi, after HTK: 1127 · ln(1 + f / 700)."""
    mels: npt.NDArray[np.float64] = 1127.0 * np.log(1.0 + np.asarray(hertz, np.float64) / 700.0)
    return mels
