"""Stretches of a source's sound, in samples."""

from __future__ import annotations

from edge_aac.timebase import SAMPLE_RATE

REMEMBERED_SAMPLES = 3_700 * SAMPLE_RATE
"""Longer than the longest clip with what may surround it."""


class Spans:
    """Stretches of sound that are added in the order of their starts; those that touch are one.

    What ends more than an hour before the newest is forgotten.
    """

    def __init__(self) -> None:
        self._spans: list[tuple[int, int]] = []

    def add(self, start: int, end: int) -> None:
        """Add the samples from ``start`` to ``end``."""
        if self._spans and start <= self._spans[-1][1]:
            first, last = self._spans[-1]
            self._spans[-1] = (min(first, start), max(last, end))
        else:
            self._spans.append((start, end))
        while self._spans[0][1] < end - REMEMBERED_SAMPLES:
            del self._spans[0]

    def fill(self, end: int) -> None:
        """Add all samples up to ``end``."""
        self._spans = [(0, max(end, self.end))]

    @property
    def end(self) -> int:
        """The end of the newest; 0 where there is none."""
        return self._spans[-1][1] if self._spans else 0

    def overlaps(self, start: int, end: int) -> bool:
        """Whether any sample from ``start`` to ``end`` lies in a stretch."""
        return any(first < end and start < last for first, last in self._spans)

    def end_before(self, position: int) -> int:
        """The end of the last stretch that ends at ``position`` or before; 0 where none does."""
        return max((last for _, last in self._spans if last <= position), default=0)

    def start_after(self, position: int) -> int | None:
        """The start of the first stretch that starts at ``position`` or after; None where none does."""
        return min((first for first, _ in self._spans if first >= position), default=None)

    def start_of(self, position: int) -> int:
        """The start of the stretch that ``position`` is in; ``position`` where it is in none."""
        return next((first for first, last in self._spans if first <= position < last), position)

    def end_of(self, position: int) -> int:
        """The end of the stretch that ``position`` is in; ``position`` where it is in none."""
        return next((last for first, last in self._spans if first <= position < last), position)
