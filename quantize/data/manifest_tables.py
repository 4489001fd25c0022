"""A manifest's table and the files that it names: read, and refused where they cannot be what they should."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from edge_aac.errors import DataError, InputMissingError
from edge_aac.models.tokens import plain_text

SUFFIXES = (".wav", ".flac", ".ogg", ".opus", ".mp3", ".aif", ".aiff")
"""In this order a file is taken in place of one whose suffix the table has otherwise."""


@dataclass(frozen=True)
class BrokenClip:
    """A clip that cannot be used, and why (one sentence without its full stop)."""

    name: str
    reason: str


@dataclass(frozen=True)
class Row:
    """A line of a table, with its number in the file."""

    line: int
    cells: dict[str, str]

    def texts(self, columns: Sequence[str]) -> tuple[str, ...]:
        plain = (plain_text(self.cells[column]) for column in columns)
        return tuple(text for text in plain if text)


@dataclass(frozen=True)
class Rows:
    """The usable lines of a table, and those that are broken."""

    rows: tuple[Row, ...]
    caption_columns: tuple[str, ...]
    broken: tuple[BrokenClip, ...]


def read_rows(table: Path, columns: Sequence[str], encodings: tuple[str, ...] = ()) -> Rows:
    """The rows of a table: UTF-8 with or without a byte-order mark, else in the first of ``encodings`` that fits."""
    if not table.is_file():
        raise InputMissingError(f"there is no table {table}: check its path")
    for encoding in ("utf-8-sig", *encodings):
        try:
            text = table.read_text(encoding=encoding)
        except UnicodeDecodeError:
            continue
        except OSError as error:
            raise InputMissingError(f"{table} cannot be read ({error.strerror}): check its permissions") from error
        return _parsed(table, text, columns)
    raise DataError(f"{table} is not in UTF-8: save it as CSV in UTF-8")


def _parsed(table: Path, text: str, columns: Sequence[str]) -> Rows:
    reader = csv.reader(io.StringIO(text, newline=""))
    rows, broken = [], []
    try:
        header = [cell.strip() for cell in next(reader, [])]
        if missing := [column for column in columns if column not in header]:
            raise DataError(f"{table} has no column {missing[0]!r}; it needs {', '.join(columns)}")
        for cells in reader:
            if not any(cell.strip() for cell in cells):
                continue
            if len(cells) != len(header):
                reason = (
                    f"line {reader.line_num} has {len(cells)} cells for {len(header)} columns: "
                    "put cells that hold commas into double quotes"
                )
                broken.append(BrokenClip(f"line {reader.line_num}", reason))
                continue
            rows.append(Row(reader.line_num, dict(zip(header, cells, strict=True))))
    except csv.Error as error:
        raise DataError(f"{table} is not CSV at line {reader.line_num} ({error}): export it again") from error
    numbered = (name for name in header if name.startswith("caption_") and name[len("caption_") :].isdecimal())
    return Rows(tuple(rows), tuple(name for name in header if name == "caption") + tuple(numbered), tuple(broken))


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
        for wanted in dict.fromkeys((name, name.strip())):
            if (path := self._matching(PurePosixPath(wanted))) is not None:
                return path
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
