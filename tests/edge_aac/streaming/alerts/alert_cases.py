"""A stream of windows whose sounds a test names, with the events and alerts that come of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from edge_aac.streaming.alerts.rules import AlertRule
from edge_aac.streaming.alerts.watch import AlertChange, AlertWatch
from edge_aac.streaming.event_settings import EventRules
from edge_aac.streaming.events import EventTracker
from tests.edge_aac.fakes import scored

WINDOW, HOP = 10, 2
"""In seconds: a sample is a second here."""

RULES = EventRules(min_windows=2, min_gap_samples=30)
BABY = AlertRule("baby", ("baby", "infant*"), gap_samples=30, hold_samples=30)

_WORDS = ("a baby cries", "an infant wails", "rain falls", "a dog barks")
_DIRECTIONS = dict(zip(_WORDS, (0.0, 20.0, 90.0, 180.0), strict=True))


def embed(texts: Sequence[str]) -> Any:
    """Two names of one sound are near each other, all others far away."""
    angles = np.deg2rad([_DIRECTIONS[text] for text in texts])
    return np.stack([np.cos(angles), np.sin(angles)], 1).astype(np.float32)


class Stream:
    """Windows of 10 s every 2 s, one after the other.

    Args:
        rules: for alerts.
        events: for events.
        minute: of the day, at the start; None where it is unknown.
    """

    def __init__(self, *rules: AlertRule, events: EventRules = RULES, minute: int | None = None) -> None:
        self.tracker = EventTracker(0.8, embed, events, lambda text: tuple(text.split(" while ")))
        self.watch = AlertWatch(rules, lambda position: None if minute is None else (minute + position // 60) % 1440)
        self.changes: list[AlertChange] = []
        self.next_start = 0

    def hear(self, text: str, windows: int = 1, hybrid: float = 0.5) -> None:
        """The next windows: what the caption of each names; "" is silence, "?" tells nothing."""
        for _ in range(windows):
            start, end = self.next_start, self.next_start + WINDOW
            self.next_start += HOP
            self.expire(start)
            if text != "?":
                captions = []
                if text:
                    directions = [_DIRECTIONS[part] for part in text.split(" while ")]
                    captions = [replace(scored(text, hybrid, directions[0]), embedding=None)]
                self.tracker.observe(start, end, captions)
                self.changes += self.watch.window(start, end, self.tracker.open)

    def expire(self, position: int) -> None:
        """Let time pass."""
        self.changes += self.watch.late(self.tracker.expire(position).changes)
        self.changes += self.watch.expire(position)

    def finish(self) -> None:
        """End the stream."""
        self.changes += self.watch.late(self.tracker.finish().changes)
        self.changes += self.watch.finish()

    @property
    def told(self) -> list[tuple[str, str, int, int]]:
        """Rule, state, start and end of each change."""
        return [(change.rule.name, change.state, change.start, change.end) for change in self.changes]
