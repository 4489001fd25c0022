"""Tables that people write: CSV as spreadsheets and scripts save it, read row by row, each fault with its line.

The grammar is that of RFC 4180, wider where spreadsheets are: UTF-8 with or without a byte-order mark, or UTF-16;
commas, semicolons or tabs; any line ends; a first line ``sep=;``; columns without a name at the right.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from edge_aac.errors import DataError, InputMissingError
from edge_aac.text_files import EncodingError, utf8_text, wide_encoding

MAX_CELL_CHARS = 131_072
"""A longer cell is a quotation mark that was forgotten, not something that somebody wrote."""
MAX_LISTED = 20
"""Faults that one message names."""

_DELIMITERS = (",", ";", "\t")
_DECLARED = re.compile(r"sep=([,;|\t])\n+", re.IGNORECASE)
"""A first line by which spreadsheets know what parts the cells."""


@dataclass(frozen=True)
class Row:
    """A row of a table.

    Attributes:
        line: number of the line in the file that it begins in, from 1.
        cells: column → cell, as it stands in the table.
    """

    line: int
    cells: dict[str, str]


@dataclass(frozen=True)
class RowFault:
    """A row that cannot be used.

    Attributes:
        line: number of the line in the file that it begins in, from 1.
        reason: why, as part of a sentence, without the line.
    """

    line: int
    reason: str

    def __str__(self) -> str:
        return f"line {self.line} {self.reason}"


@dataclass(frozen=True)
class Table:
    """A table as far as it can be used.

    Attributes:
        path: the file.
        columns: names of the columns, in their order; those without a name are left out.
        rows: the usable rows, in their order; blank ones are left out.
        faults: the others.
        decimal_comma: whether a number such as 1,5 is one and a half: where commas do not part the cells.
    """

    path: Path
    columns: tuple[str, ...]
    rows: tuple[Row, ...]
    faults: tuple[RowFault, ...]
    decimal_comma: bool = False

    def whole(self) -> tuple[Row, ...]:
        """The rows, of a table that is to be used as a whole.

        Raises:
            DataError: a row cannot be used.
        """
        if self.faults:
            raise refusal(self.path, self.faults)
        return self.rows

    def number(self, cell: str) -> float:
        """The number in a cell.

        Raises:
            ValueError: it holds none.
        """
        text = cell.strip()
        return float(text.replace(",", ".") if self.decimal_comma and "." not in text else text)


def refusal(table: Path, faults: Sequence[RowFault]) -> DataError:
    """The error of a table with rows that cannot be used: each with its line, up to :data:`MAX_LISTED`."""
    listed = "; ".join(str(fault) for fault in faults[:MAX_LISTED])
    more = f"; and {len(faults) - MAX_LISTED} more" if len(faults) > MAX_LISTED else ""
    return DataError(f"{table} has {counted(len(faults), 'row')} that cannot be used: {listed}{more}")


def counted(count: int, noun: str) -> str:
    """A number with its noun: "1 row", "2 rows"."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def read_table(
    path: Path, columns: Sequence[str], encodings: Sequence[str] = (), max_cell_chars: int | None = MAX_CELL_CHARS
) -> Table:
    """Read a table.

    Args:
        path: a CSV file.
        columns: columns that it must have; it may have others.
        encodings: what else than UTF-8 and UTF-16 it may be in; the first that fits is taken.
        max_cell_chars: characters of the longest cell that can be used; None for any.

    Raises:
        InputMissingError: there is no such file, or it cannot be read.
        DataError: it is not text, it is empty, or a column is missing or there twice.
    """
    text = _text(path, encodings)
    start, delimiter = _preamble(text, columns)
    header = next(_records(text, start, delimiter), None)
    if header is None:
        raise DataError(f"{path} is empty and has no column {columns[0]!r}; it needs {', '.join(columns)}")
    if header.fault:
        raise DataError(f"{path}: line {header.line}, which names the columns, {header.fault}")
    names = [cell.strip() for cell in header.cells]
    _check_header(path, names, columns)
    rows, faults = [], []
    for record in _records(text, header.end, delimiter, lambda cells: _unfit(cells, names, max_cell_chars)):
        if record.fault:
            faults.append(RowFault(record.line, record.fault))
        elif any(cell.strip() for cell in record.cells):
            rows.append(Row(record.line, {name: cell for name, cell in zip(names, record.cells, strict=False) if name}))
    return Table(path, tuple(filter(None, names)), tuple(rows), tuple(faults), delimiter != ",")


@dataclass(frozen=True)
class _Record:
    """What lies between two line ends that part rows.

    Attributes:
        line: line number at which it begins, from 1.
        end: position in the text behind it.
        fault: what is wrong with it; "" for nothing.
    """

    line: int
    cells: Sequence[str]
    end: int
    fault: str = ""


