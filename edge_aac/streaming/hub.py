"""Fan-out of records: one bounded queue, policy and set of counters for each sink."""

from __future__ import annotations

import logging
import random
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import count

from edge_aac.backoff import Backoff
from edge_aac.records import Record, SinkHealth
from edge_aac.records.health import SinkState
from edge_aac.sinks.contract import Sink, TransientSinkError, reason_of

CLOSE_TIMEOUT_S = 0.5
FIRST_BACKOFF_S = 0.5
MAX_BACKOFF_S = 30.0

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Delivery:
    """A record on its way.

    Attributes:
        record: what is delivered.
        lossless: True where the record waits for room in a full queue (of a file, which nobody waits for); False where
            the oldest such record is dropped and counted (of a live source, which must not fall behind).
        delivered: called once, with the monotonic time in seconds, when the first sink has delivered the record.
    """

    record: Record
    lossless: bool = False
    delivered: Callable[[float], None] | None = None


class Outlet:
    """A sink behind a bounded queue and a thread of its own, so that a slow one holds up nobody else.

    A fault that may pass (:class:`~edge_aac.sinks.contract.TransientSinkError`) keeps the record in hand and delivers
    it again with growing pauses; any other ends this outlet, which drops and counts what comes after.

    Args:
        name: of the sink in logs and health records.
        sink: where the records go; its own thread uses it, and closes it.
        kinds: the kinds of record that it takes.
        queue_records: how many may wait. A lossless record is queued beyond that: whoever makes such records asks
            :meth:`Hub.has_room` first.
        stop: once it is set, nobody waits for the sink any more.
    """

    def __init__(
        self, name: str, sink: Sink, kinds: Sequence[str], queue_records: int, stop: threading.Event | None = None
    ) -> None:
        self.name = name
        self.kinds = frozenset(kinds)
        self.error: BaseException | None = None
        self.freed: Callable[[], None] = lambda: None
        """Called after each delivery, and at the end, from the sink's thread."""
        self._sink = sink
        self._capacity = queue_records
        self._stop = stop or threading.Event()
        self._changed = threading.Condition()
        self._queue: deque[Delivery] = deque()
        self._in_hand: Delivery | None = None
        self._closing = False
        self._left_behind = False
        self._ended = threading.Event()
        self._state: SinkState = "delivering"
        self._reason: str | None = None
        self._delivered = 0
        self._dropped = 0
        self._retries = 0
        self._thread = threading.Thread(target=self._drain, name=f"edge-aac-sink-{name}", daemon=True)
        self._thread.start()

    @property
    def health(self) -> SinkHealth:
        """The sink's state and counters now."""
        with self._changed:
            return SinkHealth(
                state=self._state,
                queued=len(self._queue) + (self._in_hand is not None),
                delivered=self._delivered,
                dropped=self._dropped,
                retries=self._retries,
                reason=self._reason,
            )

    @property
    def has_room(self) -> bool:
        """Whether at most half of the queue is taken by records that wait for room; always so once the sink has failed.

        Records of live sources count for nothing: a sink that is too slow for those holds up no file.
        """
        with self._changed:
            return self.error is not None or 2 * self._lossless <= self._capacity

    @property
    def _lossless(self) -> int:
        return sum(waiting.lossless for waiting in self._queue)

    def put(self, delivery: Delivery) -> None:
        """Queue a record; never waits. What no longer can be delivered is dropped and counted."""
        with self._changed:
            if self.error is not None or self._closing:
                self._dropped += 1
                return
            if len(self._queue) >= self._capacity and not (delivery.lossless and not self._stop.is_set()):
                self._dropped += 1
                if not self._drop_oldest():
                    return
            self._queue.append(delivery)
            self._changed.notify_all()

    def _drop_oldest(self) -> bool:
        """Make room for one record; False where all that wait are to be kept."""
        for place, waiting in enumerate(self._queue):
            if not waiting.lossless or self._stop.is_set():
                del self._queue[place]
                return True
        return False

    def close(self, patient: bool) -> None:
        """Deliver what is queued, then close the sink.

        Args:
            patient: wait as long as the sink needs, until the stop is set. Else, and from then on, a sink that does
                not take its records within 0.5 s is left behind, and what it did not take is counted as dropped.
        """
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        left_s = CLOSE_TIMEOUT_S
        step_s = 0.02
        while not self._ended.wait(step_s):
            if patient and not self._stop.is_set():
                continue
            left_s -= step_s
            if left_s <= 0:
                self._leave_behind()
                return

    def _leave_behind(self) -> None:
        with self._changed:
            self._left_behind = True
            self._dropped += len(self._queue) + (self._in_hand is not None)
            self._queue.clear()
            self._in_hand = None
            self._changed.notify_all()

    def _drain(self) -> None:
        try:
            while (delivery := self._next()) is not None:
                self._deliver(delivery)
            if not self._left_behind:
                self._sink.close()
        except BaseException as error:  # it ends this sink alone, and the stream where it was the last one
            self._fail(error)
        finally:
            self._ended.set()
            self.freed()

    def _next(self) -> Delivery | None:
        with self._changed:
            while not self._queue:
                if self._closing:
                    return None
                self._changed.wait()
            self._in_hand = self._queue.popleft()
            return self._in_hand

    def _deliver(self, delivery: Delivery) -> None:
        backoff = Backoff(FIRST_BACKOFF_S, MAX_BACKOFF_S, jitter=0.5)
        for failures in count(1):
            try:
                self._sink.publish(delivery.record)
                break
            except TransientSinkError as error:
                self._note_retry(error)
                if not self._pause(backoff.wait_s(failures, random.random())):
                    return
        now_s = time.monotonic()
        with self._changed:
            if self._in_hand is None:  # left behind meanwhile, and counted as dropped
                return
            self._in_hand = None
            self._delivered += 1
            if self._state == "retrying":
                self._state, self._reason = "delivering", None
                log.warning("sink %s takes records again", self.name)
        if delivery.delivered is not None:
            delivery.delivered(now_s)
        self.freed()

    def _note_retry(self, error: TransientSinkError) -> None:
        reason = reason_of(error)
        with self._changed:
            # Once a sentence; the further tries are of interest to nobody but a developer.
            level = logging.WARNING if self._state != "retrying" else logging.DEBUG
            self._state, self._reason = "retrying", reason
            self._retries += 1
        log.log(level, "sink %s: %s; it is tried again, up to %d records wait", self.name, reason, self._capacity)

    def _pause(self, seconds: float) -> bool:
        """Wait before the next try; False where the sink was left behind meanwhile."""
        deadline_s = time.monotonic() + seconds
        with self._changed:
            while not self._left_behind and (left_s := deadline_s - time.monotonic()) > 0:
                self._changed.wait(left_s)
            return not self._left_behind

    def _fail(self, error: BaseException) -> None:
        with self._changed:
            self.error = error
            self._state, self._reason = "failed", reason_of(error)
            self._dropped += len(self._queue) + (self._in_hand is not None)
            self._queue.clear()
            self._in_hand = None


