"""A link: a serial port or a socket, the thread that reads it, and the devices that speak on it."""

from __future__ import annotations

import logging
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import replace

from edge_aac.backoff import Backoff
from edge_aac.errors import DeviceError
from firmware_bridge.address import Endpoint
from firmware_bridge.device import Device
from firmware_bridge.device_ids import label_of
from firmware_bridge.fields import Result
from firmware_bridge.frame import Ack, Audio, Frame, Hello, Status, Time
from firmware_bridge.seen import SeenDevices
from firmware_bridge.sessions import random_session

MAX_DEVICES = 64
READ_TIMEOUT_S = 0.1
_ASK_EVERY_S = 1.0
_MAX_ASKED = 256
_JOIN_S = 1.0
_KEEP_EVERY_S = 5.0
_TELL_EVERY_S = 60.0

log = logging.getLogger(__name__)

Listener = Callable[[Device, Ack], None]
"""Is told of the answers to captions and alerts, in the link's thread: it must not wait."""


class Link(ABC):
    """Reads frames, keeps the devices, and sends frames to them. It opens what it reads again, for ever.

    Args:
        endpoint: what it is opened at.
        wait: open it in the background, however long that takes to succeed; otherwise here and now.
        seen: keeps who said HELLO; None for nobody.

    Raises:
        DeviceError: it cannot be opened now, and is not to be waited for.
    """

    def __init__(self, endpoint: Endpoint, *, wait: bool, seen: SeenDevices | None = None) -> None:
        self.endpoint = endpoint
        self.label = endpoint.label
        self.reason: str | None = None
        """Why it is not open; None while it is."""
        self.refused = 0
        """Packets that were no frames: damaged, forged, replayed or of another version."""
        self.unknown = 0
        """Frames of types that this version does not have."""
        self._devices: dict[int, Device] = {}
        self._asked_s: dict[int, float] = {}
        self._listeners: list[Listener] = []
        self._seen = seen
        self._is_news = False
        self._kept_s = self._full_s = float("-inf")
        self._closed = threading.Event()
        self._backoff = Backoff(first_s=0.2, longest_s=5.0)
        self._open = False
        self._session = random_session()
        if not wait:
            self._connect()
            self._open = True
        self._thread = threading.Thread(target=self._run, name="edge-aac-bridge", daemon=True)
        self._thread.start()

    @property
    def is_open(self) -> bool:
        """Whether the port or socket is open now."""
        return self._open

    @property
    def devices(self) -> list[Device]:
        """The devices that have said HELLO, in the order in which they came."""
        return list(self._devices.values())

    def device(self, device: int) -> Device | None:
        """The device with an id; None where it has not said HELLO."""
        return self._devices.get(device)

    def listen(self, listener: Listener) -> Callable[[], None]:
        """Have a listener told of answers; what is returned ends that."""
        self._listeners.append(listener)

        def end() -> None:
            if listener in self._listeners:
                self._listeners.remove(listener)

        return end

    @abstractmethod
    def send(self, frame: Frame) -> None:
        """Send a frame to its device. Any thread may call it.

        Raises:
            DeviceError: the link is not open, takes nothing, or the device cannot be reached.
        """

    def close(self) -> None:
        """Close it. May be called again."""
        self._closed.set()
        self._thread.join(_JOIN_S)
        self._disconnect()
        if self._seen is not None:
            self._seen.write(self.label, self.devices)

    @abstractmethod
    def _connect(self) -> None:
        """Open the port or socket.

        Raises:
            DeviceError: it cannot be opened now.
        """

    @abstractmethod
    def _disconnect(self) -> None:
        """Close the port or socket, where it is open."""

    @abstractmethod
    def _read(self) -> None:
        """Wait for what comes, for a moment at most, and take it.

        Raises:
            DeviceError: the port is lost.
        """

    def _run(self) -> None:
        failures = 0
        while not self._closed.is_set():
            try:
                if not self._open:
                    self._connect()
                    self._open, self.reason = True, None
                    if failures:
                        log.warning("%s is open again", self.label)
                    failures = 0
                self._read()
                self._keep_seen(time.monotonic())
            except DeviceError as error:
                self._open, self.reason = False, str(error)
                self._disconnect()
                log.log(logging.DEBUG if failures else logging.WARNING, "%s", str(error).rstrip("."))
                failures += 1
                self._closed.wait(self._backoff.wait_s(failures, 0.0))
            except Exception:  # one packet's fault is not the link's
                self.refused += 1
                log.exception("%s: a packet cannot be taken", self.label)
                self._closed.wait(READ_TIMEOUT_S)
        self._disconnect()  # close() may have given up waiting for a port that takes its time to open

    def _take(self, frame: Frame, arrived_s: float, reply_to: tuple[str, int] | None) -> None:
        """Take a frame that is beyond doubt."""
        if isinstance(frame, Hello):
            self._greet(frame, reply_to)
            return
        device = self._devices.get(frame.device)
        if device is None:
            self._ask(frame.device, reply_to)
            return
        device.heard(reply_to)
        if isinstance(frame, Audio):
            device.take_audio(frame, arrived_s)
        elif isinstance(frame, Status):
            device.status = frame
        elif isinstance(frame, Ack) and frame.of_type != Hello.TYPE:
            for listener in list(self._listeners):
                listener(device, frame)
        else:
            self.refused += 1  # what only a host sends

    def _greet(self, hello: Hello, reply_to: tuple[str, int] | None) -> None:
        device = self._know(hello, reply_to)
        if device is not None:
            device.heard(reply_to)
            self._answer(Time(hello.device, hello.boot, hello.number, self._session, now_unix_ms()), reply_to)

    def _know(self, hello: Hello, reply_to: tuple[str, int] | None) -> Device | None:
        """The device that said HELLO; None where there are too many."""
        device = self._devices.get(hello.device)
        if device is None:
            if len(self._devices) >= MAX_DEVICES and not self._forget_one():
                self.refused += 1
                self._note_full(hello)
                return None
            # Whole before other threads see it: one that waits for the device sends to it at once.
            device = Device(hello, heard_s=time.monotonic(), heard_unix_s=time.time(), reply_to=reply_to)
            self._devices[hello.device] = device
            log.info("%s: %s said HELLO (%s)", self.label, device.label, device.id_text)
        else:
            before = device.hello
            device.greet(hello)
            if replace(before, number=hello.number) == hello:
                return device
        self._is_news = True
        return device

    def _keep_seen(self, now_s: float) -> None:
        """Keep who said HELLO where that has changed, every few seconds at most: anybody may say HELLO, and often."""
        if self._seen is not None and self._is_news and now_s - self._kept_s >= _KEEP_EVERY_S:
            self._is_news, self._kept_s = False, now_s
            self._seen.write(self.label, self.devices)

    def _note_full(self, hello: Hello) -> None:
        """Name a device for which there is no place, once a minute: anybody may send any number of ids."""
        now_s = time.monotonic()
        if now_s - self._full_s >= _TELL_EVERY_S:
            self._full_s = now_s
            label = label_of(hello.name, hello.device)
            log.warning("%s: %s is not heard, since %d devices speak there already", self.label, label, MAX_DEVICES)

    def _forget_one(self) -> bool:
        """Make room for another device: the one that was not heard for the longest goes, if that is a minute."""
        idle = [device for device in self._devices.values() if not device.is_listened_to]
        oldest = min(idle, key=lambda device: device.heard_s, default=None)
        if oldest is None or time.monotonic() - oldest.heard_s < 60.0:  # noqa: PLR2004
            return False
        del self._devices[oldest.id]
        return True

    def _ask(self, device: int, reply_to: tuple[str, int] | None) -> None:
        """Ask a device for its HELLO, at most once a second."""
        now_s = time.monotonic()
        if now_s - self._asked_s.get(device, float("-inf")) < _ASK_EVERY_S:
            return
        if len(self._asked_s) >= _MAX_ASKED:
            self._asked_s.clear()
        self._asked_s[device] = now_s
        self._answer(Ack(device, Hello.TYPE, Result.HELLO_WANTED, 0), reply_to)

    @abstractmethod
    def _answer(self, frame: Frame, reply_to: tuple[str, int] | None) -> None:
        """Send an answer from the link's own thread; what cannot be sent is left out."""


def now_unix_ms() -> int:
    """Milliseconds since the epoch, as TIME has them; 0 where the machine's clock was never set."""
    now_s = time.time()
    return round(now_s * 1000) if now_s > 1e9 else 0  # noqa: PLR2004 - before 2001 it was not
