"""Small files of the kernel: any of them may be missing, forbidden, or give an error while its device sleeps."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path


def text_of(path: Path) -> str | None:
    """The text of a file without the blanks around it; None where it cannot be read."""
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return None


def number_of(path: Path, base: int = 10) -> int | None:
    """The whole number that a file holds; None where it cannot be read or holds none."""
    text = text_of(path)
    try:
        return None if text is None else int(text, base)
    except ValueError:
        return None


def numbered(folder: Path, pattern: str) -> Iterator[Path]:
    """What lies in a folder and matches a pattern, by the number in its name: ``thermal_zone2`` before
    ``thermal_zone10``."""

    def place(path: Path) -> tuple[int, str]:
        digits = "".join(character for character in path.name if character.isdecimal())
        return int(digits or 0), path.name

    try:
        yield from sorted(folder.glob(pattern), key=place)
    except OSError:
        return
