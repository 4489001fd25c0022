"""What `edge-aac devices` tells of links: serial ports with names that stay, and who said HELLO."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

from edge_aac.audio.listings import ListedInput
from firmware_bridge.seen import read_seen, seen_file

_MINUTE_S, _HOUR_S, _DAY_S = 60, 3600, 86_400
_BY_ID = Path("/dev/serial/by-id")


def listed() -> Sequence[ListedInput]:
    """The serial ports that are there, and the devices that a stream or `edge-aac bridge listen` has heard."""
    return [*_serial_ports(), *_devices()]


def _serial_ports() -> list[ListedInput]:
    try:
        from serial.tools.list_ports import comports
    except ImportError:
        return []
    lasting = {path.resolve(): path for path in sorted(_BY_ID.glob("*"))} if _BY_ID.is_dir() else {}
    ports = []
    for port in sorted(comports()):
        if port.vid is None and "ttyS" in port.device:  # a board's own, most of them with nothing behind
            continue
        path = lasting.get(Path(port.device).resolve(), Path(port.device))
        description = port.description if port.description not in {None, "n/a"} else "serial port"
        ports.append(ListedInput(f"serial:{path}", f"{description}, {port.device}", {"kind": "serial"}))
    return ports


def _devices() -> list[ListedInput]:
    devices = []
    for one in read_seen(seen_file()):
        mark = "&" if "?" in one.link else "?"
        details = {
            "kind": "bridge", "name": one.name, "link": one.link, "firmware": one.firmware, "codec": one.codec,
            "rate_hz": one.rate_hz, "heard_s": round(one.heard_s, 3),
        }  # fmt: skip
        text = f"{one.name or one.id}  {one.codec}  {one.rate_hz} Hz  HELLO {_ago(time.time() - one.heard_s)} ago"
        devices.append(ListedInput(f"{one.link}{mark}device={one.id}", text, details))
    return devices


def _ago(seconds: float) -> str:
    for unit_s, unit in ((_DAY_S, "d"), (_HOUR_S, "h"), (_MINUTE_S, "min")):
        if seconds >= unit_s:
            return f"{seconds / unit_s:.0f} {unit}"
    return f"{max(0.0, seconds):.0f} s"
