"""Time that passes only when a program waits or works, so that a day of sound needs no day.

Live sources are stepped block by block in the order of time, each on a capture thread of its own as always; what the
scheduler does in between takes no time but what the model is said to take. Equal input gives equal records.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from edge_aac.audio.clock import Clocks
from edge_aac.audio.connection import SourceState
from edge_aac.timebase import SAMPLE_RATE

Array = npt.NDArray[np.float32]

_HUNG_S = 60.0
"""A thread that does not come back within this real time hangs: nothing here waits for real time."""


class SimulatedTime:
    """A clock, and the live sources that go by it.

    Args:
        unix_s: Unix time at the start, in seconds.
    """

    def __init__(self, unix_s: float = 1_777_629_600.0) -> None:
        self._unix_s = unix_s
        self.now_s = 0.0
        self.sources: list[SteppedSource] = []
        self.each_step: Callable[[], None] = lambda: None
        """Called after each step of a source."""

    @property
    def clocks(self) -> Clocks:
        """The clocks of a machine whose time this is."""
        return Clocks(
            wall_s=lambda: self._unix_s + self.now_s,
            running_s=lambda: self.now_s,
            since_boot_s=lambda: self.now_s,
            wait=self.wait,
        )

    def wait(self, event: threading.Event, timeout_s: float) -> bool:
        """Let time pass until the event is set, at most so many seconds."""
        until_s = self.now_s + timeout_s
        while not event.is_set():
            if not self._step(until_s):
                self.now_s = until_s
                break
        return event.is_set()

    def pass_by(self, seconds: float) -> None:
        """Let time pass, as work does."""
        until_s = self.now_s + seconds
        while self._step(until_s):
            pass
        self.now_s = until_s

    def _step(self, until_s: float) -> bool:
        """Have the source whose block comes next give it, where that is before ``until_s``."""
        waiting = [source for source in self.sources if not source.ended]
        first = min(waiting, key=lambda source: source.due_s, default=None)
        if first is None or first.due_s > until_s:
            return False
        self.now_s = max(self.now_s, first.due_s)
        first.step()
        self.each_step()
        return True


class SteppedSource:
    """A live source whose blocks come when they would have been heard, by a :class:`SimulatedTime`.

    Args:
        time: the time; the source enters itself there.
        label: the source's name in records.
        blocks: gives block ``number``, float32 mono at 16 kHz, or None at the end.
        rate: its clock's rate against the time's: 1.0001 is 100 ppm fast.
        begins_s: when it begins.
    """

    live = True
    state: SourceState = "listening"
    reconnects = 0

    def __init__(
        self,
        time: SimulatedTime,
        label: str,
        blocks: Callable[[int], Array | None],
        *,
        rate: float = 1.0,
        begins_s: float = 0.0,
    ) -> None:
        self.label = label
        self.ended = False
        self._blocks = blocks
        self._rate = rate
        self._begins_s = begins_s
        self._number = 0
        self._given_samples = 0
        self._next = blocks(0)
        self._waits = threading.Semaphore(0)
        self._may_go_on = threading.Semaphore(0)
        time.sources.append(self)

    @property
    def due_s(self) -> float:
        """When the last sample of the next block is heard."""
        samples = self._given_samples + (0 if self._next is None else len(self._next))
        return self._begins_s + samples / (SAMPLE_RATE * self._rate)

    def step(self) -> None:
        """Have the capture thread take the next block, and wait until it comes for the one after."""
        if self._number == 0:
            self._come_round()
        self._may_go_on.release()
        self._come_round()

    def _come_round(self) -> None:
        if not self._waits.acquire(timeout=_HUNG_S):
            raise RuntimeError(f"the capture thread of {self.label} hangs")

    def read(self) -> Array | None:
        """Give the next block when its time has come; see :meth:`edge_aac.audio.sources.address.Source.read`."""
        self._waits.release()
        if self._next is None or self.ended:
            self.ended = True
            return None
        self._may_go_on.acquire()
        block = self._next
        if self.ended or block is None:
            return None
        self._given_samples += len(block)
        self._number += 1
        self._next = self._blocks(self._number)
        return block

    def lost_samples(self) -> int:
        """Always 0."""
        return 0

    def close(self) -> None:
        """End a :meth:`read` that waits."""
        self.ended = True
        self._may_go_on.release()


def in_blocks(samples: Array, block_samples: int) -> Callable[[int], Array | None]:
    """Blocks of sound that lies in memory."""

    def block(number: int) -> Array | None:
        part = samples[number * block_samples : (number + 1) * block_samples]
        return part if len(part) else None

    return block


def repeated(pieces: Sequence[Array], blocks: int) -> Callable[[int], Array | None]:
    """So many blocks, taken from ``pieces`` in turn."""
    return lambda number: pieces[number % len(pieces)] if number < blocks else None
