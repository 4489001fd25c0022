"""What the headers of sound files promise: libsndfile clips it to what is there without a word."""

from __future__ import annotations

import os
import struct
from typing import BinaryIO

from edge_aac.errors import DataError

# What recorders write in a header when they cannot know the length yet (ffmpeg, sox and arecord into a pipe).
_LOWEST_UNKNOWN_SIZE = 0x7FFF_F000
_LOWEST_UNKNOWN_LONG_SIZE = 2**62
_SIZE_IS_IN_DS64 = 0xFFFF_FFFF

_CHUNKED_FORMS = (
    (b"RIFF", b"WAVE"),
    (b"RIFX", b"WAVE"),
    (b"RF64", b"WAVE"),
    (b"FORM", b"AIFF"),
    (b"FORM", b"AIFC"),
)
_W64 = bytes.fromhex("726966662e91cf11a5d628db04c10000")
_W64_HEADER_BYTES = 40
_W64_CHUNK_HEADER_BYTES = 24
_AU_ORDERS = {b".snd": ">", b"dns.": "<"}
_VOC = b"Creative Voice File\x1a"
_VOC_FIRST_BLOCK = 26
_VOC_SOUND = 9
_VOC_SOUND_HEADER_BYTES = 12


def refuse_less_than_promised(raw: BinaryIO, path: str) -> None:
    """Compares the size of the sound with the header's.

    Args:
        raw: a regular file; it is left at its start.
        path: the file as the user wrote it.

    Raises:
        DataError: the header promises more bytes than the file holds.
    """
    found = _promised_sound(raw)
    raw.seek(0)
    if found is None:
        return
    start, promised = found
    present = os.fstat(raw.fileno()).st_size - start
    if promised > present:
        raise DataError(
            f"'{path}' is truncated: it holds {max(0, present)} of the {promised} bytes of sound that its header "
            "promises; copy it again from where it came from."
        )


def _promised_sound(raw: BinaryIO) -> tuple[int, int] | None:
    """Finds where the sound starts, and how many bytes of it the header promises.

    Returns:
        None where the file is of a kind that is not known here, or the recorder could not know the length.
    """
    head = raw.read(_W64_HEADER_BYTES)
    if (head[:4], head[8:12]) in _CHUNKED_FORMS:
        return _in_chunks(raw, head)
    if head.startswith(_W64):
        return _in_w64(raw)
    if head[:4] in _AU_ORDERS:
        start, size = struct.unpack(f"{_AU_ORDERS[head[:4]]}II", head[4:12].ljust(8, b"\xff"))
        return (start, size) if size < _LOWEST_UNKNOWN_SIZE else None
    if head.startswith(_VOC) and head[_VOC_FIRST_BLOCK : _VOC_FIRST_BLOCK + 1] == bytes([_VOC_SOUND]):
        # libsndfile itself refuses other blocks that are truncated.
        size = int.from_bytes(head[_VOC_FIRST_BLOCK + 1 : _VOC_FIRST_BLOCK + 4], "little")
        return _VOC_FIRST_BLOCK + 4 + _VOC_SOUND_HEADER_BYTES, size - _VOC_SOUND_HEADER_BYTES
    return None


def _in_chunks(raw: BinaryIO, head: bytes) -> tuple[int, int] | None:
    """RIFF (WAV), RF64 and AIFF."""
    order = "<" if head[:4] in (b"RIFF", b"RF64") else ">"
    sound = b"data" if head[8:12] == b"WAVE" else b"SSND"
    long_size: int | None = None
    raw.seek(12)
    while len(header := raw.read(8)) == 8:  # noqa: PLR2004  a chunk's name and size
        name, size = struct.unpack(f"{order}4sI", header)
        start = raw.tell()
        if name == b"ds64":
            long_size = struct.unpack("<8xQ", raw.read(16).ljust(16, b"\xff"))[0]
        elif name == sound:
            if size < _LOWEST_UNKNOWN_SIZE:
                return start, size
            return (start, long_size) if long_size is not None and size == _SIZE_IS_IN_DS64 else None
        raw.seek(start + size + size % 2)
    return None


def _in_w64(raw: BinaryIO) -> tuple[int, int] | None:
    """Sony Wave64: names of 16 bytes, sizes that count their own header, chunks at multiples of 8 bytes."""
    start = _W64_HEADER_BYTES
    raw.seek(start)
    while len(header := raw.read(_W64_CHUNK_HEADER_BYTES)) == _W64_CHUNK_HEADER_BYTES:
        name, size = struct.unpack("<4s12xQ", header)
        if not _W64_CHUNK_HEADER_BYTES <= size < _LOWEST_UNKNOWN_LONG_SIZE:
            return None
        if name == b"data":
            return start + _W64_CHUNK_HEADER_BYTES, size - _W64_CHUNK_HEADER_BYTES
        start += size + -size % 8
        raw.seek(start)
    return None
