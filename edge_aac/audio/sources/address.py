"""Addresses of sources, what every source promises, and the one way to open one."""

from __future__ import annotations

import math
import re
import threading
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, cast

import numpy as np
import numpy.typing as npt

from edge_aac.audio.connection import PermanentDeviceError, SourceState
from edge_aac.audio.sources.labels import label_of
from edge_aac.errors import UsageError
from edge_aac.plugins import load, registered

ENTRY_POINT_GROUP = "edge_aac.sources"

# More ways to name a microphone; one factory understands all of them.
_SCHEME_ALIASES = {"alsa": "mic", "usb-id": "mic", "usb-path": "mic"}
_MICROPHONE_NAME = re.compile(r"mic\d+(\?.*)?")
_SCHEME = re.compile(r"([a-z][a-z0-9+.-]*):", re.IGNORECASE)
# Names of other programs' for what has another name here.
_STANDARD_INPUT = ("-", "stdin", "/dev/stdin", "pipe:", "pipe:0", "/dev/fd/0", "/proc/self/fd/0")
_ALSA_NAME = re.compile(r"(?:plug)?hw:.+|(?:default|sysdefault|dsnoop|front|pulse|pipewire|jack)(?::.*)?")


@dataclass(frozen=True)
class Address:
    """An address as the user wrote it.

    Attributes:
        uri: the whole of it. It may hold a password: use it to open the source, show :attr:`label`.
        scheme: name that chooses the factory, in lower case: ``mic`` for all microphones; empty for an address without
            one.
        label: the address without user, password and options, for records and messages.
    """

    uri: str = field(repr=False)
    scheme: str
    label: str

    @staticmethod
    def parse(uri: str) -> Address:
        """Reads an address; any text is one, though perhaps one of no known scheme."""
        if _MICROPHONE_NAME.fullmatch(uri):
            return Address(uri, "mic", label_of("mic", uri))
        match = _SCHEME.match(uri)
        written = match.group(1).lower() if match else ""
        scheme = _SCHEME_ALIASES.get(written, written)
        return Address(uri, scheme, label_of(scheme, uri))

    @property
    def rest(self) -> str:
        """The address after the scheme and its colon. It may hold a password."""
        return self.uri.partition(":")[2]


@dataclass(frozen=True)
class SourceContext:
    """Facts that a source is given beside its address.

    Attributes:
        name: the source's name in the configuration, which then is its label; None where it has none.
        wait_for_device: whether a live source whose device is not there yet is opened all the same, and waits for it in
            :meth:`Source.read`.
        stop: once set, an opening that takes its time is given up; None for never.
    """

    name: str | None = None
    wait_for_device: bool = False
    stop: threading.Event | None = None

    def label(self, address: Address) -> str:
        """Gives the name of a source at this address in records, logs and messages."""
        return self.name or address.label


class Source(Protocol):
    """A stream of mono sound at 16 kHz."""

    @property
    def label(self) -> str:
        """Name of the source in records and messages: ``mic0``, a file's path. It holds no password."""

    @property
    def live(self) -> bool:
        """True where samples are lost when nobody reads (a microphone); False where the reader sets the pace."""

    @property
    def state(self) -> SourceState:
        """State of the source; may be read from another thread."""

    @property
    def reconnects(self) -> int:
        """Number of times that sound came back after the connection had been lost; may be read from another thread."""

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


SourceFactory = Callable[[Address, SourceContext], Source]


def open_source(uri: str, context: SourceContext | None = None) -> Source:
    """Opens a source of sound.

    Args:
        uri: ``mic0[?channel=2]``, ``alsa:hw:1,0``, ``usb-id:0d8c:0014``, ``usb-path:1-1.2``,
        ``file:PATH[?speed=1&mix=mean]``, ``stdin:[?rate=44100&channels=2]``, ``demo:[?seconds=20]``,
        ``rtsp://HOST/PATH``, ``http://HOST/PATH``, or any scheme that an installed package registers in the
        entry-point group ``edge_aac.sources``.
        context: the source's name, and whether to wait for its device.

    Raises:
        PermanentDeviceError: there is no such scheme.
        DeviceError: the device is not there and not to be waited for.
        UsageError: the address has an unknown or unusable option.
        ConfigError: a package registers the scheme, but its code cannot be loaded.
    """
    address = Address.parse(uri)
    factories = registered(ENTRY_POINT_GROUP)
    point = factories.get(address.scheme)
    if point is None:
        raise PermanentDeviceError(_unknown_source(address, factories))
    factory = cast(SourceFactory, load(point, f"The source scheme '{address.scheme}'"))
    return factory(address, context or SourceContext())


def split_query(rest: str, known: Collection[str]) -> tuple[str, dict[str, str]]:
    """Splits the options off the end of an address.

    Args:
        rest: the address without its scheme, such as ``rain.flac?speed=1``.
        known: the options that the scheme has.

    Returns:
        What stands before the last ``?``, and the options; no option is given where there is no ``?``.

    Raises:
        UsageError: an option is unknown, has no value, or comes twice. The message shows no option's value.
    """
    before, mark, query = rest.rpartition("?")
    if not mark:
        return rest, {}
    options: dict[str, str] = {}
    for item in filter(None, query.split("&")):
        key, equals, value = item.partition("=")
        if key not in known:
            # Without a value it may be a password's second half.
            shown = f"'{key}'" if equals and re.fullmatch(r"[a-z_]{1,30}", key) else "what follows the '?'"
            raise UsageError(f"{shown} is not an option of this source: use {_listed(known)}.")
        if not equals or not value:
            raise UsageError(f"The source's option '{key}' has no value: write {key}=VALUE.")
        if key in options:
            raise UsageError(f"The source's option '{key}' is given twice: give it once.")
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


def _unknown_source(address: Address, factories: Collection[str]) -> str:
    if not factories:
        return f"'{address.label}' cannot be opened since no source is registered: install edge-aac with pip."
    if hint := _meant(address):
        return f"There is no source '{address.label}': {hint}."
    schemes = sorted({"mic0", "alsa", *factories} - {"mic"})
    names = ", ".join(name if name == "mic0" else f"{name}:" for name in schemes)
    return f"There is no source '{address.label}': use one of {names} (run `edge-aac devices` to see the microphones)."


def _meant(address: Address) -> str:
    """The form of an address that other programs write otherwise, as a hint; "" for none that is known."""
    uri = address.uri
    if uri in _STANDARD_INPUT:
        return "sound that is piped into standard input is named 'stdin:'"
    if _ALSA_NAME.fullmatch(uri):
        return f"a name of ALSA's has its scheme: use 'alsa:{uri}' (run `edge-aac devices` to see names that stay)"
    if "://" in uri:
        return (
            f"{address.scheme} is not read from here; let ffmpeg read it into the source 'stdin:', as with "
            f"`ffmpeg -i {address.label} -f s16le -ac 1 -ar 16000 -`"
        )
    if _SCHEME.match(uri) is None and _exists(uri):
        return f"a file is named with its scheme: use 'file:{uri}'"
    return ""


def _exists(path: str) -> bool:
    try:
        return Path(path).exists() and not Path(path).is_dir()
    except (OSError, ValueError):
        return False


def _listed(names: Collection[str]) -> str:
    return " or ".join(f"{name}=VALUE" for name in sorted(names)) or "no options"
