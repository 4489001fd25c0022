"""The scale of float samples: full scale is 1, but some programs write integers' numbers as floats."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from edge_aac.errors import DataError

_log = logging.getLogger(__name__)

Frames = npt.NDArray[np.float32]

_SCALES = {16: 2.0**15, 24: 2.0**23, 32: 2.0**31}
"""Full scale by the number of bits."""

# Honest float files exceed full scale by up to some 20 dB (a factor of 10); this is 30 dB.
_HIGHEST_HONEST = 32.0
# What was resampled or filtered at an integer's scale may exceed that scale, too.
_OVERSHOOT = 2.0
# At an integer's scale nearly every sample exceeds 1; in a sound with a few broken samples nearly none does.
_SHARE_ABOVE_ONE = 0.1
_SMALLEST_INTEGER_PEAK = 2.0
# Beyond it the first second is compared with the whole: 6 dB above full scale.
_DOUBTFUL = 2.0
# In units of the full scale that was found; what exceeds it shows that the scale was found too small.
_HIGHEST_SCALED = 4.0


@dataclass
class Magnitudes:
    """Facts about the sizes of samples, which tell their scale.

    Attributes:
        highest: the highest magnitude.
        nonzero: number of samples that are not 0.
        above_one: number of samples beyond ±1.
        integers: whether every sample is a whole number.
    """

    highest: float = 0.0
    nonzero: int = 0
    above_one: int = 0
    integers: bool = True

    def add(self, frames: Frames) -> None:
        """Takes samples of any shape; those that are no numbers are left out."""
        usable = np.abs(frames[np.isfinite(frames)])
        if usable.size:
            self.highest = max(self.highest, float(usable.max()))
            self.nonzero += int(np.count_nonzero(usable))
            self.above_one += int(np.count_nonzero(usable > 1.0))
            self.integers = self.integers and bool((usable == np.rint(usable)).all())

    @staticmethod
    def of(blocks: Iterable[Frames]) -> Magnitudes:
        """Gives the magnitudes of a whole recording."""
        magnitudes = Magnitudes()
        for block in blocks:
            magnitudes.add(block)
        return magnitudes


class FloatScale:
    """Recognises float samples at the scale of 16, 24 or 32 bit integers, and brings them to ±1.

    The decision is made on the first second that does not begin with zeros, which is held back for it, and holds for
    the whole stream; it does not depend on how the samples are cut. Samples are at an integer's scale where

    - all of them are whole numbers, and one is 2 or more, or
    - one of them exceeds 32 (30 dB above full scale), and more than one in ten of those that are not 0 exceeds 1.

    The scale is the smallest that the highest magnitude fits into (with 6 dB to spare): that of the whole recording
    where ``whole`` gives it, for a quiet beginning at 24 bits looks like a loud one at 16; else that of the second.

    Args:
        label: the source's name in messages.
        rate: rate in Hz.
        whole: gives the magnitudes of the whole recording; called once at most, and only where the first second leaves
            a doubt. None where the recording cannot be read twice.
    """

    def __init__(self, label: str, rate: int, whole: Callable[[], Magnitudes] | None = None) -> None:
        self._label = label
        self._rate = rate
        self._whole = whole
        self._full_scale: float | None = None
        self._limit = _HIGHEST_HONEST
        self._held: list[Frames] = []
        self._held_frames = 0
        self._received = 0
        self._given = 0

    def accept(self, frames: Frames) -> Frames:
        """Takes samples as they were decoded and gives those whose scale is known.

        Args:
            frames: float32, shape (n, channels).

        Returns:
            Float32, shape (m, channels), full scale at 1.

        Raises:
            DataError: a sample is no number, or so large that no scale fits; the message has its time.
        """
        refuse_no_numbers(frames, self._received, self._rate, self._label)
        self._received += len(frames)
        if self._full_scale is not None:
            return self._scaled(frames, self._full_scale)
        leading = 0
        if not self._held_frames:
            sounding = frames.any(axis=1)
            leading = int(np.argmax(sounding)) if sounding.any() else len(frames)
            self._given += leading
        rest = frames[leading:]
        missing = self._rate - self._held_frames
        self._held.append(rest[:missing])
        self._held_frames += len(rest[:missing])
        if len(rest) < missing:
            return frames[:leading]
        held, full_scale = self._decided()
        return np.concatenate((frames[:leading], held, self._scaled(rest[missing:], full_scale)))

    def flush(self) -> Frames | None:
        """Gives what is held back of a recording that has ended; None where that is nothing.

        Raises:
            DataError: a sample is so large that no scale fits.
        """
        return self._decided()[0] if self._held_frames else None

    def _decided(self) -> tuple[Frames, float]:
        held = np.concatenate(self._held)
        self._held, self._held_frames = [], 0
        self._full_scale = full_scale = self._decide(Magnitudes.of([held]))
        return self._scaled(held, full_scale), full_scale

    def _decide(self, seen: Magnitudes) -> float:
        if self._whole is not None and (seen.integers or seen.highest > _DOUBTFUL):
            seen = self._whole()
        if not _at_integer_scale(seen):
            return 1.0
        for bits, full_scale in _SCALES.items():
            if seen.highest <= _OVERSHOOT * full_scale:
                self._limit = _HIGHEST_SCALED
                _log.warning(
                    "%s: its float samples are at the scale of %d-bit integers (up to %.6g): they are divided by %.0f",
                    self._label,
                    bits,
                    seen.highest,
                    full_scale,
                )
                return full_scale
        return 1.0

    def _scaled(self, frames: Frames, full_scale: float) -> Frames:
        scaled = frames if full_scale == 1.0 else frames / np.float32(full_scale)
        usable = (np.abs(scaled) <= self._limit).all(axis=1)
        if not usable.all():
            first = int(np.argmin(usable))
            times = float(np.abs(scaled[first]).max())
            raise DataError(
                f"'{self._label}' holds samples that are {times:.4g} times full scale, the first at "
                f"{(self._given + first) / self._rate:.3f} s: export it again as 16-bit WAV or FLAC."
            )
        self._given += len(frames)
        return scaled


def refuse_no_numbers(frames: Frames, frames_before: int, rate: int, label: str) -> None:
    """Refuses samples that are NaN or infinite.

    Args:
        frames: float32, shape (n, channels).
        frames_before: number of frames that came before these.
        rate: rate in Hz.
        label: the source's name in the message.

    Raises:
        DataError: a sample is no number; the message has its time.
    """
    usable = np.isfinite(frames).all(axis=1)
    if not usable.all():
        raise DataError(
            f"'{label}' holds samples that are no numbers (NaN or infinite), the first at "
            f"{(frames_before + int(np.argmin(usable))) / rate:.3f} s: export it again as 16-bit WAV or FLAC."
        )


def _at_integer_scale(seen: Magnitudes) -> bool:
    if seen.integers and seen.highest >= _SMALLEST_INTEGER_PEAK:
        return True
    return seen.highest > _HIGHEST_HONEST and seen.above_one > _SHARE_ABOVE_ONE * seen.nonzero
