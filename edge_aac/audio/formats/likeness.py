"""Whether bytes are sound: a text, a fill and compressed data are not, and other samples are not 16-bit ones.

Each judgement is made to be wrong on the side of sound: what is taken for something else is lost, and what is taken
for sound by mistake is heard as noise. Measured:

- Of 2193 recordings (ESC-10 and others, 8156 s) as s16le, none was taken for anything else in stretches of 256 bytes to
  the whole, nor in 14 encodings, peak-normalised, clipped and quiet, of every eighth recording. Hiss that is limited
  until it fills the range evenly, as no microphone gives it, is taken for compressed data, unless the sound before it
  is such hiss, too.
- Of things that are no sound, in stretches of 4 kB and more: random data is always recognised, gzip and AAC for 97 of
  100, MP3 for 75; texts for 95 of 100 and more. Pictures and archives with large tables are for half; executables and
  ADPCM are taken for sound.
"""

from __future__ import annotations

from enum import Enum
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from edge_aac.audio.formats.layout import SAMPLE_BYTES, SAMPLE_FORMATS, SampleFormat

Bytes = npt.NDArray[np.uint8]

MIN_TEXT_BYTES = 256
"""Of fewer bytes it cannot be told whether they are a text: half a slow wave in samples of 8 bits may be printable."""
MIN_RANDOM_SAMPLES = 256
"""Fewer samples tell nothing about how they are spread."""
LONGEST_PATTERN_BYTES = 16
_CARE_OF_ONE_BYTE = 4


class Judgement(Enum):
    """What a stretch of bytes is, as part of a sentence."""

    SOUND = "sound"
    CONSTANT = "a fill of one repeated value"
    TEXT = "text"
    RANDOM = "compressed or encrypted data"
    UNCLEAR = "too short to be judged"


class Encoding(NamedTuple):
    """How a sample is written.

    Attributes:
        sample_bytes: size of a sample.
        top: offset of its most significant byte, which of a float holds the sign and most of the exponent.
    """

    sample_bytes: int
    top: int


ENCODINGS: dict[SampleFormat, Encoding] = {
    name: Encoding(size := SAMPLE_BYTES[subtype], size - 1 if order == "LITTLE" else 0)
    for name, (subtype, order) in SAMPLE_FORMATS.items()
}
"""What raw samples may be; the names are ffmpeg's."""


def continues_sound(before: bytes, after: bytes, encoding: SampleFormat) -> Judgement:
    """Judges bytes that follow a sound, such as those beyond the length that a file's header promises.

    Known tags and chunks are for the caller to recognise. What is neither a fill, nor text, nor spread like compressed
    data counts as sound, executables and tables too. Stretches of up to a megabyte are judged as a whole: where a part
    is something else, what most of it is counts.

    Args:
        before: the sound before it, at best some kilobytes, which end with a whole sample. Where that is spread like
            compressed data, as full-scale noise is, nothing random counts as strange behind it.
        after: the stretch, which begins with a whole sample.
        encoding: how the sound before is written.

    Returns:
        ``UNCLEAR`` for less than 256 bytes that are no fill, and for less than 256 samples that could be random. In
        encodings of one byte it is also that of a text of less than 1024 bytes, and of less than 1024 such samples.
    """
    if is_constant(after):
        return Judgement.CONSTANT
    sample_bytes = ENCODINGS[encoding].sample_bytes
    # Of samples of one byte a few dozen may be anything.
    factor = _CARE_OF_ONE_BYTE if sample_bytes == 1 else 1
    if len(after) < MIN_TEXT_BYTES:
        return Judgement.UNCLEAR
    if is_text(after):
        return Judgement.TEXT if len(after) >= factor * MIN_TEXT_BYTES else Judgement.UNCLEAR
    if len(after) < factor * MIN_RANDOM_SAMPLES * sample_bytes:
        return Judgement.UNCLEAR if _could_be_random(after, encoding) else Judgement.SOUND
    before = before[len(before) % sample_bytes :]
    if is_random(after, encoding) and not is_random(before, encoding):
        return Judgement.RANDOM
    return Judgement.SOUND


