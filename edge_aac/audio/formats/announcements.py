"""How long a container says that its sound is, where ffmpeg prefers a guess of its own; and tags behind the sound."""

from __future__ import annotations

import os
import struct

_ASF_FILE_PROPERTIES = bytes.fromhex("a1dcab8c47a9cf118ee400c00c205365")
_ASF_IS_LIVE = 1
_AVI_HEADER_BYTES = 56
_APE_FOOTER_BYTES = 32
_ID3V1_BYTES = 128
_TAIL_BYTES = _APE_FOOTER_BYTES + _ID3V1_BYTES


def announced_in_header(head: bytes, demuxer: str) -> float | None:
    """Reads the duration of ASF (WMA) and AVI from their headers: ffmpeg estimates it anew where the end is missing.

    Args:
        head: the first bytes of the file, some thousands.
        demuxer: ffmpeg's name of the reader.

    Returns:
        Seconds; None where the header does not say, or the format is another.
    """
    if demuxer == "asf":
        return _in_asf(head)
    if demuxer == "avi":
        return _in_avi(head)
    return None


def trailing_tag_bytes(descriptor: int) -> int:
    """Gives the size in bytes of an ID3v1 tag, and of an APE tag before it, at the end of a regular file."""
    size = os.fstat(descriptor).st_size
    tail = os.pread(descriptor, min(size, _TAIL_BYTES), max(0, size - _TAIL_BYTES))
    found = 0
    if tail[-_ID3V1_BYTES:].startswith(b"TAG"):
        found, tail = _ID3V1_BYTES, tail[:-_ID3V1_BYTES]
    footer = tail[-_APE_FOOTER_BYTES:]
    if footer.startswith(b"APETAGEX") and len(footer) == _APE_FOOTER_BYTES:
        # Its size counts the footer, and not the header, which a flag tells of.
        tag_bytes, _, flags = struct.unpack("<III", footer[12:24])
        found += tag_bytes + (_APE_FOOTER_BYTES if flags >> 31 else 0)
    return min(found, size)


def _in_asf(head: bytes) -> float | None:
    """The file properties object (ASF 01.20.06 §3.2): a play duration in units of 100 ns, which counts the preroll."""
    at = head.find(_ASF_FILE_PROPERTIES)
    if at < 0 or len(head) < at + 92:
        return None
    duration, _, preroll_ms, flags = struct.unpack_from("<QQQI", head, at + 64)
    seconds: float = duration / 1e7 - preroll_ms / 1e3
    return seconds if seconds > 0 and not flags & _ASF_IS_LIVE else None


def _in_avi(head: bytes) -> float | None:
    """The header of the first stream of sound: its length in units of scale / rate seconds."""
    at = head.find(b"strh")
    while 0 <= at <= len(head) - _AVI_HEADER_BYTES:
        if head[at + 8 : at + 12] == b"auds":
            scale, rate, _, length = struct.unpack_from("<IIII", head, at + 28)
            return scale * length / rate if rate and length else None
        at = head.find(b"strh", at + 4)
    return None
