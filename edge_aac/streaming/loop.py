"""The loop: reads the ring, captions windows, publishes records. Falls behind by skipping windows, and counts them."""

from __future__ import annotations

import logging
import threading
import time
from dataclasses import dataclass
from itertools import pairwise

from edge_aac.audio.clock import SampleClock
from edge_aac.audio.ring import SampleRing
from edge_aac.audio.sources.address import Source
from edge_aac.audio.windows import Window, WindowSlicer
from edge_aac.errors import DataError
from edge_aac.models.contract import CancelledError
from edge_aac.models.seq2seq import Captioner, window_rng
from edge_aac.records import TimeSpan
from edge_aac.sinks.sink import QueuedSink
from edge_aac.streaming.describe import Describer, clock_span, file_span
from edge_aac.streaming.events import EventChange, EventTracker
from edge_aac.streaming.gate import EnergyGate, ScoreGate
from edge_aac.timebase import SAMPLE_RATE

RING_SAMPLES = 30 * SAMPLE_RATE
READ_SAMPLES = SAMPLE_RATE
READ_TIMEOUT_S = 0.1

log = logging.getLogger(__name__)


@dataclass
class Counters:
    """What a stream did, for its closing line.

    Attributes:
        windows: that were made of the sound.
        silent: that the gate stopped.
        skipped: of a live source that were left out for a later one, where captioning fell behind.
        unsure: whose caption scored too low to be said.
        failed: that could not be captioned; the reason of each is in the log.
        captions: that were published.
        lost_samples: sound that never reached a window.
    """

    windows: int = 0
    silent: int = 0
    skipped: int = 0
    unsure: int = 0
    failed: int = 0
    captions: int = 0
    lost_samples: int = 0

    def sentence(self) -> str:
        """One line for the log."""
        return (
            f"{self.windows} windows: {self.captions} captions published, {self.silent} silent, "
            f"{self.unsure} unsure, {self.skipped} skipped, {self.failed} failed; "
            f"{1000 * self.lost_samples // SAMPLE_RATE} ms of sound lost"
        )


