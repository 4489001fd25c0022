"""Messages that wait in memory, before they are in a file or while no file takes them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from edge_aac.sinks.message import Message


class MemoryQueue:
    """Messages in the order of their numbers, each with the seconds that it was stored at.

    Attributes:
        entries: number → message and time.
        bytes: of all messages.
    """

    def __init__(self) -> None:
        self.entries: dict[int, tuple[Message, float]] = {}
        self.bytes = 0
        self._next = 1
        self._renumbered: dict[int, tuple[Message, int]] = {}
        """Identity → message and new number, of those that were taken before the file could be opened."""

    def __len__(self) -> int:
        return len(self.entries)

    def add(self, message: Message, at_s: float) -> None:
        """Give a message the next number."""
        self.entries[self._next] = replace(message, number=self._next), at_s
        self.bytes += message.size
        self._next += 1

    def number_of(self, message: Message) -> int:
        """Number that a message has now, which was taken from here or from the file."""
        return self._renumbered.pop(id(message), (message, message.number))[1]

    def discard(self, number: int) -> bool:
        """Forget a message; False where it is not here."""
        message, _ = self.entries.pop(number, (None, 0.0))
        self.bytes -= 0 if message is None else message.size
        return message is not None

    def clear(self) -> None:
        """Forget all messages."""
        self.entries.clear()
        self.bytes = 0

    def prepend(self, messages: Sequence[Message], at_s: float) -> None:
        """Put messages that have numbers of a file before all others."""
        self.shift_above(max((message.number for message in messages), default=0))
        self.entries = {message.number: (message, at_s) for message in messages} | self.entries
        self.bytes = sum(message.size for message, _ in self.entries.values())

    def shift_above(self, greatest: int) -> None:
        """Have the messages come after a number that a file holds."""
        if (shift := greatest + 1 - min(self.entries, default=self._next)) <= 0:
            return
        for number, (message, _) in self.entries.items():
            self._renumbered[id(message)] = message, number + shift
        self.entries = {n + shift: (replace(m, number=n + shift), at_s) for n, (m, at_s) in self.entries.items()}
        self._next += shift

    def delay(self, seconds: float) -> None:
        """Follow a clock that was set forward."""
        self.entries = {number: (message, at_s + seconds) for number, (message, at_s) in self.entries.items()}
