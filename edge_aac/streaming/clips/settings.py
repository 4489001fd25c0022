"""The section ``[clips]``: whether, where and how long the sound of events is kept."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from edge_aac.state_folder import state_folder
from edge_aac.streaming.wording import checked_patterns
from edge_aac.timebase import SAMPLE_RATE

BYTES_PER_S = 2 * SAMPLE_RATE
"""Of 16-bit samples, which FLAC makes fewer."""

TAGS_MB = 0.05
"""Room for a file's head, generously."""


class ClipSettings(BaseModel):
    """Clips of the sound of events, of live sources; off unless switched on here."""

    model_config = ConfigDict(frozen=True, defer_build=True, extra="forbid")

    enabled: bool = Field(
        default=False,
        description="Save the sound of events as FLAC files.",
        json_schema_extra={"flag": "--save-clips/--no-clips", "env": "EDGE_AAC_SAVE_CLIPS"},
    )
    folder: Path | None = Field(
        default=None,
        description="Folder of the clips; it is made if need be. Files of other names in it are left alone.",
        examples=["/var/lib/edge-aac/clips"],
        json_schema_extra={
            "flag": "--clip-folder",
            "env": "EDGE_AAC_CLIP_FOLDER",
            "absent": "clips in the service's state folder, else in ~/.local/state/edge-aac",
        },
    )
    pre_roll_s: float = Field(
        default=3.0,
        ge=0.0,
        le=10.0,
        description="Sound before the event that a clip begins with.",
        json_schema_extra={"flag": "--clip-pre-roll", "env": "EDGE_AAC_CLIP_PRE_ROLL", "unit": "s"},
    )
    post_roll_s: float = Field(
        default=3.0,
        ge=0.0,
        le=60.0,
        description="Sound after the event that a clip ends with.",
        json_schema_extra={"flag": "--clip-post-roll", "env": "EDGE_AAC_CLIP_POST_ROLL", "unit": "s"},
    )
    max_clip_s: float = Field(
        default=60.0,
        ge=1.0,
        le=3600.0,
        description="Longest clip: of an event that goes on longer, its beginning is kept.",
        json_schema_extra={"flag": "--clip-max", "env": "EDGE_AAC_CLIP_MAX", "unit": "s"},
    )
    match: tuple[str, ...] = Field(
        default=(),
        description="Words: only events whose caption holds one of them have a clip; * stands for any letters of a "
        "word.",
        examples=[("dog*", "glass break*")],
        json_schema_extra={"flag": "--clip-match", "env": "EDGE_AAC_CLIP_MATCH", "absent": "all events"},
    )
    min_score: float | None = Field(
        default=None,
        allow_inf_nan=False,
        description="Events whose caption has a lower hybrid score have no clip.",
        examples=[0.3],
        json_schema_extra={"flag": "--clip-min-score", "env": "EDGE_AAC_CLIP_MIN_SCORE", "absent": "all events"},
    )
    max_total_mb: float = Field(
        default=1000.0,
        gt=0.0,
        le=1e9,
        description="Size of all clips in the folder; the oldest are deleted first.",
        json_schema_extra={"flag": "--clips-max-mb", "env": "EDGE_AAC_CLIPS_MAX_MB", "unit": "MB"},
    )
    max_age_days: float = Field(
        default=30.0,
        ge=0.0,
        le=36_500.0,
        description="Clips of older sound are deleted; 0: kept whatever their age.",
        json_schema_extra={"flag": "--clips-max-days", "env": "EDGE_AAC_CLIPS_MAX_DAYS", "unit": "days"},
    )
    min_free_mb: float = Field(
        default=500.0,
        ge=0.0,
        le=1e9,
        description="Room left free on the disk: below it the oldest clips are deleted, and then none is saved.",
        json_schema_extra={"flag": "--clips-min-free-mb", "env": "EDGE_AAC_CLIPS_MIN_FREE_MB", "unit": "MB"},
    )

    @field_validator("match")
    @classmethod
    def _with_words(cls, patterns: tuple[str, ...]) -> tuple[str, ...]:
        return checked_patterns(patterns)

    @model_validator(mode="after")
    def _room_for_the_event(self) -> ClipSettings:
        if self.pre_roll_s >= self.max_clip_s:
            raise ValueError(
                f"pre_roll_s = {self.pre_roll_s:g} leaves no room for the event in max_clip_s = {self.max_clip_s:g}"
            )
        return self

    @model_validator(mode="after")
    def _room_for_one(self) -> ClipSettings:
        needed_mb = self.max_clip_s * BYTES_PER_S / 1e6 + TAGS_MB
        if self.max_total_mb < needed_mb:
            raise ValueError(
                f"max_total_mb = {self.max_total_mb:g} holds no clip of max_clip_s = {self.max_clip_s:g}, which may "
                f"need {needed_mb:.2g} MB"
            )
        return self

    def resolved_folder(self) -> Path:
        """The folder, made absolute: the configured one, else that of the service manager or of the user."""
        if self.folder is not None:
            return self.folder.expanduser().absolute()
        return (state_folder() / "clips").absolute()

    def leaves(self) -> str:
        """What of the sound is written, see :mod:`edge_aac.settings.leaving`."""
        if not self.enabled:
            return "No sound is written."
        which = " or ".join(f'"{pattern}"' for pattern in self.match)
        events = f"each event whose caption holds {which}" if which else "each event"
        age = f" and {self.max_age_days:g} days" if self.max_age_days else ""
        return (
            f"Sound is written: a clip of {events}, of live sources, {self.max_clip_s:g} s at most, as FLAC files in "
            f'the folder "{self.resolved_folder()}", {self.max_total_mb:g} MB{age} at most. Clips are sent nowhere.'
        )
