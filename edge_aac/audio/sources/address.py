"""What every source of sound promises, and the one way to open one from its address."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Collection
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Protocol, cast

import numpy as np
import numpy.typing as npt

from edge_aac.errors import ConfigError, DeviceError, UsageError

ENTRY_POINT_GROUP = "edge_aac.sources"

# Two more ways to name a microphone; one factory understands all of them.
_SCHEME_ALIASES = {"alsa": "mic", "usb-id": "mic"}
_MICROPHONE_NAME = re.compile(r"mic\d+")
_SCHEME = re.compile(r"([a-z][a-z0-9+.-]*):", re.IGNORECASE)


class Source(Protocol):
    """A stream of mono sound at 16 kHz.

    Attributes:
        name: what a caption record gives as its ``source``: ``mic0``, or the path as the user wrote it.
        live: True where samples are lost when nobody reads (a microphone); False where the reader sets the pace.
    """

    name: str
    live: bool

    def read(self) -> npt.NDArray[np.float32] | None:
        """Waits for the next block.

        Returns:
            Mono samples, float32, shape (n,) with n > 0; None at the end or after :meth:`close`.

        Raises:
            EdgeAacError: what the source holds cannot be used.
        """

    def lost_samples(self) -> int:
        """Samples at 16 kHz known to be lost since opening; what a call adds was lost before the last block given."""

    def close(self) -> None:
        """Ends the source, and a :meth:`read` that waits in another thread. May be called again."""


SourceFactory = Callable[[str], Source]


def open_source(uri: str) -> Source:
    """Opens a source of sound.

    Args:
        uri: ``mic0``, ``alsa:hw:1,0``, ``usb-id:0d8c:0014``, ``file:PATH[?speed=1]``,
            ``stdin:[?rate=44100&channels=2]``, ``demo:[?seconds=20]``, or any scheme that an installed package
            registers in the entry-point group ``edge_aac.sources``.

    Raises:
        DeviceError: there is no such scheme, or the device is not there.
        UsageError: the address has an unknown or unusable option.
        ConfigError: a package registers the scheme, but its code cannot be loaded.
    """
    scheme = _scheme_of(uri)
    factories: dict[str, EntryPoint] = {point.name: point for point in entry_points(group=ENTRY_POINT_GROUP)}
    point = factories.get(scheme)
    if point is None:
        raise DeviceError(_unknown_source(uri, factories))
    try:
        factory = cast(SourceFactory, point.load())
    except (ImportError, AttributeError) as error:
        raise ConfigError(
            f"The source scheme '{scheme}' is registered as {point.value}, which cannot be loaded ({error}): "
            "install that package again."
        ) from error
    return factory(uri)


def split_query(rest: str, known: Collection[str]) -> tuple[str, dict[str, str]]:
    """Splits the options off the end of an address.

    Args:
        rest: the address without its scheme, such as ``rain.flac?speed=1``.
        known: the options that the scheme has.

    Returns:
        What stands before the last ``?``, and the options; no option is given where there is no ``?``.

    Raises:
        UsageError: an option is unknown, has no value, or comes twice.
    """
    before, mark, query = rest.rpartition("?")
    if not mark:
        return rest, {}
    options: dict[str, str] = {}
    for item in filter(None, query.split("&")):
        key, equals, value = item.partition("=")
        if key not in known:
            raise UsageError(f"'{item}' in '{rest}' is not an option here: use {_listed(known)}.")
        if not equals or not value:
            raise UsageError(f"The option '{key}' in '{rest}' has no value: write {key}=VALUE.")
        if key in options:
            raise UsageError(f"The option '{key}' is given twice in '{rest}': give it once.")
        options[key] = value
    return before, options


def integer_option(options: dict[str, str], key: str, default: int, lowest: int, highest: int) -> int:
    """Reads a whole number from an address's options, within bounds that include both ends.

    Raises:
        UsageError: it is not a whole number, or out of bounds.
    """
    text = options.get(key)
    if text is None:
        return default
    if not re.fullmatch(r"[0-9]{1,18}", text) or not lowest <= int(text) <= highest:
        raise UsageError(f"{key}={text} is unusable: give a whole number from {lowest} to {highest}.")
    return int(text)


def number_option(options: dict[str, str], key: str, default: float, lowest: float, highest: float) -> float:
    """Reads a number from an address's options, within bounds that include both ends.

    Raises:
        UsageError: it is not a number, or out of bounds.
    """
    text = options.get(key)
    if text is None:
        return default
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not lowest <= value <= highest:
        raise UsageError(f"{key}={text} is unusable: give a number from {lowest:g} to {highest:g}.")
    return value


def _scheme_of(uri: str) -> str:
    if _MICROPHONE_NAME.fullmatch(uri):
        return "mic"
    match = _SCHEME.match(uri)
    scheme = match.group(1).lower() if match else uri
    return _SCHEME_ALIASES.get(scheme, scheme) if match else ""


def _unknown_source(uri: str, factories: Collection[str]) -> str:
    if not factories:
        return f"'{uri}' cannot be opened since no source is registered: install edge-aac with pip."
    message = f"There is no source '{uri}'"
    if _SCHEME.match(uri) is None and _is_file(uri):
        return f"{message}; a file is named with its scheme: use 'file:{uri}'."
    schemes = sorted({"mic0", "alsa", *factories} - {"mic"})
    names = ", ".join(name if name == "mic0" else f"{name}:" for name in schemes)
    return f"{message}: use one of {names} (run `edge-aac devices` to see the microphones)."


def _is_file(path: str) -> bool:
    try:
        return Path(path).is_file()
    except (OSError, ValueError):
        return False


def _listed(names: Collection[str]) -> str:
    return " or ".join(f"{name}=VALUE" for name in sorted(names)) or "no options"
