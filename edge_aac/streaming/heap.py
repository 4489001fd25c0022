"""Free memory of the C library's heap is given back to the system now and then.

Blocks of many sizes, from a thread for each source, the model and each sink, leave holes in the heap: over a day of a
stream its resident memory grows by megabytes of which little is in use. ``malloc_trim`` gives whole free pages back.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable

INTERVAL_S = 600.0


def trim_heap() -> None:
    """Give the free pages of the heap back to the system; nothing where the C library cannot (musl)."""
    trim: Callable[[int], int] | None = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


class HeapTrimmer:
    """Trims the heap once an interval.

    Args:
        now_s: running time in seconds at which the first interval begins.
        trim: gives the memory back.
    """

    def __init__(self, now_s: float, trim: Callable[[], None] = trim_heap) -> None:
        self._due_s = now_s + INTERVAL_S
        self._trim = trim

    def tick(self, now_s: float) -> None:
        """Trim the heap if that is due at running time ``now_s`` in seconds."""
        if now_s >= self._due_s:
            self._due_s = now_s + INTERVAL_S
            self._trim()
