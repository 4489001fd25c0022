"""AIFF and AIFC, and the 8SVX and 16SV of the Amiga: the IFF family, big-endian.

Sources: Audio Interchange File Format 1.3 and AIFF-C (Apple, 1989 and 1991), 8SVX (Electronic Arts, 1985).
"""

from __future__ import annotations

import math
import struct
from functools import partial
from typing import NamedTuple

from edge_aac.audio.formats.layout import Encoding, HeaderError, Layout, Look, known_size, samples

_MAX_CHUNKS = 4_096
_CHUNK_HEADER_BYTES = 8
_COMMON_BYTES = 18
_LONGEST_COMMON_BYTES = 512
_SOUND_HEADER_BYTES = 8
_VOICE_BYTES = 20

_INTEGERS = {1: "PCM_S8", 2: "PCM_16", 3: "PCM_24", 4: "PCM_32"}
_PLAIN = {b"NONE", b"twos"}
# Compression → encoding and order of the bytes.
_SAMPLES = {
    b"raw ": ("PCM_U8", "BIG"),
    b"in24": ("PCM_24", "BIG"),
    b"in32": ("PCM_32", "BIG"),
    b"42ni": ("PCM_24", "LITTLE"),
    b"42n1": ("PCM_24", "LITTLE"),
    b"23ni": ("PCM_32", "LITTLE"),
    b"23n1": ("PCM_32", "LITTLE"),
    b"fl32": ("FLOAT", "BIG"),
    b"FL32": ("FLOAT", "BIG"),
    b"fl64": ("DOUBLE", "BIG"),
    b"FL64": ("DOUBLE", "BIG"),
    b"ulaw": ("ULAW", "BIG"),
    b"ULAW": ("ULAW", "BIG"),
    b"alaw": ("ALAW", "BIG"),
    b"ALAW": ("ALAW", "BIG"),
}
_SWAPPED = b"sowt"
# Compression → encoding, bytes and frames of a block of one channel.
_BLOCK_CODECS = {b"ima4": ("IMA_ADPCM", 34, 64), b"GSM ": ("GSM610", 33, 160), b"agsm": ("GSM610", 33, 160)}


def aiff_layout(look: Look) -> Layout | None:
    """Reads the header of an AIFF or AIFC file; None where it is none, or has no sound.

    Raises:
        HeaderError: it says what cannot be.
    """
    found = _opened(look, {b"AIFF", b"AIFC"}, b"COMM", b"SSND")
    if found is None:
        return None
    form, outer_end, (place, length), (start, size) = found
    body = look(place, min(length, _LONGEST_COMMON_BYTES))
    if len(body) < _COMMON_BYTES:
        raise HeaderError(f"has a {form.decode()} header that breaks off: it is damaged")
    offset = int.from_bytes(look(start, 4), "big")
    known = known_size(size)
    promised = None if known is None else max(0, known - _SOUND_HEADER_BYTES - offset)
    encoding = _encoding(form, body)
    header = None if encoding is None or encoding.is_samples else partial(_header, body, encoding)
    return Layout(
        form.decode(),
        encoding,
        start + _SOUND_HEADER_BYTES + offset,
        promised,
        outer_end,
        "iff",
        header,
    )


def svx_layout(look: Look) -> Layout | None:
    """Reads the header of an 8SVX or 16SV file of one channel; None where it is none, or compressed.

    Raises:
        HeaderError: it says what cannot be.
    """
    found = _opened(look, {b"8SVX", b"16SV"}, b"VHDR", b"BODY")
    if found is None:
        return None
    form, outer_end, (place, _), (start, size) = found
    facts = look(place, _VOICE_BYTES)
    if len(facts) < _VOICE_BYTES:
        raise HeaderError(f"has a {form.decode()} header that breaks off: it is damaged")
    rate, _, compression = struct.unpack(">HBB", facts[12:16])
    width = 1 if form == b"8SVX" else 2
    encoding = None if compression else samples(form.decode(), _INTEGERS[width], "BIG", rate, 1)
    return Layout(form.decode(), encoding, start, known_size(size), outer_end, "iff")


