"""Messages to the service manager: the protocol of sd_notify(3), over the socket that NOTIFY_SOCKET names."""

from __future__ import annotations

import logging
import os
import socket
import time
from collections.abc import MutableMapping

SOCKET_VARIABLE = "NOTIFY_SOCKET"
WATCHDOG_VARIABLE = "WATCHDOG_USEC"
WATCHDOG_PID_VARIABLE = "WATCHDOG_PID"

_SEND_TIMEOUT_S = 1.0
"""The manager reads at once; one that does not must hold up nobody."""

_MAX_VALUE_BYTES = 2048
"""systemd leaves messages of more than 4096 bytes unread, and with a long status a READY would be lost."""

log = logging.getLogger(__name__)


class ServiceManager:
    """Tells the service manager what the process does. Every method may be called from any thread, and never raises.

    Args:
        address: path of the manager's datagram socket, or the name of an abstract one behind "@"; None where no
            manager listens: everything is told to nobody then.
        watchdog_s: seconds within which the manager wants :meth:`feed_watchdog` to be called; None where it does not.
    """

    def __init__(self, address: str | None = None, watchdog_s: float | None = None) -> None:
        self.watchdog_s = watchdog_s
        self._address = "\0" + address[1:] if address is not None and address.startswith("@") else address
        self._failed = False

    @classmethod
    def of_environment(cls, environment: MutableMapping[str, str] = os.environ) -> ServiceManager:
        """The manager that started this process, or one that listens to nothing.

        The variables are taken out of the environment: a child process that inherited them would speak for this one.
        """
        address = environment.pop(SOCKET_VARIABLE, None) or None
        interval = environment.pop(WATCHDOG_VARIABLE, "")
        pid = environment.pop(WATCHDOG_PID_VARIABLE, "")
        watchdog_s = None
        if address is not None and interval.isdecimal() and int(interval) and pid in {"", str(os.getpid())}:
            watchdog_s = int(interval) / 1e6
        return cls(address, watchdog_s)

    @property
    def listens(self) -> bool:
        """Whether a service manager started the process and wants to be told."""
        return self._address is not None

    def ready(self, status: str) -> None:
        """Tell the manager that the start, or a reload, is done."""
        self.send(READY=1, STATUS=status)

    def status(self, status: str) -> None:
        """Tell the manager what the process does, in one line for ``systemctl status``."""
        self.send(STATUS=status)

    def reloading(self) -> None:
        """Tell the manager that the settings are read anew, which :meth:`ready` ends."""
        self.send(RELOADING=1, MONOTONIC_USEC=time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000)

    def stopping(self) -> None:
        """Tell the manager that the process is about to end."""
        self.send(STOPPING=1, STATUS="stopping")

    def feed_watchdog(self) -> None:
        """Tell the manager's watchdog that everything was found alive."""
        self.send(WATCHDOG=1)

    def extend_timeout(self, seconds: float) -> None:
        """Ask the manager for so many seconds more, from now on, for the start or stop that goes on."""
        self.send(EXTEND_TIMEOUT_USEC=round(1e6 * seconds))

    def failed(self, status: str, errno: int | None = None) -> None:
        """Tell the manager the error that the process ends with; the exit code tells its kind."""
        if errno is None:
            self.send(STATUS=status)
        else:
            self.send(STATUS=status, ERRNO=errno)

    def send(self, **assignments: object) -> None:
        """Send variables of sd_notify(3) in one datagram; each value becomes one line, and a long one is cut."""
        if self._address is None:
            return
        lines = (f"{name}={_cut(' '.join(str(value).split()))}" for name, value in assignments.items())
        message = "\n".join(lines).encode("utf-8", "replace")
        try:
            # A socket a message: nothing is kept open, and the manager may have been started anew meanwhile.
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as channel:
                channel.settimeout(_SEND_TIMEOUT_S)
                channel.sendto(message, self._address)
        except (OSError, ValueError) as error:
            level = logging.DEBUG if self._failed else logging.WARNING
            self._failed = True
            log.log(level, "the service manager cannot be told (%s)", error)
        else:
            self._failed = False


def _cut(value: str) -> str:
    data = value.encode("utf-8", "replace")
    return value if len(data) <= _MAX_VALUE_BYTES else f"{data[:_MAX_VALUE_BYTES].decode('utf-8', 'ignore')}…"
