"""Rows of a stream that are held for a while."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt


class Rows:
    """Rows by absolute number, appended at the end and forgotten at the front, in memory taken once.

    Args:
        capacity: rows that are held at most.
        like: a row, for its shape and type.
        first: number of the first row, until they are cleared.
    """

    def __init__(self, capacity: int, like: npt.NDArray[Any], first: int = 0) -> None:
        self._buffer = np.zeros((capacity, *like.shape), like.dtype)
        self.clear()
        self._first = first

    def holds_from(self, number: int) -> bool:
        """Whether no row from ``number`` on was left out at the front."""
        return number >= self._first

    def clear(self) -> None:
        self._first = 0
        self._begin = 0
        self._end = 0

    def append(self, rows: npt.NDArray[Any]) -> None:
        if self._end + len(rows) > len(self._buffer):
            held = self._end - self._begin
            self._buffer[:held] = self._buffer[self._begin : self._end].copy()
            self._begin, self._end = 0, held
        self._buffer[self._end : self._end + len(rows)] = rows
        self._end += len(rows)

    def forget_before(self, number: int) -> None:
        dropped = min(max(0, number - self._first), self._end - self._begin)
        self._first += dropped
        self._begin += dropped

    def copied_from(self, number: int) -> npt.NDArray[Any]:
        """The rows that are held from ``number`` on."""
        return self._buffer[self._begin + max(0, number - self._first) : self._end].copy()

    def copied(self, number: int, count: int) -> npt.NDArray[Any]:
        start = self._begin + number - self._first
        if number < self._first or start + count > self._end:
            raise IndexError(f"rows {number} to {number + count} are not held")
        return self._buffer[start : start + count].copy()
