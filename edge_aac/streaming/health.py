"""Health records: how each source and the sinks did in the last interval."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence

from edge_aac.records import Health, TimeSpan, rfc3339
from edge_aac.streaming.channel import Channel
from edge_aac.streaming.counters import Counters
from edge_aac.streaming.hub import Delivery, Hub
from edge_aac.timebase import SAMPLE_RATE

log = logging.getLogger(__name__)


class HealthReporter:
    """Publishes a health record a source whenever the interval is over, and a last one at the end.

    Args:
        node: name of the device.
        channels: whose health is told.
        hub: takes the records, and tells how its sinks do.
        interval_s: seconds from one record to the next; 0 publishes none.
        monotonic: the clock that the interval is measured by, in seconds.
    """

    def __init__(
        self,
        node: str,
        channels: Sequence[Channel],
        hub: Hub,
        interval_s: float,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._node = node
        self.missing: Callable[[str], list[str]] = lambda _label: []
        """What does not work of a source, or of everything, one sentence each."""
        self._hub = hub
        self.interval_s = interval_s
        self._monotonic = monotonic
        self._began_s = time.time()
        self._due_s = monotonic() + interval_s
        self._before = {channel: Counters() for channel in channels}
        self.latest: dict[str, Health] = {}
        """The newest record of each source that is heard, by label; replaced as a whole, for other threads."""

    def begin(self) -> None:
        """Count the interval from now on."""
        self._began_s = time.time()
        self._due_s = self._monotonic() + self.interval_s

    def add(self, channel: Channel) -> None:
        """Tell of a channel that came later."""
        self._before[channel] = Counters()

    def remove(self, channel: Channel) -> None:
        """Publish the last record of a channel that is closed; it is told of no more."""
        if channel in self._before:
            if self.interval_s:
                span = TimeSpan(start=rfc3339(self._began_s), end=rfc3339(time.time()))
                self._hub.publish(Delivery(self._record(channel, span)))
            del self._before[channel]
            self.latest = {label: record for label, record in self.latest.items() if label != channel.label}

    def change_interval(self, interval_s: float) -> None:
        """Publish every so many seconds from now on; 0 publishes none."""
        self.interval_s = interval_s
        self._due_s = self._monotonic() + interval_s

    def tick(self) -> None:
        """Publish the records if they are due."""
        if not self.interval_s or (now_s := self._monotonic()) < self._due_s:
            return
        # After a suspended laptop, one record is due, not one for each interval of the night.
        self._due_s += self.interval_s * (1 + (now_s - self._due_s) // self.interval_s)
        self.report()

    def report(self) -> None:
        """Publish the records of the time since the last ones."""
        if not self.interval_s:
            return
        began_s, self._began_s = self._began_s, time.time()
        span = TimeSpan(start=rfc3339(began_s), end=rfc3339(self._began_s))
        for channel in list(self._before):
            record = self._record(channel, span)
            self.latest = {**self.latest, channel.label: record}
            self._hub.publish(Delivery(record))
            if channel.capture.state == "ended" and channel.ended:
                del self._before[channel]

    def _record(self, channel: Channel, span: TimeSpan) -> Health:
        channel.counters.lost_samples = channel.lost_samples()
        now = channel.counters.copy()
        counted, self._before[channel] = now.since(self._before[channel]), now
        return Health(
            node=self._node,
            source=channel.label,
            **span.model_dump(),
            state=channel.capture.state,
            reason=channel.capture.reason,
            level_dbfs=channel.level.take(),
            windows=counted.windows,
            captions=counted.captions,
            silent=counted.silent,
            unsure=counted.unsure,
            failed=counted.failed,
            skipped=dict(counted.skipped),
            dropped_ms=counted.lost_ms,
            latency_ms=channel.latencies.take(),
            queued_ms=1000 * channel.queued_samples // SAMPLE_RATE,
            due_windows=len(channel.queue),
            reconnects=channel.capture.reconnects,
            sinks=self._hub.health(),
            warnings=self.missing(channel.label),
        )
