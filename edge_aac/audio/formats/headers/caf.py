"""CAF, Apple's Core Audio Format (specification 1.0): chunks with lengths of 64 bits."""

from __future__ import annotations

import math
import struct

from edge_aac.audio.formats.layout import Encoding, HeaderError, Layout, Look, known_long_size, samples

_MAX_CHUNKS = 4_096
_FILE_HEADER_BYTES = 8
_CHUNK_HEADER_BYTES = 12
_DESCRIPTION_BYTES = 32
_EDIT_COUNT_BYTES = 4
_IS_FLOAT, _IS_LITTLE = 1, 2
_INTEGERS = {1: "PCM_S8", 2: "PCM_16", 3: "PCM_24", 4: "PCM_32"}
_FLOATS = {4: "FLOAT", 8: "DOUBLE"}
_COMPANDED = {b"ulaw": "ULAW", b"alaw": "ALAW"}


def caf_layout(look: Look) -> Layout | None:
    """Reads the header of a CAF file; None where it is none, or has no sound.

    Raises:
        HeaderError: it says what cannot be.
    """
    if look(0, 4) != b"caff":
        return None
    description: bytes | None = None
    position = _FILE_HEADER_BYTES
    for _ in range(_MAX_CHUNKS):
        header = look(position, _CHUNK_HEADER_BYTES)
        if len(header) < _CHUNK_HEADER_BYTES:
            return None
        name, size = struct.unpack(">4sq", header)
        position += _CHUNK_HEADER_BYTES
        if name == b"desc" and description is None:
            description = look(position, _DESCRIPTION_BYTES)
        if name == b"data":
            # By the specification the description is the first chunk.
            if description is None:
                return None
            known = known_long_size(size)
            promised = None if known is None else max(0, known - _EDIT_COUNT_BYTES)
            return Layout("CAF", _encoding(description), position + _EDIT_COUNT_BYTES, promised, grammar="caf")
        if known_long_size(size) is None:
            return None
        position += size
    return None


def _encoding(description: bytes) -> Encoding | None:
    if len(description) < _DESCRIPTION_BYTES:
        raise HeaderError("has a CAF header that breaks off: it is damaged")
    rate, form, flags, packet_bytes, packet_frames, channels, bits = struct.unpack(">d4sIIIII", description)
    if not math.isfinite(rate):
        raise HeaderError(f"claims a sample rate of {rate} Hz: its CAF header is damaged")
    if form in _COMPANDED:
        return samples("CAF", _COMPANDED[form], "BIG", rate, channels)
    if form != b"lpcm" or packet_frames != 1:
        return None
    width = packet_bytes // channels if channels and packet_bytes % channels == 0 else (bits + 7) // 8
    subtype = (_FLOATS if flags & _IS_FLOAT else _INTEGERS).get(width)
    return (
        None if subtype is None else samples("CAF", subtype, "LITTLE" if flags & _IS_LITTLE else "BIG", rate, channels)
    )
