"""User and password of a server, from a file, from a variable of the environment, or from the address."""

from __future__ import annotations

import logging
import os
import re
import stat
from dataclasses import dataclass, field
from typing import Literal
from urllib.parse import quote, unquote

from edge_aac import secret_variables
from edge_aac.audio.connection import PermanentDeviceError
from edge_aac.errors import DeviceError, UsageError

_log = logging.getLogger(__name__)

_HIGHEST_BYTES = 4_096
# ffmpeg 4 to 7 cut longer ones off in RTSP, without a word.
_HIGHEST_USER_INFO_BYTES = 127
_FORM = "one line, USER:PASSWORD, or ?NAME=VALUE for a token in the address"


@dataclass(frozen=True)
class Login:
    """User and password, or a query with a token, that a server lets its clients in for.

    Attributes:
        user: name of the user; empty where only a query is given.
        password: its password.
        query: a part of the URL's query, such as ``token=…``; empty where there is none.
    """

    user: str = field(default="", repr=False)
    password: str = field(default="", repr=False)
    query: str = field(default="", repr=False)

    @staticmethod
    def of_user_info(text: str) -> Login:
        """Reads what stands before the ``@`` of a URL, percent-encoded or not."""
        user, _, password = text.partition(":")
        return Login(unquote(user), unquote(password))

    @property
    def user_info(self) -> str:
        """User and password as they stand in a URL, with the ``@``; empty where there are none."""
        if not self.user and not self.password:
            return ""
        return f"{quote(self.user, safe='')}:{quote(self.password, safe='')}@"

    @property
    def fits_rtsp(self) -> bool:
        """Whether it is short enough for ffmpeg's RTSP client."""
        return len(self.user_info) - 1 <= _HIGHEST_USER_INFO_BYTES

    @property
    def secrets(self) -> set[str]:
        """All forms in which a message may hold a secret of it."""
        values = {value for _, _, value in (item.partition("=") for item in self.query.split("&"))}
        return values | {self.user_info, self.password, quote(self.password, safe=""), self.query}


@dataclass(frozen=True)
class CredentialsPlace:
    """Where a login is read from, again before each try.

    Attributes:
        kind: a file, or a variable of the environment.
        name: the file's path, or the variable's name.
    """

    kind: Literal["file", "env"]
    name: str

    def read(self) -> Login:
        """Reads the login.

        Raises:
            DeviceError: the file is not there or unreadable, or no login stands in it.
            PermanentDeviceError: the variable is not set, or no login stands in it.
        """
        if self.kind == "env":
            text = os.environ.get(self.name)
            if text is None:
                raise PermanentDeviceError(f"The credentials are not there: set the variable {self.name}.")
            login = _login_of(text)
            if login is None:
                raise PermanentDeviceError(f"The variable {self.name} holds no credentials: it is {_FORM}.")
            return login
        login = _login_of(self._text())
        if login is None:
            raise DeviceError(f"'{self.name}' holds no credentials: write into it {_FORM}.")
        return login

    def warn_if_open(self) -> None:
        """Warns of a file that others than its owner and group may read."""
        if self.kind != "file":
            return
        try:
            mode = os.stat(self.name).st_mode
        except OSError:
            return  # each try tells
        if mode & (stat.S_IROTH | stat.S_IWOTH):
            _log.warning(
                "'%s' holds credentials and every user of this machine may read or change it: `chmod o= '%s'`",
                self.name,
                self.name,
            )

    def _text(self) -> str:
        try:
            with open(self.name, "rb") as file:
                data = file.read(_HIGHEST_BYTES)
        except OSError as error:
            raise DeviceError(f"The file of credentials '{self.name}' cannot be read ({error.strerror}).") from error
        try:
            return data.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            raise DeviceError(f"The file of credentials '{self.name}' is no text in UTF-8.") from error


def place_of(text: str) -> CredentialsPlace:
    """Reads ``file:PATH`` or ``env:NAME``.

    Raises:
        UsageError: it is neither. The text is not shown, for it may be the password itself.
    """
    kind, _, name = text.partition(":")
    if kind == "file" and name and "\0" not in name:
        return CredentialsPlace("file", name)
    if kind == "env" and re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
        secret_variables.note(name)
        return CredentialsPlace("env", name)
    raise UsageError("credentials has an unusable value: write credentials=file:PATH or credentials=env:NAME.")


def _login_of(text: str) -> Login | None:
    lines = [line for line in text.splitlines() if line.strip()]
    if len(lines) != 1 or not lines[0].isprintable():
        return None
    line = lines[0]
    if line.startswith("?"):
        query = line[1:].strip()
        return Login(query=quote(query, safe="!$%'()*+,/:;=@&~")) if "=" in query else None
    user, colon, password = line.partition(":")
    return Login(user, password) if colon and user else None