def is_constant(data: bytes) -> bool:
    """Tells a fill: one byte, or a pattern of at most 16 bytes, over and over; digital silence is one.

    Nothing is lost in one: it is no sound, whatever the encoding. 16 bytes are enough for one value, 48 for a pattern.
    """
    values = np.frombuffer(data, np.uint8)
    if len(values) < LONGEST_PATTERN_BYTES:
        return False
    if values.min() == values.max():
        return True
    periods = range(2, LONGEST_PATTERN_BYTES + 1)
    return len(values) >= 3 * LONGEST_PATTERN_BYTES and any(
        np.array_equal(values[period:], values[:-period]) for period in periods
    )


# What a text consists of: printable ASCII and white space; most of it letters, digits and spaces.
_PRINTABLE = np.zeros(256, bool)
_PRINTABLE[[9, 10, 12, 13]] = True
_PRINTABLE[32:127] = True
_CONTROLS = ~_PRINTABLE & (np.arange(256) < 128)  # noqa: PLR2004  the rest is of other alphabets
_WORDS = np.zeros(256, bool)
_WORDS[[9, 10, 13, 32]] = True
_WORDS[ord("0") : ord("9") + 1] = True
_WORDS[ord("A") : ord("Z") + 1] = True
_WORDS[ord("a") : ord("z") + 1] = True
_SHARE_OF_WORDS = 0.5
_SHARE_OF_ASCII = 0.85
_IS_SPACE = np.isin(np.arange(256), [9, 10, 13, 32])
_SPACES = [*np.flatnonzero(_IS_SPACE), ord(","), ord(";")]
_SHARE_OF_SPACES = 0.015
_LOWEST_SPREAD = 12.0
_MIN_VALUES = 10
_HIGHEST_ASCII = 0x7F
# Neighbouring letters have little to do with each other, samples of slow waves much.
_LOWEST_ROUGHNESS = 0.12
_LONGEST_CHARACTER = 4


def is_text(data: bytes) -> bool:
    """Tells text in ASCII, UTF-8, UTF-16 or Latin-1: prose, programs, tables, markup, base64.

    Args:
        data: any bytes; of more than 64 kB the first are looked at.

    Returns:
        False for less than 256 bytes.
    """
    data = data[:65_536]
    values = np.frombuffer(data, np.uint8)
    if len(values) < MIN_TEXT_BYTES:
        return False
    return _is_wide_text(values) or _is_letters(values) or _is_utf8(data, values)


def _is_letters(values: Bytes) -> bool:
    """ASCII, with some letters of Latin-1 among it."""
    counts = np.bincount(values, minlength=256)
    few_others = counts[:128].sum() >= _SHARE_OF_ASCII * len(values) and counts[0x80:0xA0].sum() == 0
    if not few_others or counts[_CONTROLS].sum() or counts[_WORDS].sum() < _SHARE_OF_WORDS * len(values):
        return False
    # Quiet sound in A-law consists of a few neighbouring letters, without a space.
    letters = values[values <= _HIGHEST_ASCII]
    if counts[_SPACES].sum() < _SHARE_OF_SPACES * len(values) and letters.std() < _LOWEST_SPREAD:
        return False
    return int(np.count_nonzero(counts[:128])) >= _MIN_VALUES and _roughness(letters) > _LOWEST_ROUGHNESS


def _is_utf8(data: bytes, values: Bytes) -> bool:
    """Text of any alphabet: what is valid for so long is no accident, as long as it changes."""
    counts = np.bincount(values, minlength=256)
    if counts[_CONTROLS].sum() or np.count_nonzero(counts) < _MIN_VALUES or counts[0xC2:].sum() == 0:
        return False
    # The first character may be cut, and the last.
    first = next((at for at in range(_LONGEST_CHARACTER) if values[at] & 0xC0 != 0x80), None)  # noqa: PLR2004
    if first is None:
        return False
    try:
        data[first:].decode("utf-8")
    except UnicodeDecodeError as error:
        return error.start > len(data) - first - _LONGEST_CHARACTER
    return True


