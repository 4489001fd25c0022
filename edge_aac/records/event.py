"""The event record: overlapping windows of the same event, from their first to their last."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from edge_aac.records.base import Record


class Event(Record):
    """A change of an event: its start, an update or its end.

    Attributes:
        event: number of the event, from 0, within its run and source.
        state: "start" with its first window, "update" with each further one, "end" when no window has it any more.
        caption: the best-scored of its captions so far.
        windows: number of windows so far whose caption is of the event.
        speech: True where people may talk in one of them, and the settings want that marked; else absent.
    """

    schema_: Literal["edge-aac/event/1"] = Field(default="edge-aac/event/1", alias="schema")
    event: int
    state: Literal["start", "update", "end"]
    caption: str
    windows: int
    speech: bool | None = None

    def sentence(self) -> str:
        return f"[{self.state}] {self.caption}"