class _Opened(NamedTuple):
    """What every file of the family has: its form, where it ends by its length, and place and length of two chunks."""

    form: bytes
    outer_end: int | None
    facts: tuple[int, int]
    sound: tuple[int, int]


def _opened(look: Look, forms: set[bytes], facts: bytes, sound: bytes) -> _Opened | None:
    """Finds the chunk that describes the sound, and the one that holds it; None where one is missing."""
    head = look(0, 12)
    form = head[8:12]
    if head[:4] != b"FORM" or form not in forms:
        return None
    description, body = _chunks(look, facts, sound)
    if description is None or body is None:
        return None
    outer = known_size(int.from_bytes(head[4:8], "big"))
    return _Opened(form, None if outer is None else outer + _CHUNK_HEADER_BYTES, description, body)


def _chunks(look: Look, facts: bytes, sound: bytes) -> tuple[tuple[int, int] | None, tuple[int, int] | None]:
    """Place and length of two chunks."""
    found: dict[bytes, tuple[int, int]] = {}
    position = 12
    for _ in range(_MAX_CHUNKS):
        header = look(position, _CHUNK_HEADER_BYTES)
        if len(header) < _CHUNK_HEADER_BYTES:
            break
        name, size = struct.unpack(">4sI", header)
        position += _CHUNK_HEADER_BYTES
        if name in {facts, sound}:
            found.setdefault(name, (position, size))
        if len(found) == 2:  # noqa: PLR2004  both
            break
        position += size + size % 2
    return found.get(facts), found.get(sound)


def _encoding(form: bytes, body: bytes) -> Encoding | None:
    channels, _, bits = struct.unpack(">hIh", body[:8])
    rate = _extended(body[8:18])
    compression = body[18:22] if form == b"AIFC" else b"NONE"
    name = form.decode()
    if compression in _PLAIN or compression == _SWAPPED:
        subtype = _INTEGERS.get((bits + 7) // 8)
        order = "LITTLE" if compression == _SWAPPED else "BIG"
    elif compression in _SAMPLES:
        subtype, order = _SAMPLES[compression]
    elif compression in _BLOCK_CODECS:
        subtype, block, frames = _BLOCK_CODECS[compression]
        known = samples(name, "PCM_S8", "BIG", rate, channels)
        return Encoding(subtype, "BIG", known.rate, channels, block * channels, frames)
    else:
        return None
    if subtype is None:
        return None
    return samples(name, subtype, "LITTLE" if order == "LITTLE" else "BIG", rate, channels)


def _extended(data: bytes) -> float:
    """A number of 80 bits (IEEE 754 extended)."""
    exponent, mantissa = struct.unpack(">HQ", data)
    if exponent & 0x8000:
        return -1.0
    try:
        return math.ldexp(mantissa, exponent - 16_383 - 63)
    except OverflowError:
        return math.inf


def _header(body: bytes, encoding: Encoding, sound_bytes: int) -> bytes:
    """A header around the same facts, with the number of frames of so many bytes."""
    frames = sound_bytes // encoding.block_bytes * encoding.block_frames
    body = body[:2] + struct.pack(">I", min(frames, 0xFFFF_FFFF)) + body[6:]
    common = struct.pack(">4sI", b"COMM", len(body)) + body + b"\0" * (len(body) % 2)
    version = struct.pack(">4sII", b"FVER", 4, 0xA280_5140)
    sound = struct.pack(">4sIII", b"SSND", sound_bytes + _SOUND_HEADER_BYTES, 0, 0)
    outer = 4 + len(version) + len(common) + len(sound) + sound_bytes
    return struct.pack(">4sI", b"FORM", min(outer, 0xFFFF_FFFF)) + b"AIFC" + version + common + sound
