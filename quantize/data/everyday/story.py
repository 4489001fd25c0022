"""What a caption tells of events: which sounds, in which order, in front or behind; not in which words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from quantize.data.everyday.events import SURE, HeardEvent
from quantize.data.everyday.lexicon import Lexicon

MAX_TOLD = 3
"""Sounds that one caption tells of: more make it longer than 25 words."""

TOGETHER = 0.2
"""Share of the shorter of two events that they have in common, up to which one comes after the other."""

LASTS_THROUGH = 0.85
"""Share of all the others' time in which an event must be heard to be told as lasting behind all of them."""

BEHIND_DB = 4.0
"""An event this much weaker than every other is in the background."""

LOUD_DB = 8.0
"""An event this much louder than every other is loud."""


@dataclass(frozen=True)
class Told:
    """A sound of a caption.

    Attributes:
        sound: name in the lexicon; None for one that nobody knows.
        event: what is true of it.
        again: whether it was told before.
        behind: whether it is weaker than all others by :data:`BEHIND_DB`.
        loud: whether it is louder than all others by :data:`LOUD_DB`.
    """

    sound: str | None
    event: HeardEvent
    again: bool = False
    behind: bool = False
    loud: bool = False


@dataclass(frozen=True)
class Story:
    """What a caption tells.

    Attributes:
        groups: sounds that are heard at the same time, group after group in the order of time.
        through: a sound that is heard through all groups; there are several groups then.
        whole: whether nothing else is heard.
    """

    groups: tuple[tuple[Told, ...], ...]
    through: Told | None = None
    whole: bool = False

    @property
    def told(self) -> tuple[Told, ...]:
        """All sounds, in order."""
        through = () if self.through is None else (self.through,)
        return (*(one for group in self.groups for one in group), *through)


def story(lexicon: Lexicon, events: Sequence[HeardEvent], sure: float = SURE) -> Story:
    """What there is to tell of events.

    What is not sure enough to be any sound is told as an unknown one, if nothing else is heard; of more sounds than a
    caption can tell, the loudest and longest are told.

    Args:
        lexicon: the sounds.
        events: in any order.
        sure: confidence from which a sound is named.
    """
    named = [Told(event.named(sure), event) for event in events]
    known = _united(lexicon, [one for one in named if one.sound is not None])
    if not known:
        unknown = max((one for one in named), key=lambda one: one.event.seconds, default=None)
        return Story(() if unknown is None else ((unknown,),))
    chosen = sorted(sorted(known, key=_weight)[-MAX_TOLD:], key=lambda one: (one.event.start_s, one.event.end_s))
    chosen = [_placed(one, chosen) for one in chosen]
    through = _lasting(lexicon, chosen)
    if through is not None:
        groups = _in_turn([one for one in chosen if one is not through])
        if len(groups) > 1:
            return Story(_counted_again(groups), through)
    whole = len(chosen) == len(known) and all(one.sound is not None for one in named)
    return Story(_counted_again(_in_turn(chosen)), whole=whole)


def _weight(one: Told) -> float:
    return one.event.level_db + 6.0 * min(one.event.seconds, 4.0)


def _united(lexicon: Lexicon, named: Sequence[Told]) -> list[Told]:
    """The sounds, those of one kind as one, unless another is heard between them.

    "A dog barks and an animal calls" would tell of two where there is one, so a sound and its example are one kind.
    """
    united: list[Told] = []
    for one in sorted(named, key=lambda one: (one.event.start_s, one.event.end_s)):
        index = next((i for i in range(len(united) - 1, -1, -1) if _same(lexicon, united[i], one)), None)
        if index is None or _between(united[index], one, named):
            united.append(one)
        else:
            united[index] = _union(lexicon, united[index], one)
    return united


def _same(lexicon: Lexicon, one: Told, other: Told) -> bool:
    return one.sound is not None and other.sound is not None and lexicon.names.related(one.sound, other.sound)


def _between(one: Told, other: Told, named: Sequence[Told]) -> bool:
    """Whether something else is heard between two events, and neither beside them."""
    if one.sound != other.sound:
        return False
    return any(
        third.sound != one.sound and third.event.start_s >= one.event.end_s and third.event.end_s <= other.event.start_s
        for third in named
    )


def _union(lexicon: Lexicon, one: Told, other: Told) -> Told:
    first, second = one.event, other.event
    exact = max((one, other), key=lambda told: len(lexicon.names.ancestors(told.sound or "")))
    alike = one.sound == other.sound
    apart = second.start_s >= first.end_s
    counted = alike and apart and first.count is not None and second.count is not None
    return Told(
        exact.sound,
        replace(
            exact.event,
            start_s=first.start_s,
            end_s=max(first.end_s, second.end_s),
            level_db=max(first.level_db, second.level_db),
            count=(first.count or 0) + (second.count or 0) if counted else None,
            far=first.far if first.far == second.far else None,
            several=first.several if alike and first.several == second.several else None,
            longest_gap_s=max(first.longest_gap_s, second.longest_gap_s, second.start_s - first.end_s),
        ),
    )


def _placed(one: Told, told: Sequence[Told]) -> Told:
    """The sound, in front of the others or behind them."""
    others = [other.event.level_db for other in told if other is not one]
    level = one.event.level_db
    return replace(
        one,
        behind=bool(others) and level <= min(others) - BEHIND_DB,
        loud=bool(others) and level >= max(others) + LOUD_DB,
    )


def _lasting(lexicon: Lexicon, told: Sequence[Told]) -> Told | None:
    """A sound that is heard through all the others, which are at least two."""
    for one in sorted(told, key=lambda one: -one.event.seconds):
        others = [other.event for other in told if other is not one]
        steady = one.sound is not None and lexicon[one.sound].steady
        if steady and len(others) > 1 and all(one.event.shared_s(o) >= LASTS_THROUGH * o.seconds for o in others):
            return one
    return None


def _in_turn(told: Sequence[Told]) -> tuple[tuple[Told, ...], ...]:
    """Groups of which each begins when all of the one before has as good as ended."""
    groups: list[list[Told]] = []
    for one in told:
        if groups and any(_together(one.event, other.event) for other in groups[-1]):
            groups[-1].append(one)
        else:
            groups.append([one])
    return tuple(tuple(group) for group in groups)


def _together(one: HeardEvent, other: HeardEvent) -> bool:
    return one.shared_s(other) > TOGETHER * min(one.seconds, other.seconds)


def _counted_again(groups: tuple[tuple[Told, ...], ...]) -> tuple[tuple[Told, ...], ...]:
    """The groups, each sound that was told before marked."""
    seen: set[str | None] = set()
    marked = []
    for group in groups:
        marked.append(tuple(replace(one, again=one.sound in seen) for one in group))
        seen.update(one.sound for one in group)
    return tuple(marked)
