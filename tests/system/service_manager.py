"""Stands for systemd: listens at NOTIFY_SOCKET to what a service says of itself."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from pathlib import Path

from tests.system.command import TIMEOUT_S
from tests.waiting import until


class Manager:
    """A service manager's end of NOTIFY_SOCKET.

    Args:
        folder: for the socket, of a short path.
    """

    def __init__(self, folder: Path) -> None:
        self.address = folder / "notify"
        self._messages: list[dict[str, str]] = []
        self._lock = threading.Lock()
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(self.address))
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()

    def env(self, watchdog_s: float | None = None) -> dict[str, str]:
        """The environment that the manager starts a service with."""
        watchdog = {} if watchdog_s is None else {"WATCHDOG_USEC": str(round(1e6 * watchdog_s))}
        return {"NOTIFY_SOCKET": str(self.address), **watchdog}

    @property
    def messages(self) -> list[dict[str, str]]:
        """What was said so far, each message as its variables."""
        with self._lock:
            return list(self._messages)

    def count(self, **variables: str) -> int:
        """How many messages had these variables with these values."""
        return sum(variables.items() <= message.items() for message in self.messages)

    @property
    def status(self) -> str:
        """The newest status line; empty before the first."""
        return next((message["STATUS"] for message in reversed(self.messages) if "STATUS" in message), "")

    def close(self) -> None:
        """Listen no more."""
        self._socket.shutdown(socket.SHUT_RDWR)  # or the thread would wait for ever
        self._thread.join(TIMEOUT_S)
        self._socket.close()

    def _listen(self) -> None:
        while True:
            data = self._socket.recv(1 << 16)
            if not data:
                return
            message = dict(line.split("=", 1) for line in data.decode().splitlines())
            with self._lock:
                self._messages.append(message)


def wait_for(condition: Callable[[], bool], what: str) -> None:
    """Wait until a condition holds; fail where it does not in much more time than it can need."""
    until(condition, lambda: f"it never came: {what}", interval_s=0.05)
