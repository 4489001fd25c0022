"""Follows one source's events by rules: when an alert begins, and when it ends. All positions are samples.

A window of 10 s tells that a sound is in it, and not when. So a sound that is in several windows has certainly gone on
from the end of the first to the start of the newest: that is what ``for_s`` of a rule is compared with. How long a
sound has paused, and when it was last heard, is judged as for events (:mod:`edge_aac.streaming.events`): it ceased
where the first window without it begins.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Literal

from edge_aac.streaming.alerts.rules import AlertRule, with_names
from edge_aac.streaming.event_changes import EventChange, OpenEvent, ceased
from edge_aac.streaming.wording import WordPatterns

REMEMBERED_RULES = 256
"""Rules that are gone of which it is remembered to where their last alerts went."""

REMEMBERED_TEXTS = 1024
"""Wordings of which a rule remembers whether they name its sounds."""

Reason = Literal["quiet", "stopped", "rule"]


@dataclass(frozen=True)
class AlertChange:
    """The start or end of an alert.

    Attributes:
        rule: its rule.
        number: number of the alert, from 0, of this source and run, whatever the rule.
        state: the change.
        start: sample at which the sound began, as far as windows tell; the same in both changes.
        end: of a "start" the end of the newest window that has the sound, of an "end" where it ceased.
        caption: how the sound was named when the alert began.
        event: number of the event that began it.
        reason: of an "end", why: "quiet" where windows tell that the sound is gone, "stopped" where none tells of it
            any more or its caption may not be told, "rule" where the rule was changed or taken out.
    """

    rule: AlertRule
    number: int
    state: Literal["start", "end"]
    start: int
    end: int
    caption: str
    event: int
    reason: Reason | None = None


@dataclass
class _Run:
    """A sound that goes on, but for pauses that the rule bridges.

    Attributes:
        start: where it began.
        begun_by: end of the first window that has it.
        newest_start, end: the newest window that has it.
        absent_from: start of the first window after these that tells of its absence.
    """

    start: int
    begun_by: int
    newest_start: int
    end: int
    absent_from: int | None = None

    @property
    def certain_samples(self) -> int:
        """For how long it has gone on at least."""
        return max(0, self.newest_start - self.begun_by)

    @property
    def ceased(self) -> int:
        """Where it ceased: where the first window without it begins, or where its last window ends."""
        return ceased(self.start, self.end, self.absent_from)


@dataclass
class _Followed:
    """What is known of one rule.

    Attributes:
        rule: the rule.
        matches: whether a text names such a sound.
        named: open events that are such a sound; they stay it, whatever later windows call them.
        run: the sound now; None where it is not heard.
        alert: the alert that is open; None where none is.
        over: where the last alert ended; None before the first.
        told: where the last alert of a rule of this name ended, whatever else that rule said.
    """

    rule: AlertRule
    matches: Callable[[str], bool]
    named: set[int] = field(default_factory=set)
    run: _Run | None = None
    alert: AlertChange | None = None
    over: int | None = None
    told: int = 0

    def wording(self, event: OpenEvent) -> str | None:
        """How an event is called where it is such a sound: its best naming, else the newest that fits; else None."""
        if self.rule.min_score is not None and not event.hybrid >= self.rule.min_score:
            return None
        return next((text for text in (event.caption, *reversed(event.wordings)) if self.matches(text)), None)


class AlertWatch:
    """Finds the alerts of one source. The scheduler's thread alone uses it.

    Args:
        rules: those that the source follows.
        minute_at: gives the minute of the day, counted from midnight, of a position; None where that is unknown.
    """

    def __init__(self, rules: Sequence[AlertRule], minute_at: Callable[[int], int | None]) -> None:
        self._minute_at = minute_at
        self._followed = [_follow(rule) for rule in rules]
        self._told_until = 0
        """End of the newest window that told what is heard."""
        self._count = 0
        self._told: dict[str, int] = {}
        """Where the last alert ended of rules that were changed or taken out, by name."""

    @property
    def rules(self) -> tuple[AlertRule, ...]:
        """The rules that are followed."""
        return tuple(one.rule for one in self._followed)

    @property
    def open(self) -> dict[str, AlertChange]:
        """The start of each alert that is open, by the name of its rule."""
        return {one.rule.name: one.alert for one in self._followed if one.alert is not None}

    def window(self, start: int, end: int, events: Sequence[OpenEvent]) -> list[AlertChange]:
        """Take in the next window that tells what is heard, once time has passed to its start: ``start`` to ``end``.

        Args:
            start: first sample of the window.
            end: the sample after its last.
            events: all that are open when it was taken in; those that it has end with it.
        """
        changes: list[AlertChange] = []
        there = {event.number for event in events}
        for one in self._followed:
            one.named &= there
            heard = False
            for event in events:
                if event.end != end or (event.number not in one.named and one.wording(event) is None):
                    continue
                if event.number not in one.named:
                    one.named.add(event.number)
                    begun = _Run(event.start, event.first_end, start, end)
                else:
                    begun = _Run(max(start, min(end, self._told_until)), end, start, end)
                self._join(one, begun)
                heard = True
                changes += self._begun(one, event, end)
            if not heard:
                if one.run is not None and one.run.absent_from is None:
                    one.run.absent_from = start
                changes += self._expired(one, start, told_until=end)
        self._told_until = max(self._told_until, end)
        return changes

    def late(self, changes: Sequence[EventChange]) -> list[AlertChange]:
        """Take in events that time alone has started: their windows were taken in before.

        Args:
            changes: of events; all but starts are left aside.
        """
        found: list[AlertChange] = []
        for change in (change for change in changes if change.state == "start"):
            text, hybrid = change.caption.text, change.caption.hybrid
            event = OpenEvent(change.number, change.start, change.end, change.end, text, hybrid, (text,))
            for one in self._followed:
                if one.wording(event) is not None:
                    one.named.add(event.number)
                    self._join(one, _Run(event.start, event.end, event.start, event.end))
                    found += self._begun(one, event, event.end)
        return found

    def expire(self, position: int) -> list[AlertChange]:
        """Let time pass: no window before ``position`` is still to come."""
        return [change for one in self._followed for change in self._expired(one, position, self._told_until)]

    def finish(self) -> list[AlertChange]:
        """End all alerts: nothing is heard any more."""
        ends = [_ended(one, "stopped") for one in self._followed if one.alert is not None]
        for one in self._followed:
            one.run = None
        return ends

    def give_up(self, may_be_told: Callable[[str], bool]) -> list[AlertChange]:
        """End the alerts whose captions may not be told any more."""
        alerts = [(one, one.alert) for one in self._followed]
        return [_ended(one, "stopped") for one, alert in alerts if alert is not None and not may_be_told(alert.caption)]

    def change_rules(self, rules: Sequence[AlertRule]) -> list[AlertChange]:
        """Follow other rules from now on: alerts of those that are gone or changed end, those of the others go on."""
        wanted, kept, changes = with_names(rules), dict[str, _Followed](), list[AlertChange]()
        for one in self._followed:
            rule = wanted.get(one.rule.name)
            if rule is not None and rule.follows(one.rule):
                one.rule = rule
                kept[rule.name] = one
                continue
            if one.alert is not None:
                changes.append(_ended(one, "rule"))
            self._told.pop(one.rule.name, None)
            self._told[one.rule.name] = one.told
            if len(self._told) > REMEMBERED_RULES:
                del self._told[next(iter(self._told))]
        # Whoever follows alerts by the name of their rule is not told a stretch twice because its rule was changed.
        self._followed = [kept.get(rule.name) or _follow(rule, self._told.get(rule.name, 0)) for rule in rules]
        return changes

    @staticmethod
    def _join(one: _Followed, begun: _Run) -> None:
        """Have a rule's sound go on with what was just heard of it, or begin with that."""
        # What was told of an alert that is over is no part of the next one.
        begun.start = max(begun.start, min(one.told, begun.end))
        if one.over is not None:
            begun.begun_by = max(begun.begun_by, begun.start)
        run = one.run
        if run is None or (one.alert is None and begun.start - run.ceased > one.rule.gap_samples):
            one.run = begun
            return
        if one.alert is None:
            run.start, run.begun_by = min(run.start, begun.start), min(run.begun_by, begun.begun_by)
        run.newest_start, run.end = max(run.newest_start, begun.newest_start), max(run.end, begun.end)
        run.absent_from = None

    def _begun(self, one: _Followed, event: OpenEvent, end: int) -> list[AlertChange]:
        """Begin an alert where it is due, with the window that ends at ``end``."""
        run, rule = one.run, one.rule
        if one.alert is not None or run is None or run.certain_samples < rule.for_samples:
            return []
        if one.over is not None and rule.cooldown_samples and end <= one.over + rule.cooldown_samples:
            return []
        if rule.hours and not rule.awake(self._minute_at(end)):
            return []
        caption = one.wording(event) or event.caption
        one.alert = AlertChange(rule, self._count, "start", run.start, run.end, caption, event.number)
        self._count += 1
        return [one.alert]

    @staticmethod
    def _expired(one: _Followed, position: int, told_until: int) -> list[AlertChange]:
        """End what time has passed, with no window before ``position`` still to come."""
        run = one.run
        if run is None:
            return []
        if one.alert is None:
            if position - run.ceased > one.rule.gap_samples:
                one.run = None
            return []
        if position < run.ceased + one.rule.hold_samples:
            return []
        return [_ended(one, "quiet" if told_until > run.end else "stopped")]


def _ended(one: _Followed, reason: Reason) -> AlertChange:
    alert, run = one.alert, one.run
    assert alert is not None and run is not None, "an open alert has a sound"
    one.alert, one.run, one.over, one.told = None, None, run.ceased, run.ceased
    return AlertChange(one.rule, alert.number, "end", alert.start, run.ceased, alert.caption, alert.event, reason)


def _follow(rule: AlertRule, told: int = 0) -> _Followed:
    # The same wordings come with every window.
    return _Followed(rule, lru_cache(REMEMBERED_TEXTS)(WordPatterns(rule.sounds).matches), told=told)
