"""What is told of events: their changes, what goes on, and where a sound ceased."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from edge_aac.models.contract import ScoredCaption

State = Literal["start", "update", "end"]


@dataclass(frozen=True)
class EventChange:
    """Change of an event.

    Attributes:
        number: number of the event, from 0.
        state: the change: "start", "update" or "end".
        start: absolute sample at which it began, as far as windows tell; the same in all its changes.
        end: while it goes on, the end of the newest window that has it; of an "end", where it ceased.
        caption: the best-scored one so far, of this sound alone.
        windows: number of windows so far that have it.
    """

    number: int
    state: State
    start: int
    end: int
    caption: ScoredCaption
    windows: int


@dataclass(frozen=True)
class OpenEvent:
    """An event that goes on, as it is now.

    Attributes:
        number: number of the event.
        start: absolute sample at which it began, as far as windows tell.
        first_end: end of the first window that has it.
        end: end of the newest window that has it.
        caption, hybrid: its best-scored naming so far, and the score of that.
        wordings: its newest wordings, the oldest first.
    """

    number: int
    start: int
    first_end: int
    end: int
    caption: str
    hybrid: float
    wordings: tuple[str, ...]


@dataclass(frozen=True)
class Observation:
    """What a window changed.

    Attributes:
        changes: those of events that time ended or started first.
        events: numbers of the events that the window's best caption names, in its order; none that has not started.
        opening: of the captions of the newest window that has what started, the one that names the most of it, the
            best-ranked of several; None where nothing started.
    """

    changes: list[EventChange] = field(default_factory=list)
    events: tuple[int, ...] = ()
    opening: ScoredCaption | None = None

    @property
    def started(self) -> tuple[int, ...]:
        """Numbers of the events that started."""
        return tuple(change.number for change in self.changes if change.state == "start")


def ceased(start: int, end: int, absent_from: int | None) -> int:
    """Where a sound ceased: where the first window without it begins, or where its last window ends.

    Args:
        start: where the sound began.
        end: end of the newest window that has it.
        absent_from: start of the first window after these that tells of its absence; None where none does.
    """
    return end if absent_from is None or absent_from <= start else min(end, absent_from)
