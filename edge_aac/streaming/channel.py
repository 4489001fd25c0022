"""What belongs to one source: its ring, clock, slicer, gates, event tracker and counters."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from edge_aac.audio.clock import Clocks, SampleClock
from edge_aac.audio.connection import LossReason
from edge_aac.audio.ring import SampleRing
from edge_aac.audio.sources.address import Source
from edge_aac.audio.windows import Window, WindowSlicer
from edge_aac.models.seq2seq import window_rng
from edge_aac.records import TimeSpan
from edge_aac.streaming.adaptation import Adaptation
from edge_aac.streaming.batches import Outcome
from edge_aac.streaming.building import RecordBuilder, clock_span, file_span
from edge_aac.streaming.capture import Capture
from edge_aac.streaming.channel_settings import ChannelSettings
from edge_aac.streaming.channel_time import ChannelTime, Publish
from edge_aac.streaming.clips.recorder import ClipRecorder
from edge_aac.streaming.clips.saving import ClipSaving
from edge_aac.streaming.counters import Counters, LatencyLog, LevelMeter
from edge_aac.streaming.events import EventTracker
from edge_aac.streaming.hub import Delivery
from edge_aac.streaming.losses import LossAccount, LostSound
from edge_aac.streaming.pausing import Pausing
from edge_aac.streaming.publishing import DescriptionPublisher
from edge_aac.streaming.sounds import Embed, Phrases
from edge_aac.streaming.window_queue import WindowQueue
from edge_aac.timebase import SAMPLE_RATE

__all__ = ["FILE_RING_SAMPLES", "RING_SAMPLES", "Channel", "ChannelSettings"]

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
        clocks: of the machine; None for its own.
        clips: saves the sound of a live source's events; None where none is saved.
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
        clocks: Clocks | None = None,
        clips: ClipSaving | None = None,
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
        self._clocks = clocks or Clocks()
        self._clock = SampleClock(self._clocks)
        self._losses = LossAccount()
        self._taken_samples = 0
        self._builder = builder
        self._publish = publish
        self._capture = Capture(source, self._ring, self._clock, self._losses, self._clocks, wake, reopen)
        self._wake_when_due()
        self.queue = WindowQueue(self.label, settings.level_gate, self.counters, slicer.window_samples, skips=self.live)
        self._settings = settings
        self.adaptation = Adaptation(self.label, slicer, settings, live=self.live)
        self._recorder: ClipRecorder | None = None
        if clips is not None:
            self._recorder = clips.recorder(
                builder, self._ring.history, self._span, publish, live=self.live, guarded=settings.privacy.withholds
            )
        self.publisher = DescriptionPublisher(
            builder=builder,
            tracker=tracker,
            score_gate=settings.score_gate,
            time_of=ChannelTime(self._span, self._clock.running_time_of, self.lost_samples, self._clocks.running_s),
            counters=self.counters,
            latencies=self.latencies,
            publish=publish,
            live=self.live,
            every_window=settings.every_window,
            privacy=settings.privacy,
            observer=self._recorder,
            alerts=settings.alerts,
            asks_every_window=settings.asks_every_window,
        )
        self._pausing = Pausing(self._capture, self._flush, self.queue, self.publisher, self._recorder)
        self._error: Exception | None = None
        self._source_ended = False
        self._heard_s = self._clocks.running_s()
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

    def lost_s(self) -> dict[LossReason, float]:
        """Seconds of sound that were lost, by reason, up to now in an outage; may be called from another thread."""
        lost = self._losses.reasons(self._capture.outage, self._clocks.running_s())
        return {reason: samples / SAMPLE_RATE for reason, samples in lost.items()}

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
        """Start capturing, unless that was done: sound waits in the ring until it is collected."""
        self._capture.start()

    def collect(self, ahead: int = 1) -> None:
        """Take what the ring holds, and cut it into windows.

        Nothing is taken before a window is due, or a second has passed: the filter bank works best on long pieces. Of a
        live source everything is taken then, so that what is outdated is skipped at once; of a file only until
        ``ahead`` windows are due, so that its reader waits.
        """
        now_s = self._clocks.running_s()
        if self._capture.due or now_s - self._collected_s >= LONGEST_WAIT_S:
            self._take_all(now_s, ahead)

    def _take_all(self, now_s: float, ahead: int = 1) -> None:
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
            self._losses.note_overrun(self._taken_samples, position, self._ring.overrun_samples)
            self._taken_samples = position + len(samples)
            self._heard_s = self._clocks.running_s()
            self._accept(self._slicer.push(position, samples))
            self.adaptation.look_for_new_sound()
            self._wake_when_due()

    def _flush(self) -> None:
        self._take_all(self._clocks.running_s())
        self._accept(self._slicer.flush())

    def _accept(self, windows: list[Window]) -> None:
        self.counters.windows += len(windows)
        for window in windows:
            self.level.add(window)
        self.queue.accept(windows, self._slicer.hop_samples)

    @property
    def hop_s(self) -> float:
        """Seconds from the start of a window to the start of the next, at this moment."""
        return self._slicer.hop_samples / SAMPLE_RATE

    def settle(self, window: Window, outcome: Outcome) -> None:
        """Publish what became of a window; windows come in order."""
        self.adaptation.settle(window, outcome)
        self.publisher.settle(window, outcome)
        self.adaptation.note_window(outcome)
        self._wake_when_due()

    def note_round(self, seconds: float) -> None:
        """Take note of how long a round of describing took."""
        self.adaptation.note_round(seconds)
        self._wake_when_due()

    def note_heat(self, share: float) -> None:
        """Take note of how much less the board is to be given, from 0 to 1."""
        self.adaptation.note_heat(share)
        self._wake_when_due()

    def _wake_when_due(self) -> None:
        self._capture.due_position = self._slicer.next_end

    def skip_late(self) -> None:
        """Leave out windows that have waited too long and tell nothing new."""
        if self.live:
            self.queue.skip_late(self._ring.written_samples)

    def rng(self, window: Window) -> np.random.Generator:
        """The window's own generator: what is said of it does not depend on other windows."""
        return window_rng(self._seed, window.start)

    def reconfigure(self, hop_samples: int, settings: ChannelSettings, same_similarity: float) -> None:
        """Cut and gate otherwise from now on; no sample is lost, and events go on.

        Args:
            hop_samples: samples from one window to the next, a multiple of 160.
            settings: gates and seed.
            same_similarity: smallest cosine between captions of one event.
        """
        before, self._settings = self._settings, settings
        self._seed = settings.seed
        self.queue.level_gate = settings.level_gate
        self.adaptation.change(hop_samples, settings)
        self._wake_when_due()
        if self._recorder is not None and settings.privacy != before.privacy:
            self._recorder.change_rules(guarded=settings.privacy.withholds)
        # By the source's own hop: that of this moment may be longer, and the windows of the next one closer.
        rules = settings.events.within(self._slicer.window_samples, hop_samples)
        self.publisher.regulate(settings, rules, same_similarity)

    def use(self, builder: RecordBuilder, same_similarity: float, embed: Embed, phrases: Phrases) -> None:
        """Publish what another model describes from now on: its embeddings are comparable with no other's.

        Args:
            builder: makes the records.
            same_similarity: smallest cosine between the wordings of one sound.
            embed: embeds texts with that model.
            phrases: splits its captions.
        """
        self._builder = builder
        self.adaptation.forget()
        self.publisher.use(builder, same_similarity, embed, phrases)
        if self._recorder is not None:
            self._recorder.builder = builder

    def tick(self) -> None:
        """Publish the gaps that are due, and record clips. End the events of a live source that gives no sound, when
        they would have ended had it gone on in silence."""
        now_s = self._clocks.running_s()
        self._publish_gaps(self._losses.take_due(now_s))
        if self._recorder is not None:
            # No window that is yet to be cut begins before that.
            judged_to = self._taken_samples - self._slicer.window_samples
            waiting = self.queue.first_start
            self._recorder.advance(judged_to if waiting is None else min(waiting, judged_to))
        self._pausing.tick()
        waits = self.publisher.waits_for_time or (self._recorder is not None and self._recorder.recording)
        if not self.live or self.queue or not waits or self._ring.backlog_samples:
            return
        if now_s - self._heard_s < SILENT_WAIT_S:
            return
        position = self._clock.position_at(now_s - SILENT_WAIT_S) - self._slicer.window_samples
        self.publisher.expire(position)
        if self._recorder is not None:
            self._recorder.finish(passed=position)

    def finish(self) -> bool:
        """Once the source has ended and nothing is due: end all events. True when the channel has ended."""
        if self._source_ended and not self.queue and not self.ended:
            self.end()
        return self.ended

    def end(self) -> None:
        """End all events and losses; nothing comes after. Windows that still wait are skipped by the stop."""
        if not self.ended:
            self.ended = True
            if self.queue:
                self.queue.skip_all("stop")
            self.publisher.finish()
            self._ring.stop_writing()
            self._note_overrun()
            position = self._ring.written_samples
            self._publish_gaps(self._losses.close(position, self._capture.outage, self._clocks.running_s()))
            if self._recorder is not None:
                self._recorder.finish()

    def close(self) -> None:
        """Close the source; nothing more is written to the ring."""
        self._ring.stop_writing()
        self._capture.close()
        self.counters.lost_samples = self.lost_samples()

    @property
    def warnings(self) -> list[str]:
        """What is wrong with the source, beside what its state and reason say; each as a sentence."""
        return self._capture.warnings

    def lost_samples(self) -> int:
        """Samples at 16 kHz that were lost before the ring or overwritten in it, up to now in an outage."""
        self._note_overrun()
        return self._losses.total_samples(self._capture.outage, self._clocks.running_s())

    def _note_overrun(self) -> None:
        self._losses.note_overrun(self._taken_samples, self._ring.written_samples, self._ring.overrun_samples)

    def _publish_gaps(self, gaps: list[LostSound]) -> None:
        if not self.live:
            return
        for gap in gaps:
            self._publish(Delivery(self._builder.gap(gap, self._span(gap.start, gap.end))))

    def _span(self, start: int, end: int) -> TimeSpan:
        return clock_span(start, end, self._clock) if self.live else file_span(start, end)
