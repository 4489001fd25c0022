"""``edge-aac bridge listen``: who is on a link, and what comes of it."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable

import numpy as np

from edge_aac.audio.sources.address import Address
from edge_aac.errors import UsageError
from firmware_bridge.address import BridgeAddress
from firmware_bridge.device import Device
from firmware_bridge.inbox import Inbox
from firmware_bridge.link import Link
from firmware_bridge.order import OrderCounters
from firmware_bridge.registry import registry
from firmware_bridge.timeline import Timeline

_EVERY_S = 1.0
_SILENCE_DBFS = -120.0


def bridge_address(text: str) -> BridgeAddress:
    """Reads the address of a link.

    Raises:
        UsageError: it is none.
    """
    address = Address.parse(text)
    if address.scheme not in {"serial", "udp"}:
        raise UsageError(f"'{address.label}' is no link: write serial:/dev/ttyACM0 or udp://0.0.0.0:5005")
    return BridgeAddress.of(address)


class _Listened:
    """One device that is listened to."""

    def __init__(self, device: Device, address: BridgeAddress) -> None:
        self.device = device
        self.inbox: Inbox = device.listen(address.jitter_s)
        self.heard_samples = self.lost_samples = 0
        self._timeline = Timeline(address.mixing)
        self._power, self._count = 0.0, 0

    def take_all(self) -> None:
        """Take what came."""
        while (received := self.inbox.take(0.0)) is not None:
            for placed in self._timeline.place(received):
                self.lost_samples += placed.lost_samples
                self.heard_samples += len(placed.samples)
                self._power += float(np.sum(np.square(placed.samples, dtype=np.float64)))
                self._count += len(placed.samples)

    def level_dbfs(self) -> float:
        """Mean level since the last call."""
        power, count = self._power, self._count
        self._power, self._count = 0.0, 0
        return round(10 * np.log10(power / count), 1) if count and power else _SILENCE_DBFS


def listen(
    text: str, stop: threading.Event, seconds: float, told: Callable[[str], None], *, as_json: bool = False
) -> None:
    """Tell of each device of a link once a second, until ``stop`` is set or ``seconds`` have passed (0: never).

    Raises:
        EdgeAacError: the link cannot be opened.
    """
    address = bridge_address(text)
    link = registry.open(address.endpoint, wait=False)
    listened: dict[int, _Listened] = {}
    deadline_s = time.monotonic() + seconds if seconds else float("inf")
    told_s = time.monotonic()
    try:
        while not stop.wait(0.02) and time.monotonic() < deadline_s:
            for device in link.devices:
                if device.id not in listened and address.names(device.id, device.hello.name):
                    listened[device.id] = _Listened(device, address)
                    told(_hello_json(device, link) if as_json else _hello_line(device))
            for one in listened.values():
                one.take_all()
            if time.monotonic() - told_s >= _EVERY_S:
                told_s += _EVERY_S
                for one in listened.values():
                    told(_sound_json(one, link) if as_json else _sound_line(one, link))
                if not listened and not as_json:
                    told(f"nobody has said HELLO yet; {_refused(link)}")
    finally:
        registry.release(link)


def _hello_line(device: Device) -> str:
    hello = device.hello
    shows = f"shows {hello.caption_bytes} bytes" if hello.caption_bytes else "shows nothing"
    return (
        f"HELLO of {device.label} ({device.id_text}): {hello.rate_hz} Hz, {hello.channels} channel"
        f"{'s' if hello.channels > 1 else ''}, {hello.codec.name}, {hello.frame_samples} samples a frame, {shows}, "
        f"firmware {hello.firmware or 'unknown'}"
    )


def _hello_json(device: Device, link: Link) -> str:
    hello = device.hello
    table = {
        "frame": "HELLO", "link": link.label, "id": device.id_text, "name": hello.name, "rate_hz": hello.rate_hz,
        "channels": hello.channels, "codec": hello.codec.name.lower(), "frame_samples": hello.frame_samples,
        "caption_bytes": hello.caption_bytes, "firmware": hello.firmware,
    }  # fmt: skip
    return json.dumps(table, ensure_ascii=False)


def _sound_line(one: _Listened, link: Link) -> str:
    counters: OrderCounters = one.inbox.counters
    return (
        f"{one.device.label}: {one.level_dbfs():.1f} dBFS, {counters.frames} frames, {counters.missing} missing, "
        f"{counters.reordered} reordered, {one.lost_samples} samples lost; {_refused(link)}"
    )


def _sound_json(one: _Listened, link: Link) -> str:
    table = {
        "frame": "AUDIO", "id": one.device.id_text, "level_dbfs": one.level_dbfs(), "heard_samples": one.heard_samples,
        "lost_samples": one.lost_samples, "refused": link.refused, **vars(one.inbox.counters),
    }  # fmt: skip
    return json.dumps(table, ensure_ascii=False)


def _refused(link: Link) -> str:
    return f"{link.refused} packet{'s' if link.refused != 1 else ''} refused"
