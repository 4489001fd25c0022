"""Requests to read the settings anew, which a signal handler may make; imported before anything that takes time."""

from __future__ import annotations

import threading

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from edge_aac.settings.tree import Settings


class ReloadRequest:
    """Requests to read the settings anew.

    Args:
        load: reads the settings; it raises an EdgeAacError where they cannot be used.

    Attributes:
        requested: set where the settings are to be read anew.
        left_behind: whether the run ended while a reload still opened something, in C code that nothing ends: the
            interpreter must not be ended beside it, only the process.
    """

    def __init__(self, load: Callable[[], Settings]) -> None:
        self.load = load
        self.requested = threading.Event()
        self.left_behind = False

    def make(self) -> None:
        """Make one; may be called from a signal handler."""
        self.requested.set()
