"""Clocks that a test sets, in place of the machine's."""

from __future__ import annotations

from edge_aac.audio.clock import Clocks


class FakeClocks:
    """A machine's clocks.

    Attributes:
        running_s: monotonic seconds; they pass only where a test lets them.
        slept_s: seconds that the machine slept.
        set_by_s: how much Unix time is ahead of the time since boot.
    """

    def __init__(self, wall_s: float = 1_777_629_600.0) -> None:
        self.running_s = 1_000.0
        self.slept_s = 0.0
        self.set_by_s = wall_s - self.running_s

    @property
    def wall_s(self) -> float:
        """Unix time now."""
        return self.running_s + self.slept_s + self.set_by_s

    @property
    def clocks(self) -> Clocks:
        """What the code under test is given."""
        return Clocks(lambda: self.wall_s, lambda: self.running_s, lambda: self.running_s + self.slept_s)
