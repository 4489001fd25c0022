"""The links that are open in this process: sources, discoveries and the sink share them."""

from __future__ import annotations

import threading

from edge_aac.audio.connection import PermanentDeviceError
from firmware_bridge.address import Endpoint
from firmware_bridge.device import Device
from firmware_bridge.link import Link
from firmware_bridge.seen import SeenDevices, seen_file


class Registry:
    """Opens each link once, and closes it when the last who uses it lets go. Any thread may use it."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._links: dict[tuple[str, str, int], tuple[Link, int]] = {}
        self._labels: dict[str, tuple[Link, int]] = {}
        """Sources that are open, by their labels in records: where the captions of each may be shown."""
        self._seen: SeenDevices | None = None

    def open(self, endpoint: Endpoint, *, wait: bool) -> Link:
        """The link of an endpoint; :meth:`release` it.

        Raises:
            PermanentDeviceError: it is open with other settings.
            DeviceError: it cannot be opened now, and is not to be waited for.
            EdgeAacError: it cannot be opened at all.
        """
        with self._lock:
            place = endpoint.place_of_link
            if place in self._links:
                link, users = self._links[place]
                if link.endpoint != endpoint:
                    raise PermanentDeviceError(
                        f"'{endpoint.label}' is named twice, with different options of the link (baud, keys, auth): "
                        "give the same in both. Where they were changed while a stream runs, restart it."
                    )
                self._links[place] = link, users + 1
                return link
            link = self._opened(endpoint, wait)
            self._links[place] = link, 1
            return link

    def release(self, link: Link) -> None:
        """Let go of a link."""
        with self._lock:
            place = next((place for place, (one, _) in self._links.items() if one is link), None)
            if place is None:
                return
            users = self._links[place][1] - 1
            if users:
                self._links[place] = link, users
                return
            del self._links[place]
            self._labels = {label: of for label, of in self._labels.items() if of[0] is not link}
        link.close()

    def links(self) -> list[Link]:
        """The links that are open."""
        with self._lock:
            return [link for link, _ in self._links.values()]

    def name(self, label: str, link: Link, device: int) -> None:
        """Take note that a source of that label is a device."""
        with self._lock:
            self._labels[label] = link, device

    def named(self, label: str) -> tuple[Link, int] | None:
        """The device of a source; None where the source is none."""
        with self._lock:
            return self._labels.get(label)

    def devices(self) -> list[tuple[Link, Device]]:
        """All devices of all links."""
        return [(link, device) for link in self.links() for device in link.devices]

    def _opened(self, endpoint: Endpoint, wait: bool) -> Link:
        if self._seen is None:
            self._seen = SeenDevices(seen_file())
        if endpoint.kind == "serial":
            from firmware_bridge.serial_link import SerialLink

            return SerialLink(endpoint, wait=wait, seen=self._seen)
        from firmware_bridge.udp_link import UdpLink

        return UdpLink(endpoint, wait=wait, seen=self._seen)


registry = Registry()
"""That of this process."""
