"""A sink whose messages wait in a store until a remote place has confirmed them."""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from edge_aac.backoff import Backoff
from edge_aac.records import Record
from edge_aac.sinks.contract import SinkStatus, TransientSinkError, reason_of
from edge_aac.sinks.message import Message
from edge_aac.sinks.spool import Spool

TICK_S = 1.0
CLOSE_JOIN_S = 2.0
_REFUSALS_BETWEEN_LINES = 100
_OUTAGE_HASTE = 5
"""A sink that is closed during an outage waits for so much less."""

_log = logging.getLogger(__name__)


class RemoteFault(TransientSinkError):
    """Messages cannot be delivered now, for a reason that may pass.

    Args:
        reason: a sentence without its full stop.
        wait_s: seconds to wait before the next try, where the remote place says so; at least these.
        refused: whether the credentials were refused, which is tried again after the longest wait.
        logged: whether the remote place logs it itself, and when it is over.
    """

    def __init__(self, reason: str, *, wait_s: float = 0.0, refused: bool = False, logged: bool = False) -> None:
        super().__init__(reason)
        self.logged = logged
        self.wait_s = wait_s
        self.refused = refused


class Receipts(Protocol):
    """Takes what became of each message, by any thread; the messages are the objects that were sent."""

    def acknowledged(self, message: Message) -> None:
        """The message has arrived: it is deleted."""

    def refused(self, message: Message, reason: str) -> None:
        """The message will never be taken, while others may be: it is counted as dropped, logged and deleted."""


class Remote(Protocol):
    """A place that takes messages. One thread at a time calls :meth:`send`, another one :meth:`messages`."""

    def messages(self, record: Record) -> Sequence[Message]:
        """The messages that tell of a record, in order; it neither waits nor needs the remote place.

        Raises:
            Exception: the record cannot be told; it is counted as dropped, and logged.
        """

    def send(self, messages: Sequence[Message], receipts: Receipts) -> None:
        """Send messages in order, several under way at once where that is of use.

        It returns when each has its receipt, or raises; what has none is sent again.

        Raises:
            TransientSinkError: not now, see :class:`RemoteFault`.
            Exception: never again: the sink has failed.
        """

    def close(self) -> None:
        """Let go, by a thread of its own: a :meth:`send` under way ends soon then."""


@dataclass(frozen=True)
class Window:
    """How much is under way at once.

    Attributes:
        messages: at most so many.
        bytes: at most so many, but for a single larger message.
    """

    messages: int = 20
    bytes: int = 1_000_000


