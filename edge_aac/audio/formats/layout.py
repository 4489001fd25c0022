"""Where the sound stands in a file, how it is encoded, and how much of it the header promises."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Protocol

Order = Literal["LITTLE", "BIG"]
Grammar = Literal["riff", "rifx", "iff", "caf", "w64", "voc"]

HIGHEST_CHANNELS = 1024

# Bytes of a sample of the encodings that need no context: soundfile's names.
SAMPLE_BYTES = {
    "PCM_S8": 1,
    "PCM_U8": 1,
    "PCM_16": 2,
    "PCM_24": 3,
    "PCM_32": 4,
    "FLOAT": 4,
    "DOUBLE": 8,
    "ULAW": 1,
    "ALAW": 1,
}

SampleFormat = Literal[
    "u8", "s8", "ulaw", "alaw", "s16le", "s16be", "s24le", "s24be", "s32le", "s32be", "f32le", "f32be", "f64le", "f64be"
]
SAMPLE_FORMATS: dict[SampleFormat, tuple[str, Order]] = {
    "u8": ("PCM_U8", "LITTLE"),
    "s8": ("PCM_S8", "LITTLE"),
    "s16le": ("PCM_16", "LITTLE"),
    "s16be": ("PCM_16", "BIG"),
    "s24le": ("PCM_24", "LITTLE"),
    "s24be": ("PCM_24", "BIG"),
    "s32le": ("PCM_32", "LITTLE"),
    "s32be": ("PCM_32", "BIG"),
    "f32le": ("FLOAT", "LITTLE"),
    "f32be": ("FLOAT", "BIG"),
    "f64le": ("DOUBLE", "LITTLE"),
    "f64be": ("DOUBLE", "BIG"),
    "ulaw": ("ULAW", "LITTLE"),
    "alaw": ("ALAW", "LITTLE"),
}
"""ffmpeg's names of plain samples: soundfile's encoding, and the order of bytes, where there are several."""

# What programs write in a header while they cannot know the length yet: -1, or the greatest whole number of frames
# below 2^31 or 2^32, less the header (ffmpeg, sox, arecord, GStreamer, into a pipe).
_PLACEHOLDERS = (range(0x7FFF_F000, 0x8000_0040), range(0xFFFF_F000, 0x1_0000_0000))
_LOWEST_UNKNOWN_LONG_SIZE = 2**62


class HeaderError(Exception):
    """A header says what cannot be; the text continues a sentence that begins with the input's name."""


class Look(Protocol):
    """Looks at bytes by their place, counted from the container's first byte."""

    def __call__(self, offset: int, count: int) -> bytes:
        """Gives the bytes; fewer at the end of the input, or beyond what can be looked at."""


@dataclass(frozen=True)
class Encoding:
    """How sound is written down.

    Attributes:
        subtype: name of the encoding, one of :func:`soundfile.available_subtypes`.
        order: order of the bytes in a sample.
        rate: rate in Hz.
        channels: number of channels.
        block_bytes: bytes of what is decoded as a whole: a frame, or a block of an ADPCM codec.
        block_frames: frames in such a block.
    """

    subtype: str
    order: Order
    rate: int
    channels: int
    block_bytes: int
    block_frames: int = 1

    @property
    def bytes_per_s(self) -> float:
        """Bytes of a second of sound."""
        return self.block_bytes * self.rate / self.block_frames

    @property
    def is_samples(self) -> bool:
        """Whether each frame can be decoded by itself."""
        return self.subtype in SAMPLE_BYTES

    @property
    def sample_format(self) -> SampleFormat | None:
        """ffmpeg's name of plain samples; None of a codec's blocks."""
        order = "LITTLE" if SAMPLE_BYTES.get(self.subtype) == 1 else self.order
        return next((name for name, found in SAMPLE_FORMATS.items() if found == (self.subtype, order)), None)


@dataclass(frozen=True)
class Layout:
    """Where the sound stands, by the header.

    Attributes:
        container: name for messages: WAV, AIFF ….
        encoding: how the sound is written down; None where that is left to libsndfile.
        start: first byte of the sound, counted from the container's first byte.
        promised: bytes of sound by the header; None where the writer could not know.
        outer_end: first byte behind the whole container, by its outermost length; None where it has none, or an unknown
            one.
        grammar: how chunks behind the sound are written; None where there are none.
        header: gives a header for so many bytes of sound, for an encoding that libsndfile decodes with its container;
            None where the samples need no container.
    """

    container: str
    encoding: Encoding | None
    start: int
    promised: int | None
    outer_end: int | None = None
    grammar: Grammar | None = None
    header: Callable[[int], bytes] | None = None


def known_size(size: int) -> int | None:
    """A length of 32 bits from a header, or None where it stands for an unknown one."""
    return None if any(size in placeholders for placeholders in _PLACEHOLDERS) else size


def known_long_size(size: int) -> int | None:
    """A length of 64 bits from a header, or None where it stands for an unknown one."""
    return size if 0 <= size < _LOWEST_UNKNOWN_LONG_SIZE else None


def samples(container: str, subtype: str, order: Order, rate: float, channels: int) -> Encoding:
    """The encoding of plain samples.

    Raises:
        HeaderError: the header gives no channels or absurdly many, or no rate.
    """
    if not 1 <= channels <= HIGHEST_CHANNELS or not 0 < rate < 2**31:
        raise HeaderError(f"claims {channels} channels at {rate:g} Hz: its {container} header is damaged")
    return Encoding(subtype, order, round(rate), channels, SAMPLE_BYTES[subtype] * channels)
