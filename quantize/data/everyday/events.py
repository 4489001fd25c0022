"""What is heard when, and how surely: the truth that captions are made of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from quantize.data.everyday.lexicon import Lexicon

SURE = 0.7
"""Confidence from which a sound is named; what is less sure is named by a coarser sound, or not at all."""

MASKED_DB = 15.0
"""An event this far below another that lasts as long is not heard. A choice, not a measurement."""

LABELLED = 0.95
"""Confidence in the label of a recording."""


@dataclass(frozen=True)
class Belief:
    """A sound, and how sure it is that it is heard.

    Attributes:
        sound: name in the lexicon.
        confidence: probability that it is right, 0..1.
    """

    sound: str
    confidence: float


@dataclass(frozen=True)
class HeardEvent:
    """One sound between two times.

    Attributes:
        beliefs: what it is, the most exact first, each coarser one at least as sure; none where nobody knows.
        start_s, end_s: in seconds from the start of the window.
        level_db: mean level while it is heard, dBFS.
        count: number of single sounds in it; None where that is not known.
        far: whether it is far away; None where that is not known.
        several: whether several sources make it; None where that is not known.
        longest_gap_s: longest stretch in it in which it is not heard.
    """

    beliefs: tuple[Belief, ...]
    start_s: float
    end_s: float
    level_db: float = -30.0
    count: int | None = None
    far: bool | None = None
    several: bool | None = None
    longest_gap_s: float = 0.0

    @property
    def seconds(self) -> float:
        return self.end_s - self.start_s

    def named(self, sure: float = SURE) -> str | None:
        """The most exact sound that it surely is; None where it is none for sure."""
        return next((belief.sound for belief in self.beliefs if belief.confidence >= sure), None)

    def shared_s(self, other: HeardEvent) -> float:
        """Seconds in which both are heard, 0 where they are apart."""
        return max(0.0, min(self.end_s, other.end_s) - max(self.start_s, other.start_s))


def believed(lexicon: Lexicon, sound: str, confidence: float = LABELLED) -> tuple[Belief, ...]:
    """A sound of which something is known for as sure as ``confidence``, and all that it is an example of."""
    return tuple(Belief(name, confidence) for name in (sound, *lexicon.names.ancestors(sound)))


def mixed(parts: Sequence[tuple[Sequence[HeardEvent], float, float]], seconds: float) -> tuple[HeardEvent, ...]:
    """Events of a mixture, in the order of their onsets.

    Args:
        parts: of each sound in it: its events, the second at which it begins, and the gain in dB that it was given.
        seconds: length of the mixture; what lies beyond it is cut off.

    Returns:
        All that is heard: an event that lies :data:`MASKED_DB` below others for its whole length is left out. One that
        is cut off, or partly masked, has no count.
    """
    events: list[HeardEvent] = []
    for heard, start_s, gain_db in parts:
        for event in heard:
            begin, end = event.start_s + start_s, min(event.end_s + start_s, seconds)
            if end > begin:
                whole = event.end_s + start_s <= seconds
                events.append(
                    replace(
                        event,
                        start_s=begin,
                        end_s=end,
                        level_db=event.level_db + gain_db,
                        count=event.count if whole else None,
                    )
                )
    kept = []
    for event in events:
        louder = [other for other in events if other.level_db >= event.level_db + MASKED_DB]
        covered = _covered_s(event, louder)
        if covered < event.seconds:
            kept.append(replace(event, count=None) if covered else event)
    return tuple(sorted(kept, key=lambda event: (event.start_s, event.end_s)))


def _covered_s(event: HeardEvent, others: Sequence[HeardEvent]) -> float:
    """Seconds of an event in which any of the others is heard."""
    covered, until = 0.0, event.start_s
    for other in sorted(others, key=lambda other: other.start_s):
        begin, end = max(until, other.start_s), min(event.end_s, other.end_s)
        if end > begin:
            covered, until = covered + end - begin, end
    return covered
