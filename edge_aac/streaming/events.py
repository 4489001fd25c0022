"""Sounds that go on from window to window are events, each with a start, updates and an end.

Windows overlap, captions word the same sound differently, name two sounds at once, and miss one for a while. What an
event is in spite of that, and when it starts and ends, is in docs/events.md.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Container, Sequence
from dataclasses import dataclass

from edge_aac.models.contract import ScoredCaption
from edge_aac.streaming.counters import Counters
from edge_aac.streaming.event_changes import EventChange, Observation, OpenEvent, State, ceased
from edge_aac.streaming.event_settings import EventRules
from edge_aac.streaming.sounds import Embed, KnownSound, NamedSound, Phrases, SoundReader, whole_caption

MAX_TRACKED = 64
"""Sounds that are followed at a time; of more, the one that has not been heard for the longest ends."""

MAX_COOLING = 64
"""Sounds that are remembered for the cool-down; of more, those that ended first are forgotten."""


@dataclass(eq=False)
class _Tracked:
    """A sound that is followed: an event, or one that may become an event.

    Attributes:
        sound: what it was called.
        start: where it began.
        end: end of the newest window that has it.
        first_end: end of the first one.
        best: the best of its namings.
        newest: how the newest of these names it.
        windows: number of windows that have it.
        absent_from: start of the first window after these that tells of its absence.
        number: number of the event; None before its start.
        told_end: end of the window of its newest change.
        cool_until: sample before which it starts no event; None where nothing cools down.
        told: how the newest record of its event names it; None before its start.
    """

    sound: KnownSound
    start: int
    end: int
    first_end: int
    best: NamedSound
    newest: Sequence[NamedSound] = ()
    windows: int = 0
    absent_from: int | None = None
    number: int | None = None
    told_end: int = 0
    cool_until: int | None = None
    told: NamedSound | None = None

    @property
    def ceased(self) -> int:
        """Where the sound ceased: where the first window without it begins, or where its last window ends."""
        return ceased(self.start, self.end, self.absent_from)

    @property
    def cooled(self) -> bool:
        """Whether no cool-down keeps it from starting an event."""
        return self.cool_until is None or self.end > self.cool_until

    def as_event(self, number: int) -> OpenEvent:
        best, wordings = self.best, self.sound.wordings
        return OpenEvent(number, self.start, self.first_end, self.end, best.text, best.caption.hybrid, wordings)

    def change(self, state: State) -> EventChange:
        assert self.number is not None, "what has not started changes nothing"
        end = self.ceased if state == "end" else self.end
        return EventChange(self.number, state, self.start, end, self.best.as_caption(), self.windows)


class EventTracker:
    """Follows the sounds of one stream. Windows come in order.

    A phrase of a caption belongs to the sound that is still followed whose wordings it is most like, where the cosine
    is at least ``same_similarity``; else it is a new sound. A window's best caption names new sounds; its other
    candidates may only tell that a known one is still there.

    Args:
        same_similarity: smallest cosine between the text embeddings of a phrase and of one sound's wordings.
        embed: embeds the phrases that the model has not embedded itself.
        rules: when a sound starts an event, and when it ends one.
        phrases: splits a caption into phrases that each name a sound.
    """

    def __init__(
        self,
        same_similarity: float,
        embed: Embed,
        rules: EventRules | None = None,
        phrases: Phrases = whole_caption,
    ) -> None:
        self.counters = Counters()
        """Counts of what became of sounds; a channel puts its own here."""
        self._same_similarity = same_similarity
        self._rules = rules or EventRules()
        self._reader = SoundReader(embed, phrases)
        self._tracked: list[_Tracked] = []
        self._opened = 0
        self._cooling: deque[tuple[KnownSound, int]] = deque(maxlen=MAX_COOLING)
        self._told_start = self._told_until = 0
        """Bounds of the newest window that told what is heard."""
        self._needed = self._rules.min_windows
        """Windows that must have a sound, for the hop as it is: it may change as the stream goes on."""
        self._newest: Sequence[NamedSound] = ()

    def regulate(self, same_similarity: float, rules: EventRules) -> None:
        """Follow sounds by other rules from now on; open events go on."""
        self._same_similarity = same_similarity
        self._rules = rules
        self._needed = rules.min_windows

    def use(self, same_similarity: float, embed: Embed, phrases: Phrases) -> None:
        """Compare captions otherwise from now on, with another model's embeddings; no event is open."""
        self._same_similarity = same_similarity
        self._reader = SoundReader(embed, phrases)
        self._cooling.clear()
        self._newest = ()

    @property
    def open(self) -> list[OpenEvent]:
        """The events that go on."""
        return [one.as_event(one.number) for one in self._tracked if one.number is not None]

    @property
    def wordings(self) -> dict[int, tuple[str, ...]]:
        """What each open event was called so far, by its number."""
        return {event.number: (*event.wordings, event.caption) for event in self.open}

    def give_up(self, numbers: Container[int]) -> list[EventChange]:
        """End events at once, in the words that were told last, and follow nothing that has not started.

        Args:
            numbers: of the events.
        """
        changes: list[EventChange] = []
        for one in list(self._tracked):
            if one.number is None or one.number in numbers:
                one.best = one.told or one.best
                changes += self._drop(one)
        self._newest = ()
        return changes

    @property
    def open_events(self) -> int:
        """Number of sounds that are followed: time alone may end them, or start them."""
        return len(self._tracked)

    def observe(self, start: int, end: int, captions: Sequence[ScoredCaption]) -> Observation:
        """Take in the next window: samples ``start`` to ``end``.

        Args:
            start: first sample of the window.
            end: the sample after its last.
            captions: distinct captions of it, best first; none where it is silent.
        """
        return self._take_in(start, end, self._reader.read(captions))

    def repeat(self, start: int, end: int) -> Observation:
        """Take in a window that sounds like the last one that was observed, and was not captioned for that."""
        return self._take_in(start, end, self._newest)

    def expire(self, position: int) -> Observation:
        """Let time pass: no window before ``position`` (in samples) is still to come."""
        changes: list[EventChange] = []
        openings: list[NamedSound] = []
        for one in list(self._tracked):
            if position >= one.end and self._uncontradicted(one):
                openings += one.newest
                changes.append(self._start(one))
            bridged = one.number is not None or one.cool_until is not None
            if position >= one.end + (self._rules.min_gap_samples if bridged else 0):
                changes += self._drop(one)
        return Observation(changes, (), _opening(openings))

    def finish(self) -> Observation:
        """End of the stream: what its last window has is an event all the same; then all events end."""
        starting = [one for one in self._tracked if self._uncontradicted(one)]
        changes = [self._start(one) for one in starting]
        for one in list(self._tracked):
            changes += self._drop(one)
        return Observation(changes, (), _opening([naming for one in starting for naming in one.newest]))

    def _take_in(self, start: int, end: int, named: Sequence[NamedSound]) -> Observation:
        if self._told_start < start < self._told_until:
            self._needed = self._rules.within(end - start, start - self._told_start).min_windows
        timely = self.expire(start)
        changes, openings = timely.changes, list[NamedSound]()
        heard: dict[_Tracked, list[NamedSound]] = {}
        for naming in named:
            one = self._nearest(naming)
            if one is None:
                if naming.rank:
                    continue
                one = self._follow(naming, start, end)
            if not naming.rank:
                one.sound.add(naming)
            heard.setdefault(one, []).append(naming)
        for one in list(self._tracked):
            if one not in heard:
                one.absent_from = start if one.absent_from is None else one.absent_from
                continue
            one.end, one.absent_from = end, None
            one.windows, one.newest = one.windows + 1, heard[one]
            best = max(heard[one], key=lambda naming: naming.quality)
            if best.quality > one.best.quality:
                one.best = best
            if one.number is None:
                if one.windows >= self._needed and one.cooled:
                    changes.append(self._start(one))
                    openings += heard[one]
            elif end - one.told_end >= self._rules.update_samples:
                one.told_end, one.told = end, one.best
                changes.append(one.change("update"))
        while len(self._tracked) > MAX_TRACKED:
            changes += self._drop(min(self._tracked, key=lambda one: one.end))
        self._told_start, self._told_until = start, end
        self._newest = named
        events = [one.number for one, namings in heard.items() if one.number is not None and not namings[0].rank]
        return Observation(changes, tuple(events), _opening(openings) or timely.opening)

    def _nearest(self, naming: NamedSound) -> _Tracked | None:
        """The sound that is named, of those that are followed."""
        found = max(self._tracked, key=lambda one: one.sound.similarity(naming), default=None)
        if found is None or found.sound.similarity(naming) < self._same_similarity:
            return None
        return found

    def _follow(self, naming: NamedSound, start: int, end: int) -> _Tracked:
        """Follow a new sound: the window before has not had it, so that it began no earlier than where that ended."""
        one = _Tracked(KnownSound(naming), max(start, min(end, self._told_until)), end, end, naming)
        for sound, until in list(self._cooling):
            if until <= start:
                self._cooling.remove((sound, until))
            elif one.cool_until is None and sound.similarity(naming) >= self._same_similarity:
                self._cooling.remove((sound, until))
                one.sound, one.cool_until = sound, until
        self._tracked.append(one)
        return one

    @staticmethod
    def _uncontradicted(one: _Tracked) -> bool:
        """Whether a sound waits to be confirmed that no window since has told of as absent."""
        return one.number is None and one.absent_from is None and one.cooled

    def _start(self, one: _Tracked) -> EventChange:
        one.number, one.told_end, one.cool_until, one.told = self._opened, one.end, None, one.best
        self._opened += 1
        self.counters.events += 1
        return one.change("start")

    def _drop(self, one: _Tracked) -> list[EventChange]:
        """Follow a sound no more."""
        self._tracked.remove(one)
        if one.number is not None:
            if self._rules.cooldown_samples:
                self._cooling.append((one.sound, one.ceased + self._rules.cooldown_samples))
            return [one.change("end")]
        if one.cool_until is not None:
            self.counters.cooled += 1
            self._cooling.append((one.sound, one.cool_until))
        else:
            self.counters.unconfirmed += 1
        return []


def _opening(namings: Sequence[NamedSound]) -> ScoredCaption | None:
    """The caption that names the most of these sounds; of several, the best-ranked one."""
    counts: dict[int, int] = {}
    for naming in namings:
        counts[naming.rank] = counts.get(naming.rank, 0) + 1
    if not counts:
        return None
    rank = min(counts, key=lambda rank: (-counts[rank], rank))
    return next(naming.caption for naming in namings if naming.rank == rank)