class Spooled:
    """A sink that stores each record's messages and returns; a thread of its own delivers them in order.

    Args:
        remote: where to.
        spool: where messages wait; it is closed with the sink.
        name: of the remote place in the log, without secrets.
        window: how much is handed to ``remote`` at once.
        backoff: pauses between tries.
        patience_s: seconds without any progress after which a sink that is closed waits no longer for the rest.
    """

    def __init__(
        self,
        remote: Remote,
        spool: Spool,
        name: str,
        *,
        window: Window | None = None,
        backoff: Backoff | None = None,
        patience_s: float = 10.0,
    ) -> None:
        self._remote = remote
        self._spool = spool
        self._name = name
        self._window = window or Window()
        self._backoff = backoff or Backoff(0.5, 60.0, jitter=0.5)
        self._patience_s = patience_s
        self._changed = threading.Condition()
        self._error: BaseException | None = None
        self._reason: str | None = None
        self._logged_elsewhere = False
        self._delivered = 0
        self._retries = 0
        self._refused = 0
        self._untold = 0
        self._hurry = False
        self._closing = False
        self._progress_s = time.monotonic()
        self._thread = threading.Thread(target=self._run, name=f"edge-aac-send-{name}", daemon=True)
        self._thread.start()

    @property
    def status(self) -> SinkStatus:
        """See :class:`edge_aac.sinks.contract.Sink`."""
        error, reason, fault = self._error, self._reason, self._spool.fault
        return SinkStatus(
            state="failed" if error is not None else "delivering" if reason is None else "retrying",
            queued=self._spool.queued,
            dropped=self._spool.dropped + self._refused + self._untold,
            retries=self._retries,
            delivered=self._delivered,
            reason=reason_of(error) if error is not None else reason or fault,
        )

    def publish(self, record: Record) -> None:
        """See :class:`edge_aac.sinks.contract.Sink`: the messages are stored when it returns."""
        if self._error is not None:
            raise self._error
        try:
            messages = self._remote.messages(record)
        except Exception as error:
            self._untold += 1
            _log.warning("%s: a record cannot be told (%s)", self._name, reason_of(error))
            return
        self.store(messages)

    def store(self, messages: Sequence[Message]) -> None:
        """Store messages that tell of no record."""
        if messages:
            self._spool.put(messages)
            with self._changed:
                self._changed.notify_all()

    def retry_now(self) -> None:
        """End the pause before the next try: the remote place is there again."""
        with self._changed:
            self._hurry = True
            self._changed.notify_all()

    def close(self) -> None:
        """See :class:`edge_aac.sinks.contract.Sink`: while messages arrive it waits for them; the rest stays on disk.

        All that can be on disk is there at once, so that whoever waits no longer than half a second loses nothing.
        """
        self._spool.flush()
        self._progress_s = time.monotonic()
        with self._changed:
            while self._spool.queued and self._error is None and self._is_worth_waiting:
                self._changed.wait(0.05)
            self._closing = True
            self._changed.notify_all()
        try:
            self._remote.close()
        finally:
            self._thread.join(CLOSE_JOIN_S)
            if (left := self._spool.queued - self._spool.in_memory) > 0:
                _log.warning("%s: %d messages wait on disk for the next start", self._name, left)
            self._spool.close()

    @property
    def _is_worth_waiting(self) -> bool:
        patience_s = self._patience_s if self._reason is None else self._patience_s / _OUTAGE_HASTE
        return time.monotonic() - self._progress_s < patience_s

    def acknowledged(self, message: Message) -> None:
        """See :class:`Receipts`."""
        with self._changed:
            self._delivered += 1
        self._settled(message)

    def refused(self, message: Message, reason: str) -> None:
        """See :class:`Receipts`."""
        with self._changed:
            first = self._refused % _REFUSALS_BETWEEN_LINES == 0
            self._refused += 1
        level = logging.WARNING if first else logging.DEBUG
        _log.log(level, "%s: a message is dropped, since it is refused: %s", self._name, reason)
        self._settled(message)

    def _settled(self, message: Message) -> None:
        self._spool.done([message])
        with self._changed:
            self._progress_s = time.monotonic()
            if self._reason is not None:
                self._reason = None
                level = logging.DEBUG if self._logged_elsewhere else logging.WARNING
                _log.log(level, "%s: messages arrive again", self._name)
            self._changed.notify_all()

    def _run(self) -> None:
        failures = 0
        try:
            while not self._closing:
                batch = self._spool.first(self._window.messages, self._window.bytes)
                if not batch:
                    self._wait(TICK_S, lambda: bool(self._spool.queued))
                    self._spool.tick()
                    continue
                settled_before = self._settlements
                fault = self._send(batch)
                self._spool.tick()
                if fault is None:
                    failures = 0
                    continue
                failures = 1 if self._settlements > settled_before else failures + 1
                self._note_retry(fault)
                self._pause(fault, failures)
        except BaseException as error:  # a fault of ours, or one that the remote place cannot come back from
            if not self._closing:
                self._error = error
                _log.error("%s: nothing is delivered any more: %s", self._name, reason_of(error))
                _log.debug("the sender has ended", exc_info=True)

    @property
    def _settlements(self) -> int:
        return self._delivered + self._refused

    def _send(self, batch: Sequence[Message]) -> TransientSinkError | None:
        before = self._settlements
        try:
            self._remote.send(batch, self)
        except TransientSinkError as fault:
            return fault
        if self._settlements == before:
            return RemoteFault("nothing was confirmed")
        return None

    def _note_retry(self, fault: TransientSinkError) -> None:
        reason = reason_of(fault)
        with self._changed:
            if self._closing:
                return
            # Once a sentence; the further tries are of interest to nobody but a developer.
            self._logged_elsewhere = isinstance(fault, RemoteFault) and fault.logged
            level = logging.WARNING if self._reason is None and not self._logged_elsewhere else logging.DEBUG
            self._reason = reason
            self._retries += 1
        _log.log(level, "%s: %s; it is tried again, %d messages wait", self._name, reason, self._spool.queued)

    def _pause(self, fault: TransientSinkError, failures: int) -> None:
        pause_s = self._backoff.wait_s(failures, random.random())
        if isinstance(fault, RemoteFault):
            pause_s = max(pause_s, fault.wait_s)
            if fault.refused:
                pause_s = max(pause_s, self._backoff.refused_s)
        deadline_s = time.monotonic() + pause_s
        while not self._closing and (left_s := deadline_s - time.monotonic()) > 0:
            if self._wait(min(left_s, TICK_S), lambda: self._hurry):
                break
            self._spool.tick()
        self._hurry = False

    def _wait(self, seconds: float, until: Callable[[], bool]) -> bool:
        with self._changed:
            self._changed.wait_for(lambda: self._closing or until(), seconds)
            return until()


class SpooledSink:
    """A sink that is nothing but what it stores and delivers.

    Args:
        spooled: delivers; it is closed with the sink.
    """

    def __init__(self, spooled: Spooled) -> None:
        self._spooled = spooled

    @property
    def status(self) -> SinkStatus:
        """See :class:`edge_aac.sinks.contract.Sink`."""
        return self._spooled.status

    def publish(self, record: Record) -> None:
        """See :class:`edge_aac.sinks.contract.Sink`; the record is stored when it returns."""
        self._spooled.publish(record)

    def close(self) -> None:
        """See :class:`edge_aac.sinks.contract.Sink`."""
        self._spooled.close()
