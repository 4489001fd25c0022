"""Windows of one source that wait to be described, and which of them are left out."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

import numpy as np

from edge_aac.audio.windows import Window
from edge_aac.streaming.counters import Counters
from edge_aac.streaming.gate import EnergyGate

log = logging.getLogger(__name__)


_NO_FRAMES = np.zeros((0, 0), np.float32)


class WindowQueue:
    """Windows that are due, in order. Those that need no model are kept without their frames, half a megabyte each.

    Args:
        label: name of the source in logs.
        level_gate: tells the windows that need the model.
        counters: counts of what is left out, by reason.
        window_samples: length of a window; one that overlaps another, or simply comes next, stands for it where both
            are late.
        skips: whether windows may be left out: those of a live source.
    """

    def __init__(
        self, label: str, level_gate: EnergyGate, counters: Counters, window_samples: int, *, skips: bool
    ) -> None:
        self._label = label
        self.level_gate = level_gate
        self._counters = counters
        self._window_samples = window_samples
        self._hop_samples = 0
        self._skips = skips
        self._due: deque[Window] = deque()
        self._taken_loud = (0, 0)
        """From where to where the last window lasts that was given to the model."""

    def __len__(self) -> int:
        return len(self._due)

    @property
    def first_start(self) -> int | None:
        """First sample of the oldest window that waits; None where none does."""
        return self._due[0].start if self._due else None

    def accept(self, windows: Sequence[Window], hop_samples: int) -> None:
        """Queue windows, ``hop_samples`` from one to the next; earlier ones that these stand for are left out."""
        self._hop_samples = hop_samples
        self._due.extend(window if self.is_loud(window) else replace(window, fbank=_NO_FRAMES) for window in windows)
        if self._skips:
            self._skip_outdated()

    def _skip_outdated(self) -> None:
        """Leave out windows that a later one in the backlog stands for.

        Silent ones cost nothing and stand for nothing: after an outage, zeros fill the newest windows, and the last
        sound before it lies in an older one.
        """
        loud = [window for window in self._due if self.is_loud(window)]
        reach_samples = max(self._hop_samples + 1, self._window_samples)
        outdated = {one.start for one, later in pairwise(loud) if later.start - one.start < reach_samples}
        self._skip(outdated, "overlap")

    def skip_late(self, now: int) -> None:
        """Leave out loud windows that ended more than two hops before position ``now`` and tell nothing new.

        What can be heard in a window that a silent one follows lies before that one's start. Where a window that was
        described before holds all of that, the late one would only say it again. Sound that no other window held is
        described, however late.
        """
        oldest_end = now - 2 * self._hop_samples
        start, end = self._taken_loud
        late = {
            one.start
            for one, later in pairwise(self._due)
            if self.is_loud(one)
            and not self.is_loud(later)
            and one.start + one.samples < oldest_end
            and start <= one.start
            and later.start <= end
        }
        self._skip(late, "late")

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
                self._taken_loud = self._due[0].start, self._due[0].start + self._due[0].samples
            taken.append(self._due.popleft())
        return taken

    def put_back(self, window: Window) -> None:
        """Have a window wait again, before all others: it was taken, and not described."""
        self._due.appendleft(window)
