"""How an emulated device reaches its host: a UDP socket, a serial port, or a pseudo-terminal that looks like one."""

from __future__ import annotations

import os
import select
import socket
import tty
from pathlib import Path
from typing import Protocol

from edge_aac.errors import DeviceError, UsageError
from firmware_bridge.packets import MAX_DATAGRAM_BYTES

_READ_BYTES = 4096
_MAX_WAITING_BYTES = 16_384
"""Of a byte stream that nobody reads: the device loses what comes after, as its ring would."""


class Carrier(Protocol):
    """Carries packets, or the bytes of a byte stream."""

    stream: bool
    """Whether it is a byte stream."""

    def send(self, packet: bytes) -> bool:
        """Send; False where it is lost, since nobody takes it."""

    def receive(self, timeout_s: float) -> list[bytes]:
        """What came, after a wait for it of ``timeout_s`` seconds at most."""

    def close(self) -> None:
        """Let go."""


class UdpCarrier:
    """A socket that sends to one host.

    Raises:
        DeviceError: the host's name cannot be found.
    """

    stream = False

    def __init__(self, host: str, port: int) -> None:
        try:
            family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM)[0]
            self._socket = socket.socket(family, kind | socket.SOCK_CLOEXEC, protocol)
            self._socket.connect(address)
        except OSError as error:
            raise DeviceError(f"'{host}' cannot be reached ({error.strerror}): name the host") from error
        self._socket.setblocking(False)

    def send(self, packet: bytes) -> bool:
        """See :meth:`Carrier.send`."""
        try:
            self._socket.send(packet)
        except OSError:  # nobody listens now, or the buffer is full: a datagram is lost
            return False
        return True

    def receive(self, timeout_s: float) -> list[bytes]:
        """See :meth:`Carrier.receive`."""
        if not select.select([self._socket], [], [], timeout_s)[0]:
            return []
        packets: list[bytes] = []
        try:
            while len(packets) < 64:  # noqa: PLR2004
                packets.append(self._socket.recv(MAX_DATAGRAM_BYTES + 1))
        except OSError:
            return packets
        return packets

    def close(self) -> None:
        """See :meth:`Carrier.close`."""
        self._socket.close()


class StreamCarrier:
    """A descriptor of a serial port or of the near end of a pseudo-terminal.

    Args:
        descriptor: to read and write; closed at the end.
    """

    stream = True

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._waiting = bytearray()
        os.set_blocking(descriptor, False)

    def send(self, packet: bytes) -> bool:
        """See :meth:`Carrier.send`."""
        if len(self._waiting) + len(packet) > _MAX_WAITING_BYTES:
            self._flush()
            if len(self._waiting) + len(packet) > _MAX_WAITING_BYTES:
                return False
        self._waiting += packet
        self._flush()
        return True

    def receive(self, timeout_s: float) -> list[bytes]:
        """See :meth:`Carrier.receive`."""
        self._flush()
        if not select.select([self._descriptor], [], [], timeout_s)[0]:
            return []
        try:
            return [os.read(self._descriptor, _READ_BYTES)]
        except OSError:  # nobody has the other end open
            select.select([], [], [], min(timeout_s, 0.01))
            return []

    def close(self) -> None:
        """See :meth:`Carrier.close`."""
        os.close(self._descriptor)

    def _flush(self) -> None:
        try:
            if self._waiting:
                written = os.write(self._descriptor, self._waiting)
                del self._waiting[:written]
        except OSError:
            return


class PtyCarrier(StreamCarrier):
    """A pseudo-terminal, whose far end a host opens as a serial port.

    Args:
        link: path of a symbolic link to the far end; None for none.

    Raises:
        UsageError: the link cannot be made.
    """

    def __init__(self, link: Path | None = None) -> None:
        near, self._far = os.openpty()
        tty.setraw(self._far)
        self.name = os.ttyname(self._far)
        """Path of the far end."""
        self._link = link
        super().__init__(near)
        if link is not None:
            try:
                if link.is_symlink():  # of an emulation that was killed
                    link.unlink()
                link.symlink_to(self.name)
            except OSError as error:
                self.close()
                raise UsageError(f"'{link}' cannot be made ({error.strerror}): name another path") from error

    def close(self) -> None:
        """See :meth:`Carrier.close`: the cable is pulled."""
        if self._link is not None and self._link.is_symlink() and os.readlink(self._link) == self.name:
            self._link.unlink()
        os.close(self._far)
        super().close()


def open_serial_carrier(path: str, baud: int) -> StreamCarrier:
    """A serial port of this machine, as of an adapter whose other end the host has.

    Raises:
        DeviceError: it cannot be opened.
    """
    import serial

    try:
        port = serial.Serial(path, baud, timeout=0, exclusive=True)
    except (OSError, ValueError, serial.SerialException) as error:
        raise DeviceError(f"'{path}' cannot be opened ({error})") from error
    return StreamCarrier(os.dup(port.fileno()))