class StreamLoop:
    """Captions one source until it ends or is told to stop.

    Args:
        source: opened; the loop closes it.
        captioner: used by the loop's thread alone.
        slicer: cuts the windows.
        gate: stops silent ones.
        tracker: joins windows to events.
        sink: takes the records; the loop closes it.
        describer: what all records share.
        seed: of the candidates.
        score_gate: stops captions of windows that are not sure enough; None stops none.
        every_window: publish a caption record for every window; else only for those that start an event.
    """

    def __init__(  # noqa: PLR0913 - the parts of the data's way, each made by the caller
        self,
        *,
        source: Source,
        captioner: Captioner,
        slicer: WindowSlicer,
        gate: EnergyGate,
        tracker: EventTracker,
        sink: QueuedSink,
        describer: Describer,
        seed: int = 0,
        score_gate: ScoreGate | None = None,
        every_window: bool = False,
    ) -> None:
        self._source = source
        self._captioner = captioner
        self._slicer = slicer
        self._gate = gate
        self._tracker = tracker
        self._sink = sink
        self._describer = describer
        self._seed = seed
        self._score_gate = score_gate or ScoreGate()
        self._every_window = every_window
        self._ring = SampleRing(RING_SAMPLES)
        self._lost_reported = 0
        self._clock = SampleClock()
        self._event_spans: dict[int, tuple[int, TimeSpan]] = {}
        """Of each open event: the sample that it reaches to, and the times that its newest record was given."""
        self._first_failure: DataError | None = None
        self.counters = Counters()

    def run(self, stop: threading.Event) -> None:
        """Run until the source ends or ``stop`` is set; then everything published is delivered.

        Raises:
            EdgeAacError: the source failed for good, or a sink did; or a window of a source that is not live could not
                be captioned, once all the others were. A live stream goes on, and counts it.
        """
        capture = threading.Thread(target=self._capture, name="edge-aac-capture", daemon=True)
        capture.start()
        try:
            ended = self._follow(stop)
            if ended:
                self._take(self._slicer.flush(), stop)
        finally:
            # Where the source failed too, each event that started has its end.
            self._publish_events(self._tracker.finish())
            self._ring.stop_writing()
            self._source.close()
            capture.join(timeout=0.3)
            self.counters.lost_samples = self._lost_samples()
            self._sink.close()
            if self._sink.dropped_records:
                log.warning("%d records were dropped: the output is not read fast enough", self._sink.dropped_records)
        if self._sink.error is not None:
            raise self._sink.error
        if self._first_failure is not None and not self._source.live:
            raise self._first_failure

    def _capture(self) -> None:
        """Capture thread: writes the ring and nothing else."""
        lost_before = 0
        try:
            while (block := self._source.read()) is not None:
                lost = self._source.lost_samples()
                if lost > lost_before:
                    self._ring.write_gap(lost - lost_before)
                    lost_before = lost
                # Before the write: whoever reads the samples finds their time there.
                self._clock.note(self._ring.written_samples + len(block), time.time())
                self._ring.write(block, block=not self._source.live)
            self._ring.close()
        except BaseException as error:  # raised again where the ring is read
            self._ring.close(error)

    def _follow(self, stop: threading.Event) -> bool:
        """Take windows until the source ends (True) or the stream is stopped (False)."""
        while not stop.is_set() and self._sink.error is None:
            # A live backlog is taken whole, so that what is skipped is skipped at once; a file's piece by piece.
            most = self._ring.capacity_samples if self._source.live else READ_SAMPLES
            part = self._ring.read(most, READ_TIMEOUT_S)
            if part is None:
                return True
            position, samples = part
            if len(samples):
                self._take(self._slicer.push(position, samples), stop)
        return False

    def _take(self, windows: list[Window], stop: threading.Event) -> None:
        self.counters.windows += len(windows)
        skipped = self._outdated(windows) if self._source.live else set()
        if skipped:
            self.counters.skipped += len(skipped)
            log.warning("%d windows skipped for later ones: captioning fell behind, or sound was missing", len(skipped))
        for window in windows:
            if window.start in skipped:
                continue
            try:
                self._caption(window, stop)
            except CancelledError:
                return

    def _outdated(self, windows: list[Window]) -> set[int]:
        """Where those windows start that a later one in the backlog stands for.

        Silent ones cost nothing and stand for nothing: after an outage, zeros fill the newest windows, and the last
        sound before it lies in an older one.
        """
        loud = [window for window in windows if self._gate.passes(window)]
        # One that overlaps, or that simply comes next where the hop is longer than the window.
        reach = max(self._slicer.hop_samples + 1, self._slicer.window_samples)
        return {one.start for one, later in pairwise(loud) if later.start - one.start < reach}

    def _caption(self, window: Window, stop: threading.Event) -> None:
        start, end = window.start, window.start + window.samples
        if not self._gate.passes(window):
            self.counters.silent += 1
            self._publish_events(self._tracker.observe(start, end, None))
            return
        span = self._span(start, end)
        (captioned,) = self._captioner.describe([window], [window_rng(self._seed, start)], stop.is_set)
        if isinstance(captioned, DataError):
            # One window's numbers say nothing about the next window's; an accelerator that is gone ends the stream.
            self.counters.failed += 1
            self._first_failure = self._first_failure or captioned
            log.warning("%s: a window could not be captioned: %s", self._describer.source, captioned)
            self._publish_events(self._tracker.observe(start, end, None))
            return
        if not self._score_gate.passes(captioned):
            # To the events it is as if nothing had been heard: one that goes on is not broken off by a doubt in it.
            self.counters.unsure += 1
            self._publish_events(self._tracker.observe(start, end, None))
            return
        changes = self._tracker.observe(start, end, captioned.best)
        own = changes[-1]
        self._publish_events(changes[:-1])
        if self._every_window or own.state == "start":
            seq = self.counters.captions
            dropped_ms = self._newly_lost_ms()
            self._sink.publish(self._describer.caption(seq, span, window, captioned, dropped_ms, own.number))
            self.counters.captions += 1
        self._publish_events([own])

    def _publish_events(self, changes: list[EventChange]) -> None:
        for change in changes:
            self._sink.publish(self._describer.event(change, self._event_span(change)))

    def _event_span(self, change: EventChange) -> TimeSpan:
        """When an event was: what one of its records said stays said, whatever is done to the clock later."""
        span = self._span(change.start, change.end)
        if (told := self._event_spans.get(change.number)) is not None:
            end_sample, before = told
            span = span.model_copy(update={"start": before.start, "start_s": before.start_s})
            if change.end == end_sample:
                span = before
        if change.state == "end":
            self._event_spans.pop(change.number, None)
        else:
            self._event_spans[change.number] = (change.end, span)
        return span

    def _newly_lost_ms(self) -> int:
        """What was lost since the caption before: a loss next to a silent or unpublished window is told as well."""
        lost = self._lost_samples()
        newly, self._lost_reported = lost - self._lost_reported, lost
        return round(1000 * newly / SAMPLE_RATE)

    def _lost_samples(self) -> int:
        return self._ring.gap_samples + self._ring.overrun_samples

    def _span(self, start: int, end: int) -> TimeSpan:
        if self._source.live:
            return clock_span(start, end, self._clock)
        return file_span(start, end)
