"""Sound in MATLAB's files of levels 4 and 5, as libsndfile and MATLAB write it: a rate, then a matrix of channels.

Source: MAT-File Format (The MathWorks).
"""

from __future__ import annotations

import struct

from edge_aac.audio.formats.layout import HeaderError, Layout, Look, Order, samples

_LEVEL_4_HEADER_BYTES = 20
_LEVEL_4_TYPES = {b"\x00\x00\x00\x00": "<", b"\x00\x00\x03\xe8": ">"}
_LEVEL_4_WIDTHS = {0: ("DOUBLE", 8), 10: ("FLOAT", 4), 20: ("PCM_32", 4), 30: ("PCM_16", 2), 50: ("PCM_U8", 1)}
_RATE = b"samplerate"

_LEVEL_5, _LEVEL_5_HEADER_BYTES = b"MATLAB 5.0 MAT-file", 128
_LEVEL_5_ORDERS = {b"IM": "<", b"MI": ">"}
_MATRIX = 14
# A matrix holds its flags, its sizes, its name and then its numbers.
_SIZES, _NUMBERS = 1, 3
_LEVEL_5_SAMPLES = {2: "PCM_U8", 3: "PCM_16", 5: "PCM_32", 7: "FLOAT", 9: "DOUBLE"}
_LEVEL_5_NUMBERS = {1: "b", 2: "B", 3: "h", 4: "H", 5: "i", 6: "I", 7: "f", 9: "d"}


def mat4_layout(look: Look) -> Layout | None:
    """Reads the header of a level 4 file with sound; None where it is none.

    Raises:
        HeaderError: it says what cannot be.
    """
    order = _LEVEL_4_TYPES.get(look(0, 4))
    if order is None:
        return None
    _, rows, columns, _, name_bytes = struct.unpack(f"{order}5I", look(0, 20).ljust(20, b"\0"))
    name = look(_LEVEL_4_HEADER_BYTES, len(_RATE))
    if (rows, columns, name_bytes, name) != (1, 1, len(_RATE) + 1, _RATE):
        return None
    position = _LEVEL_4_HEADER_BYTES + name_bytes
    rate = struct.unpack(f"{order}d", look(position, 8).ljust(8, b"\0"))[0]
    position += 8
    kind, channels, frames, _, name_bytes = struct.unpack(f"{order}5I", look(position, 20).ljust(20, b"\0"))
    found = _LEVEL_4_WIDTHS.get(kind % 1_000)
    start = position + _LEVEL_4_HEADER_BYTES + name_bytes
    if found is None:
        return Layout("MAT4", None, start, None)
    subtype, width = found
    return Layout("MAT4", samples("MAT4", subtype, _order(order), rate, channels), start, frames * channels * width)


def mat5_layout(look: Look) -> Layout | None:
    """Reads the header of a level 5 file with sound; None where it is none.

    Raises:
        HeaderError: it says what cannot be.
    """
    if look(0, len(_LEVEL_5)) != _LEVEL_5:
        return None
    order = _LEVEL_5_ORDERS.get(look(126, 2))
    if order is None:
        raise HeaderError("has a MATLAB header that breaks off: it is damaged")
    kind, size = struct.unpack(f"{order}II", look(_LEVEL_5_HEADER_BYTES, 8).ljust(8, b"\0"))
    first = _parts(look, order, _LEVEL_5_HEADER_BYTES + 8) if kind == _MATRIX else []
    second = _parts(look, order, _LEVEL_5_HEADER_BYTES + 8 + size + 8) if first else []
    if len(first) <= _NUMBERS or len(second) <= _NUMBERS:
        raise HeaderError("has no two matrices, a rate and samples, in its MATLAB header")
    number_kind, place, length = first[_NUMBERS]
    code = _LEVEL_5_NUMBERS.get(number_kind)
    if code is None:
        raise HeaderError("gives no usable rate in its MATLAB header")
    width = struct.calcsize(code)
    rate = struct.unpack(order + code, look(place, min(width, length)).ljust(width, b"\0"))[0]
    channels = struct.unpack(f"{order}i", look(second[_SIZES][1], 4).ljust(4, b"\0"))[0]
    number_kind, place, length = second[_NUMBERS]
    subtype = _LEVEL_5_SAMPLES.get(number_kind)
    encoding = None if subtype is None else samples("MAT5", subtype, _order(order), float(rate), channels)
    return Layout("MAT5", encoding, place, length)


def _parts(look: Look, order: str, position: int) -> list[tuple[int, int, int]]:
    """Kind, place and length of a matrix's parts, up to the numbers."""
    parts = []
    for _ in range(_NUMBERS + 1):
        head = look(position, 8)
        if len(head) < 8:  # noqa: PLR2004  kind and length
            break
        kind, length = struct.unpack(f"{order}II", head)
        if kind >> 16:  # the short form: length and kind share four bytes, the content has the other four
            parts.append((kind & 0xFFFF, position + 4, kind >> 16))
            position += 8
        else:
            parts.append((kind, position + 8, length))
            position += 8 + length + -length % 8
    return parts


def _order(order: str) -> Order:
    return "LITTLE" if order == "<" else "BIG"
