"""What every sink promises, and the queue that stands before it."""

from __future__ import annotations

import contextlib
import queue
import threading
from typing import Protocol

from edge_aac.records import Record

QUEUE_RECORDS = 256
CLOSE_TIMEOUT_S = 0.5
_POLL_S = 0.05


class Sink(Protocol):
    """Where records go."""

    def publish(self, record: Record) -> None:
        """Deliver one record; may block.

        Raises:
            EdgeAacError: it can never deliver again.
        """

    def close(self) -> None:
        """Flush and let go."""


class QueuedSink:
    """A sink behind a bounded queue and a thread of its own, so that a slow one holds up nobody else.

    Drop policy: with ``wait`` a full queue makes the caller wait (a file must lose nothing); else the oldest record
    is dropped and counted (a live stream must not fall behind because a pipe is not read).

    Args:
        sink: where the records go.
        wait: see above.
        stop: once it is set, nobody waits for the sink any more: a stream that is told to stop must end, even where
            nobody reads what it printed.
    """

    def __init__(self, sink: Sink, *, wait: bool, stop: threading.Event | None = None) -> None:
        self._sink = sink
        self._wait = wait
        self._stop = stop or threading.Event()
        self._queue: queue.Queue[Record | None] = queue.Queue(QUEUE_RECORDS)
        self._ended = threading.Event()
        self.dropped_records = 0
        self._in_hand = False
        self.error: BaseException | None = None
        self._thread = threading.Thread(target=self._drain, name="edge-aac-sink", daemon=True)
        self._thread.start()

    def publish(self, record: Record) -> None:
        """Queue one record. Once the sink has failed, records are no longer taken; see :attr:`error`."""
        while self.error is None:
            waits = self._waits()
            try:
                self._queue.put(record, timeout=_POLL_S if waits else 0.0)
                return
            except queue.Full:
                if not waits:
                    self._drop_oldest()

    def close(self, timeout_s: float = CLOSE_TIMEOUT_S) -> None:
        """Deliver what is queued, then close.

        With ``wait`` that takes as long as the sink needs, until ``stop`` is set. From then on, and without ``wait``,
        a sink that is stuck is left behind after ``timeout_s``, and what it did not take is counted as dropped.
        """
        left_s = timeout_s
        while self.error is None and left_s > 0:
            try:
                self._queue.put(None, timeout=_POLL_S)
                break
            except queue.Full:
                left_s -= 0.0 if self._waits() else _POLL_S
        while left_s > 0 and not self._ended.wait(_POLL_S):
            left_s -= 0.0 if self._waits() else _POLL_S
        if not self._ended.is_set() and self.error is None:
            self._leave_behind()

    def _leave_behind(self) -> None:
        """Count what the stuck sink has in hand and what is queued; should it ever come back, it finds the end."""
        self.dropped_records += self._in_hand
        self._in_hand = False
        with contextlib.suppress(queue.Empty):
            while True:
                self.dropped_records += self._queue.get_nowait() is not None
        self._queue.put(None)

    def _waits(self) -> bool:
        return self._wait and not self._stop.is_set()

    def _drop_oldest(self) -> None:
        try:
            self._queue.get_nowait()
            self.dropped_records += 1
        except queue.Empty:
            pass

    def _drain(self) -> None:
        try:
            while (record := self._queue.get()) is not None:
                self._in_hand = True
                self._sink.publish(record)
                self._in_hand = False
            self._sink.close()
        except BaseException as error:  # handed to the loop, which ends the stream with it
            self.error = error
        finally:
            self._ended.set()
