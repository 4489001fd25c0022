"""Links over a byte stream: USB serial, UART, a pseudo-terminal."""

from __future__ import annotations

import logging
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

from edge_aac.audio.connection import PermanentDeviceError
from edge_aac.errors import DeviceError
from firmware_bridge.address import Endpoint
from firmware_bridge.frame import Frame, FrameError, UnknownTypeError, decode, encode
from firmware_bridge.link import READ_TIMEOUT_S, Link
from firmware_bridge.packets import StreamReader, stream_packet
from firmware_bridge.seen import SeenDevices

if TYPE_CHECKING:
    import serial

_WRITE_TIMEOUT_S = 1.0
_MAX_READ_BYTES = 65_536
_USUAL_GROUP = "dialout"

log = logging.getLogger(__name__)


class SerialLink(Link):
    """A serial port; see :class:`~firmware_bridge.link.Link`. Whoever holds the cable is trusted.

    Raises:
        PermanentDeviceError: pyserial is not installed.
    """

    def __init__(self, endpoint: Endpoint, *, wait: bool, seen: SeenDevices | None = None) -> None:
        try:
            import serial
        except ImportError as error:
            raise PermanentDeviceError(
                "Serial ports need the package pyserial: `pip install pyserial` in edge-aac's environment."
            ) from error
        self._serial = serial
        self._port: serial.Serial | None = None
        self._reader = StreamReader()
        self._writing = threading.Lock()
        super().__init__(endpoint, wait=wait, seen=seen)

    def send(self, frame: Frame) -> None:
        """See :meth:`firmware_bridge.link.Link.send`."""
        packet = stream_packet(encode(frame))
        with self._writing:
            port = self._port
            if port is None:
                raise DeviceError(self.reason or f"{self.label} is not open")
            try:
                port.write(packet)
            except (OSError, self._serial.SerialException) as error:
                raise DeviceError(f"{self.label} takes nothing ({_reason(error)})") from error

    def _connect(self) -> None:
        path, baud = self.endpoint.place, self.endpoint.number
        try:
            port = self._serial.Serial(
                path, baud, timeout=READ_TIMEOUT_S, write_timeout=_WRITE_TIMEOUT_S, exclusive=True
            )
        except (OSError, ValueError, self._serial.SerialException) as error:
            raise DeviceError(f"{self.label} cannot be opened ({_reason(error)}){_mend_of(error, path)}") from error
        self._reader = StreamReader()
        with self._writing:
            self._port = port
            try:
                port.write(b"\0")  # ends what was written before
            except (OSError, self._serial.SerialException) as error:
                log.debug("%s takes nothing: %s", self.label, error)

    def _disconnect(self) -> None:
        with self._writing:
            port, self._port = self._port, None
        if port is not None:
            try:
                port.close()
            except OSError as error:
                log.debug("%s cannot be closed: %s", self.label, error)

    def _read(self) -> None:
        port = self._port
        if port is None:
            raise DeviceError(f"{self.label} is closed")
        try:
            data = port.read(1)
            if data and (more := min(port.in_waiting, _MAX_READ_BYTES)):
                data += port.read(more)
        except (OSError, TypeError, self._serial.SerialException) as error:  # TypeError: closed by another thread
            raise DeviceError(f"{self.label} was lost ({_reason(error)})") from error
        if not data:
            return
        arrived_s, refused = time.monotonic(), self._reader.refused
        for packet in self._reader.feed(data):
            try:
                self._take(decode(packet), arrived_s, None)
            except UnknownTypeError:
                self.unknown += 1
            except FrameError:
                self.refused += 1
        self.refused += self._reader.refused - refused

    def _answer(self, frame: Frame, reply_to: tuple[str, int] | None) -> None:
        try:
            self.send(frame)
        except DeviceError as error:
            log.debug("%s", error)


def _number_of(error: BaseException) -> int | None:
    """Number of the system's error: pyserial keeps some of them in the error that its own came from alone."""
    for each in (error, error.__context__):
        for number in (getattr(each, "errno", None), *getattr(each, "args", ())[:1]):
            if isinstance(number, int):
                return number
    return None


def _reason(error: BaseException) -> str:
    number = _number_of(error)
    if number is not None:
        import os

        return os.strerror(number)
    return str(error) or type(error).__name__


def _mend_of(error: BaseException, path: str) -> str:
    import errno
    import os

    number = _number_of(error)
    if number == errno.ENOTTY or (os.path.exists(path) and not Path(path).is_char_device()):
        return ": it is no serial port, see what is there with `edge-aac devices`"
    if number == errno.EACCES:
        return f": add this user to the group {_group_of(path)!r}, and log in again"
    if number == errno.ENOENT:
        return ": plug the device in, or see what is there with `edge-aac devices`"
    if number in {errno.EBUSY, errno.EWOULDBLOCK}:
        return ": another program has it"
    return ""


def _group_of(path: str) -> str:
    """The group that may use a port: that of its file, where it is not root's alone."""
    try:
        group = Path(path).group()
    except (OSError, KeyError):
        return _USUAL_GROUP
    return _USUAL_GROUP if group == "root" else group
