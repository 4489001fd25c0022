"""Sound that is there at once, given as slowly as it sounds."""

from __future__ import annotations

import threading
import time

from edge_aac.timebase import SAMPLE_RATE


class Pacer:
    """Holds blocks back until they would have been heard.

    Args:
        speed: 1 is as fast as the sound was recorded, 2 twice as fast; 0 holds nothing back.
        closed: set from another thread, it ends a wait.
    """

    def __init__(self, speed: float, closed: threading.Event) -> None:
        self._speed = speed
        self._closed = closed
        self._started_s: float | None = None
        self._given_samples = 0

    def wait(self, samples: int) -> bool:
        """Wait until the next ``samples`` samples have sounded; False when closed meanwhile."""
        if not self._speed:
            return True
        if self._started_s is None:
            self._started_s = time.monotonic()
        self._given_samples += samples
        due_s = self._started_s + self._given_samples / (SAMPLE_RATE * self._speed)
        return not self._closed.wait(max(0.0, due_s - time.monotonic()))
