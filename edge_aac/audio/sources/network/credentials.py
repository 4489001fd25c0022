"""User and password of a server, from a file, from a variable of the environment, or from the address."""

from __future__ import annotations

from dataclasses import dataclass, field
from urllib.parse import quote, unquote

from edge_aac.audio.connection import PermanentDeviceError
from edge_aac.credentials import Secret, SecretPlace
from edge_aac.errors import DeviceError, EdgeAacError

CREDENTIALS = Secret("the credentials", "one line, USER:PASSWORD, or ?NAME=VALUE for a token in the address")

# ffmpeg 4 to 7 cut longer ones off in RTSP, without a word.
_HIGHEST_USER_INFO_BYTES = 127


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


def read_login(place: SecretPlace) -> Login:
    """Reads a login.

    Raises:
        DeviceError: the file is not there or unreadable, or no login stands in it.
        PermanentDeviceError: the variable is not set, or no login stands in it: neither changes while we run.
    """
    try:
        line = place.read(CREDENTIALS)
        login = _login_of(line)
        if login is None:
            raise place.unusable(CREDENTIALS)
    except EdgeAacError as error:
        sentence = str(error)
        kind = PermanentDeviceError if place.kind == "env" else DeviceError
        raise kind(f"{sentence[0].upper()}{sentence[1:]}.") from error
    return login


def _login_of(line: str) -> Login | None:
    if line.startswith("?"):
        query = line[1:].strip()
        return Login(query=quote(query, safe="!$%'()*+,/:;=@&~")) if "=" in query else None
    user, colon, password = line.partition(":")
    return Login(user, password) if colon and user else None
