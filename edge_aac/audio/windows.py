"""Samples to overlapping windows of filter-bank frames, each with its position and level."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from edge_aac.audio.audible_level import AudibleEnergy
from edge_aac.audio.damage import cut_to_the_end
from edge_aac.audio.features import FRAME_LENGTH_SAMPLES, FRAME_SHIFT_SAMPLES, NUM_MEL_BINS, FilterBank
from edge_aac.audio.rows import Rows
from edge_aac.audio.stretch import Stretch
from edge_aac.errors import ConfigError
from edge_aac.timebase import SAMPLE_RATE

WINDOW_SAMPLES = 10 * SAMPLE_RATE
HOP_SAMPLES = 2 * SAMPLE_RATE
SILENCE_DBFS = -120.0
"""Level given for digital silence, and the lowest ever given: JSON has no minus infinity."""

_PIECE_SAMPLES = SAMPLE_RATE
_SHORTEST_TAIL_SAMPLES = SAMPLE_RATE // 10
# About the time weighting F (125 ms) of IEC 61672-1: what is shorter is the softer to the ear the shorter it is.
_MOMENT_ROWS = SAMPLE_RATE // 10 // FRAME_SHIFT_SAMPLES


@dataclass(frozen=True)
class Window:
    """A stretch of sound, ready for the captioner.

    Attributes:
        start: absolute position of the first sample, at 16 kHz.
        samples: number of samples of real sound; below the window's length where zeros pad a short stream.
        fbank: normalised frames, float32, contiguous, shape (998, 128) for 10 s.
        rms_dbfs: level of the real sound in dB below a full-scale square wave, at least -120.
        peak_dbfs: highest absolute sample in dB below full scale, at least -120.
        audible_dbfs: level of the loudest 0.1 s of the real sound, A-weighted, in dB below a full-scale square wave, at
            least -120: DC and rumble that nobody hears add nothing to it. NaN where a sample is no number.
        stretch: the unbroken stretch of sound that it was cut from; None where that is not known.
        waveform: the real sound, float32, shape (samples,); None where only the frames are kept.
    """

    start: int
    samples: int
    fbank: npt.NDArray[np.float32]
    rms_dbfs: float
    peak_dbfs: float
    audible_dbfs: float
    stretch: Stretch | None = field(default=None, compare=False, repr=False)
    waveform: npt.NDArray[np.float32] | None = field(default=None, compare=False, repr=False)


def check_hop(hop_samples: int) -> None:
    """See that windows can come so far apart: see :class:`WindowSlicer`.

    Raises:
        ConfigError: the hop is not a usable multiple of 160.
    """
    _check_multiple("hop", hop_samples, FRAME_SHIFT_SAMPLES)


class WindowSlicer:
    """Cuts a stream into overlapping windows; each frame is computed once.

    Windows start at multiples of the hop, counted from where the stream (re)started. They are the same, bit for bit,
    however the samples are pushed, unless :meth:`change_hop` is called in between. Memory holds one window and one
    second, not more.

    Args:
        window_samples: length of a window, a multiple of 160 and at least 480.
        hop_samples: samples from the start of a window to the start of the next, a multiple of 160; may exceed the
            window.
        keeps_sound: whether windows come with their sound, for a model that hears no frames: as much memory again.

    Raises:
        ConfigError: a length is not a usable multiple of 160.
    """

    def __init__(
        self, window_samples: int = WINDOW_SAMPLES, hop_samples: int = HOP_SAMPLES, *, keeps_sound: bool = False
    ) -> None:
        _check_multiple("window", window_samples, 3 * FRAME_SHIFT_SAMPLES)
        check_hop(hop_samples)
        self.window_samples = window_samples
        self.hop_samples = hop_samples
        self.window_frames = 1 + (window_samples - FRAME_LENGTH_SAMPLES) // FRAME_SHIFT_SAMPLES
        # A quarter of a window more than is needed: what is held is moved to the front that seldom.
        self._held_rows = held_rows = (window_samples + window_samples // 4 + 2 * _PIECE_SAMPLES) // FRAME_SHIFT_SAMPLES
        self._frames = Rows(held_rows, np.zeros(NUM_MEL_BINS, np.float32))
        self._sound: Rows | None = None
        # Per 10 ms: sum of squares, and highest magnitude. Fixed blocks make the sums independent of the pushes.
        self._levels = Rows(held_rows, np.zeros(2, np.float64))
        self._audible = Rows(held_rows, np.zeros((), np.float64))
        self._audible_energy = AudibleEnergy()
        self._filter_bank = FilterBank()
        self._partial_block = np.zeros(0, np.float32)
        self._origin = 0
        self._stretch = Stretch()
        # From here on positions count from the origin, where the stream last (re)started.
        self._received = 0
        self._covered = 0
        self._next_start = 0
        self._last_start: int | None = None
        self._any_window = False
        if keeps_sound:
            self.keep_sound()

    def keep_sound(self) -> None:
        """Have windows come with their sound: those that start from now on."""
        if self._sound is None:
            self._sound = Rows(self._held_rows * FRAME_SHIFT_SAMPLES, np.zeros((), np.float32), self._received)

    def change_hop(self, hop_samples: int) -> None:
        """Have the next window start so far after the last one.

        Windows that would have ended by now are left out: the next one ends now at the earliest.

        Args:
            hop_samples: a multiple of 160.

        Raises:
            ConfigError: the hop is unusable.
        """
        check_hop(hop_samples)
        self.hop_samples = hop_samples
        if self._last_start is None:
            return
        earliest = -(-(self._received - self.window_samples) // FRAME_SHIFT_SAMPLES) * FRAME_SHIFT_SAMPLES
        self._next_start = max(self._last_start + hop_samples, earliest)

    @property
    def fresh_dbfs(self) -> float:
        """A-weighted level of the loudest 0.1 s of the sound that has been in no window yet, as a window has it."""
        rows = self._audible.copied_from(self._covered // FRAME_SHIFT_SAMPLES)
        return _loudest_dbfs(rows, len(rows) * FRAME_SHIFT_SAMPLES) if len(rows) else SILENCE_DBFS

    @property
    def next_end(self) -> int:
        """Absolute position of the sample after the next window: the window is due once all before it are pushed."""
        return self._origin + self._next_start + self.window_samples

    def push(self, position: int, samples: npt.NDArray[np.float32]) -> list[Window]:
        """Takes the next samples.

        Args:
            position: absolute position of the first sample. Where it does not follow the last push, the sound before
                is ended as by :meth:`flush`, the slicer starts anew there, and no window spans the jump.
            samples: mono at 16 kHz, float32, shape (n,).

        Returns:
            The windows that these samples complete, oldest first.
        """
        windows: list[Window] = []
        if position != self._origin + self._received:
            windows += self._tail()
            self._restart(position)
        for start in range(0, len(samples), _PIECE_SAMPLES):
            self._accept(samples[start : start + _PIECE_SAMPLES])
            while self._next_start + self.window_samples <= self._received:
                windows.append(self._window(self._next_start, self.window_samples))
                self._covered = self._next_start + self.window_samples
                self._last_start = self._next_start
                self._next_start += self.hop_samples
            self._forget()
        return windows

    def flush(self) -> list[Window]:
        """Ends the stream: gives at most one more window, for the sound that has been in none.

        A stream shorter than a window is padded with zeros. Else, where 0.1 s or more came after the last window,
        one more ends where the stream ends (to within 10 ms, since frames lie on a 10 ms grid).
        """
        windows = self._tail()
        self._any_window = False
        self._restart(self._origin + self._received)
        return windows

    def _tail(self) -> list[Window]:
        windows: list[Window] = []
        fresh = self._received - self._covered
        if self._received >= self.window_samples:
            if fresh >= _SHORTEST_TAIL_SAMPLES:
                start = (self._received - self.window_samples) // FRAME_SHIFT_SAMPLES * FRAME_SHIFT_SAMPLES
                windows.append(self._window(start, self.window_samples))
        elif fresh >= _SHORTEST_TAIL_SAMPLES or (fresh > 0 and not self._any_window):
            windows.append(self._padded_window())
        return windows

    def _padded_window(self) -> Window:
        """Gives the only window of a stream that is shorter, and has heard all of it."""
        heard = self._received
        self._audible.append(np.array([self._audible_energy.last(self._partial_block)]))
        missing = self.window_samples - heard
        self._accept(np.zeros(missing, np.float32), padding=True)
        silent_rows = self.window_samples // FRAME_SHIFT_SAMPLES - heard // FRAME_SHIFT_SAMPLES - 1
        self._audible.append(np.zeros(silent_rows))
        self._received = heard
        return self._window(0, heard)

    def _restart(self, position: int) -> None:
        self._origin = position
        self._stretch = Stretch()
        self._received = 0
        self._covered = 0
        self._next_start = 0
        self._last_start = None
        self._partial_block = np.zeros(0, np.float32)
        self._frames.clear()
        if self._sound is not None:
            self._sound.clear()
        self._levels.clear()
        self._audible.clear()
        self._audible_energy.reset()
        self._filter_bank.reset()

    def _accept(self, samples: npt.NDArray[np.float32], *, padding: bool = False) -> None:
        for start in range(0, len(samples), _PIECE_SAMPLES):
            piece = samples[start : start + _PIECE_SAMPLES]
            self._received += len(piece)
            self._frames.append(self._filter_bank.accept(piece))
            if self._sound is not None:
                self._sound.append(piece)
            pending = np.concatenate((self._partial_block, piece))
            whole = len(pending) // FRAME_SHIFT_SAMPLES * FRAME_SHIFT_SAMPLES
            self._partial_block = pending[whole:].copy()
            if whole:
                blocks = pending[:whole].reshape(-1, FRAME_SHIFT_SAMPLES).astype(np.float64)
                if not padding:
                    self._audible.append(self._audible_energy.accept(blocks))
                self._levels.append(np.stack((np.square(blocks).sum(axis=1), np.abs(blocks).max(axis=1)), axis=1))

    def _window(self, start: int, heard: int) -> Window:
        first = start // FRAME_SHIFT_SAMPLES
        rows = self.window_samples // FRAME_SHIFT_SAMPLES
        levels = self._levels.copied(first, rows)
        self._any_window = True
        return Window(
            start=self._origin + start,
            samples=heard,
            fbank=self._frames.copied(first, self.window_frames),
            rms_dbfs=_decibels(math.sqrt(float(np.ascontiguousarray(levels[:, 0]).sum()) / heard)),
            peak_dbfs=_decibels(float(levels[:, 1].max())),
            audible_dbfs=_loudest_dbfs(self._audible.copied(first, rows), heard),
            stretch=self._stretch,
            waveform=self._sound_of(start, heard),
        )

    def _sound_of(self, start: int, samples: int) -> npt.NDArray[np.float32] | None:
        if self._sound is None or not self._sound.holds_from(start):
            return None
        return self._sound.copied(start, samples)

    def _forget(self) -> None:
        """Lets go of rows that neither the next window nor the last one of the stream can need."""
        tail_start = (self._received - self.window_samples) // FRAME_SHIFT_SAMPLES
        needed = min(self._next_start // FRAME_SHIFT_SAMPLES, tail_start)
        self._frames.forget_before(needed)
        if self._sound is not None:
            self._sound.forget_before(needed * FRAME_SHIFT_SAMPLES)
        self._levels.forget_before(needed)
        self._audible.forget_before(needed)


def file_windows(
    audio: str | os.PathLike[str] | Iterable[npt.NDArray[np.float32]],
    hop_samples: int = HOP_SAMPLES,
    *,
    keeps_sound: bool = False,
) -> Iterator[Window]:
    """Gives all windows of a recording, in constant memory.

    Args:
        audio: a path to a sound file, or blocks of mono float32 samples at 16 kHz.
        hop_samples: samples from the start of a window to the start of the next, a multiple of 160.
        keeps_sound: whether windows come with their sound, not with its frames alone.

    Raises:
        ConfigError: the hop is unusable.
        InputMissingError: the file is not there or cannot be read.
        DataError: the file is not usable sound.
    """
    slicer = WindowSlicer(hop_samples=hop_samples, keeps_sound=keeps_sound)
    if isinstance(audio, (str, os.PathLike)):
        from edge_aac.audio.channel_watch import ChannelWatch
        from edge_aac.audio.sources.file import read_blocks

        audio = read_blocks(audio, watch=ChannelWatch(os.fspath(audio)))
    return _windows_of(slicer, audio)


def _windows_of(slicer: WindowSlicer, blocks: Iterable[npt.NDArray[np.float32]]) -> Iterator[Window]:
    position = 0

    def push(block: npt.NDArray[np.float32]) -> list[Window]:
        nonlocal position
        windows = slicer.push(position, block)
        position += len(block)
        return windows

    return cut_to_the_end(blocks, push, slicer.flush)


def _check_multiple(what: str, length_samples: int, lowest: int) -> None:
    if length_samples < lowest or length_samples % FRAME_SHIFT_SAMPLES:
        raise ConfigError(
            f"A {what} of {length_samples} samples ({length_samples / SAMPLE_RATE:g} s) is unusable: "
            f"give a multiple of 10 ms, {lowest / SAMPLE_RATE:g} s or longer."
        )


def _loudest_dbfs(energies: npt.NDArray[np.float64], heard: int) -> float:
    """Gives the level of the loudest 0.1 s of energies of 10 ms, of which ``heard`` samples are real sound."""
    moments = np.lib.stride_tricks.sliding_window_view(energies, min(_MOMENT_ROWS, len(energies))).sum(axis=1)
    loudest = float(moments.max())
    if math.isnan(loudest):
        return math.nan
    return _decibels(math.sqrt(loudest / min(heard, _MOMENT_ROWS * FRAME_SHIFT_SAMPLES)))


def _decibels(amplitude: float) -> float:
    return max(SILENCE_DBFS, 20 * math.log10(amplitude)) if amplitude > 0 else SILENCE_DBFS
