"""What gives settings: each layer is a table of them and where each value comes from; higher layers overrule lower."""

from __future__ import annotations

import logging
import os
import select
import stat
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from edge_aac.errors import ConfigError, InputMissingError
from edge_aac.settings.lines import Key, lines_of_keys
from edge_aac.toml_files import TomlError, parse_toml

_MAX_BYTES = 1 << 20
_PIPE_TIMEOUT_S = 10.0

_log = logging.getLogger(__name__)


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


def config_home() -> Path:
    """The folder of the user's configuration files. A relative XDG_CONFIG_HOME is none, as its specification has it.

    Raises:
        RuntimeError: the user has no home, as in many containers.
    """
    configured = os.environ.get("XDG_CONFIG_HOME") or ""
    return Path(configured) if os.path.isabs(configured) else Path.home() / ".config"


def default_files() -> list[Path]:
    """The machine's file and the user's, as far as they are there; the later one overrules.

    A folder that cannot be looked into, as the home of another user, holds none: nobody asked for its file. A relative
    XDG_CONFIG_HOME is none, as its specification has it.
    """
    folders = [Path("/etc")]
    with suppress(RuntimeError):
        folders.append(config_home())
    found = []
    for folder in folders:
        path = folder / "edge-aac" / "config.toml"
        try:
            if path.is_file():
                found.append(path)
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else error
            _log.warning("no configuration is read from %s (%s)", folder, reason)
    return found


def read_file(path: Path) -> Layer:
    """The settings of a TOML file, each with its line.

    Raises:
        InputMissingError: the file is not there or cannot be read.
        SyntaxFault: the file is not TOML.
        ConfigError: it is far too large for a configuration.
    """
    try:
        data = _content(path)
    except FileNotFoundError as error:
        raise InputMissingError(f"there is no configuration file {path}") from error
    except OSError as error:
        raise InputMissingError(f"cannot read {path} ({error.strerror}): correct its permissions") from error
    try:
        text, table = parse_toml(data)
        origins = {key: Origin("file", str(path), line) for key, line in lines_of_keys(text).items()}
    except TomlError as error:
        raise SyntaxFault(path, error.line, error.reason) from error
    except RecursionError as error:
        raise SyntaxFault(path, 1, "its values are nested too deep") from error
    return Layer(table, origins)


def _content(path: Path) -> bytes:
    """The bytes of a file, or of a pipe as of ``<(…)``.

    Raises:
        OSError: it cannot be read.
        InputMissingError: it is something else, which may never end; or nobody writes into the pipe.
        ConfigError: it is far too large.
    """
    # Opened without waiting: a named pipe whose writer never comes would hold up a reload, and all after it, for ever.
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        mode = os.fstat(descriptor).st_mode
        if not (stat.S_ISREG(mode) or stat.S_ISFIFO(mode)):
            kind = "a folder" if stat.S_ISDIR(mode) else "a device or socket"
            raise InputMissingError(f"{path} is {kind} and no configuration file")
        poll = select.poll()
        poll.register(descriptor, select.POLLIN)
        data = bytearray()
        while len(data) <= _MAX_BYTES:
            if not poll.poll(1000 * _PIPE_TIMEOUT_S):
                raise InputMissingError(f"{path} is a pipe that nobody writes into")
            part = os.read(descriptor, _MAX_BYTES)
            if not part:
                return bytes(data)
            data += part
    finally:
        os.close(descriptor)
    raise ConfigError(f"{path} is larger than {_MAX_BYTES >> 20} MiB: it is no configuration")
