"""WAV in all its forms: RIFF, RIFX (big-endian), RF64 and BW64 (lengths of 64 bits), and Sony Wave64.

Sources: Multimedia Programming Interface 1.0 (IBM and Microsoft, 1991), EBU Tech 3306 (RF64), ITU-R BS.2088 (BW64).
"""

from __future__ import annotations

import struct
from dataclasses import replace
from functools import partial
from typing import NamedTuple

from edge_aac.audio.formats.layout import (
    Encoding,
    Grammar,
    HeaderError,
    Layout,
    Look,
    Order,
    known_long_size,
    known_size,
    samples,
)

_MAX_CHUNKS = 4_096
_CHUNK_HEADER_BYTES = 8
_LONG_FORMS = (b"RF64", b"BW64")
_SIZE_IS_IN_DS64 = 0xFFFF_FFFF

W64 = bytes.fromhex("726966662e91cf11a5d628db04c10000")
_W64_HEADER_BYTES = 40
_W64_CHUNK_HEADER_BYTES = 24

_FORMAT_BYTES = 16
_LONGEST_FORMAT_BYTES = 4_096
_PCM, _MS_ADPCM, _FLOAT, _ALAW, _ULAW, _IMA_ADPCM = 1, 2, 3, 6, 7, 0x11
_GSM610, _NMS_ADPCM, _G721, _LAYER_1_OR_2, _LAYER_3 = 0x31, 0x38, 0x40, 0x50, 0x55
_EXTENSIBLE = 0xFFFE
_EXTENSIBLE_TAG = slice(24, 26)
_BLOCK_CODECS = {
    _MS_ADPCM: "MS_ADPCM",
    _IMA_ADPCM: "IMA_ADPCM",
    _GSM610: "GSM610",
    _NMS_ADPCM: "NMS_ADPCM",
    _G721: "G721_32",
    _LAYER_1_OR_2: "MPEG",
    _LAYER_3: "MPEG",
}
# Behind the length of what extends the format.
_STATES_BLOCK_FRAMES, _BLOCK_FRAMES = (_MS_ADPCM, _IMA_ADPCM, _GSM610), slice(18, 20)
_INTEGERS = {1: "PCM_U8", 2: "PCM_16", 3: "PCM_24", 4: "PCM_32"}
_FLOATS = {4: "FLOAT", 8: "DOUBLE"}


class _Chunks(NamedTuple):
    format: bytes | None
    data: tuple[int, int] | None
    long_sizes: tuple[int, int] | None


def riff_layout(look: Look) -> Layout | None:
    """Reads the header of a WAV file; None where it is none, or has no sound.

    Raises:
        HeaderError: it says what cannot be.
    """
    head = look(0, 12)
    form = head[:4]
    if form not in {b"RIFF", b"RIFX", *_LONG_FORMS} or head[8:12] != b"WAVE":
        return None
    order = ">" if form == b"RIFX" else "<"
    grammar: Grammar = "rifx" if form == b"RIFX" else "riff"
    chunks = _chunks(look, order)
    if chunks.format is None or chunks.data is None:
        return None
    start, size = chunks.data
    outer = known_size(struct.unpack(f"{order}I", head[4:8])[0])
    promised = known_size(size)
    if form in _LONG_FORMS and chunks.long_sizes is not None:
        outer = known_long_size(chunks.long_sizes[0])
        if size == _SIZE_IS_IN_DS64:
            promised = known_long_size(chunks.long_sizes[1])
    container = form.decode() if form in _LONG_FORMS else "WAV"
    return replace(
        _layout(container, chunks.format, order, start, promised),
        outer_end=None if outer is None else outer + _CHUNK_HEADER_BYTES,
        grammar=grammar,
    )


