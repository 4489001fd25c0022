"""Sound files built byte by byte, with any number in place of any length."""

from __future__ import annotations

import struct
from dataclasses import dataclass

import numpy as np

from tests.edge_aac.audio.inputs.sounds import RATE, sound
from tests.edge_aac.audio.inputs.tags import chunk

FORMS = ("RIFF", "RIFX", "RF64", "W64", "AIFF", "AIFC", "AU", "au", "CAF")
_W64_TAIL = bytes.fromhex("f3acd3118cd100c04f8edb8a")
_W64_RIFF = bytes.fromhex("726966662e91cf11a5d628db04c10000")
_RATE_OF_AIFF = bytes.fromhex("400cfa00000000000000")


@dataclass(frozen=True)
class Numbers:
    """What a header says; each is cut to the width that the form has for it.

    Attributes:
        outer: bytes of the file.
        inner: bytes of the sound.
        count: frames of the sound, where the form has such a number.
        channels, rate, block, bits: facts of the sample format.
    """

    outer: int
    inner: int
    count: int
    channels: int = 1
    rate: int = RATE
    block: int = 2
    bits: int = 16


def true_numbers(form: str, frames: int) -> Numbers:
    """The numbers of a header that is right."""
    size = 2 * frames
    more = {"W64": 24, "AIFF": 8, "AIFC": 8, "CAF": 4}.get(form, 0)
    return Numbers(size + 100, size + more, frames)


def build(form: str, frames: int, numbers: Numbers, before: tuple[bytes, ...] = (), formats: int = 1) -> bytes:
    """Builds a file of 16-bit sound.

    Args:
        form: one of :data:`FORMS`; ``au`` is the little-endian one.
        frames: frames of :func:`sound`.
        numbers: what the header says.
        before: bodies of unknown chunks that stand before the sound.
        formats: how many times the chunk with the sample format comes; 0 puts it behind the sound.
    """
    order = ">" if form in ("RIFX", "AIFF", "CAF", "AU") else "<"
    data = (sound(frames) * 32_768).astype(np.int16).astype(f"{order}i2").tobytes()
    if form in ("AU", "au"):
        note = b"".join(before)[:200]
        facts = (24 + len(note), numbers.inner % 2**32, 3, numbers.rate % 2**32, numbers.channels)
        return (b".snd" if form == "AU" else b"dns.") + struct.pack(f"{order}5I", *facts) + note + data
    parts = {"W64": _w64, "CAF": _caf, "AIFF": _aiff, "AIFC": _aiff}.get(form, _riff)
    return parts(form, data, numbers, before, formats)


def _fmt(order: str, numbers: Numbers) -> bytes:
    rate = numbers.rate % 2**32
    byte_rate = rate * numbers.block % 2**32
    return struct.pack(f"{order}HHIIHH", 1, numbers.channels, rate, byte_rate, numbers.block, numbers.bits)


def _riff(form: str, data: bytes, numbers: Numbers, before: tuple[bytes, ...], formats: int) -> bytes:
    order = ">" if form == "RIFX" else "<"
    long = form == "RF64"
    sizes = struct.pack("<QQQI", numbers.outer % 2**64, numbers.inner % 2**64, numbers.count % 2**64, 0)
    head = form.encode() + struct.pack(f"{order}I", 0xFFFF_FFFF if long else numbers.outer % 2**32) + b"WAVE"
    head += chunk(b"ds64", sizes) if long else b""
    fmt = chunk(b"fmt ", _fmt(order, numbers), order)
    others = b"".join(chunk(b"q9Z ", body, order) for body in before)
    body = b"data" + struct.pack(f"{order}I", 0xFFFF_FFFF if long else numbers.inner % 2**32) + data
    return head + fmt * formats + others + body + (fmt if formats == 0 else b"")


def _w64(_form: str, data: bytes, numbers: Numbers, before: tuple[bytes, ...], formats: int) -> bytes:
    def part(name: bytes, body: bytes) -> bytes:
        return name + _W64_TAIL + struct.pack("<Q", len(body) + 24) + body + bytes(-len(body) % 8)

    fmt = part(b"fmt ", _fmt("<", numbers))
    others = b"".join(part(b"q9z ", body) for body in before)
    head = _W64_RIFF + struct.pack("<Q", numbers.outer % 2**64) + b"wave" + _W64_TAIL
    body = b"data" + _W64_TAIL + struct.pack("<Q", numbers.inner % 2**64) + data
    return head + fmt * formats + others + body + (bytes(-len(data) % 8) + fmt if formats == 0 else b"")


def _aiff(form: str, data: bytes, numbers: Numbers, before: tuple[bytes, ...], formats: int) -> bytes:
    facts = struct.pack(">HIH", numbers.channels, numbers.count % 2**32, numbers.bits) + _RATE_OF_AIFF
    comm = chunk(b"COMM", facts + (b"sowt\0\0" if form == "AIFC" else b""), ">")
    version = chunk(b"FVER", bytes.fromhex("a2805140"), ">") if form == "AIFC" else b""
    others = b"".join(chunk(b"q9Z ", body, ">") for body in before)
    head = b"FORM" + struct.pack(">I", numbers.outer % 2**32) + form.encode() + version
    body = b"SSND" + struct.pack(">III", numbers.inner % 2**32, 0, 0) + data
    return head + comm * formats + others + body + (comm if formats == 0 else b"")


def _caf(_form: str, data: bytes, numbers: Numbers, before: tuple[bytes, ...], formats: int) -> bytes:
    def part(name: bytes, body: bytes) -> bytes:
        return name + struct.pack(">Q", len(body)) + body

    facts = struct.pack(">d4s5I", float(numbers.rate), b"lpcm", 0, numbers.block, 1, numbers.channels, numbers.bits)
    desc = part(b"desc", facts)
    others = b"".join(part(b"q9z ", body) for body in before)
    body = b"data" + struct.pack(">QI", numbers.inner % 2**64, 0) + data
    return b"caff\0\1\0\0" + desc * formats + others + body + (desc if formats == 0 else b"")
