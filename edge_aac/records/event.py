"""The event record: overlapping windows of the same event, from their first to their last."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from edge_aac.records.base import Record


class Event(Record):
    """A change of an event: its start, an update or its end.

    Attributes:
        event: number of the event, from 0, within its run and source.
        id: its start and number, which are the same in all its records: no other event of the node and source has it,
            whatever is restarted. Absent for a file or pipe.
        state: "start" when enough windows have the sound, "update" while it goes on, "end" when none had it for a
            while.
        start, start_s: where the sound began, as far as windows tell.
        end, end_s: while the sound goes on, the end of the newest window that has it; of an "end", where it ceased.
        caption: the best-scored naming of the sound so far; of a caption that names several sounds, the part of it.
        windows: number of windows so far that have the sound.
        speech: True where people may talk in one of them, and the settings want that marked; else absent.
    """

    schema_: Literal["edge-aac/event/1"] = Field(default="edge-aac/event/1", alias="schema")
    event: int
    id: str | None = None
    state: Literal["start", "update", "end"]
    caption: str
    windows: int
    speech: bool | None = None

    def sentence(self) -> str:
        return f"[{self.state}] {self.caption}"
