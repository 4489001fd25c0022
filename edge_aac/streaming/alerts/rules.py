"""A rule for alerts, decided to the last value."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

MINUTES_A_DAY = 24 * 60
_HOURS = re.compile(r"(\d\d):([0-5]\d)-(\d\d):([0-5]\d)", re.ASCII)


@dataclass(frozen=True)
class Hours:
    """A stretch of the day by the machine's local time, over midnight where it ends before it starts.

    Attributes:
        start: its first minute, counted from midnight.
        end: the minute after its last.
    """

    start: int
    end: int

    @classmethod
    def parse(cls, text: str) -> Hours:
        """Read a stretch such as ``22:00-06:30``.

        Raises:
            ValueError: the text has another form, or the stretch is empty.
        """
        found = _HOURS.fullmatch(text.strip())
        if found is None:
            raise ValueError(f"{text!r} is no stretch of the day: write HH:MM-HH:MM, such as 22:00-06:30")
        hour, minute, last_hour, last_minute = (int(part) for part in found.groups())
        start, end = 60 * hour + minute, 60 * last_hour + last_minute
        if start >= MINUTES_A_DAY or end > MINUTES_A_DAY:
            raise ValueError(f"{text!r} has a time that no day has: hours are 00:00 to 24:00")
        if start == end:
            raise ValueError(f"{text!r} is empty: leave the hours out for the whole day")
        return cls(start, end)

    def hold(self, minute: int) -> bool:
        """Whether a minute of the day, counted from midnight, lies in the stretch."""
        if self.start < self.end:
            return self.start <= minute < self.end
        return minute >= self.start or minute < self.end


@dataclass(frozen=True)
class AlertRule:
    """A rule as one source follows it; lengths are samples at 16 kHz.

    Attributes:
        name: of the rule in records and topics.
        sounds: patterns of words, see :class:`edge_aac.streaming.wording.WordPatterns`.
        for_samples: how long the sound must have gone on for certain before an alert begins.
        gap_samples: pauses of the sound up to this length do not interrupt that count.
        hold_samples: an alert ends when the sound has not been heard for so long.
        cooldown_samples: after the end of an alert no other begins for so long.
        min_score: events whose best naming has a lower hybrid score do not count; None counts all.
        hours: stretches of the day in one of which an alert must begin; empty for the whole day.
        title: of the rule for people.
        device_class: what Home Assistant takes the sound for.
    """

    name: str
    sounds: tuple[str, ...]
    for_samples: int = 0
    gap_samples: int = 0
    hold_samples: int = 0
    cooldown_samples: int = 0
    min_score: float | None = None
    hours: tuple[Hours, ...] = ()
    title: str = ""
    device_class: str = "sound"

    def follows(self, other: AlertRule) -> bool:
        """Whether an alert of the other rule may go on under this one: they differ in how they are shown at most."""
        return replace(other, title=self.title, device_class=self.device_class) == self

    def awake(self, minute: int | None) -> bool:
        """Whether an alert may begin at a minute of the day; None where that is unknown, as of a file."""
        return minute is None or not self.hours or any(hours.hold(minute) for hours in self.hours)


def with_names(rules: Sequence[AlertRule]) -> dict[str, AlertRule]:
    """The rules by name."""
    return {rule.name: rule for rule in rules}


def local_minute(time: str | None) -> int | None:
    """Minute of the day, counted from midnight, of a time as records have it (RFC 3339), in the machine's time zone."""
    if time is None:
        return None
    local = datetime.fromisoformat(time.replace("Z", "+00:00")).astimezone()
    return 60 * local.hour + local.minute
