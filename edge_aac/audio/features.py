"""Streaming Kaldi filter bank: each frame is computed once, and does not depend on how the stream is cut."""

from __future__ import annotations

import kaldi_native_fbank
import numpy as np
import numpy.typing as npt

from edge_aac.timebase import SAMPLE_RATE

NUM_MEL_BINS = 128
FRAME_SHIFT_SAMPLES = 160
FRAME_LENGTH_SAMPLES = 400

# Mean and deviation over AudioSet that BEATs (arXiv 2212.09058) was trained with; the factor 2 is BEATs' own.
FBANK_MEAN = np.float32(15.41663)
FBANK_SCALE = np.float32(2 * 6.55582)
_INT16_SCALE = np.float32(2**15)

# Kaldi counts frames in 32 bits, which a stream fills in 248 days; a fresh start every quarter of an hour costs 0.5 ms.
_RESTART_FRAMES = 100_000
_PIECE_SAMPLES = 16_000


def _options() -> kaldi_native_fbank.FbankOptions:
    options = kaldi_native_fbank.FbankOptions()
    options.frame_opts.samp_freq = SAMPLE_RATE
    options.frame_opts.frame_length_ms = 1000 * FRAME_LENGTH_SAMPLES / SAMPLE_RATE
    options.frame_opts.frame_shift_ms = 1000 * FRAME_SHIFT_SAMPLES / SAMPLE_RATE
    options.frame_opts.dither = 0.0
    options.frame_opts.preemph_coeff = 0.97
    options.frame_opts.remove_dc_offset = True
    options.frame_opts.window_type = "povey"
    options.frame_opts.snip_edges = True
    options.mel_opts.num_bins = NUM_MEL_BINS
    options.energy_floor = 1.0
    options.use_energy = False
    options.use_log_fbank = True
    options.use_power = True
    return options


class FilterBank:
    """Log-mel filter bank as the captioner was trained on, normalised, for one stream.

    128 mel bins, frames of 25 ms every 10 ms, no padding at the edges: frame ``i`` covers samples
    ``160 i`` to ``160 i + 400``. Memory stays flat however long the stream is.
    """

    def __init__(self, *, restart_frames: int = _RESTART_FRAMES) -> None:
        self._restart_frames = restart_frames
        self._frames_taken = 0
        self._unfinished = np.zeros(0, np.float32)
        self._unfinished_start = 0
        self.reset()

    def reset(self) -> None:
        """Starts a new stream: the next sample is the first of frame 0."""
        self._restart(np.zeros(0, np.float32))

    def accept(self, samples: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Takes samples and gives the frames that they complete.

        Args:
            samples: mono at 16 kHz in ±1, float32, shape (any,).

        Returns:
            Normalised frames, float32, shape (n, 128); n may be 0.
        """
        pieces = [
            self._accept_piece(samples[start : start + _PIECE_SAMPLES] * _INT16_SCALE)
            for start in range(0, len(samples), _PIECE_SAMPLES)
        ]
        if not pieces:
            return np.zeros((0, NUM_MEL_BINS), np.float32)
        normalised: npt.NDArray[np.float32] = (np.concatenate(pieces) - FBANK_MEAN) / FBANK_SCALE
        return normalised

    def _accept_piece(self, piece: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        self._fbank.accept_waveform(SAMPLE_RATE, piece)
        ready = self._fbank.num_frames_ready
        frames = np.empty((ready - self._frames_taken, NUM_MEL_BINS), np.float32)
        get_frame = self._fbank.get_frame
        for row, index in enumerate(range(self._frames_taken, ready)):
            # Copied: what get_frame gives is a view of memory that pop sets free.
            frames[row] = get_frame(index)
        self._fbank.pop(len(frames))
        self._frames_taken = ready

        # Kaldi hides the samples of the unfinished frame, and a restart needs them.
        unfinished = np.concatenate((self._unfinished, piece))
        finished_samples = ready * FRAME_SHIFT_SAMPLES - self._unfinished_start
        self._unfinished = unfinished[finished_samples:].copy()
        self._unfinished_start += finished_samples
        if ready >= self._restart_frames:
            self._restart(self._unfinished)
        return frames

    def _restart(self, carried: npt.NDArray[np.float32]) -> None:
        self._fbank = kaldi_native_fbank.OnlineFbank(_options())
        self._frames_taken = 0
        self._unfinished = carried
        self._unfinished_start = 0
        if len(carried):
            self._fbank.accept_waveform(SAMPLE_RATE, carried)


def filter_bank(waveform: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Computes all frames of a whole waveform: the numbers that :class:`FilterBank` streams, bit for bit.

    Args:
        waveform: mono at 16 kHz in ±1, float32, shape (samples,).

    Returns:
        Normalised frames, float32, shape (1 + (samples - 400) // 160, 128), no rows where samples < 400.
    """
    return FilterBank().accept(waveform)
