"""The clip record: where the sound of an event was saved."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from edge_aac.records.base import Record


class Clip(Record):
    """A clip that was saved; ``start`` and ``end`` are those of its sound.

    Attributes:
        event: number of the event within its run and source.
        caption: the best-scored of the event's captions.
        path: of the FLAC file on the device.
        seconds: length of the sound.
        cut: why the clip ends before its event with all that follows it: "long" at the longest length, "lost" where
            sound was lost, "busy" where it could not be written fast enough, "private" before what must not be kept,
            "stop" with the run; absent where it is whole.
    """

    schema_: Literal["edge-aac/clip/1"] = Field(default="edge-aac/clip/1", alias="schema")
    event: int
    caption: str
    path: str
    seconds: float
    cut: Literal["long", "lost", "busy", "private", "stop"] | None = None

    def sentence(self) -> str:
        return f"[clip] {self.caption}, {self.seconds:.1f} s: {self.path}"
