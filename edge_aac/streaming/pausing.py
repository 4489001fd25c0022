"""What becomes of sound that was heard before its source was paused."""

from __future__ import annotations

from collections.abc import Callable, Sized
from typing import Protocol

from edge_aac.streaming.capture import Capture


class Finishes(Protocol):
    """What holds something open for a source: events, or clips of them."""

    def finish(self) -> None:
        """End all of it."""


class Pausing:
    """Has a channel tell all that was heard before a pause at once, and ends its events, so that none of it waits for
    the end of the pause. The scheduler's thread alone uses it.

    Args:
        capture: of the source.
        flush: cuts all sound that was heard into windows, and begins anew behind it.
        queue: the windows that wait to be described.
        events: holds the open events.
        clips: holds the clips that are recorded; None where none are.
    """

    def __init__(
        self,
        capture: Capture,
        flush: Callable[[], None],
        queue: Sized,
        events: Finishes,
        clips: Finishes | None,
    ) -> None:
        self._capture = capture
        self._flush = flush
        self._queue = queue
        self._events = events
        self._clips = clips
        self._flushed = self._ended = False

    def tick(self) -> None:
        """Take the next step of a pause, where there is one."""
        if not self._capture.parked:
            self._flushed = self._ended = False
        elif not self._flushed:
            self._flush()
            self._flushed = True
        elif not self._ended and not self._queue:
            self._events.finish()
            if self._clips is not None:
                self._clips.finish()
            self._ended = True
