"""What raw bytes on standard input are, where they are not the 16-bit samples that they are taken for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from edge_aac.audio.formats.layout import SampleFormat
from edge_aac.audio.formats.likeness import MIN_TEXT_BYTES, is_constant, is_random, is_text
from edge_aac.audio.formats.sample_formats import MIN_BYTES, float_like, wide_like

BLOCK_BYTES = 24_576
"""So much sound is judged at once: 0.77 s of mono at 16 kHz. A multiple of every size of sample."""
# Silence is looked through in pieces, also of every size of sample.
_PIECE_BYTES = 3_072
_MAX_BLOCKS = 16
_MAX_BYTES = 64 << 20
# What is random only at first may be the noise of a microphone that is switched on too loud.
_RANDOM_BLOCKS = 3
_QUIETEST = 4

_SENTENCES: dict[str, str] = {
    "u8": "unsigned 8-bit samples (u8)",
    "ulaw": "8-bit samples in mu-law",
    "alaw": "8-bit samples in A-law",
    "s16be": "16-bit samples in big-endian order (s16be)",
    "s24le": "24-bit samples (s24le)",
    "s24be": "24-bit samples in big-endian order (s24be)",
    "s32le": "32-bit samples (s32le)",
    "s32be": "32-bit samples in big-endian order (s32be)",
    "f32le": "32-bit float samples (f32le)",
    "f32be": "32-bit float samples in big-endian order (f32be)",
    "f64le": "64-bit float samples (f64le)",
    "f64be": "64-bit float samples in big-endian order (f64be)",
}


@dataclass(frozen=True)
class Finding:
    """What the bytes look like.

    Attributes:
        kind: "text", "random" for compressed or encrypted data, "float", or "wide" for other integer samples.
        encoding: ffmpeg's name of the samples' format; None for what is no sound.
        looks_like: noun phrase for a sentence: "it looks like ...".
    """

    kind: Literal["text", "random", "float", "wide"]
    encoding: SampleFormat | None
    looks_like: str


class RawEvidence:
    """Looks at a stream of bytes that is taken for s16le, and answers once, where it looks like something else.

    Of 2193 recordings in s16le (8156 s), and of 4830 streams made of every sixteenth (one to three channels, 8 and 12
    bits, with an offset, clipped, limited, quiet; 29 534 s), none was taken for anything else. Of such sounds in other
    formats floats are recognised in 97 of 100, 24 bits in 80, 16 bits in big-endian order in 65, 32 bits in 50 (in
    big-endian order sometimes as another one), 8 bits in 30.

    Silence says nothing: it is passed over, and what comes behind it is looked at. After 16 blocks of sound that look
    like samples, or 64 MB, nothing more is looked at.
    """

    def __init__(self) -> None:
        self._pending = bytearray()
        self._sound = bytearray()
        self._looked_bytes = 0
        self._was_silent = False
        self._blocks = self._random_blocks = 0
        self.decided = False
        """Whether it has answered, or will not."""

    @property
    def is_forming(self) -> bool:
        """Whether the first sound is still gathered: what it is cannot be told yet."""
        return not self.decided and self._blocks == 0 and (bool(self._sound) or self._looked_bytes < _PIECE_BYTES)

    def feed(self, data: bytes) -> Finding | None:
        """Takes the next bytes of the stream, however it is cut.

        Returns:
            The finding, once; None before, and where there is none.
        """
        if self.decided:
            return None
        self._pending += data
        self._looked_bytes += len(data)
        whole = len(self._pending) // _PIECE_BYTES * _PIECE_BYTES
        for at in range(0, whole, _PIECE_BYTES):
            piece = bytes(self._pending[at : at + _PIECE_BYTES])
            silent = _is_silent(piece)
            # The first one behind silence is half silent: it would be neither.
            if not silent and not self._was_silent:
                self._sound += piece
            self._was_silent = silent
            if len(self._sound) >= BLOCK_BYTES:
                finding = self._judge_block()
                if finding is not None or self._blocks >= _MAX_BLOCKS:
                    self.decided = True
                    return finding
        del self._pending[:whole]
        self.decided = self._looked_bytes >= _MAX_BYTES
        return None

    def finish(self) -> Finding | None:
        """Judges what is left when the stream has ended.

        Returns:
            The finding, if it was not given before. Less than 256 bytes are not judged.
        """
        if self.decided:
            return None
        self.decided = True
        rest = bytes(self._sound + self._pending)
        if self._looked_bytes == len(rest) < MIN_TEXT_BYTES and len(rest) > 1 and _is_printable(rest):
            # All there is: milliseconds of sound, or a word.
            return _TEXT
        if len(rest) < MIN_TEXT_BYTES or _is_silent(rest):
            return None
        finding = _judged(rest)
        if (
            finding is None
            and self._random_blocks == self._blocks
            and len(rest) >= MIN_BYTES
            and is_random(rest, "s16le")
        ):
            return _RANDOM
        return finding

    def _judge_block(self) -> Finding | None:
        block = bytes(self._sound)
        self._sound.clear()
        self._blocks += 1
        finding = _judged(block)
        if finding is None and self._random_blocks == self._blocks - 1 and _is_random(block):
            self._random_blocks += 1
            finding = _RANDOM if self._random_blocks == _RANDOM_BLOCKS else None
        return finding


_TEXT = Finding("text", None, "text")
_RANDOM = Finding("random", None, "compressed or encrypted data")


def _judged(data: bytes) -> Finding | None:
    if is_text(data) or (is_constant(data) and _is_printable(data)):
        return _TEXT
    encoding: SampleFormat | None = float_like(data)
    if encoding is not None:
        return Finding("float", encoding, _SENTENCES[encoding])
    encoding = wide_like(data)
    return None if encoding is None else Finding("wide", encoding, _SENTENCES[encoding])


def _is_random(data: bytes) -> bool:
    """Whether both bytes of samples are spread evenly: the upper one alone may be the lower one in another order."""
    return is_random(data, "s16le") and is_random(data, "s16be")


def _is_silent(piece: bytes) -> bool:
    """Whether it is a fill, or samples of a few steps around zero, in which no format shows."""
    if is_constant(piece):
        # A table of one line, over and over, is a fill too, and no silence.
        return not _is_printable(piece)
    samples = np.frombuffer(piece[: len(piece) // 2 * 2], "<i2")
    return int(samples.max()) <= _QUIETEST and int(samples.min()) >= -_QUIETEST


def _is_printable(data: bytes) -> bool:
    return data.isascii() and data.decode("ascii").translate(_WHITE).isprintable() and len(set(data)) > 1


_WHITE = {ord(character): " " for character in "\t\n\r"}
