"""Keeps which devices have said HELLO at which link, for ``edge-aac devices`` in another process."""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edge_aac.json_files import write_table
from edge_aac.state_folder import state_folder
from firmware_bridge.device import Device

FILE_NAME = "bridge-devices.json"
_SCHEMA = "edge-aac/bridge-devices/1"
_MAX_BYTES = 1_000_000
_MAX_KEPT = 256

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class SeenDevice:
    """A device that has said HELLO.

    Attributes:
        id: its id, as it is written.
        name: what it calls itself; empty for nothing.
        link: the link's label.
        firmware: version of its firmware.
        codec: "pcm" or "adpcm".
        rate_hz: sample rate.
        heard_s: when it was last known to be there, in seconds since the epoch.
    """

    id: str
    name: str
    link: str
    firmware: str
    codec: str
    rate_hz: int
    heard_s: float


class SeenDevices:
    """The file of devices that were seen. A failure to write is logged once: nothing depends on the file.

    Args:
        path: of the file; its folder is made.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._failed = False

    def write(self, link: str, devices: Sequence[Device]) -> None:
        """Replace what is kept of a link's devices; those of other links, and older ones, stay."""
        with self._lock:
            kept = {(one.link, one.id): one for one in read_seen(self._path)}
            for device in devices:
                kept[link, device.id_text] = _of_device(link, device)
            newest = sorted(kept.values(), key=lambda one: one.heard_s)[-_MAX_KEPT:]
            table = {"schema": _SCHEMA, "devices": [vars(one) for one in newest]}
            try:
                self._path.parent.mkdir(parents=True, exist_ok=True)
                write_table(self._path, table, mode=None)
                self._failed = False
            except OSError as error:
                log.log(
                    logging.DEBUG if self._failed else logging.WARNING,
                    "who said HELLO cannot be kept in '%s' (%s)",
                    self._path,
                    error.strerror,
                )
                self._failed = True


def seen_file() -> Path:
    """Where the devices that were seen are kept: in the folder of the service's state, or of the user."""
    return state_folder() / FILE_NAME


def read_seen(path: Path) -> list[SeenDevice]:
    """The devices that were seen, the newest last; none where the file is not there or holds something else."""
    try:
        with path.open("rb") as file:
            table: Any = json.loads(file.read(_MAX_BYTES))
        if table["schema"] != _SCHEMA:
            return []
        devices = [
            SeenDevice(
                str(one["id"]),
                str(one["name"]),
                str(one["link"]),
                str(one["firmware"]),
                str(one["codec"]),
                int(one["rate_hz"]),
                float(one["heard_s"]),
            )
            for one in table["devices"]
        ]
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        return []
    return sorted(devices, key=lambda one: one.heard_s)


def _of_device(link: str, device: Device) -> SeenDevice:
    hello = device.hello
    heard_s = device.heard_unix_s or time.time()
    return SeenDevice(
        device.id_text, hello.name, link, hello.firmware, hello.codec.name.lower(), hello.rate_hz, heard_s
    )
