"""A manifest's table and the files that it names: read, and refused where they cannot be what they should."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from edge_aac.errors import InputMissingError
from edge_aac.models.tokens import plain_text
from quantize.data.tables import Row, Table, read_table

SUFFIXES = (".wav", ".flac", ".ogg", ".opus", ".mp3", ".aif", ".aiff")
"""In this order a file is taken in place of one whose suffix the table has otherwise."""


@dataclass(frozen=True)
class BrokenClip:
    """A clip that cannot be used, and why (one sentence without its full stop)."""

    name: str
    reason: str


@dataclass(frozen=True)
class Rows:
    """The usable lines of a table, and those that are broken."""

    table: Table
    caption_columns: tuple[str, ...]
    broken: tuple[BrokenClip, ...]

    @property
    def rows(self) -> tuple[Row, ...]:
        return self.table.rows

    def captions(self, row: Row) -> tuple[str, ...]:
        """A row's captions, as :func:`plain_text` gives them; empty ones are left out."""
        plain = (plain_text(row.cells[column]) for column in self.caption_columns)
        return tuple(text for text in plain if text)

    def seconds(self, cell: str) -> float | None:
        """A number of seconds from 0 on; None where a cell holds none."""
        try:
            value = self.table.number(cell)
        except ValueError:
            return None
        return value if math.isfinite(value) and value >= 0 else None


def read_rows(table: Path, columns: Sequence[str], encodings: tuple[str, ...] = ()) -> Rows:
    """The rows of a table; see :func:`quantize.data.tables.read_table`."""
    read = read_table(table, columns, encodings)
    numbered = (name for name in read.columns if name.startswith("caption_") and name[len("caption_") :].isdecimal())
    return Rows(
        read,
        tuple(name for name in read.columns if name == "caption") + tuple(numbered),
        tuple(BrokenClip(f"line {fault.line}", fault.reason) for fault in read.faults),
    )


class AudioFolder:
    """Finds files by name, whatever the case of their suffix; each folder is listed once."""

    def __init__(self, folder: Path) -> None:
        if not folder.is_dir():
            raise InputMissingError(f"there is no folder {folder}: give the folder of the sound files")
        self.folder = folder
        self._listings: dict[PurePosixPath, dict[str, dict[str, str]]] = {}

    def find(self, name: str) -> Path | str:
        """The file of that name, or why there is none."""
        relative = PurePosixPath(name)
        if relative.is_absolute() or ".." in relative.parts or "\0" in name:
            return "its name leads out of the folder of the sound files"
        try:
            for wanted in dict.fromkeys((name, name.strip())):
                if (path := self._matching(PurePosixPath(wanted))) is not None:
                    return path
        except OSError as error:  # a name that is too long, a folder that this user may not look into
            return f"its folder cannot be read ({error.strerror})"
        return "there is no such sound file"

    def _matching(self, relative: PurePosixPath) -> Path | None:
        known = relative.suffix.lower() in SUFFIXES
        stem, suffix = (relative.stem, relative.suffix) if known else (relative.name, "")
        there = self._listing(relative.parent).get(stem, {})
        by_lower = {found.lower(): found for found in sorted(there)}
        for choice in (suffix, by_lower.get(suffix.lower()), *(by_lower.get(other) for other in SUFFIXES)):
            if choice in there:
                return self.folder / relative.parent / there[choice]
        return None

    def _listing(self, below: PurePosixPath) -> dict[str, dict[str, str]]:
        """Stem → suffix as written → name, of the sound files of one folder."""
        if below not in self._listings:
            listing: dict[str, dict[str, str]] = {}
            folder = self.folder / below
            for path in folder.iterdir() if folder.is_dir() else ():
                if path.suffix.lower() in SUFFIXES and path.is_file():
                    listing.setdefault(path.stem, {})[path.suffix] = path.name
            self._listings[below] = listing
        return self._listings[below]
