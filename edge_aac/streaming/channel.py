"""What belongs to one source: its ring, clock, slicer, gates, event tracker and counters."""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from edge_aac.audio.clock import SampleClock
from edge_aac.audio.ring import SampleRing
from edge_aac.audio.sources.address import Source
from edge_aac.audio.windows import Window, WindowSlicer
from edge_aac.errors import DataError
from edge_aac.models.contract import Description
from edge_aac.models.seq2seq import window_rng
from edge_aac.records import TimeSpan
from edge_aac.streaming.building import RecordBuilder, clock_span, file_span, undescribed
from edge_aac.streaming.capture import Capture
from edge_aac.streaming.counters import Counters, LatencyLog, LevelMeter
from edge_aac.streaming.events import EventChange, EventTracker
from edge_aac.streaming.gate import EnergyGate, ScoreGate
from edge_aac.streaming.hub import Delivery
from edge_aac.timebase import SAMPLE_RATE

RING_SAMPLES = 30 * SAMPLE_RATE
"""Sound of a live source that may wait while others, or a slow model, take their time."""

FILE_RING_SAMPLES = 4 * SAMPLE_RATE
"""A file's reader waits: more would be memory for nothing."""

READ_SAMPLES = SAMPLE_RATE
"""Taken at once: windows of a long backlog are skipped as they are cut, or they would need much memory for a moment."""

LONGEST_WAIT_S = 1.0
"""Sound waits no longer in the ring, though no window be due: an outage must not push it out."""

SILENT_WAIT_S = 1.0
"""A live source that has given nothing for this long is not merely late."""

Publish = Callable[[Delivery], None]

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ChannelSettings:
    """How one source is listened to.

    Attributes:
        level_gate: stops silent windows.
        score_gate: stops captions that are not sure enough.
        seed: of the candidates; each window's generator is made from it and the window's position.
        every_window: publish a caption for every window; else only for those that start an event.
    """

    level_gate: EnergyGate
    score_gate: ScoreGate = ScoreGate()
    seed: int = 0
    every_window: bool = False


