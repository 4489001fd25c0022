"""Passwords, tokens and keys: settings name the file or variable that holds one, and never the secret itself."""

from __future__ import annotations

import logging
import os
import re
import stat
import unicodedata
from dataclasses import dataclass
from typing import Literal

from edge_aac import secret_variables
from edge_aac.errors import ConfigError, InputMissingError

MAX_BYTES = 131_072
"""Longest content of such a file; MQTT has room for 65 535 bytes of a user and as many of a password."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Secret:
    """A kind of secret, for messages.

    Attributes:
        name: what it is called, such as "the token".
        form: how it is written down, such as "one line, USER:PASSWORD".
    """

    name: str
    form: str = "one line"


@dataclass(frozen=True)
class SecretPlace:
    """Where a secret is read from, each time that it is needed: a new one needs no restart.

    Attributes:
        kind: a file, or a variable of the environment.
        name: the file's path, in which ``~`` is the home, or the variable's name.
    """

    kind: Literal["file", "env"]
    name: str

    @staticmethod
    def parse(text: str) -> SecretPlace:
        """Reads ``file:PATH`` or ``env:NAME``.

        Raises:
            ValueError: it is neither. The message does not hold the text, which may be the secret itself.
        """
        kind, _, name = text.partition(":")
        if kind == "file" and name and "\0" not in name:
            return SecretPlace("file", name)
        if kind == "env" and re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
            secret_variables.note(name)
            return SecretPlace("env", name)
        raise ValueError('write "file:PATH" or "env:NAME": the secret itself does not stand in the settings')

    def read(self, secret: Secret) -> str:
        """Reads the one line of text in the place; empty lines around it are no fault, nor is a byte-order mark.

        Args:
            secret: what the place is to hold.

        Raises:
            InputMissingError: the file cannot be read, or the variable is not set.
            ConfigError: the place holds no text, more than one line of it, or control characters.
        """
        data = self._of_variable(secret) if self.kind == "env" else self._of_file(secret)
        if len(data) > MAX_BYTES:
            raise ConfigError(f"{self._where} has more than {MAX_BYTES} bytes: it is to hold {secret.form}")
        try:
            text = data.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            raise ConfigError(f"{self._where} is no text in UTF-8: it is to hold {secret.form}") from error
        lines = [line for line in text.splitlines() if line.strip()]
        if len(lines) != 1 or any(unicodedata.category(character) == "Cc" for character in lines[0]):
            raise self.unusable(secret)
        return lines[0]

    def unusable(self, secret: Secret) -> ConfigError:
        """The error for a line that is no such secret."""
        return ConfigError(f"{self._where} does not hold {secret.name}: it is to hold {secret.form}")

    def warn_if_open(self, secret: Secret) -> None:
        """Logs a warning of a file that others than its owner and group may read or change."""
        if self.kind != "file":
            return
        try:
            mode = os.stat(self._path).st_mode
        except OSError:
            return  # reading it tells
        if mode & (stat.S_IROTH | stat.S_IWOTH):
            _log.warning(
                "'%s' holds %s and every user of this machine may read or change it: `chmod o= '%s'`",
                self._path,
                secret.name,
                self._path,
            )

    @property
    def _path(self) -> str:
        return os.path.expanduser(self.name)

    @property
    def _where(self) -> str:
        return f"the variable {self.name}" if self.kind == "env" else f"'{self._path}'"

    def _of_variable(self, secret: Secret) -> bytes:
        text = os.environ.get(self.name)
        if text is None:
            raise InputMissingError(f"{secret.name} cannot be read: set the variable {self.name} to {secret.form}")
        return os.fsencode(text)

    def _of_file(self, secret: Secret) -> bytes:
        try:
            # A pipe without a writer must not be waited for.
            with open(os.open(self._path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
                return file.read(MAX_BYTES + 1) or b""
        except OSError as error:
            raise InputMissingError(
                f"{secret.name} cannot be read from '{self._path}' ({error.strerror}): correct the path or its "
                "permissions"
            ) from error
