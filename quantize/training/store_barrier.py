"""A barrier without a time limit: ranks wait for each other for as long as all of them live.

The collectives of ``torch.distributed`` end a run when a rank is late by more than the group's timeout. One rank's own
work (decoding a corpus, asking a language model, running a teacher, validating) may take hours, and no limit is right
for it. So the ranks meet at a counter in the key-value store that started the group. A thread of each rank counts up a
key of its own meanwhile, its heartbeat: a rank whose key stands still for too long is dead, and one that fails leaves
its reason there.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta

from torch import distributed
from torch.distributed.distributed_c10d import PrefixStore, Store

from edge_aac.errors import DeviceError

SILENCE = timedelta(minutes=5)
"""Longest time without a heartbeat of a rank that lives; code that holds the interpreter's lock stops the heartbeat."""

_BEATS_A_SILENCE = 20
_FIRST_POLL_S, _LONGEST_POLL_S = 0.001, 0.5
_PREFIX = "edge_aac"


@dataclass
class _LastBeat:
    """The newest count of a rank's heart, and when it was first seen, by this rank's monotonic clock."""

    count: int = -1
    seen_s: float = field(default_factory=time.monotonic)


class StoreBarrier:
    """The place where the ranks of one group meet.

    Args:
        connect: opens a connection to the group's store; called twice, since a thread that waits for an answer holds
            its connection, and the heart must go on beating.
        rank: the number of this process.
        size: the number of processes.
        silence: the time without a heartbeat after which another rank is taken for dead.
    """

    def __init__(self, connect: Callable[[], Store], rank: int, size: int, silence: timedelta = SILENCE) -> None:
        self._rank, self._size, self._silence_s = rank, size, silence.total_seconds()
        self._store = PrefixStore(_PREFIX, connect())
        self._met = 0
        self._stopped = threading.Event()
        heart_store = PrefixStore(_PREFIX, connect())
        self._heart = threading.Thread(target=self._beat, args=(heart_store,), name="heart", daemon=True)
        self._heart.start()

    def wait(self) -> None:
        """Return once every rank has called this as many times as this rank.

        Raises:
            DeviceError: another rank failed, or gave no sign of life for longer than the silence allowed.
        """
        self._met += 1
        key = f"met/{self._met}"
        last = {rank: _LastBeat() for rank in range(self._size) if rank != self._rank}
        poll_s = _FIRST_POLL_S
        try:
            arrived = self._store.add(key, 1)
            while arrived < self._size:
                self._check_others(last)
                time.sleep(poll_s)
                poll_s = min(2 * poll_s, _LONGEST_POLL_S)
                arrived = self._store.add(key, 0)
        except distributed.DistError as error:
            raise DeviceError(
                f"the rank that keeps the group's store has ended: its own message says why ({error})"
            ) from error

    def fail(self, reason: str) -> None:
        """Tell the other ranks that this one goes no further; they raise it where they wait."""
        self._stop()
        try:
            self._store.set(f"failed/{self._rank}", reason or "no reason given")
        except distributed.DistError:
            return  # nobody is left to be told

    def leave(self) -> None:
        """Meet a last time, so that the rank that keeps the store outlives all that still ask it.

        Raises:
            DeviceError: see :meth:`wait`.
        """
        self.wait()
        self._stop()
        if self._rank:
            self._store.add("left", 1)
            return
        end_s = time.monotonic() + self._silence_s
        while self._store.add("left", 0) < self._size - 1 and time.monotonic() < end_s:
            time.sleep(_FIRST_POLL_S)

    def _check_others(self, last: dict[int, _LastBeat]) -> None:
        now_s = time.monotonic()
        for rank, beat in last.items():
            failed = f"failed/{rank}"
            if self._store.check([failed]):
                raise DeviceError(f"rank {rank} has failed: {self._store.get(failed).decode(errors='replace')}")
            count = self._store.add(f"beat/{rank}", 0)
            if count != beat.count:
                last[rank] = _LastBeat(count, now_s)
            elif now_s - beat.seen_s > self._silence_s:
                raise DeviceError(
                    f"rank {rank} has given no sign of life for {self._silence_s:g} s: it was ended, or its machine "
                    "cannot be reached any more; start the run again, which goes on where it was"
                )

    def _beat(self, store: Store) -> None:
        while not self._stopped.wait(self._silence_s / _BEATS_A_SILENCE):
            try:
                store.add(f"beat/{self._rank}", 1)
            except distributed.DistError:
                return  # the store is gone; whoever waits for it says so

    def _stop(self) -> None:
        self._stopped.set()
        self._heart.join()
