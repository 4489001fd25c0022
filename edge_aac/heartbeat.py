"""A thread's sign of life: it counts its own rounds, and others see whether the count still moves."""

from __future__ import annotations


class Heartbeat:
    """Rounds of one thread. The thread counts them, any other thread may read them.

    Attributes:
        beats: number of rounds so far.
        allowance_s: seconds that the round after the last beat may take beyond the usual: a wait that is meant, or a
            call that is known to take long.
    """

    def __init__(self) -> None:
        self.beats = 0
        self.allowance_s = 0.0

    def beat(self, allowance_s: float = 0.0) -> None:
        """Count a round; to be called by the thread itself.

        Args:
            allowance_s: seconds that the next round may take beyond the usual.
        """
        # Before the count: whoever sees the new count sees its allowance.
        self.allowance_s = allowance_s
        self.beats += 1