def _text(path: Path, encodings: Sequence[str]) -> str:
    """The text of a file, with a line feed for any line end."""
    return _decoded(path, encodings).replace("\r\n", "\n").replace("\r", "\n")


def _decoded(path: Path, encodings: Sequence[str]) -> str:
    try:
        if not path.exists():
            raise InputMissingError(f"there is no table {path}: check its path")
        if not path.is_file():
            raise InputMissingError(f"there is no table {path}, which is a folder, a pipe or a device: name a CSV file")
        data = path.read_bytes()
    except OSError as error:
        raise InputMissingError(f"{path} cannot be read ({error.strerror}): check its permissions") from error
    if wide := wide_encoding(data):
        try:
            return data.decode(wide).removeprefix("\ufeff")
        except UnicodeDecodeError as error:
            raise DataError(f"{path} is damaged {wide.upper()[:6]}: save it as CSV in UTF-8") from error
    try:
        return utf8_text(data)
    except EncodingError as error:
        for encoding in encodings:
            try:
                return data.decode(encoding)
            except UnicodeDecodeError:
                continue
        raise DataError(f"{path}: {error.reason} at line {error.line}; save it as CSV in UTF-8") from error


def _preamble(text: str, columns: Sequence[str]) -> tuple[int, str]:
    """Where the names of the columns begin, and what parts the cells: what gives most of the columns."""
    start = len(text) - len(text.lstrip("\n"))
    declared = _DECLARED.match(text, start)
    if declared:
        return declared.end(), declared.group(1)
    wanted = set(columns)

    def found(delimiter: str) -> tuple[int, int]:
        header = next(_records(text, start, delimiter), None)
        names = [cell.strip() for cell in header.cells] if header else []
        return len(wanted.intersection(names)), len(names)

    # The first of equals, which is the comma.
    return start, max(_DELIMITERS, key=found)


def _check_header(path: Path, names: Sequence[str], columns: Sequence[str]) -> None:
    if missing := [column for column in columns if column not in names]:
        shown = ", ".join(name[:40] for name in names[:20])
        raise DataError(f"{path} has no column {missing[0]!r}; it needs {', '.join(columns)}, and has {shown}")
    for name, count in Counter(filter(None, names)).items():
        if count > 1:
            raise DataError(f"{path} has the column {name[:40]!r} twice: give one of them another name")


def _unfit(cells: Sequence[str], names: Sequence[str], max_cell_chars: int | None) -> str:
    """Why a row does not fit into the columns; "" where it does, or is blank."""
    if not any(cell.strip() for cell in cells):
        return ""
    named = max(number for number, name in enumerate(names, 1) if name)
    if not named <= len(cells) <= len(names):
        columns = counted(named, "column")
        return f"has {counted(len(cells), 'cell')} for {columns}: put cells that hold commas into double quotes"
    if any("\0" in cell for cell in cells):
        return "holds NUL bytes: the file is damaged there; export it again"
    longest = max(map(len, cells))
    if max_cell_chars is not None and longest > max_cell_chars:
        return f"has a cell of {longest} characters: see whether a quotation mark is missing"
    return ""


def _records(
    text: str, start: int, delimiter: str, unfit: Callable[[Sequence[str]], str] = lambda cells: ""
) -> Iterator[_Record]:
    """The records of a text from ``start`` on. After one with a fault the next line begins a new one."""
    line, at = 1 + text.count("\n", 0, start), start
    while at < len(text):
        cells, end, fault = _record(text, at, delimiter)
        if fault := fault or unfit(cells):
            end = _line_end(text, at)
        yield _Record(line, cells, end + 1, fault)
        line += text.count("\n", at, end + 1)
        at = end + 1


def _record(text: str, at: int, delimiter: str) -> tuple[list[str], int, str]:
    """The cells of the record that begins at ``at``, where its line ends, and what is wrong with its quotes."""
    cells: list[str] = []
    line_end = _line_end(text, at)
    while True:
        if text.startswith('"', at):
            end = _closing_quote(text, at)
            if end < 0:
                return cells, at, "opens a quotation mark that nothing closes"
            cells.append(text[at + 1 : end].replace('""', '"'))
            at = end + 1
            if at > line_end:
                line_end = _line_end(text, at)
            if at < line_end and text[at] != delimiter:
                return cells, at, "has text behind a closing quotation mark: double those inside of a cell"
        else:
            parted = text.find(delimiter, at, line_end)
            end = parted if parted >= 0 else line_end
            cells.append(text[at:end])
            at = end
        if at >= line_end:
            return cells, at, ""
        at += 1


def _closing_quote(text: str, opening: int) -> int:
    """Position of the quotation mark that closes a cell; -1 where none does. A doubled one stands for itself."""
    at = opening + 1
    while (found := text.find('"', at)) >= 0 and text.startswith('"', found + 1):
        at = found + 2
    return found


def _line_end(text: str, at: int) -> int:
    feed = text.find("\n", at)
    return feed if feed >= 0 else len(text)