class Hub:
    """Gives each record to every sink that takes its kind.

    Args:
        outlets: at least one.
    """

    def __init__(self, outlets: Sequence[Outlet]) -> None:
        self._outlets = tuple(outlets)
        self._reported: set[Outlet] = set()
        self._wake: Callable[[], None] = lambda: None
        self._leaving: list[threading.Thread] = []

    def publish(self, delivery: Delivery) -> None:
        """Queue a record for each sink that takes its kind; never waits, see :attr:`Delivery.lossless`."""
        takers = [outlet for outlet in self._outlets if delivery.record.kind in outlet.kinds]
        once = delivery
        if delivery.delivered is not None and len(takers) > 1:
            once = Delivery(delivery.record, delivery.lossless, _Once(delivery.delivered))
        for outlet in takers:
            outlet.put(once)

    def on_room(self, wake: Callable[[], None]) -> None:
        """Have ``wake`` called, from any thread, whenever a sink has delivered a record or has ended."""
        self._wake = wake
        for outlet in self._outlets:
            outlet.freed = wake

    @property
    def has_room(self) -> bool:
        """Whether every sink's queue has room for the records of some windows more."""
        return all(outlet.has_room for outlet in self._outlets)

    @property
    def error(self) -> BaseException | None:
        """What :attr:`first_error` is once no sink is left that takes records; None before.

        A sink that failed while others go on is logged, once, where this is asked.
        """
        failed = [outlet for outlet in self._outlets if outlet.error is not None]
        if len(failed) == len(self._outlets):
            return self.first_error
        for outlet in failed:
            if outlet not in self._reported and outlet.error is not None:
                self._reported.add(outlet)
                log.error("sink %s has ended, the others go on: %s", outlet.name, reason_of(outlet.error))
        return None

    @property
    def first_error(self) -> BaseException | None:
        """The error of the first sink, in their order, that failed; None where none did.

        The reader of a pipe that has gone tells nothing where another sink has an error of its own.
        """
        errors = [outlet.error for outlet in self._outlets if outlet.error is not None]
        return min(errors, key=lambda error: isinstance(error, BrokenPipeError), default=None)

    def health(self) -> dict[str, SinkHealth]:
        """State and counters of each sink, by name."""
        return {outlet.name: outlet.health for outlet in self._outlets}

    @property
    def outlets(self) -> tuple[Outlet, ...]:
        """The sinks that take records now, in order."""
        return self._outlets

    def replace(self, outlets: Sequence[Outlet]) -> None:
        """Have other outlets take the records from now on.

        Those that are no longer among them deliver what is queued and are closed in the background; nothing waits for
        them but :meth:`close`. To be called by the thread that publishes.

        Args:
            outlets: at least one; those that stay, and new ones.
        """
        leaving = [outlet for outlet in self._outlets if outlet not in outlets]
        for outlet in outlets:
            outlet.freed = self._wake
        self._outlets = tuple(outlets)
        self._leaving = [closer for closer in self._leaving if closer.is_alive()]
        for outlet in leaving:
            closer = threading.Thread(target=self._leave, args=(outlet,), name=f"edge-aac-sink-{outlet.name}-leaves")
            self._leaving.append(closer)
            closer.start()

    @staticmethod
    def _leave(outlet: Outlet) -> None:
        outlet.close(patient=True)
        _log_dropped(outlet)

    def close(self, patient: bool) -> None:
        """Deliver what is queued and close the sinks, see :meth:`Outlet.close`; what was dropped is logged."""
        closers = [threading.Thread(target=outlet.close, args=(patient,)) for outlet in self._outlets]
        for closer in closers:
            closer.start()
        for closer in (*closers, *self._leaving):
            closer.join()
        ended = self.error is not None
        for outlet in self._outlets:
            # What ends the stream is raised, and tells enough.
            if not (ended and outlet.error is not None):
                _log_dropped(outlet)


def _log_dropped(outlet: Outlet) -> None:
    if dropped := outlet.health.dropped:
        why = "it does not take them fast enough" if outlet.error is None else "it had ended"
        log.warning("sink %s: %d records were dropped: %s", outlet.name, dropped, why)


class _Once:
    """Passes on the first of many calls."""

    def __init__(self, function: Callable[[float], None]) -> None:
        self._function = function
        self._lock = threading.Lock()
        self._called = False

    def __call__(self, now_s: float) -> None:
        with self._lock:
            first, self._called = not self._called, True
        if first:
            self._function(now_s)
