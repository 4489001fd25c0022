"""The host's half of authenticated UDP: sessions of devices, offered, running, over (docs/firmware_bridge.md)."""

from __future__ import annotations

import secrets
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field

from firmware_bridge.frame import Ack, Frame, FrameError, Hello, Time, decode
from firmware_bridge.packets import Direction, ReplayWindow, Sealed, seal

MAX_OFFERS = 4
MAX_DEVICES = 256
_SESSION_BYTES = 8


def outside_a_session(frame: Frame) -> bool:
    """Whether a frame goes without a session: HELLO, TIME, and an ACK that asks for a HELLO."""
    return isinstance(frame, (Hello, Time)) or (isinstance(frame, Ack) and frame.of_type == Hello.TYPE)


def opened_frame(sealed: Sealed) -> Frame:
    """The frame of a datagram whose tag was right.

    Raises:
        FrameError: it is none, or its session and counter do not fit its type.
    """
    frame = decode(sealed.frame)
    if len({outside_a_session(frame), sealed.session == 0, sealed.counter == 0}) > 1:
        raise FrameError("session and counter do not fit the type of the frame")
    return frame


@dataclass
class _Session:
    number: int
    hello: Hello
    window: ReplayWindow = field(default_factory=ReplayWindow)
    sent: int = 0


@dataclass
class _Association:
    """What the host knows of one device."""

    running: _Session | None = None
    offers: OrderedDict[int, _Session] = field(default_factory=OrderedDict)
    """By the boot of the HELLO that they answer; the newest last."""


class UnknownSessionError(FrameError):
    """The tag is right, and the session is none that this host has made: the device has to say HELLO again."""


class HostSessions:
    """The sessions of all devices of a socket. What is replayed or forged changes nothing that a device depends on.

    The memory is bounded: by :data:`MAX_DEVICES` devices with :data:`MAX_OFFERS` offers each. Of devices without a
    running session the one that was not heard of for the longest is forgotten first.

    Args:
        make_number: gives a number that is not 0 and that nobody can foresee.
    """

    def __init__(self, make_number: Callable[[], int] | None = None) -> None:
        self._random_session = make_number or random_session
        self._devices: OrderedDict[int, _Association] = OrderedDict()

    def __len__(self) -> int:
        return len(self._devices)

    def offer(self, hello: Hello) -> int:
        """The session that answers a HELLO with a right tag."""
        association = self._association(hello.device)
        if association is None:
            raise FrameError("there are too many devices")
        running = association.running
        if running is not None and running.hello.boot == hello.boot:
            if hello.number > running.hello.number:
                running.hello = hello
            return running.number
        offers = association.offers
        offered = offers.get(hello.boot)
        if offered is None:
            offered = offers[hello.boot] = _Session(self._random_session(), hello)
            while len(offers) > MAX_OFFERS:
                offers.popitem(last=False)
        return offered.number

    def accept(self, device: int, session: int, counter: int) -> Hello:
        """Takes a frame of a session: one that was only offered runs from now on.

        Returns:
            The HELLO with which the session was made, or the newest of the same boot.

        Raises:
            UnknownSessionError: the host has made no such session, or it is over.
            FrameError: the counter was seen, or is too old.
        """
        association = self._devices.get(device)
        found = None if association is None else self._found(association, session)
        if association is None or found is None:
            raise UnknownSessionError(f"session {session:x} is not known")
        if not found.window.take(counter):
            raise FrameError("the datagram was seen before, or is too old")
        if found is not association.running:
            association.running = found
            association.offers.clear()
        self._devices.move_to_end(device)
        return found.hello

    def sealed(self, frame: bytes, of: Frame, key: bytes) -> bytes | None:
        """A datagram to a device; None where it has no session, and the frame needs one."""
        if outside_a_session(of):
            return seal(frame, key, Direction.DOWN, 0, 0)
        association = self._devices.get(of.device)
        if association is None or association.running is None:
            return None
        running = association.running
        running.sent += 1
        return seal(frame, key, Direction.DOWN, running.number, running.sent)

    @staticmethod
    def _found(association: _Association, session: int) -> _Session | None:
        if association.running is not None and association.running.number == session:
            return association.running
        return next((offer for offer in association.offers.values() if offer.number == session), None)

    def _association(self, device: int) -> _Association | None:
        association = self._devices.get(device)
        if association is None:
            if len(self._devices) >= MAX_DEVICES and not self._forget_one():
                return None
            association = self._devices[device] = _Association()
        return association

    def _forget_one(self) -> bool:
        idle = next((device for device, one in self._devices.items() if one.running is None), None)
        if idle is None:
            return False
        del self._devices[idle]
        return True


def random_session() -> int:
    """A number of a session: not 0, and nobody can foresee it."""
    while True:
        if number := int.from_bytes(secrets.token_bytes(_SESSION_BYTES), "little"):
            return number
