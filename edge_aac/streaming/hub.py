"""Fan-out of records: one bounded queue, policy and set of counters for each sink."""

from __future__ import annotations

import logging
import threading
from collections import Counter
from collections.abc import Callable, Sequence

from edge_aac.records import Event, SinkHealth
from edge_aac.sinks.contract import reason_of
from edge_aac.streaming.outlet import Delivery, Outlet

__all__ = ["Delivery", "Hub", "Outlet"]

log = logging.getLogger(__name__)


class Hub:
    """Gives each record to every sink that takes its kind.

    Args:
        outlets: at least one.
    """

    def __init__(self, outlets: Sequence[Outlet]) -> None:
        self.published: Counter[tuple[str, str, str]] = Counter()
        """Records so far by source, kind and, of events, state; whether or not a sink takes their kind."""
        self._outlets = tuple(outlets)
        self._reported: set[Outlet] = set()
        self._wake: Callable[[], None] = lambda: None
        self._leaving: list[threading.Thread] = []

    def publish(self, delivery: Delivery) -> None:
        """Queue a record for each sink that takes its kind; never waits, see :attr:`Delivery.lossless`."""
        record = delivery.record
        self.published[record.source, record.kind, record.state if isinstance(record, Event) else ""] += 1
        takers = [outlet for outlet in self._outlets if delivery.record.kind in outlet.kinds]
        once = delivery
        if delivery.delivered is not None and len(takers) > 1:
            once = Delivery(delivery.record, delivery.lossless, _Once(delivery.delivered))
        for outlet in takers:
            outlet.put(once)

    def forget(self, source: str) -> None:
        """Count a source's records no more: it was taken out."""
        for key in [key for key in list(self.published) if key[0] == source]:
            del self.published[key]

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
    if dropped := outlet.dropped:  # a sink tells itself what it gave up
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
