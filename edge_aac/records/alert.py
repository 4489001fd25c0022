"""The alert record: a named sound is heard for long enough, and then no more."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from edge_aac.records.base import Record


class Alert(Record):
    """The start or end of an alert.

    Attributes:
        alert: name of its rule.
        title: name of the rule for people, where it has one.
        number: number of the alert, from 0, within its run and source.
        id: its start and number, which are the same in both its records: no other alert of the node and source has it,
            whatever is restarted. Absent for a file or pipe.
        state: "start" when the sound has gone on for as long as the rule wants, "end" when it is over.
        start, start_s: where the sound began, as far as windows tell.
        end, end_s: of a "start", the end of the newest window that has the sound; of an "end", where it ceased.
        lasted_s: seconds from the start to the end, by the sound's own time.
        caption: how the sound was named when the alert began.
        event: number of the event that began it.
        reason: of an "end", why: "quiet" when the sound was not heard for as long as the rule wants, "stopped" when
            nothing is listened to any more (the source is paused, away or taken out, or the stream ends) or the caption
            may not be told any more, "rule" when the rule was changed or taken out, "restart" when the run of the start
            ended without a word.
        speech: True where people may talk in the event, and the settings want that marked; else absent.
    """

    schema_: Literal["edge-aac/alert/1"] = Field(default="edge-aac/alert/1", alias="schema")
    alert: str
    title: str | None = None
    number: int
    id: str | None = None
    state: Literal["start", "end"]
    lasted_s: float
    caption: str
    event: int
    reason: Literal["quiet", "stopped", "rule", "restart"] | None = None
    speech: bool | None = None

    def without_words(self) -> Alert:
        """The record with the rule's name in place of what was heard, which may not be told any more."""
        return self.model_copy(update={"caption": self.title or self.alert})

    def sentence(self) -> str:
        name = self.title or self.alert
        if self.state == "start":
            return f"[alert] {name}: {self.caption}"
        return f"[alert over] {name}: {self.caption}, for {self.lasted_s:.0f} s"
