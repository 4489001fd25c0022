"""Variables of the environment that the settings read secrets from: no other program that is started is given them."""

from __future__ import annotations

import os

_names: set[str] = set()


def note(name: str) -> None:
    """Note that the settings read a secret from a variable, by their ``env:NAME``."""
    _names.add(name)


def without_secrets() -> dict[str, str]:
    """The environment for a program of somebody else, or for a part of ours that needs no secret."""
    return {name: value for name, value in os.environ.items() if name not in _names}
