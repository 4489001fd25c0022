"""Text of files that people write: decoded, or refused with the line and the encoding that they seem to have."""

from __future__ import annotations

import codecs

_UTF_16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_UTF_32 = (codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE)
_LOOKED_AT_BYTES = 4096


class EncodingError(ValueError):
    """Bytes that are no text in the wanted encoding.

    Attributes:
        line: line number of the first such byte, from 1.
        reason: what they seem to be, as part of a sentence: "it is UTF-16, not UTF-8".
    """

    def __init__(self, line: int, reason: str) -> None:
        super().__init__(f"{reason} (line {line})")
        self.line, self.reason = line, reason


def utf8_text(data: bytes) -> str:
    """Decode UTF-8 with or without a byte-order mark, as Windows editors write one.

    Args:
        data: the whole file.

    Returns:
        The text, without the mark, its line ends as they are.

    Raises:
        EncodingError: it is not UTF-8.
    """
    if wide := wide_encoding(data):
        raise EncodingError(1, f"it is {wide.upper()[:6]}, not UTF-8")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        # Of "utf-8-sig" the position counts from behind the mark.
        start = error.start + (len(codecs.BOM_UTF8) if data.startswith(codecs.BOM_UTF8) else 0)
        before = data[:start].replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        raise EncodingError(before.count(b"\n") + 1, f"it is not UTF-8: {_seems(data[start])}") from error


def wide_encoding(data: bytes) -> str | None:
    """The Python name of the UTF-16 or UTF-32 that bytes are in, by their mark or their NUL bytes; None for others.

    Args:
        data: the file, or its beginning.

    Returns:
        "utf-16" or "utf-32" where a mark tells the order of bytes; "utf-16-le" and the like where none does.
    """
    # The mark of UTF-32-LE begins as that of UTF-16-LE does.
    if data.startswith(_UTF_32):
        return "utf-32"
    if data.startswith(_UTF_16):
        return "utf-16"
    head = data[:_LOOKED_AT_BYTES]
    if len(head) < 4:  # noqa: PLR2004
        return None
    # Text in Western letters has a NUL in every second byte then, and nowhere else.
    for name, empty, full in (("utf-16-le", head[1::2], head[::2]), ("utf-16-be", head[::2], head[1::2])):
        if 2 * empty.count(0) > len(empty) and not full.count(0):
            return name
    return None


def _seems(byte: int) -> str:
    written = f"byte 0x{byte:02X}"
    try:
        character = bytes([byte]).decode("cp1252")
    except UnicodeDecodeError:
        return written
    return f"{written} would be {character!r} in Windows-1252"
