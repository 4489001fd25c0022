"""How long the runs of a plan took."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from statistics import median

KEPT = 256
"""Runs that are remembered, the newest."""


class RunTimes:
    """The newest runs of a plan, each from the copies to the GPU to those back."""

    def __init__(self) -> None:
        self._ms: deque[float] = deque(maxlen=KEPT)

    @contextmanager
    def one(self) -> Iterator[None]:
        """Time a run; one that fails does not count."""
        begun_s = time.perf_counter()
        yield
        self._ms.append(1e3 * (time.perf_counter() - begun_s))

    @property
    def median_ms(self) -> float | None:
        """The median in milliseconds; None before the first run."""
        return median(self._ms) if self._ms else None
