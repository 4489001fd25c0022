"""AU of Sun and NeXT, in both orders of bytes."""

from __future__ import annotations

import struct
from functools import partial

from edge_aac.audio.formats.layout import Encoding, HeaderError, Layout, Look, known_size, samples

_HEADER_BYTES = 24
_ORDERS = {b".snd": ">", b"dns.": "<"}
_SAMPLES = {1: "ULAW", 2: "PCM_S8", 3: "PCM_16", 4: "PCM_24", 5: "PCM_32", 6: "FLOAT", 7: "DOUBLE", 27: "ALAW"}
# Code → encoding, and bits of a sample: 8 samples are the smallest number of whole bytes.
_BLOCK_CODECS = {23: ("G721_32", 4), 25: ("G723_24", 3), 26: ("G723_40", 5)}


def au_layout(look: Look) -> Layout | None:
    """Reads the header of an AU file; None where it is none.

    Raises:
        HeaderError: it says what cannot be.
    """
    head = look(0, _HEADER_BYTES)
    order = _ORDERS.get(head[:4])
    if order is None:
        return None
    if len(head) < _HEADER_BYTES:
        raise HeaderError("has an AU header that breaks off: it is damaged")
    start, size, code, rate, channels = struct.unpack(f"{order}IIIII", head[4:])
    if start < _HEADER_BYTES:
        raise HeaderError(f"has an AU header that places the sound at byte {start}, within itself: it is damaged")
    byte_order = "BIG" if order == ">" else "LITTLE"
    encoding, header = None, None
    if code in _SAMPLES:
        encoding = samples("AU", _SAMPLES[code], "BIG" if byte_order == "BIG" else "LITTLE", rate, channels)
    elif code in _BLOCK_CODECS:
        subtype, bits = _BLOCK_CODECS[code]
        known = samples("AU", "PCM_S8", "BIG", rate, channels)
        encoding = Encoding(subtype, "BIG", known.rate, channels, bits * channels, 8)
        header = partial(_header, head, order)
    return Layout("AU", encoding, start, known_size(size), header=header)


def _header(head: bytes, order: str, sound_bytes: int) -> bytes:
    return head[:4] + struct.pack(f"{order}II", _HEADER_BYTES, sound_bytes) + head[12:]
