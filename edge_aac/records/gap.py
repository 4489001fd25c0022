"""The gap record: sound of a live source that is missing, and why."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from edge_aac.records.base import Record

GapReason = Literal["disconnected", "stalled", "suspended", "lost", "overrun"]

_WHY: dict[GapReason, str] = {
    "disconnected": "the source was away",
    "stalled": "the source gave none",
    "suspended": "the machine slept",
    "lost": "it was lost on the way",
    "overrun": "it waited too long",
}


class Gap(Record):
    """Sound that was lost between ``start`` and ``end``, published when the loss is over.

    An outage has one record, however often the source was tried meanwhile. Small losses ("lost", "overrun") are
    gathered for up to a minute: then there is sound between ``start`` and ``end``, too. Over a run the records' losses
    add up to the ``dropped_ms`` of the health records, to the millisecond.

    Attributes:
        reason: "disconnected": the device or connection was away; "stalled": it was there and gave no sound;
            "suspended": the machine slept; "lost": a driver or network lost some on the way; "overrun": the machine
            was too busy to take it.
        lost_ms: milliseconds of sound that were lost.
        detail: what the source said when the outage began; absent where it said nothing.
    """

    schema_: Literal["edge-aac/gap/1"] = Field(default="edge-aac/gap/1", alias="schema")
    reason: GapReason
    lost_ms: int
    detail: str | None = None

    def sentence(self) -> str:
        return f"[gap] {self.lost_ms / 1000:.1f} s of sound missing: {_WHY[self.reason]}"
