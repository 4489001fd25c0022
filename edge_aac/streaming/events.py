"""Overlapping windows that say the same thing are one event, with a start, updates and an end."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from edge_aac.models.contract import ScoredCaption

State = Literal["start", "update", "end"]


@dataclass(frozen=True)
class EventChange:
    """What a window did to an event.

    Attributes:
        number: of the event, from 0.
        state: what happened.
        start, end: absolute samples that the event's windows cover so far.
        caption: the best-scored one so far.
        windows: that said it so far.
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
    while the newest window overlaps a window that said it, so a wording that flickers opens no second one.

    Args:
        same_similarity: least cosine between the text embeddings of two captions of one event.
        embed: N texts → their embeddings (N, E) of unit length, for captions that come without; None where all have
            one.
    """

    def __init__(
        self, same_similarity: float, embed: Callable[[Sequence[str]], npt.NDArray[np.float32]] | None = None
    ) -> None:
        self._same_similarity = same_similarity
        self._embed = embed
        self._embedded: dict[str, npt.NDArray[np.float32]] = {}
        """Texts that came without an embedding, those of open events."""
        self._open: list[EventChange] = []
        self._opened = 0

    def observe(self, start: int, end: int, caption: ScoredCaption | None) -> list[EventChange]:
        """Take in the next window: samples ``start`` to ``end``; None when nothing was said of it.

        Returns:
            Ends of events that it no longer overlaps, then what its own caption started or updated.
        """
        changes = [_ended(event) for event in self._open if event.end <= start]
        self._open = [event for event in self._open if event.end > start]
        if caption is not None:
            changes.append(self._place(start, end, caption))
        return changes

    def finish(self) -> list[EventChange]:
        """End of the stream: all open events end."""
        changes = [_ended(event) for event in self._open]
        self._open = []
        return changes

    def _place(self, start: int, end: int, caption: ScoredCaption) -> EventChange:
        nearest = max(self._open, key=lambda event: self._similarity(event, caption), default=None)
        if nearest is None or self._similarity(nearest, caption) < self._same_similarity:
            change = EventChange(self._opened, "start", start, end, caption, 1)
            self._opened += 1
        else:
            self._open.remove(nearest)
            best = max(nearest.caption, caption, key=lambda said: said.hybrid)
            change = EventChange(nearest.number, "update", nearest.start, end, best, nearest.windows + 1)
        self._open.append(change)
        texts = {event.caption.text for event in self._open}
        self._embedded = {text: embedding for text, embedding in self._embedded.items() if text in texts}
        return change

    def _similarity(self, event: EventChange, caption: ScoredCaption) -> float:
        if event.caption.text == caption.text:
            return 1.0
        return float(self._embedding(event.caption) @ self._embedding(caption))

    def _embedding(self, caption: ScoredCaption) -> npt.NDArray[np.float32]:
        if caption.embedding is not None:
            return caption.embedding
        if caption.text not in self._embedded:
            assert self._embed is not None, "a caption without an embedding needs something to embed it"
            self._embedded[caption.text] = self._embed([caption.text])[0]
        return self._embedded[caption.text]


def _ended(event: EventChange) -> EventChange:
    return EventChange(event.number, "end", event.start, event.end, event.caption, event.windows)
