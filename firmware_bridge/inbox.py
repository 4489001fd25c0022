"""What waits between a link's thread and the thread that captures one device."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace

from firmware_bridge.frame import Audio, Hello
from firmware_bridge.order import FrameOrder, OrderCounters, Ordered

MAX_FRAMES = 512
"""Ten seconds of frames of 20 ms: a thread that is held up for longer loses the oldest, which are counted."""


@dataclass(frozen=True)
class Received:
    """A frame in its order, with the HELLO of the device that it belongs to."""

    ordered: Ordered
    hello: Hello


class Inbox:
    """Frames of one device in order. The link's thread puts them in, another one takes them out.

    Args:
        hello: of the device.
        latency_s: see :class:`~firmware_bridge.order.FrameOrder`.
        now_s: monotonic time in seconds.
    """

    def __init__(self, hello: Hello, latency_s: float, now_s: Callable[[], float] = time.monotonic) -> None:
        self._hello = hello
        self._latency_s = latency_s
        self._now_s = now_s
        self._order = FrameOrder(latency_s)
        self._before: list[OrderCounters] = []
        self._ready: deque[Received] = deque()
        self._changed = threading.Condition()
        self._closed = False
        self.overrun_frames = 0
        """Frames that were dropped since nobody took them: part of what is missing to the sample."""

    @property
    def counters(self) -> OrderCounters:
        """What became of frames since the inbox was made."""
        total = OrderCounters()
        for one in (*self._before, self._order.counters):
            for name, count in vars(one).items():
                setattr(total, name, getattr(total, name) + count)
        return total

    def put(self, audio: Audio, arrived_s: float) -> None:
        """Takes a frame from the link."""
        with self._changed:
            self._order.push(audio, arrived_s)
            self._gather(arrived_s)
            self._changed.notify()

    def restart(self, hello: Hello) -> None:
        """The device has begun anew, or sends otherwise: what follows belongs to another HELLO."""
        with self._changed:
            self._gather(float("inf"))
            self._before = [self.counters]
            self._order = FrameOrder(self._latency_s)
            self._hello = hello

    def take(self, timeout_s: float) -> Received | None:
        """The next frame; None where none came in time, or the inbox was closed."""
        deadline_s = self._now_s() + timeout_s
        with self._changed:
            while not self._closed:
                now_s = self._now_s()
                self._gather(now_s)
                if self._ready:
                    return self._ready.popleft()
                left_s = min(deadline_s, self._order.due_s) - now_s
                if deadline_s <= now_s:
                    return None
                self._changed.wait(max(0.0, left_s))
            return None

    def close(self) -> None:
        """Ends a :meth:`take` that waits."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def _gather(self, now_s: float) -> None:
        while (ordered := self._order.pop(now_s)) is not None:
            self._ready.append(Received(ordered, self._hello))
        while len(self._ready) > MAX_FRAMES:
            dropped, following = self._ready.popleft().ordered, self._ready[0]
            self._ready[0] = replace(following, ordered=_after_dropped(dropped, following.ordered))
            self.overrun_frames += 1


def _after_dropped(dropped: Ordered, following: Ordered) -> Ordered:
    """The frame behind one that is dropped: what it was to account for is missing before the next one now."""
    if dropped.lost_samples is None or following.lost_samples is None:
        return replace(following, lost_samples=None)
    return replace(
        following,
        lost_samples=dropped.lost_samples + dropped.audio.samples + following.lost_samples,
        gated_samples=dropped.gated_samples + following.gated_samples,
    )
