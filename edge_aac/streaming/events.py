"""Overlapping windows with captions of the same meaning are one event, with a start, updates and an end."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import numpy.typing as npt

from edge_aac.models.contract import ScoredCaption

State = Literal["start", "update", "end"]
Embed = Callable[[Sequence[str]], npt.NDArray[np.float32]]
"""Texts to embeddings (N, E) of unit length, see :meth:`edge_aac.models.contract.WindowModel.embed`."""


@dataclass(frozen=True)
class EventChange:
    """Change of an event by a window.

    Attributes:
        number: number of the event, from 0.
        state: the change: "start", "update" or "end".
        start, end: absolute samples that the event's windows cover so far.
        caption: the best-scored one so far.
        windows: number of windows so far whose caption is of the event.
    """

    number: int
    state: State
    start: int
    end: int
    caption: ScoredCaption
    windows: int


class EventTracker:
    """Follows the events of one stream.

    A caption belongs to an event that is still open when its text embedding is at least ``same_similarity`` from the
    event's (cosine); nucleus sampling words the same sounds differently from window to window. An event is open
    while the newest window overlaps a window that had it, so a wording that flickers opens no second one.

    Args:
        same_similarity: smallest cosine between the text embeddings of two captions of one event.
        embed: embeds the texts that the model has not embedded itself, where two of them have to be compared.
    """

    def __init__(self, same_similarity: float, embed: Embed) -> None:
        self.same_similarity = same_similarity
        self._embed = embed
        self._open: list[EventChange] = []
        self._opened = 0

    def use(self, same_similarity: float, embed: Embed) -> None:
        """Compare captions otherwise from now on; no event is open."""
        self.same_similarity = same_similarity
        self._embed = embed

    @property
    def open_events(self) -> int:
        """Number of open events."""
        return len(self._open)

    def observe(self, start: int, end: int, caption: ScoredCaption | None) -> list[EventChange]:
        """Take in the next window: samples ``start`` to ``end``; None when it has no caption.

        Returns:
            Ends of events that it no longer overlaps, then what its own caption started or updated.
        """
        changes = self.expire(start)
        if caption is not None:
            changes.append(self._place(start, end, caption))
        return changes

    def expire(self, position: int) -> list[EventChange]:
        """End the events that no window from ``position`` (in samples) on can overlap."""
        changes = [_ended(event) for event in self._open if event.end <= position]
        self._open = [event for event in self._open if event.end > position]
        return changes

    def finish(self) -> list[EventChange]:
        """End of the stream: all open events end."""
        changes = [_ended(event) for event in self._open]
        self._open = []
        return changes

    def _place(self, start: int, end: int, caption: ScoredCaption) -> EventChange:
        caption = self._comparable(caption)
        nearest = max(self._open, key=lambda event: self._similarity(event, caption), default=None)
        if nearest is None or self._similarity(nearest, caption) < self.same_similarity:
            change = EventChange(self._opened, "start", start, end, caption, 1)
            self._opened += 1
        else:
            self._open.remove(nearest)
            best = max(nearest.caption, caption, key=lambda one: one.hybrid)
            change = EventChange(nearest.number, "update", nearest.start, end, best, nearest.windows + 1)
        self._open.append(change)
        return change

    def _comparable(self, caption: ScoredCaption) -> ScoredCaption:
        """The caption, and the open events' own, with embeddings where their words differ."""
        others = [event for event in self._open if event.caption.text != caption.text]
        if not others:
            return caption
        lacking = [event for event in others if event.caption.embedding is None]
        texts = [event.caption.text for event in lacking]
        if caption.embedding is None:
            texts.append(caption.text)
        if not texts:
            return caption
        embedded = dict(zip(texts, self._embed(texts), strict=True))
        self._open = [
            replace(event, caption=replace(event.caption, embedding=embedded[event.caption.text]))
            if event.caption.embedding is None and event.caption.text in embedded
            else event
            for event in self._open
        ]
        return caption if caption.embedding is not None else replace(caption, embedding=embedded[caption.text])

    @staticmethod
    def _similarity(event: EventChange, caption: ScoredCaption) -> float:
        if event.caption.text == caption.text:
            return 1.0
        one, other = event.caption.embedding, caption.embedding
        if one is None or other is None:
            raise AssertionError("captions of other words are compared by their embeddings")
        return float(one @ other)


def _ended(event: EventChange) -> EventChange:
    return EventChange(event.number, "end", event.start, event.end, event.caption, event.windows)