def _is_wide_text(values: Bytes) -> bool:
    """UTF-16 of mostly Latin letters: every other byte is zero, and the ones between are a text."""
    pairs = values[: len(values) // 2 * 2].reshape(-1, 2)
    if tuple(pairs[0]) in ((0xFF, 0xFE), (0xFE, 0xFF)):
        pairs = pairs[1:]
    for low, high in ((0, 1), (1, 0)):
        if np.count_nonzero(pairs[:, high]) < (1 - _SHARE_OF_ASCII) * len(pairs) and _is_letters(pairs[:, low]):
            # Quiet samples that are never negative may look like letters, but not like spaces and letters.
            return bool(np.isin(pairs[:, low], _SPACES).mean() > 0.02 and _roughness(pairs[:, low]) > 0.45)  # noqa: PLR2004
    return False


def _roughness(values: Bytes) -> float:
    """Gives how much neighbours differ: 1 where they have nothing to do with each other, towards 0 in slow waves.

    White space does not count: programs and tables are indented with runs of it.
    """
    numbers = values[~_IS_SPACE[values]].astype(np.float32)
    if len(numbers) < _MIN_VALUES:
        return 0.0
    variance = float(numbers.var())
    return float(np.square(np.diff(numbers)).mean()) / (2 * variance) if variance else 0.0


_BLOCK_SAMPLES = 256
_BINS = 16
# Of 256 random samples the chi-squared of 15 degrees of freedom lies below 40 but for once in 2000 blocks.
_HIGHEST_CHI_SQUARED = 40.0
_SHARE_OF_BLOCKS = 0.75
_HIGHEST_MEAN = 24.0
_HIGHEST_CORRELATION = 0.1
_MAX_LAG = 8


def is_random(data: bytes, encoding: SampleFormat) -> bool:
    """Tells data whose samples would be spread evenly over the whole range, at all times, like those of no recording.

    Args:
        data: any bytes, beginning with a whole sample.
        encoding: how its samples would be written.

    Returns:
        True for archives, encrypted data, pictures and compressed sound, behind headers that are short beside them, and
        for noise that was made to fill the range evenly. False for less than 256 samples.
    """
    top = _top_bytes(data, encoding)
    blocks = len(top) // _BLOCK_SAMPLES
    if blocks == 0:
        return False
    chi_squared = _chi_squared(top[: blocks * _BLOCK_SAMPLES].reshape(blocks, -1))
    if np.mean(chi_squared < _HIGHEST_CHI_SQUARED) < _SHARE_OF_BLOCKS or np.median(chi_squared) > _HIGHEST_MEAN:
        return False
    # Two's complement: of what changes slowly the neighbours are alike.
    values = top.astype(np.int8).astype(np.float32)
    values -= values.mean()
    power = float(np.dot(values, values))
    limit = max(_HIGHEST_CORRELATION, 4 / np.sqrt(len(values)))
    if not values.any():
        return False
    return all(
        abs(float(np.dot(values[lag:], values[:-lag]))) < limit * power
        for lag in range(1, min(_MAX_LAG, len(values) - 1))
    )


def spread(values: Bytes) -> float:
    """Gives how unevenly bytes are spread over 16 equal parts of their range, in 256 of them, half of the time.

    Returns:
        The median chi-squared of their blocks: about 15 where they are spread evenly, thousands in the top bytes of
        most sounds. Infinite for less than 256 bytes.
    """
    blocks = len(values) // _BLOCK_SAMPLES
    if blocks == 0:
        return float("inf")
    return float(np.median(_chi_squared(values[: blocks * _BLOCK_SAMPLES].reshape(blocks, -1))))


def _could_be_random(data: bytes, encoding: SampleFormat) -> bool:
    """Whether few samples use the whole range."""
    top = _top_bytes(data, encoding)
    return len(np.unique(top >> 4)) > _BINS // 2


def _top_bytes(data: bytes, encoding: SampleFormat) -> Bytes:
    """Gives each sample's most significant byte, shape (samples,)."""
    sample_bytes, top = ENCODINGS[encoding]
    return np.frombuffer(data, np.uint8)[: len(data) // sample_bytes * sample_bytes][top::sample_bytes]


def _chi_squared(top: Bytes) -> npt.NDArray[np.float64]:
    """Gives how unevenly the bytes of each row are spread over 16 equal parts of their range, shape (rows,)."""
    rows, columns = top.shape
    parts = (top >> 4).astype(np.int64) + _BINS * np.arange(rows)[:, None]
    counts = np.bincount(parts.ravel(), minlength=rows * _BINS).reshape(rows, _BINS)
    expected = columns / _BINS
    spread: npt.NDArray[np.float64] = np.square(counts - expected).sum(axis=1) / expected
    return spread
