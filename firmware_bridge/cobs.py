"""Consistent overhead byte stuffing: any bytes, written without a zero (Cheshire and Baker 1999)."""

from __future__ import annotations

_LONGEST_RUN = 254


class CobsError(ValueError):
    """The bytes are no COBS."""


def cobs_encode(data: bytes) -> bytes:
    """Returns ``data`` without a zero byte: 1 byte longer, and 1 more for each 254 bytes without a zero."""
    encoded = bytearray()
    pieces = data.split(b"\0")
    for number, piece in enumerate(pieces):
        at = 0
        while len(piece) - at >= _LONGEST_RUN:
            encoded.append(_LONGEST_RUN + 1)
            encoded += piece[at : at + _LONGEST_RUN]
            at += _LONGEST_RUN
        is_last = number == len(pieces) - 1
        if is_last and at and at == len(piece):
            break  # the data end with a full run, after which no zero is imagined
        encoded.append(len(piece) - at + 1)
        encoded += piece[at:]
    return bytes(encoded)


def cobs_decode(encoded: bytes) -> bytes:
    """Returns the data that ``encoded`` stands for.

    Raises:
        CobsError: a zero is in it, it is empty, or its last run is cut.
    """
    if not encoded:
        raise CobsError("an empty packet")
    if 0 in encoded:
        raise CobsError("a zero byte inside a packet")
    data = bytearray()
    at, size = 0, len(encoded)
    while at < size:
        code = encoded[at]
        end = at + code
        if end > size:
            raise CobsError("the last run is cut")
        data += encoded[at + 1 : end]
        at = end
        if code <= _LONGEST_RUN and at < size:
            data.append(0)
    return bytes(data)
