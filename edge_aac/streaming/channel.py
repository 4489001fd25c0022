"""What belongs to one source: its ring, clock, slicer, gates, event tracker and counters."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from edge_aac.audio.clock import SampleClock
from edge_aac.audio.ring import SampleRing
from edge_aac.audio.sources.address import Source
from edge_aac.audio.windows import Window, WindowSlicer
from edge_aac.models.seq2seq import window_rng
from edge_aac.records import TimeSpan
from edge_aac.streaming.building import RecordBuilder, clock_span, file_span
from edge_aac.streaming.capture import Capture
from edge_aac.streaming.counters import Counters, LatencyLog, LevelMeter
from edge_aac.streaming.events import EventTracker
from edge_aac.streaming.gate import EnergyGate, ScoreGate
from edge_aac.streaming.publishing import ChannelTime, DescriptionPublisher, Publish
from edge_aac.streaming.window_queue import WindowQueue
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
        self.ended = False
        self._slicer = slicer
        self._seed = settings.seed
        self._ring = SampleRing(RING_SAMPLES if source.live else FILE_RING_SAMPLES)
        self._clock = SampleClock()
        self._arrivals = SampleClock()
        self._capture = Capture(source, self._ring, self._clock, self._arrivals, wake, reopen)
        self._capture.due_position = slicer.next_end
        self.queue = WindowQueue(self.label, settings.level_gate, self.counters, _reach_of(slicer), skips=self.live)
        self.publisher = DescriptionPublisher(
            builder=builder,
            tracker=tracker,
            score_gate=settings.score_gate,
            time_of=ChannelTime(self._span, self._arrivals.time_of, self.lost_samples),
            counters=self.counters,
            latencies=self.latencies,
            publish=publish,
            live=self.live,
            every_window=settings.every_window,
        )
        self._error: Exception | None = None
        self._source_ended = False
        self._heard_s = time.monotonic()
        self._collected_s = 0.0

    @property
    def error(self) -> Exception | None:
        """The first error of the source, or of a window of a file."""
        return self._error or self.publisher.error

    @property
    def capture(self) -> Capture:
        """The source's thread, for its state."""
        return self._capture

    @property
    def queued_samples(self) -> int:
        """Samples that wait in the ring."""
        return self._ring.backlog_samples

    @property
    def written_samples(self) -> int:
        """Samples at 16 kHz since the channel began, lost ones included."""
        return self._ring.written_samples

    @property
    def taken_windows(self) -> int:
        """Windows that no longer wait, whatever became of them; may be read from another thread."""
        return self.counters.windows - len(self.queue)

    @property
    def reach_s(self) -> float:
        """Seconds of sound within which at least one window ends."""
        return (self._slicer.window_samples + 2 * self._slicer.hop_samples) / SAMPLE_RATE

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
            if not self.live and len(self.queue) >= ahead:
                return
            try:
                part = self._ring.read(READ_SAMPLES, timeout_s=0.0)
            except Exception as error:  # the source's own: what it gave before is described to its end
                self._error = self.error or error
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
        for window in windows:
            self.level.add(window)
        self.queue.accept(windows)

    def rng(self, window: Window) -> np.random.Generator:
        """The window's own generator: what is said of it does not depend on other windows."""
        return window_rng(self._seed, window.start)

    def reconfigure(self, slicer: WindowSlicer, settings: ChannelSettings, same_similarity: float) -> None:
        """Cut and gate otherwise from now on; no sample is lost, and events go on.

        Where the hop changes, the sound since the last window ends with one more window, and windows start anew.

        Args:
            slicer: fresh.
            settings: gates and seed.
            same_similarity: smallest cosine between captions of one event.
        """
        if slicer.hop_samples != self._slicer.hop_samples:
            self._accept(self._slicer.flush())
            self._slicer = slicer
            self._capture.due_position = 0
            self.queue.reach_samples = _reach_of(slicer)
        self._seed = settings.seed
        self.queue.level_gate = settings.level_gate
        self.publisher.regulate(settings.score_gate, settings.every_window, same_similarity)

    def tick(self) -> None:
        """End the events of a live source that gives no sound, when they would have ended had it gone on in silence."""
        if not self.live or self.queue or not self.publisher.open_events or self._ring.backlog_samples:
            return
        now_s = time.monotonic()
        if now_s - self._heard_s < SILENT_WAIT_S:
            return
        position = round((now_s - SILENT_WAIT_S - self._arrivals.time_of(0)) * SAMPLE_RATE)
        self.publisher.expire(position - self._slicer.window_samples)

    def finish(self) -> bool:
        """Once the source has ended and nothing is due: end all events. True when the channel has ended."""
        if self._source_ended and not self.queue and not self.ended:
            self.end()
        return self.ended

    def end(self) -> None:
        """End all events; nothing comes after. Windows that still wait are counted as skipped by the stop."""
        if not self.ended:
            self.ended = True
            if self.queue:
                self.queue.skip_all("stop")
            self.publisher.finish()

    def close(self) -> None:
        """Close the source; nothing more is written to the ring."""
        self._ring.stop_writing()
        self._capture.close()
        self.counters.lost_samples = self.lost_samples()

    def lost_samples(self) -> int:
        """Samples at 16 kHz that were lost before the ring or overwritten in it."""
        return self._ring.gap_samples + self._ring.overrun_samples

    def _span(self, start: int, end: int) -> TimeSpan:
        return clock_span(start, end, self._clock) if self.live else file_span(start, end)


def _reach_of(slicer: WindowSlicer) -> int:
    # A window is late for one that overlaps it, or that simply comes next where the hop is longer than the window.
    return max(slicer.hop_samples + 1, slicer.window_samples)
