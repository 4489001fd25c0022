"""Secrets of sinks: read from a file or a variable of the environment, never from the settings themselves."""

from __future__ import annotations

import os
import re
from pathlib import Path

from edge_aac import secret_variables
from edge_aac.errors import ConfigError, InputMissingError

_HIGHEST_BYTES = 65_536


def checked_place(text: str) -> str:
    """``file:PATH`` or ``env:NAME`` as it is.

    Raises:
        ValueError: it is something else; the text is not repeated, since it may be the secret itself.
    """
    kind, _, name = text.partition(":")
    if kind == "file" and name and "\0" not in name:
        return text
    if kind == "env" and re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
        secret_variables.note(name)
        return text
    raise ValueError('write "file:PATH" or "env:NAME"; the secret itself does not stand in the settings')


def read_secret(place: str, what: str) -> str:
    """The secret in a file or variable, without white space around it.

    Args:
        place: ``file:PATH`` or ``env:NAME``.
        what: name of the secret in messages, such as "the token".

    Raises:
        InputMissingError: the file cannot be read, or the variable is not set.
        ConfigError: it holds no single line of text.
    """
    kind, _, name = place.partition(":")
    if kind == "env":
        text = os.environ.get(name)
        if text is None:
            raise InputMissingError(f"{what} is not there: set the variable {name}")
        where = f"the variable {name}"
    else:
        path = Path(name).expanduser()
        where = f"'{path}'"
        try:
            with path.open("rb") as file:
                text = file.read(_HIGHEST_BYTES).decode("utf-8")
        except UnicodeDecodeError as error:
            raise ConfigError(f"{where} holds no text: it is to hold {what} in one line") from error
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else error
            raise InputMissingError(
                f"{what} cannot be read from {where} ({reason}): correct the path or its permissions"
            ) from error
    secret = text.strip()
    if not secret or not secret.isprintable():
        raise ConfigError(f"{where} holds no secret: it is to hold {what} in one line")
    return secret
