"""Device ids as text, and names of devices as labels."""

from __future__ import annotations

import re
import unicodedata

_TEXT = re.compile(r"[0-9a-f]{1,16}")
_MAC_DIGITS, _FULL_DIGITS = 12, 16


def id_text(device: int) -> str:
    """A device id as it is written: 12 hexadecimal digits, as of a MAC address, or 16 where it is longer."""
    digits = _MAC_DIGITS if device < 1 << 4 * _MAC_DIGITS else _FULL_DIGITS
    return f"{device:0{digits}x}"


def mac_text(device: int) -> str:
    """A device id as MAC addresses are written: pairs of digits with colons between them."""
    digits = id_text(device)
    return ":".join(digits[start : start + 2] for start in range(0, len(digits), 2))


def id_of(text: str) -> int | None:
    """The device id that a text stands for, colons and hyphens between its digits aside; None where it is none."""
    digits = text.lower().replace(":", "").replace("-", "")
    device = int(digits, 16) if _TEXT.fullmatch(digits) else 0
    return device or None


def label_of(name: str, device: int) -> str:
    """What a device is called in records: its own name without control characters, else its id."""
    printable = "".join(character for character in name if not unicodedata.category(character).startswith("C"))
    return " ".join(printable.split()) or id_text(device)