def w64_layout(look: Look) -> Layout | None:
    """Reads the header of a Sony Wave64 file: names of 16 bytes, lengths that count their own header.

    Raises:
        HeaderError: it says what cannot be.
    """
    head = look(0, _W64_HEADER_BYTES)
    if not head.startswith(W64) or len(head) < _W64_HEADER_BYTES:
        return None
    outer = known_long_size(struct.unpack("<Q", head[16:24])[0])
    start, form = _W64_HEADER_BYTES, None
    for _ in range(_MAX_CHUNKS):
        header = look(start, _W64_CHUNK_HEADER_BYTES)
        if len(header) < _W64_CHUNK_HEADER_BYTES:
            return None
        name, size = struct.unpack("<4s12xQ", header)
        if name == b"fmt " and form is None and size >= _W64_CHUNK_HEADER_BYTES:
            form = look(start + _W64_CHUNK_HEADER_BYTES, min(size - _W64_CHUNK_HEADER_BYTES, _LONGEST_FORMAT_BYTES))
        if name == b"data":
            if form is None:
                return None
            known = known_long_size(size)
            promised = None if known is None else max(0, known - _W64_CHUNK_HEADER_BYTES)
            layout = _layout("W64", form, "<", start + _W64_CHUNK_HEADER_BYTES, promised)
            return replace(layout, outer_end=outer, grammar="w64")
        if size < _W64_CHUNK_HEADER_BYTES or known_long_size(size) is None:
            return None
        start += size + -size % 8
    return None


def _chunks(look: Look, order: str) -> _Chunks:
    form: bytes | None = None
    data: tuple[int, int] | None = None
    long_sizes: tuple[int, int] | None = None
    position = 12
    for _ in range(_MAX_CHUNKS):
        header = look(position, _CHUNK_HEADER_BYTES)
        if len(header) < _CHUNK_HEADER_BYTES:
            break
        name, size = struct.unpack(f"{order}4sI", header)
        position += _CHUNK_HEADER_BYTES
        if name == b"ds64" and size >= _FORMAT_BYTES:
            long_sizes = struct.unpack("<QQ", look(position, 16).ljust(16, b"\xff"))
        elif name == b"fmt " and form is None:
            form = look(position, min(size, _LONGEST_FORMAT_BYTES))
        elif name == b"data" and data is None:
            data = position, size
        if form is not None and data is not None:
            break
        position += size + size % 2
    return _Chunks(form, data, long_sizes)


def _layout(container: str, form: bytes, order: str, start: int, promised: int | None) -> Layout:
    encoding = _encoding(container, form, order)
    header = None
    if encoding is not None and not encoding.is_samples:
        header = partial(_header, form, order)
    return Layout(container, encoding, start, promised, header=header)


def _encoding(container: str, form: bytes, order: str) -> Encoding | None:
    if len(form) < _FORMAT_BYTES:
        raise HeaderError(f"has a {container} header that breaks off: it is damaged")
    tag, channels, rate, byte_rate, block, bits = struct.unpack(f"{order}HHIIHH", form[:_FORMAT_BYTES])
    if tag == _EXTENSIBLE and len(form) >= _EXTENSIBLE_TAG.stop:
        tag = struct.unpack(f"{order}H", form[_EXTENSIBLE_TAG])[0]
    byte_order: Order = "BIG" if order == ">" else "LITTLE"
    if tag in _BLOCK_CODECS:
        known = samples(container, "PCM_U8", byte_order, rate, channels)
        frames = max(1, round(block * rate / byte_rate)) if byte_rate else 1
        if tag in _STATES_BLOCK_FRAMES and len(form) >= _BLOCK_FRAMES.stop:
            frames = struct.unpack(f"{order}H", form[_BLOCK_FRAMES])[0] or frames
        return Encoding(_BLOCK_CODECS[tag], byte_order, known.rate, channels, max(1, block), frames)
    width = block // channels if channels and block % channels == 0 else 0
    if width * 8 < bits:
        width = (bits + 7) // 8
    subtype = {
        _PCM: _INTEGERS.get(width),
        _FLOAT: _FLOATS.get(width),
        _ALAW: "ALAW" if width == 1 else None,
        _ULAW: "ULAW" if width == 1 else None,
    }.get(tag)
    return None if subtype is None else samples(container, subtype, byte_order, rate, channels)


def _header(form: bytes, order: str, sound_bytes: int) -> bytes:
    """A header around the same format, without what stood between it and the sound."""
    chunk = struct.pack(f"{order}4sI", b"fmt ", len(form)) + form + b"\0" * (len(form) % 2)
    outer = 4 + len(chunk) + _CHUNK_HEADER_BYTES + sound_bytes
    return (
        struct.pack(f"{order}4sI", b"RIFX" if order == ">" else b"RIFF", min(outer, 0xFFFF_FFFF))
        + b"WAVE"
        + chunk
        + struct.pack(f"{order}4sI", b"data", sound_bytes)
    )
