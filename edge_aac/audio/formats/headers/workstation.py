"""Headers of fixed form from laboratories and workstations: AVR, IRCAM, NIST SPHERE, Ensoniq PARIS and PVF.

libsndfile reads these files to their end, whatever the header says of their length.
"""

from __future__ import annotations

import re
import struct

from edge_aac.audio.formats.layout import HeaderError, Layout, Look, Order, known_size, samples

_AVR_BYTES, _IRCAM_BYTES, _PARIS_BYTES = 128, 1_024, 2_048
# Periods are counted in 100 ns.
_HTK_BYTES, _HTK_PERIODS = 12, (10, 10_000)
_NIST_START_BYTES = 16
_NIST_FIELD = re.compile(rb"^(\w+)\s+-\w+\s+(\S+)", re.MULTILINE)
_LONGEST_NIST_HEADER_BYTES = 2**16
_PVF = re.compile(rb"PVF1\n(\d{1,4}) (\d{1,9}) (\d{1,2})\n")

_INTEGERS = {1: "PCM_S8", 2: "PCM_16", 3: "PCM_24", 4: "PCM_32"}
_IRCAM_CODES = {
    0x1_0001: "ALAW",
    0x2_0001: "ULAW",
    0x1: "PCM_S8",
    0x2: "PCM_16",
    0x3: "PCM_24",
    0x4_0004: "PCM_32",
    0x4: "FLOAT",
    0x8: "DOUBLE",
}
_PARIS_CODES = {0: "PCM_16", 2: "PCM_S8"}
_PARIS_ORDERS: dict[bytes, Order] = {b" paf": "BIG", b"fap ": "LITTLE"}


def avr_layout(look: Look) -> Layout | None:
    """Reads the header of an AVR file (Audio Visual Research, Atari ST); None where it is none.

    Raises:
        HeaderError: it says what cannot be.
    """
    if look(0, 4) != b"2BIT":
        return None
    head = look(0, _AVR_BYTES)
    if len(head) < _AVR_BYTES:
        raise HeaderError("has an AVR header that breaks off: it is damaged")
    stereo, bits, signed = struct.unpack(">hhh", head[12:18])
    rate, frames = struct.unpack(">II", head[22:30])
    subtype = {(8, 0): "PCM_U8", (8, -1): "PCM_S8", (16, -1): "PCM_16"}.get((bits, signed))
    if subtype is None:
        return Layout("AVR", None, _AVR_BYTES, None)
    # The highest byte is a flag of old programs.
    encoding = samples("AVR", subtype, "BIG", rate & 0xFF_FFFF, 2 if stereo else 1)
    return Layout("AVR", encoding, _AVR_BYTES, _bytes_of(frames, encoding.block_bytes))


def htk_layout(look: Look) -> Layout | None:
    """Reads the header of a waveform of the Hidden Markov Model Toolkit; None where it is none.

    It has no magic number: 16-bit samples, of kind 0, at a period that stands for a rate from 1 kHz to 1 MHz.
    """
    head = look(0, _HTK_BYTES)
    if len(head) < _HTK_BYTES or head[8:] != b"\0\2\0\0":
        return None
    frames, period = struct.unpack(">II", head[:8])
    if not frames or not _HTK_PERIODS[0] <= period <= _HTK_PERIODS[1]:
        return None
    encoding = samples("HTK", "PCM_16", "BIG", 1e7 / period, 1)
    return Layout("HTK", encoding, _HTK_BYTES, _bytes_of(frames, encoding.block_bytes))


def ircam_layout(look: Look) -> Layout | None:
    """Reads the header of an IRCAM file (BICSF), which gives no length; None where it is none.

    Raises:
        HeaderError: it says what cannot be.
    """
    head = look(0, 16)
    if not re.match(rb"\x64\xa3[\x01-\x04]\x00|\x00[\x01-\x04]\xa3\x64", head, re.DOTALL) or len(head) < 16:  # noqa: PLR2004
        return None
    # The order follows the machine that wrote it, not the magic number: the right one gives a usual channel count.
    order = "<" if struct.unpack("<I", head[8:12])[0] <= struct.unpack(">I", head[8:12])[0] else ">"
    rate, channels, code = struct.unpack(f"{order}fII", head[4:])
    subtype = _IRCAM_CODES.get(code)
    if subtype is None:
        return Layout("IRCAM", None, _IRCAM_BYTES, None)
    encoding = samples("IRCAM", subtype, "LITTLE" if order == "<" else "BIG", rate, channels)
    return Layout("IRCAM", encoding, _IRCAM_BYTES, None)


def nist_layout(look: Look) -> Layout | None:
    """Reads the header of a NIST SPHERE file; None where it is none.

    Raises:
        HeaderError: it says what cannot be.
    """
    head = look(0, _NIST_START_BYTES)
    if not head.startswith(b"NIST_1A\n"):
        return None
    size = head[8:].strip()
    if not size.isdigit() or not _NIST_START_BYTES < int(size) <= _LONGEST_NIST_HEADER_BYTES:
        raise HeaderError("has a NIST header without its length: it is damaged")
    fields = dict(_NIST_FIELD.findall(look(0, int(size))))
    try:
        channels = int(fields.get(b"channel_count", b"1"))
        rate = int(fields[b"sample_rate"])
        width = int(fields[b"sample_n_bytes"])
        frames = int(fields[b"sample_count"]) if b"sample_count" in fields else None
    except (KeyError, ValueError) as error:
        raise HeaderError("has a NIST header without rate or width of its samples: it is damaged") from error
    coding = fields.get(b"sample_coding", b"pcm")
    subtype = {b"pcm": _INTEGERS.get(width), b"ulaw": "ULAW", b"mu-law": "ULAW", b"alaw": "ALAW"}.get(coding)
    if subtype is None:
        return Layout("NIST", None, int(size), None)
    order: Order = "LITTLE" if fields.get(b"sample_byte_format", b"01").startswith(b"01") else "BIG"
    encoding = samples("NIST", subtype, order, rate, channels)
    return Layout("NIST", encoding, int(size), None if frames is None else _bytes_of(frames, encoding.block_bytes))


def paris_layout(look: Look) -> Layout | None:
    """Reads the header of an Ensoniq PARIS file, which gives no length; None where it is none.

    Raises:
        HeaderError: it says what cannot be.
    """
    head = look(0, 24)
    order = _PARIS_ORDERS.get(head[:4])
    if order is None or len(head) < 24:  # noqa: PLR2004
        return None
    rate, code, channels = struct.unpack(">III" if order == "BIG" else "<III", head[12:])
    subtype = _PARIS_CODES.get(code)
    encoding = None if subtype is None else samples("PAF", subtype, order, rate, channels)
    return Layout("PAF", encoding, _PARIS_BYTES, None)


def pvf_layout(look: Look) -> Layout | None:
    """Reads the header of a Portable Voice File, which gives no length; None where it is none.

    Raises:
        HeaderError: it says what cannot be.
    """
    match = _PVF.match(look(0, 32))
    if match is None:
        return None
    channels, rate, bits = (int(number) for number in match.groups())
    subtype = _INTEGERS.get(bits // 8) if bits in {8, 16, 32} else None
    encoding = None if subtype is None else samples("PVF", subtype, "BIG", rate, channels)
    return Layout("PVF", encoding, match.end(), None)


def _bytes_of(frames: int, frame_bytes: int) -> int | None:
    return None if known_size(frames) is None else frames * frame_bytes
