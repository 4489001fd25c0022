"""What the sinks to logs of this machine have in common: a datagram socket that may come and go."""

from __future__ import annotations

import errno
import os
import socket
from pathlib import Path

from edge_aac.errors import ConfigError
from edge_aac.records import Record
from edge_aac.sinks.contract import TransientSinkError

SEND_TIMEOUT_S = 5.0
WARNING, NOTICE = 4, 5


def priority_of(record: Record) -> int:
    """Severity of a record as syslog numbers it: lost sound and alerts are warnings, all else a notice."""
    return WARNING if record.kind in {"gap", "alert"} else NOTICE


class LogSocket:
    """A datagram socket of a log; it is opened when it is first used, and again after a fault.

    Args:
        path: of the socket.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._socket: socket.socket | None = None
        try:
            if path.exists() and not path.is_socket():
                raise ConfigError(f"'{path}' is no socket: name that of a log")
        except OSError as error:
            raise ConfigError(f"'{path}' cannot be reached ({error.strerror}): name the socket of a log") from error

    def send(self, datagram: bytes, descriptor: int | None = None) -> bool:
        """Send a datagram, or the descriptor of a file in its place; False where it is too large.

        Raises:
            TransientSinkError: the log takes nothing now.
        """
        last: OSError | None = None
        for _ in range(2):  # a log that was started again has another socket
            try:
                if self._socket is None:
                    self._socket = self._connected()
                if descriptor is None:
                    self._socket.send(datagram)
                else:
                    socket.send_fds(self._socket, [b""], [descriptor])
                return True
            except OSError as error:
                if error.errno == errno.EMSGSIZE:
                    return False
                last = error
                self.close()
        reason = "it takes nothing" if isinstance(last, TimeoutError) else os.strerror(last.errno or 0) if last else ""
        raise TransientSinkError(f"the log at '{self.path}' cannot be written ({reason})") from last

    def close(self) -> None:
        """Let go of the socket."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _connected(self) -> socket.socket:
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
        try:
            connection.settimeout(SEND_TIMEOUT_S)
            connection.connect(str(self.path))
        except BaseException:
            connection.close()
            raise
        return connection
