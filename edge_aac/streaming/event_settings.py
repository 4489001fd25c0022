"""The section ``[events]``: when a sound that is heard is an event, and when it has ended."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

from edge_aac.streaming.events import EventRules
from edge_aac.timebase import SAMPLE_RATE


class EventSettings(BaseModel):
    """Settings of the events of every source."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    min_windows: int = Field(
        default=2,
        ge=1,
        le=100,
        description="Windows that must have a sound before its event starts (at most half of those in reach).",
        json_schema_extra={"flag": "--min-windows", "env": "EDGE_AAC_MIN_WINDOWS"},
    )
    min_gap_s: float = Field(
        default=30.0,
        ge=0.0,
        le=86_400.0,
        description="Seconds that a sound must not be heard for before its event ends.",
        json_schema_extra={"flag": "--min-gap", "env": "EDGE_AAC_MIN_GAP", "unit": "s"},
    )
    cooldown_s: float = Field(
        default=0.0,
        ge=0.0,
        le=86_400.0,
        description="Seconds from the end of an event in which the same sound starts no other; 0: it may at once.",
        json_schema_extra={"flag": "--cooldown", "env": "EDGE_AAC_COOLDOWN", "unit": "s"},
    )
    update_interval_s: float = Field(
        default=10.0,
        ge=0.0,
        le=86_400.0,
        description="Seconds between two records of an event that goes on, at least; 0: one with every window.",
        json_schema_extra={"flag": "--update-interval", "env": "EDGE_AAC_UPDATE_INTERVAL", "unit": "s"},
    )

    def rules(self) -> EventRules:
        """The settings in samples at 16 kHz."""
        return EventRules(
            self.min_windows,
            round(self.min_gap_s * SAMPLE_RATE),
            round(self.cooldown_s * SAMPLE_RATE),
            round(self.update_interval_s * SAMPLE_RATE),
        )
