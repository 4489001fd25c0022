"""Devices as sources of sound, and the discovery that finds them: the schemes ``serial`` and ``udp``."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Collection
from contextlib import ExitStack

import numpy as np
import numpy.typing as npt

from edge_aac.audio.clock import Clocks
from edge_aac.audio.connection import Loss, LossReason, Outage, SourceState
from edge_aac.audio.sources.address import Address, SourceContext
from edge_aac.audio.sources.discovery import FoundSource
from edge_aac.errors import DeviceError
from edge_aac.heartbeat import Heartbeat
from firmware_bridge.address import BridgeAddress
from firmware_bridge.device import Device
from firmware_bridge.inbox import Inbox
from firmware_bridge.link import Link
from firmware_bridge.registry import registry
from firmware_bridge.timeline import Placed, Timeline

FIRST_HELLO_S = 6.5
"""A device says HELLO every five seconds, and once more a second when it is asked."""

NOBODY_S = 30.0
"""A link on which nobody has spoken for so long is named in the log."""

_WAIT_S = 0.1
_SLEPT_S = 0.5

log = logging.getLogger(__name__)


class DeviceSource:
    """One device as a live :class:`~edge_aac.audio.sources.address.Source`.

    What is lost is known to the sample, from the device's own count, also over an outage that the device outlives.

    Args:
        label: name of the source in records and messages.
        address: of the device.
        link: it speaks on; released at the end.
        clocks: of the machine.
    """

    live = True

    def __init__(self, label: str, address: BridgeAddress, link: Link, clocks: Clocks | None = None) -> None:
        self.label = label
        self.stall_s = address.stall_s
        self.heartbeat = Heartbeat()
        self.reconnects = 0
        self.state: SourceState = "waiting"
        self.outage: Outage | None = None
        self._address = address
        self._link = link
        self._clocks = clocks or Clocks()
        self._timeline = Timeline(address.mixing)
        self._placed: deque[Placed] = deque()
        self._losses: list[Loss] = []
        self._lost_samples = 0
        self._slept_s = self._clocks.slept_s
        self._heard_s: float | None = None
        """Monotonic time in seconds at which the newest frame of sound came; None before the first."""
        self._closed = threading.Event()
        self._opening = threading.Lock()
        self._at_end = ExitStack()
        self._at_end.callback(registry.release, link)
        self._device: Device | None = None
        self._inbox: Inbox | None = None

    @property
    def reason(self) -> str | None:
        """Why it is not heard now; None while it is."""
        if self.state == "listening":
            return None
        if self._link.reason is not None:
            return self._link.reason
        if self._device is None:
            return f"no device '{self._address.device}' has said HELLO at {self._link.label}"
        quiet_s = time.monotonic() - self._device.heard_s
        if self.state == "stalled" and quiet_s < self.stall_s:
            return "the device is there, and sends no sound"
        return f"nothing has come from the device for {quiet_s:.0f} s"

    def wait_for_hello(self, stop: threading.Event | None) -> None:
        """Wait until the device has said HELLO.

        Raises:
            DeviceError: it does not, within a few seconds.
        """
        deadline_s = time.monotonic() + FIRST_HELLO_S
        while not self._found():
            if time.monotonic() > deadline_s or (stop is not None and stop.is_set()):
                raise DeviceError(f"'{self.label}' cannot be heard: {self.reason}")
            self._closed.wait(_WAIT_S)

    def read(self) -> npt.NDArray[np.float32] | None:
        """See :meth:`edge_aac.audio.sources.address.Source.read`."""
        while not self._closed.is_set():
            self.heartbeat.beat()
            if not self._placed:
                self._take_next()
                continue
            placed = self._placed.popleft()
            self._note_lost("lost", placed.lost_samples)
            if len(placed.samples):
                return placed.samples
        return None

    def lost_samples(self) -> int:
        """See :meth:`edge_aac.audio.sources.address.Source.lost_samples`."""
        return self._lost_samples

    def take_losses(self) -> list[Loss]:
        """See :meth:`edge_aac.audio.connection.ExplainsLosses.take_losses`."""
        losses, self._losses = self._losses, []
        return losses

    def close(self) -> None:
        """See :meth:`edge_aac.audio.sources.address.Source.close`."""
        self._closed.set()
        with self._opening:
            at_end, self._at_end = self._at_end, ExitStack()
        at_end.close()

    def _found(self) -> bool:
        """Whether the device has said HELLO; from then on it is listened to."""
        if self._inbox is not None:
            return True
        for device in self._link.devices:
            if self._address.names(device.id, device.hello.name):
                with self._opening:
                    if self._closed.is_set():
                        return False
                    inbox = device.listen(self._address.jitter_s, self._clocks.running_s)
                    self._at_end.callback(device.ignore, inbox)
                    self._device, self._inbox = device, inbox
                registry.name(self.label, self._link, device.id)
                return True
        return False

    def _take_next(self) -> None:
        """Wait a moment for a frame, and put it in its place."""
        if not self._found() or self._inbox is None:
            self._closed.wait(_WAIT_S)
            return
        received = self._inbox.take(_WAIT_S)
        if received is None:
            self._look_for_outage()
            return
        slept_s = self._clocks.slept_s
        asleep_s, self._slept_s = slept_s - self._slept_s, slept_s
        placed = self._timeline.place(received, asleep_s if asleep_s > _SLEPT_S else 0.0)
        if self.outage is not None:
            self.reconnects += 1
            log.warning("%s is back", self.label)
            outage, self.outage = self.outage, None
            first = placed[0]
            self._note_lost(outage.reason, first.lost_samples, outage)
            placed[0] = Placed(first.samples, 0)
        self.state = "listening"
        self._heard_s = received.ordered.arrived_s
        self._placed += placed

    def _look_for_outage(self) -> None:
        if self._heard_s is None or self.outage is not None:
            return
        if self._clocks.running_s() - self._heard_s < self.stall_s:
            return
        device = self._device
        there = self._link.is_open and device is not None and time.monotonic() - device.heard_s < self.stall_s
        self.state = "stalled" if there else "waiting"
        detail = self.reason or ""
        self.outage = Outage("stalled" if there else "disconnected", self._heard_s, detail)
        log.warning("%s cannot be heard and is waited for: %s", self.label, detail)

    def _note_lost(self, reason: LossReason, samples: int, outage: Outage | None = None) -> None:
        if samples or outage is not None:
            self._lost_samples += samples
            self._losses.append(Loss(reason, samples, outage))


def open_device(address: Address, context: SourceContext) -> DeviceSource:
    """Opens one device of a serial port or socket; the entry point of ``serial`` and ``udp``.

    Where the address names no device, it is the first that says HELLO.

    Raises:
        UsageError: the address or an option is unusable.
        DeviceError: the device is not there, and is not to be waited for.
        EdgeAacError: the link cannot be opened.
    """
    bridge = BridgeAddress.of(address)
    link = registry.open(bridge.endpoint, wait=context.wait_for_device)
    source = DeviceSource(context.label(address), bridge, link)
    if not context.wait_for_device:
        try:
            source.wait_for_hello(context.stop)
        except BaseException:
            source.close()
            raise
    return source


class LinkDiscovery:
    """Finds the devices of a link that have no source of their own.

    Args:
        address: of all devices of the link.
        wait: open the link in the background.
        now_s: monotonic time in seconds.

    Raises:
        EdgeAacError: the link cannot be opened.
    """

    def __init__(self, address: BridgeAddress, *, wait: bool, now_s: Callable[[], float] = time.monotonic) -> None:
        self._address = address
        self._now_s = now_s
        self._opened_s = now_s()
        self._told = False
        self._link = registry.open(address.endpoint, wait=wait)
        self._closed = False

    def found(self, own: Collection[str] = ()) -> list[FoundSource]:
        """See :meth:`edge_aac.audio.sources.discovery.Discovery.found`."""
        self._tell_of_nobody()
        addresses = (Address.parse(text) for text in own)
        others = [BridgeAddress.of(address) for address in addresses if address.scheme in {"serial", "udp"}]
        here = [other for other in others if other.endpoint.place_of_link == self._address.endpoint.place_of_link]
        return [
            FoundSource(self._address.of_found(device.id), device.label)
            for device in self._link.devices
            if self._now_s() - device.heard_s < self._address.gone_s
            and not any(other.names(device.id, device.hello.name) for other in here)
        ]

    def _tell_of_nobody(self) -> None:
        """A link on which nobody speaks is named once: a wrong cable, key or address looks just so."""
        if self._told or self._link.devices:
            self._told = True
        elif self._now_s() - self._opened_s >= NOBODY_S:
            self._told = True
            refused = f", and {self._link.refused} packets were refused" if self._link.refused else ""
            log.warning(
                "%s: no device has said HELLO in %.0f s%s: see `edge-aac bridge listen`, once this stream has ended",
                self._link.label,
                NOBODY_S,
                refused,
            )

    def close(self) -> None:
        """See :meth:`edge_aac.audio.sources.discovery.Discovery.close`."""
        if not self._closed:
            self._closed = True
            registry.release(self._link)


class BridgeDiscovery:
    """The entry point of ``serial`` and ``udp`` in ``edge_aac.discoveries``."""

    @staticmethod
    def covers(address: Address) -> bool:
        """See :meth:`edge_aac.audio.sources.discovery.DiscoveryKind.covers`: an address without a device."""
        return BridgeAddress.of(address).device is None

    @staticmethod
    def open(address: Address, context: SourceContext) -> LinkDiscovery:
        """See :meth:`edge_aac.audio.sources.discovery.DiscoveryKind.open`."""
        return LinkDiscovery(BridgeAddress.of(address), wait=context.wait_for_device)
