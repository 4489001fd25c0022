"""A sink behind a bounded queue and a thread of its own."""

from __future__ import annotations

import logging
import random
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import count

from edge_aac.backoff import Backoff
from edge_aac.errors import DeviceError, EdgeAacError
from edge_aac.records import Record, SinkHealth
from edge_aac.records.health import SinkState
from edge_aac.sinks.contract import Sink, SinkStatus, TransientSinkError, reason_of, status_of

CLOSE_TIMEOUT_S = 0.5
FIRST_BACKOFF_S = 0.5
MAX_BACKOFF_S = 30.0
_SEVERITY: dict[SinkState, int] = {"delivering": 0, "retrying": 1, "failed": 2}

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


@dataclass(frozen=True)
class Reopening:
    """Opens a sink, and what its outlet takes then.

    Attributes:
        open: opens the sink; it raises an EdgeAacError where that cannot be done.
        kinds: the kinds of record that it takes.
        queue_records: how many may wait.
    """

    open: Callable[[], Sink]
    kinds: Sequence[str]
    queue_records: int


@dataclass
class _Exchange:
    """The exchange of a sink for another one, in the thread of its outlet."""

    new: Reopening
    old: Reopening
    error: BaseException | None = None
    done: threading.Event = field(default_factory=threading.Event)


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
        self._exchange: _Exchange | None = None
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
        """The sink's state and counters now, together with what the sink says of itself, if it does."""
        own = status_of(self._sink) or SinkStatus()
        with self._changed:
            before = SinkHealth(
                state=self._state,
                queued=len(self._queue) + (self._in_hand is not None),
                delivered=self._delivered,
                dropped=self._dropped,
                retries=self._retries,
                reason=self._reason,
            )
        worse = own if _SEVERITY[own.state] > _SEVERITY[before.state] else before
        return SinkHealth(
            state=worse.state,
            queued=before.queued + own.queued,
            delivered=before.delivered if own.delivered is None else own.delivered,
            dropped=before.dropped + own.dropped,
            retries=before.retries + own.retries,
            reason=worse.reason or before.reason or own.reason,
        )

    @property
    def dropped(self) -> int:
        """Records that were dropped before they reached the sink."""
        with self._changed:
            return self._dropped

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

    def exchange(self, new: Reopening, old: Reopening, timeout_s: float) -> None:
        """Close the sink and open another one in its place, which takes what is queued: both cannot be open at once.

        Args:
            new: in place of the sink.
            old: the sink itself, opened again where the new one cannot be.
            timeout_s: seconds that the sink has to come to the end of the record in hand.

        Raises:
            EdgeAacError: the new one cannot be opened, or the sink is busy for too long; the old one goes on.
        """
        exchange = _Exchange(new, old)
        with self._changed:
            self._exchange = exchange
            self._changed.notify_all()
        if self._ended.is_set() or not exchange.done.wait(timeout_s):
            with self._changed:
                if self._exchange is exchange:
                    self._exchange = None
                    raise DeviceError(f"sink {self.name} is busy, and cannot be changed now: try again")
            exchange.done.wait()
        if exchange.error is not None:
            raise exchange.error

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
        while True:
            self._exchange_sink()
            with self._changed:
                while not self._queue and not self._closing and self._exchange is None:
                    self._changed.wait()
                if self._exchange is None:
                    self._in_hand = self._queue.popleft() if self._queue else None
                    return self._in_hand

    def _exchange_sink(self) -> None:
        """Exchange the sink where that is asked for; in the outlet's own thread."""
        with self._changed:
            exchange, self._exchange = self._exchange, None
        if exchange is None:
            return
        try:
            self._sink.close()
            opened = exchange.new
            try:
                self._sink = opened.open()
            except EdgeAacError as error:
                exchange.error, opened = error, exchange.old
                self._sink = opened.open()
            with self._changed:
                self.kinds, self._capacity = frozenset(opened.kinds), opened.queue_records
        except BaseException as error:
            exchange.error = exchange.error or error
            raise
        finally:
            exchange.done.set()

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
                self._exchange_sink()
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
            while not self._left_behind and self._exchange is None and (left_s := deadline_s - time.monotonic()) > 0:
                self._changed.wait(left_s)
            return not self._left_behind

    def _fail(self, error: BaseException) -> None:
        with self._changed:
            self.error = error
            self._state, self._reason = "failed", reason_of(error)
            self._dropped += len(self._queue) + (self._in_hand is not None)
            self._queue.clear()
            self._in_hand = None
