"""What is to go to one device: alerts first, captions no faster than they can be read, each until it is answered."""

from __future__ import annotations

import unicodedata
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from firmware_bridge.fields import Pattern, Priority, Result
from firmware_bridge.frame import MAX_TEXT_BYTES, Ack, Alert, Caption

ANSWER_S = 1.0
"""A device that has not answered for so long is sent the same frame again."""
MAX_TRIES = 3
MAX_ALERTS = 8
_JOINER = "\u200d"
_MORE = "…"


def shortened(text: str, max_bytes: int) -> str:
    """A text of at most ``max_bytes`` bytes of UTF-8, cut at a character, with a mark that it was cut.

    Line ends and control characters become spaces. Accents and joined characters stay with what they belong to.
    """
    plain = " ".join("".join(" " if unicodedata.category(one) in {"Cc", "Cs"} else one for one in text).split())
    if len(plain.encode()) <= max_bytes:
        return plain
    mark = _MORE if max_bytes > len(_MORE.encode()) else ""
    kept = plain.encode()[: max_bytes - len(mark.encode())].decode("utf-8", "ignore")
    while kept and _belong_together(kept[-1], plain[len(kept)]):
        kept = kept[:-1]
    return kept.rstrip() + mark


def _belong_together(left: str, right: str) -> bool:
    return _JOINER in {left, right} or unicodedata.category(right) in {"Mn", "Me", "Mc"}


@dataclass
class _InFlight:
    frame: Caption | Alert
    tries: int = 0
    sent_s: float = float("-inf")


@dataclass
class OutboxCounters:
    """What became of captions and alerts.

    Attributes:
        answered: shown or played, as the device says.
        replaced: captions that never went out, since a newer one came before their turn.
        unanswered: given up, since the device answered no try.
        refused: the device cannot show or play it.
        retries: sent once more.
    """

    answered: int = 0
    replaced: int = 0
    unanswered: int = 0
    refused: int = 0
    retries: int = 0


@dataclass
class Outbox:
    """Frames for one device, one of each type under way at a time.

    Attributes:
        device: its id.
        next_id: gives the ids of its frames, of which each is another one.
        min_interval_s: seconds between two captions; an urgent one does not wait.
        counters: what became of them.
    """

    device: int
    next_id: Callable[[], int]
    min_interval_s: float
    counters: OutboxCounters = field(default_factory=OutboxCounters)
    _alerts: deque[Alert] = field(default_factory=deque)
    _caption: Caption | None = None
    _in_flight: dict[int, _InFlight] = field(default_factory=dict)
    _caption_s: float = float("-inf")

    @property
    def queued(self) -> int:
        """Frames that wait, those under way included."""
        return len(self._alerts) + (self._caption is not None) + len(self._in_flight)

    def show(self, text: str, priority: Priority, show_s: int, max_bytes: int) -> None:
        """A caption. It takes the place of one that waits, unless that one matters more."""
        cut = shortened(text, min(max_bytes, MAX_TEXT_BYTES))
        if not cut:
            return
        waiting = self._caption
        if waiting is not None:
            self.counters.replaced += 1
            if waiting.priority > priority:
                return
        self._caption = Caption(self.device, self.next_id(), priority, show_s, cut)

    def play(self, pattern: Pattern, priority: Priority, seconds: int) -> None:
        """An alert. Where too many wait, the oldest goes."""
        if len(self._alerts) >= MAX_ALERTS:
            self._alerts.popleft()
            self.counters.replaced += 1
        self._alerts.append(Alert(self.device, self.next_id(), pattern, priority, seconds))

    def due(self, now_s: float) -> Caption | Alert | None:
        """The frame that is to be sent now; None for none."""
        for kind in (Alert.TYPE, Caption.TYPE):
            found = self._due_of(kind, now_s)
            if found is not None:
                return found
        return None

    def answer(self, ack: Ack) -> None:
        """Takes an answer of the device."""
        flight = self._in_flight.get(ack.of_type)
        if flight is None or flight.frame.id != ack.id:
            return
        if ack.result is Result.BUSY:
            return  # the same frame goes again, after a while
        del self._in_flight[ack.of_type]
        if ack.result is Result.DONE:
            self.counters.answered += 1
        else:
            self.counters.refused += 1

    def _due_of(self, kind: int, now_s: float) -> Caption | Alert | None:
        flight = self._in_flight.get(kind)
        if flight is not None and now_s - flight.sent_s >= ANSWER_S and flight.tries >= MAX_TRIES:
            self.counters.unanswered += 1
            del self._in_flight[kind]
            flight = None
        if flight is None:
            frame = self._taken(kind, now_s)
            if frame is None:
                return None
            flight = self._in_flight[kind] = _InFlight(frame)
        if now_s - flight.sent_s < ANSWER_S:
            return None
        self.counters.retries += flight.tries > 0
        flight.tries, flight.sent_s = flight.tries + 1, now_s
        return flight.frame

    def _taken(self, kind: int, now_s: float) -> Caption | Alert | None:
        if kind == Alert.TYPE:
            return self._alerts.popleft() if self._alerts else None
        caption = self._caption
        if caption is None:
            return None
        if caption.priority is not Priority.URGENT and now_s - self._caption_s < self.min_interval_s:
            return None
        self._caption, self._caption_s = None, now_s
        return replace(caption)
