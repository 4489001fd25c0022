"""Messages of which only the newest of each topic is of use."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from edge_aac.sinks.mqtt.messages import Message


@dataclass(frozen=True)
class KeptState:
    """A message, and the monotonic time in seconds at which it was made."""

    message: Message
    since_s: float


class KeptStates:
    """The newest message of each topic, until it is sent; and what the broker retains, to be sent again.

    Any thread may use it.

    Args:
        resting: tells of a topic why it is not to be sent now.
    """

    def __init__(self, resting: Callable[[str], object]) -> None:
        self._resting = resting
        self._lock = threading.Lock()
        self._retained: dict[str, KeptState] = {}
        self._unsent: dict[str, KeptState] = {}

    def keep(self, message: Message) -> None:
        """Have a message sent in place of an earlier one of its topic; an empty retained one ends the topic."""
        kept = KeptState(message, time.monotonic())
        with self._lock:
            if message.retain and message.payload:
                self._retained[message.topic] = kept
            else:
                self._retained.pop(message.topic, None)
            self._unsent[message.topic] = kept

    def keep_again(self, kept: KeptState) -> None:
        """Have a message that was not confirmed sent again, unless there is a newer one."""
        with self._lock:
            self._unsent.setdefault(kept.message.topic, kept)

    def send_all(self) -> None:
        """Have all that is retained sent again: the broker may have lost it."""
        with self._lock:
            self._unsent = {**self._retained, **self._unsent}

    @property
    def waiting(self) -> bool:
        """Whether there is anything that may be sent now."""
        with self._lock:
            return any(not self._resting(topic) for topic in self._unsent)

    def take(self) -> list[tuple[Message, KeptState]]:
        """What may be sent now, aged, each with what :meth:`keep_again` takes; it does not wait any more then."""
        now_s = time.monotonic()
        with self._lock:
            taken = [kept for topic, kept in self._unsent.items() if not self._resting(topic)]
            for kept in taken:
                del self._unsent[kept.message.topic]
        return [(kept.message.aged(now_s - kept.since_s), kept) for kept in taken]