class Channel:
    """The way of one source's sound from its ring to its records. The scheduler's thread alone uses it.

    Time inside is an integer count of samples at 16 kHz since the channel began.

    Args:
        source: opened; :meth:`close` closes it.
        slicer: cuts the windows.
        tracker: joins windows to events.
        builder: makes the records.
        settings: gates and seed.
        publish: takes the records.
        wake: called from the capture thread when a window may be due or the source has ended.
        reopen: opens a live source anew after it failed; None for one that is not retried.
    """

    def __init__(  # noqa: PLR0913 - the parts of the data's way, each made by the caller
        self,
        *,
        source: Source,
        slicer: WindowSlicer,
        tracker: EventTracker,
        builder: RecordBuilder,
        settings: ChannelSettings,
        publish: Publish,
        wake: Callable[[], None],
        reopen: Callable[[], Source] | None = None,
    ) -> None:
        self.live = source.live
        self.label = builder.source
        self.counters = Counters()
        self.latencies = LatencyLog()
        self.level = LevelMeter()
        self.error: Exception | None = None
        """The first error of the source, or of a window of a file."""
        self.ended = False
        self._slicer = slicer
        self._tracker = tracker
        self._builder = builder
        self._settings = settings
        self._publish = publish
        self._ring = SampleRing(RING_SAMPLES if source.live else FILE_RING_SAMPLES)
        self._clock = SampleClock()
        self._arrivals = SampleClock()
        self._capture = Capture(source, self._ring, self._clock, self._arrivals, wake, reopen)
        self._capture.due_position = slicer.next_end
        self._due: deque[Window] = deque()
        self._event_spans: dict[int, tuple[int, TimeSpan]] = {}
        """Of each open event: the sample that it reaches to, and the times that its newest record was given."""
        self._lost_reported = 0
        self._source_ended = False
        self._heard_s = time.monotonic()
        self._collected_s = 0.0

    @property
    def capture(self) -> Capture:
        """The source's thread, for its state."""
        return self._capture

    @property
    def due_windows(self) -> int:
        """Windows that wait to be described."""
        return len(self._due)

    @property
    def queued_samples(self) -> int:
        """Samples that wait in the ring."""
        return self._ring.backlog_samples

    def start(self) -> None:
        """Start capturing."""
        self._capture.start()

    def collect(self, ahead: int = 1) -> None:
        """Take what the ring holds, and cut it into windows.

        Nothing is taken before a window is due, or a second has passed: the filter bank works best on long pieces. Of a
        live source everything is taken then, so that what is outdated is skipped at once; of a file only until
        ``ahead`` windows are due, so that its reader waits.
        """
        now_s = time.monotonic()
        if not self._capture.due and now_s - self._collected_s < LONGEST_WAIT_S:
            return
        self._collected_s = now_s
        while not self._source_ended:
            if not self.live and len(self._due) >= ahead:
                return
            try:
                part = self._ring.read(READ_SAMPLES, timeout_s=0.0)
            except Exception as error:  # the source's own: what it gave before is described to its end
                self.error = self.error or error
                part = None
            if part is None:
                self._source_ended = True
                self._accept(self._slicer.flush())
                return
            position, samples = part
            if not len(samples):
                return
            self._heard_s = time.monotonic()
            self._accept(self._slicer.push(position, samples))
            self._capture.due_position = self._slicer.next_end

    def _accept(self, windows: list[Window]) -> None:
        self.counters.windows += len(windows)
        self._due.extend(windows)
        for window in windows:
            self.level.add(window)
        if self.live:
            self._skip_outdated()

    def _skip_outdated(self) -> None:
        """Leave out windows that a later one in the backlog stands for.

        Silent ones cost nothing and stand for nothing: after an outage, zeros fill the newest windows, and the last
        sound before it lies in an older one.
        """
        loud = [window for window in self._due if self.is_loud(window)]
        # One that overlaps, or that simply comes next where the hop is longer than the window.
        reach = max(self._slicer.hop_samples + 1, self._slicer.window_samples)
        outdated = {one.start for one, later in pairwise(loud) if later.start - one.start < reach}
        self._skip(outdated, "overlap")

    def skip_all_but_newest(self, kept: int) -> None:
        """Leave out all loud windows that are due but the newest ``kept``: the machine cannot describe them all."""
        loud = [window for window in self._due if self.is_loud(window)]
        self._skip({window.start for window in loud[: max(0, len(loud) - kept)]}, "behind")

    def _skip(self, starts: set[int], reason: str) -> None:
        if not starts:
            return
        self._due = deque(window for window in self._due if window.start not in starts)
        if not self.counters.skipped:
            log.warning("%s: windows are skipped: describing fell behind, or sound was missing", self.label)
        log.debug("%s: %d windows skipped (%s)", self.label, len(starts), reason)
        self.counters.skipped[reason] += len(starts)

    @property
    def loud_windows(self) -> int:
        """How many of the windows that are due need the model."""
        return sum(self.is_loud(window) for window in self._due)

    def is_loud(self, window: Window) -> bool:
        """Whether a window needs the model."""
        return self._settings.level_gate.passes(window)

    def take(self, loud: int) -> list[Window]:
        """The next windows in order: as many loud ones as asked for, and the silent ones around them.

        Each is given to :meth:`settle` in this order, on which events depend, or to :meth:`put_back` as the run ends.
        """
        taken: list[Window] = []
        while self._due:
            if self.is_loud(self._due[0]):
                if not loud:
                    break
                loud -= 1
            taken.append(self._due.popleft())
        return taken

    def put_back(self, window: Window) -> None:
        """Have a window wait again, before all others: it was taken, and not described."""
        self._due.appendleft(window)

    def rng(self, window: Window) -> np.random.Generator:
        """The window's own generator: what is said of it does not depend on other windows."""
        return window_rng(self._settings.seed, window.start)

    def settle(self, window: Window, description: Description | DataError | None) -> None:
        """Publish what came of a window that :meth:`take` gave: its description, its error, or None of a silent one."""
        start, end = window.start, window.start + window.samples
        if description is None:
            self.counters.silent += 1
        elif isinstance(description, DataError):
            # One window's numbers say nothing about the next window's.
            self.counters.failed += 1
            level = logging.WARNING if self.counters.failed == 1 else logging.DEBUG
            log.log(level, "%s: a window could not be described: %s", self.label, description)
            if not self.live:
                self.error = self.error or undescribed(self.label, start, end, description)
        elif not self._settings.score_gate.passes(description):
            self.counters.unsure += 1
            log.debug("%s: unsure (%s)", self.label, description.confidence)
        else:
            self._settle_described(window, description)
            return
        # To the events it is as if nothing had been heard: one that goes on is not broken off by a doubt in it.
        self._publish_events(self._tracker.observe(start, end, None))

    def _settle_described(self, window: Window, description: Description) -> None:
        start, end = window.start, window.start + window.samples
        changes = self._tracker.observe(start, end, description.best)
        own = changes[-1]
        self._publish_events(changes[:-1])
        if self._settings.every_window or own.state == "start":
            heard_s = self._arrivals.time_of(end)
            record = self._builder.caption(
                self.counters.captions,
                self._span(start, end),
                window,
                description,
                self._newly_lost_ms(),
                own.number,
                1e3 * (time.monotonic() - heard_s) if self.live else None,
            )
            self._publish(
                Delivery(
                    record,
                    not self.live,
                    (lambda now_s: self.latencies.add(1e3 * (now_s - heard_s))) if self.live else None,
                )
            )
            self.counters.captions += 1
        self._publish_events([own])

    def tick(self) -> None:
        """End the events of a live source that gives no sound, when they would have ended had it gone on in silence."""
        if not self.live or self._due or not self._tracker.open_events or self._ring.backlog_samples:
            return
        now_s = time.monotonic()
        if now_s - self._heard_s < SILENT_WAIT_S:
            return
        position = round((now_s - SILENT_WAIT_S - self._arrivals.time_of(0)) * SAMPLE_RATE)
        self._publish_events(self._tracker.expire(position - self._slicer.window_samples))

    def finish(self) -> bool:
        """Once the source has ended and nothing is due: end all events. True when the channel has ended."""
        if self._source_ended and not self._due and not self.ended:
            self.end()
        return self.ended

    def end(self) -> None:
        """End all events; nothing comes after. Windows that still wait are counted as skipped by the stop."""
        if not self.ended:
            self.ended = True
            if self._due:
                self.counters.skipped["stop"] += len(self._due)
                self._due.clear()
            self._publish_events(self._tracker.finish())

    def close(self) -> None:
        """Close the source; nothing more is written to the ring."""
        self._ring.stop_writing()
        self._capture.close()
        self.counters.lost_samples = self.lost_samples()

    def lost_samples(self) -> int:
        """Samples at 16 kHz that were lost before the ring or overwritten in it."""
        return self._ring.gap_samples + self._ring.overrun_samples

    def _publish_events(self, changes: list[EventChange]) -> None:
        for change in changes:
            self._publish(Delivery(self._builder.event(change, self._event_span(change)), not self.live))

    def _event_span(self, change: EventChange) -> TimeSpan:
        """When an event was: what one of its records gave stays, whatever is done to the clock later."""
        span = self._span(change.start, change.end)
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
        lost = self.lost_samples()
        newly, self._lost_reported = lost - self._lost_reported, lost
        return round(1000 * newly / SAMPLE_RATE)

    def _span(self, start: int, end: int) -> TimeSpan:
        return clock_span(start, end, self._clock) if self.live else file_span(start, end)
