"""The section ``[events]``: when a sound that is heard is an event, and when it has ended."""

from __future__ import annotations

from dataclasses import dataclass, replace

from pydantic import BaseModel, ConfigDict, Field

from edge_aac.timebase import SAMPLE_RATE


@dataclass(frozen=True)
class EventRules:
    """When a sound is an event. The defaults confirm nothing and bridge nothing.

    Attributes:
        min_windows: windows that must have a sound before its event starts.
        min_gap_samples: samples at 16 kHz that a sound must not be heard for before its event ends.
        cooldown_samples: samples from the end of an event in which the same sound starts no other.
        update_samples: samples from one record of an event to its next update at least.
    """

    min_windows: int = 1
    min_gap_samples: int = 0
    cooldown_samples: int = 0
    update_samples: int = 0

    def within(self, window_samples: int, hop_samples: int) -> EventRules:
        """The rules for windows of a length and hop: a sound need be in half of the windows that hold it, no more.

        A sound of a moment lies in ``window / hop`` windows. Where these are few, one is enough.
        """
        return replace(self, min_windows=max(1, min(self.min_windows, window_samples // hop_samples // 2)))


class EventSettings(BaseModel):
    """Settings of the events of every source."""

    model_config = ConfigDict(frozen=True, defer_build=True, extra="forbid")

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
