"""Requests to read the settings anew, which a signal handler may make; imported before anything that takes time."""

from __future__ import annotations

from queue import SimpleQueue

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from edge_aac.settings.tree import Settings


class ReloadRequest:
    """Requests to read the settings anew.

    Args:
        load: reads the settings; it raises an EdgeAacError where they cannot be used.

    Attributes:
        left_behind: whether the run ended while a reload still opened something, in C code that nothing ends: the
            interpreter must not be ended beside it, only the process.
    """

    def __init__(self, load: Callable[[], Settings]) -> None:
        self.load = load
        # Not an event: a signal handler that sets one while the same thread holds its lock waits for ever.
        self._requests: SimpleQueue[bool] = SimpleQueue()
        self.left_behind = False

    def make(self) -> None:
        """Make one; may be called from a signal handler."""
        self._requests.put(True)

    def end(self) -> None:
        """Have :meth:`wait` return False; there will be no more."""
        self._requests.put(False)

    def wait(self) -> bool:
        """Wait for requests; those that have been made meanwhile are one. False where there will be no more."""
        goes_on = self._requests.get()
        while goes_on and not self._requests.empty():
            goes_on = self._requests.get()
        return goes_on
