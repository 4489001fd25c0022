"""What is published of a source's windows: captions and events, each with the time that it keeps."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass

from edge_aac.audio.windows import Window
from edge_aac.errors import DataError
from edge_aac.models.contract import Description, ScoredCaption, Undecoded
from edge_aac.records import TimeSpan
from edge_aac.streaming.building import RecordBuilder, undescribed
from edge_aac.streaming.counters import Counters, LatencyLog
from edge_aac.streaming.events import Embed, EventChange, EventTracker
from edge_aac.streaming.gate import ScoreGate
from edge_aac.streaming.hub import Delivery
from edge_aac.streaming.losses import milliseconds

Publish = Callable[[Delivery], None]

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ChannelTime:
    """Times of a source's samples.

    Attributes:
        span: gives the time span from one position in samples to another, as records have it.
        heard_s: gives the monotonic time in seconds at which the sample before a position arrived.
        lost_samples: gives the samples at 16 kHz that were lost so far.
        now_s: gives the monotonic time in seconds.
    """

    span: Callable[[int, int], TimeSpan]
    heard_s: Callable[[int], float]
    lost_samples: Callable[[], int]
    now_s: Callable[[], float] = time.monotonic


class DescriptionPublisher:
    """Publishes what is described of one source's windows.

    Args:
        builder: makes the records.
        tracker: joins windows to events.
        score_gate: stops captions that are not sure enough.
        time_of: times of the source's samples.
        counters: counts of what became of windows.
        latencies: log of the latencies of published captions.
        publish: takes the records.
        live: whether the source is live: its records may be dropped, and have a latency.
        every_window: publish a caption for every window; else only for those that start an event.
    """

    def __init__(  # noqa: PLR0913 - the parts of the data's way, each made by the caller
        self,
        *,
        builder: RecordBuilder,
        tracker: EventTracker,
        score_gate: ScoreGate,
        time_of: ChannelTime,
        counters: Counters,
        latencies: LatencyLog,
        publish: Publish,
        live: bool,
        every_window: bool,
    ) -> None:
        self.error: Exception | None = None
        """The first error of a window of a file."""
        self._builder = builder
        self._tracker = tracker
        self._score_gate = score_gate
        self._time = time_of
        self._counters = counters
        self._latencies = latencies
        self._publish = publish
        self._live = live
        self._every_window = every_window
        self._event_spans: dict[int, tuple[int, TimeSpan]] = {}
        """Of each open event: the sample that it reaches to, and the times that its newest record was given."""
        self._lost_reported = 0
        self._last: ScoredCaption | None = None
        """The caption of the last window that was decoded; None where it was not sure enough."""

    def settle(self, window: Window, description: Description | DataError | Undecoded | None) -> None:
        """Publish what came of a window: its description, its error, that it sounds as before, or None of a silent one.

        Windows come in order, on which events depend.
        """
        start, end = window.start, window.start + window.samples
        if description is None:
            self._counters.silent += 1
        elif isinstance(description, DataError):
            # One window's numbers say nothing about the next window's.
            self._counters.failed += 1
            level = logging.WARNING if self._counters.failed == 1 else logging.DEBUG
            log.log(level, "%s: a window could not be described: %s", self._builder.source, description)
            if not self._live:
                self.error = self.error or undescribed(self._builder.source, start, end, description)
        elif isinstance(description, Undecoded):
            # What was heard goes on, and so does its event. No caption is published: none was made.
            self._counters.same += 1
            self._publish_events(self._tracker.observe(start, end, self._last))
            return
        elif not self._score_gate.passes(description):
            self._counters.described += 1
            self._counters.unsure += 1
            self._last = None
            log.debug("%s: unsure (%s)", self._builder.source, description.confidence)
        else:
            self._counters.described += 1
            self._last = description.best
            self._settle_described(window, description)
            return
        # To the events it is as if nothing had been heard: one that goes on is not broken off by a doubt in it.
        self._publish_events(self._tracker.observe(start, end, None))

    def _settle_described(self, window: Window, description: Description) -> None:
        start, end = window.start, window.start + window.samples
        changes = self._tracker.observe(start, end, description.best)
        own = changes[-1]
        self._publish_events(changes[:-1])
        if self._every_window or own.state == "start":
            heard_s = self._time.heard_s(end)
            record = self._builder.caption(
                self._counters.captions,
                self._time.span(start, end),
                window,
                description,
                self._newly_lost_ms(),
                own.number,
                1e3 * (self._time.now_s() - heard_s) if self._live else None,
            )
            self._publish(
                Delivery(
                    record,
                    not self._live,
                    (lambda _: self._latencies.add(1e3 * (self._time.now_s() - heard_s))) if self._live else None,
                )
            )
            self._counters.captions += 1
        self._publish_events([own])

    def regulate(self, score_gate: ScoreGate, every_window: bool, same_similarity: float) -> None:
        """Publish by other rules from now on; open events go on."""
        self._score_gate = score_gate
        self._every_window = every_window
        self._tracker.same_similarity = same_similarity

    def use(self, builder: RecordBuilder, same_similarity: float, embed: Embed) -> None:
        """Publish what another model describes from now on. Open events end: its embeddings are others."""
        self.finish()
        self._builder = builder
        self._tracker.use(same_similarity, embed)

    @property
    def open_events(self) -> int:
        """Number of open events."""
        return self._tracker.open_events

    def expire(self, position: int) -> None:
        """End the events that no window from ``position`` (in samples) on can overlap."""
        self._publish_events(self._tracker.expire(position))

    def finish(self) -> None:
        """End all events."""
        self._publish_events(self._tracker.finish())

    def _publish_events(self, changes: list[EventChange]) -> None:
        for change in changes:
            self._publish(Delivery(self._builder.event(change, self._event_span(change)), not self._live))

    def _event_span(self, change: EventChange) -> TimeSpan:
        """When an event was: what one of its records gave stays, whatever is done to the clock later."""
        span = self._time.span(change.start, change.end)
        if (earlier := self._event_spans.get(change.number)) is not None:
            end_sample, before = earlier
            span = span.model_copy(update={"start": before.start, "start_s": before.start_s})
            # RFC 3339 in UTC sorts as text. The clock may have been set back.
            if change.end == end_sample or (span.end or "") < (before.end or ""):
                span = before
        if change.state == "end":
            self._event_spans.pop(change.number, None)
        else:
            self._event_spans[change.number] = (change.end, span)
        return span

    def _newly_lost_ms(self) -> int:
        """Milliseconds lost since the caption before, beside silent and unpublished windows too."""
        lost = self._time.lost_samples()
        before, self._lost_reported = self._lost_reported, lost
        return milliseconds(lost) - milliseconds(before)
