"""What is certain of the events of a window: which sounds, when, how loud, how many."""

from __future__ import annotations

from collections.abc import Sequence

from quantize.data.everyday.events import SURE, HeardEvent
from quantize.data.everyday.lexicon import Lexicon

MAX_COUNT = 6
"""Greatest number of single sounds that is asked for: beyond it counts are not heard for sure."""


class Scene:
    """What is certain of the events of a window.

    Args:
        lexicon: the sounds.
        events: in any order.
        elsewhere: sounds of other scenes, each as often as it is heard there.

    Attributes:
        known: whether every event is one of the lexicon's sounds for sure.
    """

    def __init__(self, lexicon: Lexicon, events: Sequence[HeardEvent], elsewhere: Sequence[str] = ()) -> None:
        self.lexicon, self.elsewhere = lexicon, elsewhere
        self._possible = {belief.sound for event in events for belief in event.beliefs}
        self._events: dict[str, list[HeardEvent]] = {}
        self.known = True
        for event in sorted(events, key=lambda event: (event.start_s, event.end_s)):
            sound = event.named(SURE)
            if sound is None:
                self.known = False
            else:
                self._events.setdefault(sound, []).append(event)

    @property
    def sounds(self) -> tuple[str, ...]:
        """The sounds, each once, in the order in which they begin."""
        return tuple(self._events)

    @property
    def apart(self) -> bool:
        """Whether no two sounds may be one: none is an example of another."""
        related = self.lexicon.names.related
        return not any(related(one, other) for one in self.sounds for other in self.sounds if one != other)

    def alone(self, sound: str) -> bool:
        """Whether nothing else may be an example of this sound, or what it is an example of."""
        related = self.lexicon.names.related
        above = self.lexicon.names.ancestors(sound)
        return not any(related(sound, other) for other in self._possible if other != sound and other not in above)

    def absent(self, sound: str) -> bool:
        """Whether a sound is surely not heard."""
        return self.known and not any(self.lexicon.names.related(sound, other) for other in self._possible)

    def start_s(self, sound: str) -> float:
        """When it begins."""
        return min(event.start_s for event in self._events[sound])

    def end_s(self, sound: str) -> float:
        """When it ends for the last time."""
        return max(event.end_s for event in self._events[sound])

    def level_db(self, sound: str) -> float:
        """Its level where it is loudest, dBFS."""
        return max(event.level_db for event in self._events[sound])

    def seconds(self, sound: str) -> float:
        """For how long it is heard in all."""
        total = until = 0.0
        for event in self._events[sound]:
            total += max(0.0, event.end_s - max(event.start_s, until))
            until = max(until, event.end_s)
        return total

    def count(self, sound: str) -> int | None:
        """How many single ones are heard; None where that is not known."""
        events = self._events[sound]
        if self.lexicon[sound].burst_s is None or not self.known or not self.alone(sound):
            return None
        until = 0.0
        for event in events:
            if event.count is None or event.several or event.start_s < until:
                return None
            until = event.end_s
        total = sum(event.count or 0 for event in events)
        return total if 1 <= total <= MAX_COUNT else None
