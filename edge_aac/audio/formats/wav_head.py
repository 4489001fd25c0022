"""The head of a WAV as ffmpeg writes it into a pipe."""

from __future__ import annotations

import struct

HIGHEST_WAV_HEAD_BYTES = 4_096

_RIFF_BYTES = 12
_CHUNK_HEADER_BYTES = 8


def format_end(header: bytes) -> tuple[int, int] | None:
    """Finds, in the start of a WAV, where its format and its first sample stand; None where there is more to read."""
    position, form = _RIFF_BYTES, -1
    while position + _CHUNK_HEADER_BYTES <= len(header):
        name, size = struct.unpack_from("<4sI", header, position)
        position += _CHUNK_HEADER_BYTES
        if name == b"data":
            return form, position
        if name == b"fmt ":
            form = position
        position += size + size % 2
    return None


def format_of(header: bytes) -> tuple[int, int, int]:
    """Gives a WAV's rate in Hz, its channels, and the size of its header in bytes."""
    found = format_end(header)
    assert found is not None and found[0] > 0, "ffmpeg writes a format before the samples"
    channels, rate = struct.unpack_from("<2xHI", header, found[0])
    return rate, channels, found[1]
