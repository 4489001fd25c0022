"""The section ``[[alerts]]``: sounds that are worth an alert, and for how long they must be heard."""

from __future__ import annotations

import unicodedata
from collections.abc import Collection, Iterable, Sequence
from typing import ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from edge_aac.streaming.alerts.rules import AlertRule, Hours
from edge_aac.streaming.wording import checked_patterns
from edge_aac.timebase import SAMPLE_RATE

LONGEST_NAME = 100
"""Of a rule and of its title, in characters."""

DeviceClass = Literal[
    "sound",
    "smoke",
    "carbon_monoxide",
    "gas",
    "safety",
    "tamper",
    "problem",
    "motion",
    "occupancy",
    "presence",
    "moisture",
    "running",
    "vibration",
    "door",
    "window",
    "garage_door",
]
"""Those classes of Home Assistant's binary sensors that a sound can tell of; it refuses any other word."""


class AlertSettings(BaseModel):
    """A rule for alerts; an array of tables."""

    ARRAY: ClassVar[bool] = True
    UNIQUE: ClassVar[tuple[str, ...]] = ("name",)

    model_config = ConfigDict(frozen=True, defer_build=True, extra="forbid")

    name: str = Field(
        min_length=1,
        description="Name of the rule in records and topics.",
        examples=["doorbell"],
    )
    sounds: tuple[str, ...] = Field(
        description="Words: sounds whose captions hold one of them count; * stands for any letters of a word.",
        examples=[("doorbell", "door chime*")],
    )
    sources: tuple[str, ...] = Field(
        default=(),
        description="Names of the sources that the rule is for.",
        examples=[("hall",)],
        json_schema_extra={"absent": "all sources"},
    )
    for_s: float = Field(
        default=0.0,
        ge=0.0,
        le=86_400.0,
        description="Seconds that the sound must have gone on for certain before the alert begins; 0: it begins with "
        "the sound's event.",
        json_schema_extra={"unit": "s"},
    )
    gap_s: float = Field(
        default=30.0,
        ge=0.0,
        le=86_400.0,
        description="Pauses of the sound up to this length do not interrupt that count.",
        json_schema_extra={"unit": "s"},
    )
    hold_s: float = Field(
        default=30.0,
        ge=0.0,
        le=86_400.0,
        description="Seconds that the sound must not be heard for before the alert ends.",
        json_schema_extra={"unit": "s"},
    )
    cooldown_s: float = Field(
        default=0.0,
        ge=0.0,
        le=86_400.0,
        description="Seconds from the end of an alert in which the rule begins no other for the same source.",
        json_schema_extra={"unit": "s"},
    )
    min_score: float | None = Field(
        default=None,
        allow_inf_nan=False,
        description="Sounds whose best caption has a lower hybrid score do not count.",
        examples=[0.3],
        json_schema_extra={"absent": "all count"},
    )
    hours: tuple[str, ...] = Field(
        default=(),
        description="Stretches of the day, by local time, in which an alert may begin, each HH:MM-HH:MM.",
        examples=[("22:00-06:30",)],
        json_schema_extra={"absent": "all day"},
    )
    title: str | None = Field(
        default=None,
        min_length=1,
        description="Name of the rule for people, in sentences and in Home Assistant.",
        examples=["Doorbell"],
        json_schema_extra={"absent": "the name"},
    )
    device_class: DeviceClass = Field(default="sound", description="What Home Assistant takes the sound for.")
    enabled: bool = Field(default=True, description="false: the rule is not followed.")

    @field_validator("name", "title")
    @classmethod
    def _printable(cls, name: str | None) -> str | None:
        # Names are printed on terminals and stand in topics.
        if name is not None and (not name.strip() or any(unicodedata.category(each)[0] == "C" for each in name)):
            raise ValueError("a name holds a letter or sign, and no control characters")
        if name is not None and len(name) > LONGEST_NAME:
            raise ValueError(f"a name has at most {LONGEST_NAME} characters")
        return name

    @field_validator("sounds")
    @classmethod
    def _with_words(cls, patterns: tuple[str, ...]) -> tuple[str, ...]:
        if not patterns:
            raise ValueError("a rule needs the words of one sound at least")
        return checked_patterns(patterns)

    @field_validator("hours")
    @classmethod
    def _of_a_day(cls, stretches: tuple[str, ...]) -> tuple[str, ...]:
        for text in stretches:
            Hours.parse(text)
        return stretches

    def leaves(self) -> str:
        """What is written because of the rule, see :mod:`edge_aac.settings.leaving`."""
        if not self.enabled:
            return ""
        return (
            f'Alerts of the rule "{self.name}" go where a sink takes alert records; while one is open, its record and '
            "caption are kept in alerts.json in the service's state folder, or the user's."
        )

    def rule(self) -> AlertRule:
        """The rule, with lengths in samples at 16 kHz."""
        return AlertRule(
            name=self.name,
            sounds=self.sounds,
            for_samples=round(self.for_s * SAMPLE_RATE),
            gap_samples=round(self.gap_s * SAMPLE_RATE),
            hold_samples=round(self.hold_s * SAMPLE_RATE),
            cooldown_samples=round(self.cooldown_s * SAMPLE_RATE),
            min_score=self.min_score,
            hours=tuple(Hours.parse(text) for text in self.hours),
            title=self.title or self.name,
            device_class=self.device_class,
        )


def rules_for(labels: Collection[str], settings: Iterable[AlertSettings]) -> tuple[AlertRule, ...]:
    """The rules that a source follows, in order.

    Args:
        labels: label of the source, and of what has found it, if anything has.
        settings: the tables of ``[[alerts]]``.
    """
    return tuple(
        each.rule()
        for each in settings
        if each.enabled and (not each.sources or not set(each.sources).isdisjoint(labels))
    )


def unknown_sources(settings: Iterable[AlertSettings], known: Sequence[str]) -> list[str]:
    """A sentence for each rule that names a source that is not configured.

    Args:
        settings: the tables of ``[[alerts]]``.
        known: labels of all sources that are configured.
    """
    return [
        f"the alert {each.name!r} is for the source {source!r}, which is not configured: "
        f"there {'is' if len(known) == 1 else 'are'} {', '.join(known) or 'none'}"
        for each in settings
        for source in each.sources
        if source not in known
    ]
