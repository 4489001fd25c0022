"""Windows of one source that wait to be described, and which of them are left out."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Sequence
from itertools import pairwise

from edge_aac.audio.windows import Window
from edge_aac.streaming.counters import Counters
from edge_aac.streaming.gate import EnergyGate

log = logging.getLogger(__name__)


class WindowQueue:
    """Windows that are due, in order.

    Args:
        label: name of the source in logs.
        level_gate: tells the windows that need the model.
        counters: counts of what is left out, by reason.
        reach_samples: a window starting less than this after another stands for it, where both are late.
        skips: whether windows may be left out: those of a live source.
    """

    def __init__(
        self, label: str, level_gate: EnergyGate, counters: Counters, reach_samples: int, *, skips: bool
    ) -> None:
        self._label = label
        self.level_gate = level_gate
        self._counters = counters
        self.reach_samples = reach_samples
        self._skips = skips
        self._due: deque[Window] = deque()

    def __len__(self) -> int:
        return len(self._due)

    def accept(self, windows: Sequence[Window]) -> None:
        """Queue windows; earlier ones that these stand for are left out."""
        self._due.extend(windows)
        if self._skips:
            self._skip_outdated()

    def _skip_outdated(self) -> None:
        """Leave out windows that a later one in the backlog stands for.

        Silent ones cost nothing and stand for nothing: after an outage, zeros fill the newest windows, and the last
        sound before it lies in an older one.
        """
        loud = [window for window in self._due if self.is_loud(window)]
        outdated = {one.start for one, later in pairwise(loud) if later.start - one.start < self.reach_samples}
        self._skip(outdated, "overlap")

    def skip_all_but_newest(self, kept: int) -> None:
        """Leave out all loud windows that are due but the newest ``kept``: the machine cannot describe them all."""
        loud = [window for window in self._due if self.is_loud(window)]
        self._skip({window.start for window in loud[: max(0, len(loud) - kept)]}, "behind")

    def skip_all(self, reason: str) -> None:
        """Leave out everything that waits."""
        self._counters.skipped[reason] += len(self._due)
        self._due.clear()

    def _skip(self, starts: set[int], reason: str) -> None:
        if not starts:
            return
        self._due = deque(window for window in self._due if window.start not in starts)
        if not self._counters.skipped:
            log.warning("%s: windows are skipped: describing fell behind, or sound was missing", self._label)
        log.debug("%s: %d windows skipped (%s)", self._label, len(starts), reason)
        self._counters.skipped[reason] += len(starts)

    @property
    def loud_windows(self) -> int:
        """How many of the windows that are due need the model."""
        return sum(self.is_loud(window) for window in self._due)

    def is_loud(self, window: Window) -> bool:
        """Whether a window needs the model."""
        return self.level_gate.passes(window)

    def take(self, loud: int) -> list[Window]:
        """The next windows in order: as many loud ones as asked for, and the silent ones around them."""
        taken: list[Window] = []
        while self._due:
            if self.is_loud(self._due[0]):
                if not loud:
                    break
                loud -= 1
            taken.append(self._due.popleft())
        return taken

    def put_back(self, window: Window) -> None:
        """Have a window wait again, before all others: it was taken, and not described."""
        self._due.appendleft(window)
