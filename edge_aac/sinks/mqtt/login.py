"""User and password for a broker, from a file or a variable of the environment."""

from __future__ import annotations

import os
import re
import stat
from dataclasses import dataclass, field
from pathlib import Path

from edge_aac import secret_variables
from edge_aac.errors import ConfigError, InputMissingError

_HIGHEST_BYTES = 131_072
"""A token may take the place of the password; both can be 65 535 bytes long."""

_HIGHEST_PART_BYTES = 65_535
_FORM = "one line, USER:PASSWORD"


@dataclass(frozen=True)
class Login:
    """Who a client is.

    Attributes:
        user: name of the user.
        password: its password; None where the broker wants none.
    """

    user: str = field(repr=False)
    password: str | None = field(default=None, repr=False)


def fault_of_place(text: str) -> str | None:
    """What is wrong with ``file:PATH`` or ``env:NAME``; None where it is right. The text may be a password itself."""
    kind, _, name = text.partition(":")
    if kind == "file" and name and "\0" not in name:
        return None
    if kind == "env" and re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
        secret_variables.note(name)
        return None
    return 'write credentials = "file:PATH" or "env:NAME"; the password itself does not stand in the settings'


def read_login(place: str) -> Login:
    """Reads user and password.

    Args:
        place: ``file:PATH`` or ``env:NAME``.

    Raises:
        InputMissingError: the file is not there or unreadable, or the variable is not set.
        ConfigError: what it holds is no login.
    """
    kind, _, name = place.partition(":")
    text = _of_variable(name) if kind == "env" else _of_file(name)
    lines = [line for line in text.splitlines() if line.strip()]
    user, colon, password = lines[0].partition(":") if len(lines) == 1 else ("", "", "")
    if not user or "\0" in lines[0] or any(len(part.encode()) > _HIGHEST_PART_BYTES for part in (user, password)):
        where = f"the variable {name}" if kind == "env" else f"'{name}'"
        raise ConfigError(f"{where} holds no credentials: it holds {_FORM}")
    return Login(user, password if colon else None)


def is_open(place: str) -> bool:
    """Whether every user of the machine may read or change the file of credentials."""
    kind, _, name = place.partition(":")
    try:
        return kind == "file" and bool(os.stat(Path(name).expanduser()).st_mode & (stat.S_IROTH | stat.S_IWOTH))
    except OSError:
        return False  # reading it tells


def _of_variable(name: str) -> str:
    text = os.environ.get(name)
    if text is None:
        raise InputMissingError(f"the credentials are not there: set the variable {name}")
    return text


def _of_file(name: str) -> str:
    try:
        with Path(name).expanduser().open("rb") as file:
            return file.read(_HIGHEST_BYTES).decode("utf-8-sig")
    except OSError as error:
        raise InputMissingError(f"the file of credentials '{name}' cannot be read ({error.strerror})") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"the file of credentials '{name}' is no text in UTF-8") from error
