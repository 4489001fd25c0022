"""User and password for a broker."""

from __future__ import annotations

from dataclasses import dataclass, field

from edge_aac.credentials import Secret, SecretPlace

CREDENTIALS = Secret("the credentials", "one line, USER:PASSWORD")

_MAX_PART_BYTES = 65_535
"""Length that MQTT's CONNECT has room for, of the user and of the password."""


@dataclass(frozen=True)
class Login:
    """Who a client is.

    Attributes:
        user: name of the user.
        password: its password; None where the broker wants none.
    """

    user: str = field(repr=False)
    password: str | None = field(default=None, repr=False)


def read_login(place: str) -> Login:
    """Reads user and password.

    Args:
        place: ``file:PATH`` or ``env:NAME``.

    Raises:
        InputMissingError: the file is not there or unreadable, or the variable is not set.
        ConfigError: what it holds is no login.
    """
    where = SecretPlace.parse(place)
    user, colon, password = where.read(CREDENTIALS).partition(":")
    if not user or any(len(part.encode()) > _MAX_PART_BYTES for part in (user, password)):
        raise where.unusable(CREDENTIALS)
    return Login(user, password if colon else None)
