"""What stands before and behind the sound of files without being sound."""

from __future__ import annotations

import struct

import numpy as np


def _synchsafe(size: int) -> bytes:
    return bytes(size >> shift & 0x7F for shift in (21, 14, 7, 0))


def _id3v2(extra: int = 0) -> bytes:
    text = b"\0An evening in the rain"
    frame = b"TIT2" + struct.pack(">IH", len(text), 0) + text
    body = frame + bytes(extra)
    return b"ID3\x03\0\0" + _synchsafe(len(body)) + body


def _id3v2_footer() -> bytes:
    text = b"\x03An evening in the rain"
    frame = b"TIT2" + _synchsafe(len(text)) + b"\0\0" + text
    return b"ID3\x04\0\x10" + _synchsafe(len(frame)) + frame + b"3DI\x04\0\x10" + _synchsafe(len(frame))


def _ape() -> bytes:
    value = b"An evening in the rain"
    item = struct.pack("<II", len(value), 0) + b"Title\0" + value
    size, flags = len(item) + 32, 0x8000_0000
    header = b"APETAGEX" + struct.pack("<IIII", 2_000, size, 1, flags | 0x2000_0000) + bytes(8)
    return header + item + b"APETAGEX" + struct.pack("<IIII", 2_000, size, 1, flags) + bytes(8)


def _id3v1() -> bytes:
    return (b"TAG" + b"An evening in the rain".ljust(30) + b"Nobody".ljust(30) + bytes(30) + b"2024").ljust(
        127, b"\0"
    ) + b"\x0c"


def _lyrics() -> bytes:
    body = b"LYRICSBEGININD0000200EAL00003rain"
    return body + f"{len(body):06d}".encode() + b"LYRICS200"


def chunk(name: bytes, body: bytes, order: str = "<", *, padded: bool = True) -> bytes:
    """A chunk of RIFF (little-endian) or of AIFF and RIFX (big-endian)."""
    return name + struct.pack(f"{order}I", len(body)) + body + (b"\0" if padded and len(body) % 2 else b"")


def info_list(order: str = "<", text: bytes = b"An evening in the rain\0") -> bytes:
    """LIST of RIFF with a title."""
    return chunk(b"LIST", b"INFO" + chunk(b"INAM", text, order), order)


ID3V2 = _id3v2()
TAGS = {
    "ID3v1": _id3v1(),
    "ID3v2": ID3V2,
    "ID3v2 with padding": _id3v2(2_048),
    "ID3v2.4 with footer": _id3v2_footer(),
    "APEv2": _ape(),
    "APEv2 and ID3v1": _ape() + _id3v1(),
    "Lyrics3 and ID3v1": _lyrics() + _id3v1(),
    "LIST": info_list(),
}


def tags_for(container: str) -> dict[str, bytes]:
    """The tags that programs write behind a container; LIST is one of RIFF alone."""
    riff = container.startswith(("WAV", "RF64"))
    return {name: tag for name, tag in TAGS.items() if riff or name != "LIST"}


def garbage() -> dict[str, bytes]:
    """Bytes that are no sound, as copying by sectors, broken disks and careless programs leave them."""
    random = np.random.default_rng(7)
    text = b"The quick brown fox jumps over the lazy dog, and over the other one.\r\n"
    return {
        "one zero": b"\0",
        "zeros to a sector": bytes(512),
        "4096 zeros": bytes(4_096),
        "65536 zeros": bytes(65_536),
        "4096 of 0xFF": b"\xff" * 4_096,
        "newline": b"\n",
        "text": text * 20,
        "much text": text * 900,
        "random, 1 kB": random.bytes(1_000),
        "random, 1001 B": random.bytes(1_001),
        "random, 64 kB": random.bytes(65_536),
    }


def chunks(order: str) -> dict[str, bytes]:
    """Chunks of RIFF or AIFF that hold no sound; odd ones come with their pad byte and without."""
    big = order == ">"
    found = {
        "LIST": info_list(order),
        "LIST, odd": chunk(b"LIST", b"INFO" + b"x" * 21, order),
        "id3": chunk(b"ID3 " if big else b"id3 ", ID3V2, order),
        "bext": chunk(b"bext", b"A description".ljust(602, b"\0"), order),
        "cue": chunk(b"cue ", struct.pack(f"{order}7I", 1, 1, 0, 0, 0, 0, 0), order),
        "JUNK": chunk(b"JUNK", bytes(1_001), order),
        "iXML": chunk(b"iXML", b"<BWFXML></BWFXML>", order),
        "unknown": chunk(b"q9Z ", b"\x80\x7f" * 600, order),
        "NAME": chunk(b"NAME", b"An evening", order),
    }
    return {**found, "unknown, odd, not padded": chunk(b"q9Z ", b"\x80\x7f" * 300 + b"\1", order, padded=False)}
