"""The addresses ``serial:PATH`` and ``udp://HOST:PORT``, with their options."""

from __future__ import annotations

import re
from dataclasses import dataclass

from edge_aac.audio.mixing import Mixing
from edge_aac.audio.sources.address import Address, integer_option, number_option, split_query
from edge_aac.audio.sources.mixing_options import MIXING_OPTIONS, mixing_of
from edge_aac.errors import UsageError
from firmware_bridge.device_ids import id_of, id_text, mac_text
from firmware_bridge.keys import checked_place, default_key_file

DEFAULT_BAUD = 921_600
DEFAULT_PORT = 5005
FOUND = "found:"
"""Stands before a device id where a discovery has found the device."""
_DEVICE_OPTIONS = ("device", "jitter_ms", "stall_s", "gone_s", *MIXING_OPTIONS)
_HOST_AND_PORT = re.compile(r"//(\[[0-9a-fA-F:.%a-z]+\]|[^/\[\]:]+)(?::([0-9]{1,5}))?/?")


@dataclass(frozen=True)
class Endpoint:
    """What a link is opened at. Two sources with the same one share the link.

    Attributes:
        kind: "serial" or "udp".
        place: path of the serial port, or the address to listen at.
        number: baud of the serial port, or the UDP port.
        keys: where the keys of the devices are, ``file:PATH`` or ``env:NAME``; None where nothing is authenticated.
    """

    kind: str
    place: str
    number: int
    keys: str | None

    @property
    def label(self) -> str:
        """Its name in messages: ``serial:/dev/ttyACM0``, ``udp://0.0.0.0:5005``."""
        if self.kind == "serial":
            return f"serial:{self.place}"
        host = f"[{self.place}]" if ":" in self.place else self.place
        return f"udp://{host}:{self.number}"

    @property
    def place_of_link(self) -> tuple[str, str, int]:
        """What two links cannot be open at at once."""
        return self.kind, self.place, self.number if self.kind == "udp" else 0


@dataclass(frozen=True)
class BridgeAddress:
    """An address of a device, or of all devices of a link.

    Attributes:
        endpoint: the link.
        uri: the address as it was written.
        device: id or name of the one device; None where all are meant.
        found: whether a discovery has found the device.
        jitter_s: seconds for which a frame that is missing is waited for.
        stall_s: seconds without sound after which a device counts as not heard.
        gone_s: seconds without a word after which a device that was discovered is gone.
        mixing: how two channels become one.
    """

    endpoint: Endpoint
    uri: str
    device: str | None
    found: bool
    jitter_s: float
    stall_s: float
    gone_s: float
    mixing: Mixing

    @staticmethod
    def of(address: Address) -> BridgeAddress:
        """Reads an address.

        Raises:
            UsageError: it, or an option of it, is unusable.
        """
        if address.scheme == "serial":
            rest, options = split_query(address.rest, ("baud", *_DEVICE_OPTIONS))
            endpoint = _serial_endpoint(rest, options)
        else:
            rest, options = split_query(address.rest, ("keys", "auth", *_DEVICE_OPTIONS))
            endpoint = _udp_endpoint(rest, options)
        device = options.get("device")
        found = device is not None and device.startswith(FOUND)
        return BridgeAddress(
            endpoint,
            address.uri,
            device.removeprefix(FOUND) if device is not None else None,
            found,
            integer_option(options, "jitter_ms", 60, 0, 2000) / 1000,
            number_option(options, "stall_s", 3.0, 0.5, 600.0),
            number_option(options, "gone_s", 300.0, 1.0, 1e7),
            mixing_of(options),
        )

    def names(self, device: int, name: str) -> bool:
        """Whether it is the address of a device with this id and name."""
        if self.device is None:
            return True
        number = id_of(self.device)
        # Whoever calls itself by another one's id is not that one.
        is_id = self.found or (number is not None and self.device in {id_text(number), mac_text(number)})
        return number == device or (self.device == name and not is_id)

    def of_found(self, device: int) -> str:
        """The address of a device that was found here."""
        mark = "&" if "?" in self.uri else "?"
        return f"{self.uri}{mark}device={FOUND}{id_text(device)}"


def _serial_endpoint(path: str, options: dict[str, str]) -> Endpoint:
    if not path or "\0" in path:
        raise UsageError("A serial port has no path: write serial:/dev/ttyACM0, or a name in /dev/serial/by-id.")
    return Endpoint("serial", path, integer_option(options, "baud", DEFAULT_BAUD, 1200, 12_000_000), None)


def _udp_endpoint(rest: str, options: dict[str, str]) -> Endpoint:
    match = _HOST_AND_PORT.fullmatch(rest)
    port = DEFAULT_PORT if match is None or match[2] is None else int(match[2])
    if match is None or not 0 < port < 1 << 16:
        raise UsageError("An address of UDP is unusable: write udp://0.0.0.0:5005, with the address to listen at.")
    auth = options.get("auth", "yes")
    if auth not in {"yes", "none"}:
        raise UsageError("auth has an unusable value: leave it out, or write auth=none to take frames from anybody.")
    if auth == "none" and "keys" in options:
        raise UsageError("auth=none and keys exclude each other: leave one of them out.")
    keys = None if auth == "none" else checked_place(options.get("keys", f"file:{default_key_file()}"))
    return Endpoint("udp", match[1].strip("[]"), port, keys)
