"""Text on its way to a terminal: what could steer the terminal, or pass for another line, is shown and not done."""

from __future__ import annotations

import re

# Controls of C0 and C1 with delete, the marks that turn the direction of writing, and Unicode's own line ends.
_CONTROLS = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")
_WITHIN_LINES = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")
# Bytes of a file's name that are no UTF-8, as Python keeps them.
_NO_TEXT = re.compile("[\udc80-\udcff]")
_SHORT = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}


def escaped(text: str) -> str:
    """One line of text, whatever names and file contents stand in it.

    Args:
        text: a message, or a record as a sentence, without its line end.

    Returns:
        The text with ``\\n``, ``\\x1b``, ``\\u202e`` and the like in the place of control characters, of marks of
        writing direction and of line ends; ``\\xe9`` stands for a byte of a name that is no UTF-8.
    """
    return _NO_TEXT.sub(_shown, _CONTROLS.sub(_shown, text))


def escaped_lines(text: str) -> str:
    """Text of several lines as :func:`escaped`, but for its line feeds and tabs."""
    return _NO_TEXT.sub(_shown, _WITHIN_LINES.sub(_shown, text))


def _shown(match: re.Match[str]) -> str:
    character = match.group()
    if character in _SHORT:
        return _SHORT[character]
    code = ord(character)
    if 0xDC80 <= code <= 0xDCFF:  # noqa: PLR2004
        code -= 0xDC00
    return f"\\x{code:02x}" if code <= 0xFF else f"\\u{code:04x}"  # noqa: PLR2004
