"""Health records: how each source and the sinks did in the last interval."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

from edge_aac.audio.clock import Clocks
from edge_aac.records import Health, TimeSpan, rfc3339
from edge_aac.streaming.channel import Channel
from edge_aac.streaming.clips.saving import ClipSaving
from edge_aac.streaming.counters import Counters
from edge_aac.streaming.heat import HeatWatch
from edge_aac.streaming.hub import Delivery, Hub
from edge_aac.timebase import SAMPLE_RATE

SET_S = 0.1
"""The wall clock was set where it went this much further than time did; less is a moment between two looks."""

log = logging.getLogger(__name__)


class HealthReporter:
    """Publishes a health record a source whenever the interval is over, and a last one at the end.

    Args:
        node: name of the device.
        channels: whose health is told.
        hub: takes the records, and tells how its sinks do.
        interval_s: seconds from one record to the next; 0 publishes none.
        clocks: of the machine; None for its own.
        heat: the board's temperature; None where nobody looks at it.
        clips: saves the clips; None where none are saved.
    """

    def __init__(
        self,
        node: str,
        channels: Sequence[Channel],
        hub: Hub,
        interval_s: float,
        clocks: Clocks | None = None,
        heat: HeatWatch | None = None,
        clips: ClipSaving | None = None,
    ) -> None:
        self._node = node
        self.missing: Callable[[str], list[str]] = lambda _label: []
        """What does not work of a source, or of everything, one sentence each."""
        self.heat = heat
        self._hub = hub
        self.interval_s = interval_s
        self._clocks = clocks or Clocks()
        self._began_s = self._clocks.wall_s()
        self._began_since_boot_s = self._clocks.since_boot_s()
        self._due_s = self._clocks.running_s() + interval_s
        self._clips = clips
        self._before = {channel: Counters() for channel in channels}
        self.latest: dict[str, Health] = {}
        """The newest record of each source that is heard, by label; replaced as a whole, for other threads."""

    def begin(self) -> None:
        """Count the interval from now on."""
        self._began_s, self._began_since_boot_s = self._clocks.wall_s(), self._clocks.since_boot_s()
        self._due_s = self._clocks.running_s() + self.interval_s

    def add(self, channel: Channel) -> None:
        """Tell of a channel that came later; one of its name that is being closed is no longer the newest."""
        self._before[channel] = Counters()
        self._forget_latest(channel.label)

    def remove(self, channel: Channel) -> None:
        """Publish the last record of a channel that is closed; it is told of no more."""
        if channel in self._before:
            if self.interval_s:
                self._hub.publish(Delivery(self._record(channel, self._span_so_far()[0])))
            del self._before[channel]
        # Its last record may have been due while it was being closed.
        if all(other.label != channel.label for other in self._before):
            self._forget_latest(channel.label)

    def _forget_latest(self, label: str) -> None:
        self.latest = {other: record for other, record in self.latest.items() if other != label}

    def change_interval(self, interval_s: float) -> None:
        """Publish every so many seconds from now on; 0 publishes none."""
        self.interval_s = interval_s
        self._due_s = self._clocks.running_s() + interval_s

    def tick(self) -> None:
        """Publish the records if they are due."""
        if not self.interval_s or (now_s := self._clocks.running_s()) < self._due_s:
            return
        # After a suspended laptop, one record is due, not one for each interval of the night.
        self._due_s += self.interval_s * (1 + (now_s - self._due_s) // self.interval_s)
        self.report()

    def report(self) -> None:
        """Publish the records of the time since the last ones."""
        if not self.interval_s:
            return
        span = self._span()
        for channel in list(self._before):
            record = self._record(channel, span)
            self.latest = {**self.latest, channel.label: record}
            self._hub.publish(Delivery(record))
            if channel.capture.state == "ended" and channel.ended:
                del self._before[channel]

    def _span(self) -> TimeSpan:
        """From the last records on; the next ones begin here."""
        span, self._began_s, self._began_since_boot_s = self._span_so_far()
        return span

    def _span_so_far(self) -> tuple[TimeSpan, float, float]:
        """From the last records on; where the wall clock was set meanwhile, as long ago as it is by the new time.

        Returns:
            The span, its end in seconds since the epoch, and the same in seconds since the machine started.
        """
        now_s, since_boot_s = self._clocks.wall_s(), self._clocks.since_boot_s()
        took_s = since_boot_s - self._began_since_boot_s
        began_s = self._began_s if abs(now_s - self._began_s - took_s) < SET_S else now_s - took_s
        return TimeSpan(start=rfc3339(began_s), end=rfc3339(max(now_s, began_s))), now_s, since_boot_s

    def _record(self, channel: Channel, span: TimeSpan) -> Health:
        channel.counters.lost_samples = channel.lost_samples()
        now = channel.counters.copy()
        before, self._before[channel] = self._before[channel], now
        counted = now.since(before)
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
            dropped_ms=now.lost_ms - before.lost_ms,
            latency_ms=channel.latencies.take(),
            queued_ms=1000 * channel.queued_samples // SAMPLE_RATE,
            due_windows=len(channel.queue),
            reconnects=channel.capture.reconnects,
            sinks=self._hub.health(),
            warnings=[*channel.warnings, *self._warnings(channel, counted), *self.missing(channel.label)],
            described=counted.described,
            same=counted.same,
            hop_s=None if (hop := channel.adaptation.hop) is None else hop.hop_s,
            temperature_c=None if self.heat is None or self.heat.celsius is None else round(self.heat.celsius, 1),
            private=counted.private,
            clips=None if self._clips is None else self._clips.health,
            events=counted.events,
            unconfirmed=counted.unconfirmed,
            cooled=counted.cooled,
            alerts=counted.alerts,
        )

    def _warnings(self, channel: Channel, counted: Counters) -> list[str]:
        said: list[str] = []
        if late := sum(counted.skipped[reason] for reason in ("overlap", "behind", "late")):
            said.append(f"{late} windows were skipped: describing fell behind, or sound was missing")
        if (hop := channel.adaptation.hop) is not None and hop.overloaded:
            said.append(f"describing takes longer than the hop: windows come every {channel.hop_s:.1f} s")
        if self.heat is not None:
            said += self.heat.warnings
        if self._clips is not None and (reason := self._clips.health.reason) is not None:
            said.append(f"clips cannot be saved: {reason}")
        return said
