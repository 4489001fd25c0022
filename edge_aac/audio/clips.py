"""Sound cut into clips of one length, as models that hear no windows of a stream were trained on.

Sound that is no longer than a clip is one clip, as the model's own code makes it: repeated until it is full, or
followed by silence. Of longer sound, whose place its own code draws at random, clips follow each other without a gap;
the last one ends where the sound ends, and shares with the one before what is too little for one of its own.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from edge_aac.errors import DataError

Array = npt.NDArray[np.float32]

_SHORTEST_TAIL_S = 0.1
"""Of longer sound: what is shorter than this behind the last clip is in none."""


@dataclass(frozen=True)
class Clip:
    """One clip.

    Attributes:
        start_s, end_s: its real sound, in seconds from the beginning.
        waveform: (samples,) float32.
        channel: number of its channel, from 1; None where it holds all there is.
    """

    start_s: float
    end_s: float
    waveform: Array
    channel: int | None = None


class ClipCutter:
    """Cuts frames that arrive in any blocks, in memory for two clips a channel.

    Args:
        rate: of the frames, in Hz.
        samples: of a clip.
        mixes: whether channels are averaged. Else each is heard by itself, and those of a short sound one after the
            other within one clip: Microsoft's CLAP was fed so.
        pads: whether shorter sound is repeated as a whole only, and silence fills the rest; else its last copy is cut.
        repeats: whether it is repeated at all; else silence fills the rest.
    """

    def __init__(self, rate: int, samples: int, mixes: bool, pads: bool, repeats: bool = True) -> None:
        self._rate, self._samples, self._mixes, self._pads = rate, samples, mixes, pads
        self._repeats = repeats
        self._held: Array | None = None
        self._first = 0  # position of the first held frame
        self._next = 0  # where the next clip begins

    def push(self, frames: Array) -> Iterator[Clip]:
        """Takes the next frames, (n, channels); gives the clips that they complete.

        Raises:
            DataError: there are other channels than before.
        """
        if self._mixes and len(frames):
            frames = frames.mean(axis=1, keepdims=True)
        if self._held is None:
            self._held = frames
        elif len(frames):
            if frames.shape[1] != self._held.shape[1]:
                raise DataError(
                    f"the sound has {self._held.shape[1]} channels and then {frames.shape[1]}: cut it into two files"
                )
            self._held = np.concatenate((self._held, frames))
        while self._received >= self._next + self._samples:
            yield from self._clips_at(self._next)
            self._next += self._samples
            # The last clip may begin up to a clip before this place.
            keep = max(self._first, self._next - self._samples)
            self._held, self._first = self._held[keep - self._first :], keep

    def flush(self) -> Iterator[Clip]:
        """Ends the sound; gives the clip of what has been in none."""
        total = self._received
        if self._held is None or not total:
            return
        if total < self._samples:
            channels = self._held.shape[1]
            together = channels * total <= self._samples
            rows = [self._held.T.reshape(-1)] if together else list(self._held.T)
            for number, row in enumerate(rows, 1):
                yield Clip(0.0, total / self._rate, self._filled(row), number if len(rows) > 1 else None)
        elif total - self._next >= _SHORTEST_TAIL_S * self._rate:
            yield from self._clips_at(total - self._samples)

    @property
    def _received(self) -> int:
        return self._first + (0 if self._held is None else len(self._held))

    def _clips_at(self, start: int) -> Iterator[Clip]:
        assert self._held is not None
        part = self._held[start - self._first : start - self._first + self._samples]
        for number, row in enumerate(part.T, 1):
            waveform, channel = np.ascontiguousarray(row), number if part.shape[1] > 1 else None
            yield Clip(start / self._rate, (start + self._samples) / self._rate, waveform, channel)

    def _filled(self, row: Array) -> Array:
        if self._pads or not self._repeats:
            copies = np.tile(row, self._samples // len(row) if self._repeats else 1)
            return np.pad(copies, (0, self._samples - len(copies)))
        return np.tile(row, -(-self._samples // len(row)))[: self._samples]
