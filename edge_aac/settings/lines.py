"""On which line of a TOML file each key stands; ``tomllib`` gives values only.

The scan trusts that ``tomllib`` has read the text already: it finds places in valid TOML and checks nothing.
"""

from __future__ import annotations

import re
import sys
from typing import Any

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

Key = tuple[str | int, ...]

_BLANK = re.compile(r"(?:[\s,]|#[^\n]*)*")
_HEADER = re.compile(r"\[\[?((?:[^\]\"'\n]|\"(?:[^\"\\\n]|\\.)*\"|'[^'\n]*')*)\]\]?")
_KEY = re.compile(r"((?:[^=\"'\n]|\"(?:[^\"\\\n]|\\.)*\"|'[^'\n]*')+)=[ \t]*")
_STRING = re.compile(r'"""(?:[^\\]|\\.)*?"{3,5}|\'\'\'.*?\'{3,5}|"(?:[^"\\\n]|\\.)*"|\'[^\'\n]*\'', re.DOTALL)
_BARE = re.compile(r"[^\s,\]}#][^,\]}#\n]*")


def lines_of_keys(text: str) -> dict[Key, int]:
    """The line, counted from 1, of each table, key and element of an array.

    Args:
        text: a valid TOML document.

    Returns:
        Path → line. The path of the second table ``[[sources]]`` is ``("sources", 1)``, of its key
        ``("sources", 1, "name")``; ``("sources",)`` is where the first stands.
    """
    return _Scan(text).lines


class _Scan:
    """One pass over the text, statement by statement."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self.lines: dict[Key, int] = {}
        self._tables: dict[Key, int] = {}  # tables of each array so far
        table: Key = ()
        self._skip(_BLANK)
        while self._at < len(text):
            if text[self._at] == "[":
                table = self._header()
            else:
                self._assignment(table)
            self._skip(_BLANK)

    def _header(self) -> Key:
        is_array = self._text.startswith("[[", self._at)
        start = self._at
        path = self._resolved(_names(self._skip(_HEADER)), whole=not is_array)
        self._note(path, start)
        if is_array:
            index = self._tables.get(path, 0)
            self._tables[path] = index + 1
            path = (*path, index)
            self._note(path, start)
        return path

    def _resolved(self, names: Key, whole: bool) -> Key:
        """The path of a header: where an array of tables lies on the way, its last table so far."""
        path: Key = ()
        for depth, name in enumerate(names, 1):
            path = (*path, name)
            if path in self._tables and (whole or depth < len(names)):
                path = (*path, self._tables[path] - 1)
        return path

    def _assignment(self, table: Key) -> None:
        start = self._at
        path = table
        for name in _names(self._skip(_KEY)):
            path = (*path, name)
            self._note(path, start)
        self._value(path)

    def _value(self, path: Key) -> None:
        opening = self._text[self._at]
        if opening == "[":
            self._at += 1
            index = 0
            while not self._closed("]"):
                self._note((*path, index), self._at)
                self._value((*path, index))
                index += 1
        elif opening == "{":
            self._at += 1
            while not self._closed("}"):
                self._assignment(path)
        elif opening in "\"'":
            self._skip(_STRING)
        else:
            self._skip(_BARE)

    def _closed(self, bracket: str) -> bool:
        self._skip(_BLANK)
        if not self._text.startswith(bracket, self._at):
            return False
        self._at += 1
        return True

    def _note(self, path: Key, position: int) -> None:
        self.lines.setdefault(path, self._text.count("\n", 0, position) + 1)

    def _skip(self, pattern: re.Pattern[str]) -> str:
        match = pattern.match(self._text, self._at)
        if match is None:
            raise ValueError(f"this is no valid TOML at character {self._at}")
        self._at = match.end()
        return match.group(1) if pattern.groups else match.group()


def _names(dotted: str) -> Key:
    """The names of a key such as ``a."b.c".d``."""
    names: list[str] = []
    table: Any = tomllib.loads(f"{dotted.strip()} = 0")
    while isinstance(table, dict):
        (name,) = table
        names.append(name)
        table = table[name]
    return tuple(names)
