"""Samples of another format that are taken for signed 16-bit ones in little-endian order (s16le).

What is told is told from what no recording in s16le shows. It cannot be told: 16-bit samples in 32-bit words from a
stereo recording with one silent channel; floats far from the range of sound; signed 8-bit samples, and others that are
loud all the time; 16-bit samples in big-endian order around -40 dBFS, until a louder or a quieter moment comes.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
import numpy.typing as npt

from edge_aac.audio.formats.likeness import Bytes, is_constant, spread

FloatName = Literal["f32le", "f32be", "f64le", "f64be"]
WideName = Literal["u8", "ulaw", "alaw", "s16be", "s24le", "s24be", "s32le", "s32be"]

MIN_BYTES = 4_096
"""Less is not judged: it takes 512 doubles to see how they are spread."""

_MIN_NUMBERS = 256
# Octaves of 1 that samples lie in: from below the noise of 24 bits to 16-bit integers written as floats.
_LOWEST_OCTAVE, _HIGHEST_OCTAVE = -30, 17
_SHARE_IN_OCTAVES = 0.99
_MIN_OCTAVES = 4
_SHARE_OF_OCTAVE = 0.01
_HIGHEST_SHARE_OF_OTHERS = 0.6
# Where the exponent stands in the top 16 bits: bits below it, mask, bias.
_EXPONENTS = {4: (7, 0xFF, 127), 8: (4, 0x7FF, 1023)}
_FLOATS: tuple[tuple[FloatName, int, str], ...] = (
    ("f32le", 4, "<"),
    ("f32be", 4, ">"),
    ("f64le", 8, "<"),
    ("f64be", 8, ">"),
)

# Chi-squared of 256 bytes over 16 parts: 15 where they are spread evenly, thousands in the top bytes of most sounds.
_EVEN = 24.0
_UNEVEN = 60.0
_HIGHEST_OF_LOWEST = 100.0
_BOTH_SIGNS = 0.05
_SHARE_USED = 0.5
_LOWEST_SHARE_USED = 0.3
_LOWEST_CORRELATION = 0.1
# Eight blocks of 256, so that their median is one.
_MIN_GROUPS = 2_048


def float_like(data: bytes) -> FloatName | None:
    """Tells samples that are floats.

    Args:
        data: bytes that begin with a whole sample; silence in them does not count.

    Returns:
        None also where there are less than 256 numbers but zeros, or less than 4096 bytes.
    """
    if len(data) < MIN_BYTES:
        return None
    return next((name for name, size, order in _FLOATS if _are_floats(data, size, order)), None)


def _are_floats(data: bytes, size: int, order: str) -> bool:
    words = np.frombuffer(data[: len(data) // size * size], f"{order}u2").reshape(-1, size // 2)
    words = words[words.any(axis=1)]
    if len(words) < _MIN_NUMBERS:
        return False
    top = -1 if order == "<" else 0
    octaves = _octaves(words[:, top], size)
    within = (octaves >= _LOWEST_OCTAVE) & (octaves <= _HIGHEST_OCTAVE)
    if within.mean() < _SHARE_IN_OCTAVES:
        return False
    # A square wave of 16-bit samples may lie within, with all of its samples, and in few octaves.
    _, counts = np.unique(octaves[within], return_counts=True)
    if np.count_nonzero(counts >= _SHARE_OF_OCTAVE * len(words)) < _MIN_OCTAVES:
        return False
    others = np.delete(words, top, axis=1)
    # Or one channel may be silent. Floats without lower bits, of 8-bit sound, cannot be told from that.
    if not others.any():
        return False
    others = _octaves(others, size)
    share = np.mean((others >= _LOWEST_OCTAVE) & (others <= _HIGHEST_OCTAVE))
    return bool(share < _HIGHEST_SHARE_OF_OTHERS)


def _octaves(words: npt.NDArray[np.uint16], size: int) -> npt.NDArray[np.int64]:
    """Gives the powers of two that floats begin with, from their top 16 bits."""
    shift, mask, bias = _EXPONENTS[size]
    return ((words.astype(np.int64) >> shift) & mask) - bias


def wide_like(data: bytes) -> WideName | None:
    """Tells integer samples of another size or order.

    Args:
        data: bytes that begin with a whole sample, of sound that is not silent.

    Returns:
        None where it does not show; see the module for what does not. None for less than 4096 bytes.
    """
    if len(data) < MIN_BYTES or is_constant(data):
        return None
    values = np.frombuffer(data, np.uint8)
    found = _big_endian(values) or _three_bytes(values) or _four_bytes(values)
    return found or _one_byte(values)


def _big_endian(values: Bytes) -> WideName | None:
    pairs = values[: len(values) // 2 * 2].reshape(-1, 2)
    first, second = pairs[:, 0], pairs[:, 1]
    negative = first >= 0x80  # noqa: PLR2004  the sign
    if not 0.05 < negative.mean() < 0.95:  # noqa: PLR2004  it has both signs
        return None
    # Loud: what would be the top byte is spread evenly, and the other one is not, but near 0 and -1.
    small = (first < 0x30) | (first >= 0xD0)  # noqa: PLR2004
    if spread(second) < _EVEN and spread(first) > _UNEVEN and small.mean() > 0.7:  # noqa: PLR2004
        return "s16be"
    # Quiet: the first byte is 0 or -1, as the second one says, which has more to say.
    extends = np.where(second >= 0x80, first == 0xFF, first == 0)  # noqa: PLR2004
    if extends.mean() > 0.995 and len(np.unique(second)) >= 8:  # noqa: PLR2004
        return "s16be"
    return None


def _three_bytes(values: Bytes) -> WideName | None:
    """Any third byte of 16-bit samples is the top one of some: never spread evenly, nor always zero."""
    # Six, for the two channels of a stereo sound; of three channels in 16 bits the halves of the six differ.
    groups = values[: len(values) // 6 * 6].reshape(-1, 6)
    if len(groups) < _MIN_GROUPS:
        return None
    parts = [spread(groups[:, at]) for at in range(6)]
    used = [float((groups[:, at] != 0).mean()) for at in range(6)]
    for name, low, top in (("s24le", 0, 2), ("s24be", 2, 0)):
        lowest, highest = (low, low + 3), (top, top + 3)
        signs = float((groups[:, highest] >= 0x80).mean())  # noqa: PLR2004
        if min(parts[at] for at in highest) < _UNEVEN or not _BOTH_SIGNS < signs < 1 - _BOTH_SIGNS:
            continue
        empty = all(used[at] == 0 for at in lowest) and min(used[1], used[4]) > _SHARE_USED
        if empty or max(parts[at] for at in lowest) < _EVEN:
            return "s24le" if name == "s24le" else "s24be"
    return None


def _four_bytes(values: Bytes) -> WideName | None:
    """The lower half of a long sample is spread evenly, and has nothing to do with the upper one, nor with the next."""
    words = values[: len(values) // 4 * 4].reshape(-1, 4)
    parts = [spread(words[:, at]) for at in range(4)]
    for name, order in (("s32le", "<"), ("s32be", ">")):
        top, next_to_lowest = (3, 1) if order == "<" else (0, 2)
        signs = float((words[:, top] >= 0x80).mean())  # noqa: PLR2004
        if parts[top] < _UNEVEN or not _BOTH_SIGNS < signs < 1 - _BOTH_SIGNS or parts[next_to_lowest] > _EVEN:
            continue
        halves = words.copy().view(f"{order}i2").astype(np.float64)
        high, low = (halves[:, 1], halves[:, 0]) if order == "<" else (halves[:, 0], halves[:, 1])
        # In little-endian order no such bytes are a channel's top ones; in big-endian order the very lowest must be
        # as even, or empty, for a channel's lower byte may be.
        last = words[:, 3]
        lowest_fits = (
            parts[3] < _EVEN or (not last.any() and parts[1] < _EVEN) if order == ">" else _is_lowest(words[:, 0])
        )
        if lowest_fits and _unrelated(low, high) and _unrelated(low[1:], low[:-1]):
            return "s32le" if name == "s32le" else "s32be"
    return None


def _is_lowest(column: Bytes) -> bool:
    """Whether bytes are spread evenly but for zeros, which floats that were made integers end with."""
    used = column[column != 0]
    return spread(used) < _HIGHEST_OF_LOWEST or len(used) < _LOWEST_SHARE_USED * len(column)


def _unrelated(one: npt.NDArray[np.float64], other: npt.NDArray[np.float64]) -> bool:
    if one.std() == 0 or other.std() == 0:
        return False
    return bool(abs(np.corrcoef(one, other)[0, 1]) < _LOWEST_CORRELATION)


_ALIKE = 0.15
_NEAR = 64
_SHARE_NEAR = 0.99
_QUIET = 0x50
_SHARE_QUIET = 0.95
_ALAW_TOGGLES = 0x55
_MIN_VALUES = 8


def _one_byte(values: Bytes) -> WideName | None:
    """Bytes at even and odd places that are spread alike, around the silence of an 8-bit format."""
    counts = [np.bincount(values[at::2], minlength=256) / len(values[at::2]) for at in (0, 1)]
    if np.abs(counts[0] - counts[1]).sum() / 2 > _ALIKE or len(np.unique(values)) < _MIN_VALUES:
        return None
    positive = float((values >= 0x80).mean())  # noqa: PLR2004
    if not 0.1 < positive < 0.9:  # noqa: PLR2004
        return None
    if (np.abs(values.astype(np.int16) - 0x80) <= _NEAR).mean() > _SHARE_NEAR:
        return "u8"
    commonest = int(np.bincount(values & 0x7F).argmax())
    if commonest >= 0x7C and ((values & 0x7F) >= _QUIET).mean() > _SHARE_QUIET:  # noqa: PLR2004
        return "ulaw"
    quiet = commonest >> 2 == _ALAW_TOGGLES >> 2
    if quiet and (((values ^ _ALAW_TOGGLES) & 0x7F) <= 0x7F - _QUIET).mean() > _SHARE_QUIET:  # noqa: PLR2004
        return "alaw"
    return None
