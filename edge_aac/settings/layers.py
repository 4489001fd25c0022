"""What gives settings: each layer is a table of them and where each value comes from; higher layers overrule lower."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from edge_aac.errors import ConfigError, InputMissingError
from edge_aac.settings.lines import Key, lines_of_keys

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

_PLACE = re.compile(r" ?\(at line (\d+), column \d+\)| ?\(at end of document\)")


@dataclass(frozen=True)
class Origin:
    """Origin of a value.

    Attributes:
        kind: sort of origin: a file, the environment, a flag or a default.
        where: the file, variable or flag; for a default what holds, where it is no value.
        line: line number in the file, from 1.
    """

    kind: Literal["default", "file", "environment", "flag"]
    where: str = ""
    line: int | None = None

    def __str__(self) -> str:
        if self.kind == "default":
            return f"default: {self.where}" if self.where else "default"
        return self.where if self.line is None else f"{self.where}:{self.line}"


@dataclass(frozen=True)
class Layer:
    """Settings from one place, or several of equal rank.

    Attributes:
        table: section → key → value, or section → list of tables.
        origins: path of a section, table or key → where it comes from.
    """

    table: Mapping[str, Any] = field(default_factory=dict)
    origins: Mapping[Key, Origin] = field(default_factory=dict)


class SyntaxFault(ConfigError):
    """A file that is not TOML.

    Attributes:
        path: the file.
        line: line number at which reading ended, from 1.
        reason: description of the fault there.
    """

    def __init__(self, path: Path, line: int, reason: str) -> None:
        super().__init__(f"{path} is not valid TOML: {reason} (line {line})")
        self.path, self.line, self.reason = path, line, reason


def merged(layers: Iterable[Layer]) -> Layer:
    """Merge layers, the last one wins: tables are merged key by key, arrays of tables replaced as a whole."""
    table: dict[str, Any] = {}
    origins: dict[Key, Origin] = {}
    for layer in layers:
        for section, values in layer.table.items():
            before = table.get(section, {})
            if isinstance(values, dict) and not isinstance(before, (dict, list)):
                continue  # ``stream = 5`` stays, so that whoever validates complains of it
            if isinstance(values, dict) and isinstance(before, dict):
                table[section] = {**before, **values}
            else:
                table[section] = values
                origins = {path: origin for path, origin in origins.items() if path[0] != section}
            origins.update({path: origin for path, origin in layer.origins.items() if path[0] == section})
    return Layer(table, origins)


def origin_of(path: Key, origins: Mapping[Key, Origin]) -> Origin | None:
    """Origin of the value at ``path``, or of the table that holds it; None where no layer has it."""
    for length in range(len(path), 0, -1):
        if found := origins.get(path[:length]):
            return found
    return None


def default_files() -> list[Path]:
    """The machine's file and the user's, as far as they are there; the later one overrules."""
    folders = [Path("/etc")]
    with suppress(RuntimeError):  # a user without a home, as in many containers
        folders.append(Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config"))
    return [path for folder in folders if _is_file(path := folder / "edge-aac" / "config.toml")]


def read_file(path: Path) -> Layer:
    """The settings of a TOML file, each with its line.

    Raises:
        InputMissingError: the file is not there or cannot be read.
        SyntaxFault: the file is not TOML.
    """
    if not _is_file(path):
        raise InputMissingError(f"there is no configuration file {path}")
    try:
        data = path.read_bytes()
        # As universal newlines, so that lines are counted as an editor does.
        text = data.decode("utf-8").replace("\r\n", "\n")
        table = tomllib.loads(text)
    except UnicodeDecodeError as error:
        raise SyntaxFault(path, data.count(b"\n", 0, error.start) + 1, "it is not UTF-8") from error
    except tomllib.TOMLDecodeError as error:
        raise _syntax_fault(path, text, str(error)) from error
    except OSError as error:
        raise InputMissingError(f"cannot read {path} ({error.strerror}): correct its permissions") from error
    origins = {key: Origin("file", str(path), line) for key, line in lines_of_keys(text).items()}
    return Layer(table, origins)


def _syntax_fault(path: Path, text: str, message: str) -> SyntaxFault:
    place = _PLACE.search(message)
    line = int(place.group(1)) if place and place.group(1) else max(len(text.splitlines()), 1)
    return SyntaxFault(path, line, _PLACE.sub("", message))


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError as error:
        raise InputMissingError(f"cannot read {path} ({error.strerror}): correct its permissions") from error
