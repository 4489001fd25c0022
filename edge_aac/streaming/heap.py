"""Free memory of the C library's heap is given back to the system now and then.

Blocks of many sizes, from a thread for each source, the model and each sink, leave holes in the heap: over a day of a
stream its resident memory grows by megabytes of which little is in use. ``malloc_trim`` gives whole free pages back.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from edge_aac.streaming.library_pages import release_library_pages

INTERVAL_S = 600.0

# Of mallopt, in malloc.h of glibc.
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8
_OPENING_MMAP_BYTES = 128 * 1024
"""glibc's own limit before it has grown by what was freed."""
_RUNNING_MMAP_BYTES, _RUNNING_TRIM_BYTES = 16 << 20, 32 << 20
"""Beyond what a run of a small graph takes and frees again: each of its pages would be cleared anew."""
_ARENAS = 2
"""Heaps that threads share, in place of one each: their free memory serves the others."""


@contextmanager
def opening_heap() -> Iterator[None]:
    """While something large is opened, blocks of 128 KB and more get pages of their own, and these are given back as
    soon as they are freed: what ONNX Runtime unpacks and lays out anew leaves no holes between what stays.

    For good, threads share two heaps. Nothing of it happens where the C library is not glibc.
    """
    mallopt: Callable[[int, int], int] | None = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None or not hasattr(ctypes.CDLL(None), "gnu_get_libc_version"):
        yield
        return
    mallopt(_M_ARENA_MAX, _ARENAS)
    mallopt(_M_MMAP_THRESHOLD, _OPENING_MMAP_BYTES)
    mallopt(_M_TRIM_THRESHOLD, _OPENING_MMAP_BYTES)
    try:
        yield
    finally:
        mallopt(_M_MMAP_THRESHOLD, _RUNNING_MMAP_BYTES)
        mallopt(_M_TRIM_THRESHOLD, _RUNNING_TRIM_BYTES)
        trim_heap()


def trim_heap() -> None:
    """Give the free pages of the heap back to the system; nothing where the C library cannot (musl)."""
    trim: Callable[[int], int] | None = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


def give_back() -> None:
    """Give back what is free, and what no longer runs: see :mod:`edge_aac.streaming.library_pages`."""
    trim_heap()
    release_library_pages()


class HeapTrimmer:
    """Gives memory back once an interval.

    Args:
        now_s: running time in seconds at which the first interval begins.
        trim: gives the memory back.
    """

    def __init__(self, now_s: float, trim: Callable[[], None] = give_back) -> None:
        self._due_s = now_s + INTERVAL_S
        self._trim = trim

    def tick(self, now_s: float) -> None:
        """Trim the heap if that is due at running time ``now_s`` in seconds."""
        if now_s >= self._due_s:
            self._due_s = now_s + INTERVAL_S
            self._trim()
