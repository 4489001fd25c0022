"""What every sink promises, and the queue that stands before it."""

from __future__ import annotations

import queue
import threading
from typing import Protocol

from edge_aac.records import Record

QUEUE_RECORDS = 256
CLOSE_TIMEOUT_S = 0.5


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
    """

    def __init__(self, sink: Sink, *, wait: bool) -> None:
        self._sink = sink
        self._wait = wait
        self._queue: queue.Queue[Record | None] = queue.Queue(QUEUE_RECORDS)
        self._ended = threading.Event()
        self.dropped_records = 0
        self.error: BaseException | None = None
        self._thread = threading.Thread(target=self._drain, name="edge-aac-sink", daemon=True)
        self._thread.start()

    def publish(self, record: Record) -> None:
        """Queue one record. Once the sink has failed, records are no longer taken; see :attr:`error`."""
        while self.error is None:
            try:
                self._queue.put(record, timeout=0.1 if self._wait else 0.0)
                return
            except queue.Full:
                if not self._wait:
                    self._drop_oldest()

    def close(self, timeout_s: float | None = CLOSE_TIMEOUT_S) -> None:
        """Deliver what is queued, then close; a sink that is stuck is left behind after ``timeout_s``."""
        if self.error is None:
            self._put_end()
        self._ended.wait(timeout_s)

    def _put_end(self) -> None:
        while self.error is None:
            try:
                self._queue.put(None, timeout=0.05)
                return
            except queue.Full:
                if not self._wait:
                    self._drop_oldest()

    def _drop_oldest(self) -> None:
        try:
            self._queue.get_nowait()
            self.dropped_records += 1
        except queue.Empty:
            pass

    def _drain(self) -> None:
        try:
            while (record := self._queue.get()) is not None:
                self._sink.publish(record)
            self._sink.close()
        except BaseException as error:  # handed to the loop, which ends the stream with it
            self.error = error
        finally:
            self._ended.set()
