"""Links over UDP: one socket for all devices, authenticated by their keys unless that is switched off."""

from __future__ import annotations

import errno
import logging
import socket
import struct
import threading
import time

from edge_aac.errors import DeviceError
from firmware_bridge.address import Endpoint
from firmware_bridge.device_ids import id_text
from firmware_bridge.frame import Frame, FrameError, Hello, Time, UnknownTypeError, decode, encode
from firmware_bridge.keys import Keyring
from firmware_bridge.link import READ_TIMEOUT_S, Link, now_unix_ms
from firmware_bridge.packets import MAX_DATAGRAM_BYTES, Direction, unseal, with_crc, without_crc
from firmware_bridge.seen import SeenDevices
from firmware_bridge.sessions import HostSessions, UnknownSessionError, opened_frame

_BUFFER_BYTES = 1 << 20
_BURST = 256
_LOOK_AT_KEYS_S = 2.0
_TELL_EVERY_S = 60.0
_DEVICE = struct.Struct("<xxQ")

log = logging.getLogger(__name__)

Origin = tuple[str, int]


class UdpLink(Link):
    """A socket; see :class:`~firmware_bridge.link.Link`.

    Raises:
        InputMissingError: the keys are not there.
        ConfigError: what should be keys is something else.
    """

    def __init__(self, endpoint: Endpoint, *, wait: bool, seen: SeenDevices | None = None) -> None:
        self._keyring = None if endpoint.keys is None else Keyring(endpoint.keys)
        self._sessions = HostSessions()
        self._sealing = threading.Lock()
        """Several sinks may send: no two datagrams have one counter."""
        self._socket: socket.socket | None = None
        self._looked_s = 0.0
        self._keyless_s = float("-inf")
        self._wrong_key_s = float("-inf")
        self.unauthenticated = 0
        """Datagrams that would have been taken without authentication: the device has no key."""
        if self._keyring is None:
            log.warning("%s takes frames from anybody in the network: auth=none", endpoint.label)
        super().__init__(endpoint, wait=wait, seen=seen)

    @property
    def port(self) -> int:
        """The port that it listens at.

        Raises:
            DeviceError: it is not open.
        """
        if self._socket is None:
            raise DeviceError(f"{self.label} is not open")
        return int(self._socket.getsockname()[1])

    def send(self, frame: Frame) -> None:
        """See :meth:`firmware_bridge.link.Link.send`."""
        device = self.device(frame.device)
        if device is None or device.reply_to is None:
            raise DeviceError(f"{self.label}: a device that has not said HELLO cannot be reached")
        self._send(frame, device.reply_to)

    def _send(self, frame: Frame, to: Origin) -> None:
        data = encode(frame)
        packet: bytes | None = with_crc(data)
        if self._keyring is not None:
            key = self._keyring.of(frame.device)
            with self._sealing:
                packet = None if key is None else self._sessions.sealed(data, frame, key)
        opened = self._socket
        if packet is None or opened is None:
            raise DeviceError(f"{self.label}: there is no session with the device")
        try:
            opened.sendto(packet, to)
        except OSError as error:
            raise DeviceError(f"{self.label} cannot send ({error.strerror})") from error

    def _connect(self) -> None:
        host, port = self.endpoint.place, self.endpoint.number
        try:
            family, kind, protocol, _, address = socket.getaddrinfo(
                host, port, type=socket.SOCK_DGRAM, flags=socket.AI_PASSIVE
            )[0]
            opened = socket.socket(family, kind | socket.SOCK_CLOEXEC, protocol)
        except OSError as error:
            raise DeviceError(
                f"{self.label} cannot be opened ({error.strerror}): name an address of this machine"
            ) from error
        try:
            opened.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER_BYTES)
            opened.settimeout(READ_TIMEOUT_S)
            opened.bind(address)
        except OSError as error:
            opened.close()
            raise DeviceError(f"{self.label} cannot be listened at ({error.strerror}): {_mend_of(error)}") from error
        self._socket = opened

    def _disconnect(self) -> None:
        opened, self._socket = self._socket, None
        if opened is not None:
            opened.close()

    def _read(self) -> None:
        opened = self._socket
        if opened is None:
            raise DeviceError(f"{self.label} is closed")
        now_s = time.monotonic()
        if self._keyring is not None and now_s - self._looked_s > _LOOK_AT_KEYS_S:
            self._looked_s = now_s
            self._keyring.look()
        for number in range(_BURST):
            try:
                datagram, origin = opened.recvfrom(MAX_DATAGRAM_BYTES + 1, socket.MSG_DONTWAIT if number else 0)
            except (BlockingIOError, TimeoutError):
                return
            except OSError as error:
                raise DeviceError(f"{self.label} was lost ({error.strerror})") from error
            self.take_datagram(datagram, origin)

    def take_datagram(self, datagram: bytes, origin: Origin) -> None:
        """Take what came from ``origin``, whatever it is; to be called by the link's thread."""
        try:
            if self._keyring is None:
                self._take(decode(without_crc(datagram)), time.monotonic(), origin)
            else:
                self._take_sealed(self._keyring, datagram, origin)
        except UnknownTypeError:
            self.unknown += 1
        except FrameError:
            self.refused += 1

    def _take_sealed(self, keyring: Keyring, datagram: bytes, origin: Origin) -> None:
        """Take an authenticated datagram; it changes nothing unless its tag, session and counter are right."""
        if len(datagram) < _DEVICE.size:
            raise FrameError("a datagram is too short")
        (device,) = _DEVICE.unpack_from(datagram)
        key = keyring.of(device)
        if key is None:
            self._note_keyless(device)
            raise FrameError("a device has no key here")
        try:
            sealed = unseal(datagram, key, Direction.UP)
        except FrameError:
            if not self._note_plain(datagram):
                self._note_wrong_key(device)
            raise
        frame = opened_frame(sealed)
        if isinstance(frame, Hello):
            session = self._sessions.offer(frame)
            self._answer(Time(device, frame.boot, frame.number, session, now_unix_ms()), origin)
            return
        if sealed.session == 0:
            raise FrameError("a device sends what only a host sends")
        try:
            hello = self._sessions.accept(device, sealed.session, sealed.counter)
        except UnknownSessionError:
            self._ask(device, origin)
            raise
        if self._know(hello, origin) is not None:
            self._take(frame, time.monotonic(), origin)

    def _note_keyless(self, device: int) -> None:
        """Name a device without a key, once a minute: anybody may send any number of ids."""
        now_s = time.monotonic()
        if now_s - self._keyless_s >= _TELL_EVERY_S:
            self._keyless_s = now_s
            log.warning(
                "%s: a device %s is not heard, since it has no key here: `edge-aac bridge keygen` makes one",
                self.label,
                id_text(device),
            )

    def _note_plain(self, datagram: bytes) -> bool:
        try:
            without_crc(datagram)
        except FrameError:
            return False
        self.unauthenticated += 1
        if self.unauthenticated == 1:
            log.warning("%s: a device sends without authentication, and is not heard: give it its key", self.label)
        return True

    def _note_wrong_key(self, device: int) -> None:
        """Name a device that was never heard and whose tags are wrong, once a minute: another key does that."""
        now_s = time.monotonic()
        if self.device(device) is None and now_s - self._wrong_key_s >= _TELL_EVERY_S:
            self._wrong_key_s = now_s
            log.warning(
                "%s: a device %s is not heard, since its key is not the one that is here: give both the same",
                self.label,
                id_text(device),
            )

    def _answer(self, frame: Frame, reply_to: Origin | None) -> None:
        if reply_to is None:
            return
        try:
            self._send(frame, reply_to)
        except DeviceError as error:
            log.debug("%s", error)


def _mend_of(error: OSError) -> str:
    if error.errno == errno.EADDRNOTAVAIL:
        return "name an address of this machine, or 0.0.0.0 for all that it has"
    if error.errno == errno.EACCES:
        return "name a port above 1023"
    return "end what listens there, or name another port"
