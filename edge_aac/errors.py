"""The errors a user can cause, each with its exit code.

Every message is one sentence that says what is wrong and what mends it; the command line prints it as it
is and ends with :attr:`EdgeAacError.exit_code` (the numbers are those of BSD's ``sysexits.h``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pydantic import ValidationError

_LONGEST_KEY = 60  # characters of a key in a message


class EdgeAacError(Exception):
    """Base of all errors that edge-aac raises on purpose."""

    exit_code = 70


class UsageError(EdgeAacError):
    """The command line asks for something that makes no sense."""

    exit_code = 2


class DataError(EdgeAacError):
    """An input exists but its content cannot be used (not audio, truncated, tampered)."""

    exit_code = 65


class InputMissingError(EdgeAacError):
    """A named input (file, folder, bundle) is not there or cannot be read."""

    exit_code = 66


class DeviceError(EdgeAacError):
    """A device, broker or accelerator is unavailable."""

    exit_code = 69


class ConfigError(EdgeAacError):
    """A setting has an unusable value."""

    exit_code = 78


def first_complaint(error: ValidationError) -> str:
    """The first thing that pydantic found, as part of a sentence."""
    first = error.errors()[0]
    # Keys come from files of others: one may hold a line end or a megabyte.
    where = ".".join(_shortened(part) for part in first["loc"])
    what = first["msg"].removeprefix("Value error, ")
    return f"{where}: {what}" if where else what


def _shortened(key: int | str) -> str:
    text = str(key)
    text = text if text.isprintable() else repr(text)
    return text if len(text) <= _LONGEST_KEY else f"{text[:_LONGEST_KEY]}…"
