"""What belongs to one source: its ring, clock, slicer, gates, event tracker and counters."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from edge_aac.audio.clock import Clocks, SampleClock
from edge_aac.audio.ring import SampleRing
from edge_aac.audio.sources.address import Source
from edge_aac.audio.windows import Window, WindowSlicer
from edge_aac.models.contract import Undecoded
from edge_aac.models.seq2seq import window_rng
from edge_aac.records import TimeSpan
from edge_aac.streaming.batches import Outcome
from edge_aac.streaming.building import RecordBuilder, clock_span, file_span
from edge_aac.streaming.capture import Capture
from edge_aac.streaming.channel_settings import ChannelSettings
from edge_aac.streaming.counters import Counters, LatencyLog, LevelMeter
from edge_aac.streaming.events import Embed, EventTracker
from edge_aac.streaming.gate import SoundMemory
from edge_aac.streaming.hop import AdaptiveHop
from edge_aac.streaming.hub import Delivery
from edge_aac.streaming.losses import LossAccount, LostSound
from edge_aac.streaming.publishing import ChannelTime, DescriptionPublisher, Publish
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
        self._capture.due_position = slicer.next_end
        self.queue = WindowQueue(self.label, settings.level_gate, self.counters, slicer.window_samples, skips=self.live)
        self._level_gate = settings.level_gate
        self._settings = settings
        self._own_hop_samples = slicer.hop_samples
        self._sound = self._sound_memory()
        self.hop = self._adaptive_hop()
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
        )
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
        now_s = self._clocks.running_s()
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
            self._losses.note_overrun(self._taken_samples, position, self._ring.overrun_samples)
            self._taken_samples = position + len(samples)
            self._heard_s = self._clocks.running_s()
            self._accept(self._slicer.push(position, samples))
            self._look_for_new_sound()
            self._capture.due_position = self._slicer.next_end

    def _accept(self, windows: list[Window]) -> None:
        self.counters.windows += len(windows)
        for window in windows:
            self.level.add(window)
        self.queue.accept(windows, self._slicer.hop_samples)

    def _look_for_new_sound(self) -> None:
        """Where the hop is long, what begins between two windows is noticed within a second."""
        if self.hop is None:
            return
        loudest_dbfs = self._level_gate.audible_dbfs
        if self._sound is not None and (same_dbfs := self._sound.loudest_same_dbfs) < math.inf:
            loudest_dbfs = max(loudest_dbfs, same_dbfs)
        self.hop.note_fresh_sound(loudest_dbfs)

    @property
    def hop_s(self) -> float:
        """Seconds from the start of a window to the start of the next, at this moment."""
        return self._slicer.hop_samples / SAMPLE_RATE

    @property
    def compares_sound(self) -> bool:
        """Whether windows are compared with what was heard before, so that some need no decoding."""
        return self._sound is not None

    def wants(self, window: Window, embedding: npt.NDArray[np.float32]) -> bool:
        """Whether a window is to be decoded, by its audio embedding."""
        return self._sound is None or not self._sound.is_same(window, embedding)

    def settle(self, window: Window, outcome: Outcome) -> None:
        """Publish what became of a window; windows come in order."""
        if self._sound is not None:
            self._sound.settle(window, outcome)
        self.publisher.settle(window, outcome)
        if self.hop is not None:
            self.hop.note_window(changed=not (outcome is None or isinstance(outcome, Undecoded)))
            self._capture.due_position = self._slicer.next_end

    def note_round(self, seconds: float) -> None:
        """Take note of how long a round of describing took."""
        if self.hop is not None:
            self.hop.note_round(seconds)
            self._capture.due_position = self._slicer.next_end

    def note_heat(self, share: float) -> None:
        """Take note of how much less the board is to be given, from 0 to 1."""
        if self.hop is not None:
            self.hop.note_heat(share)
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
        self._level_gate = self.queue.level_gate = settings.level_gate
        if (hop_samples, settings.hop_limits) != (self._own_hop_samples, before.hop_limits):
            self._own_hop_samples = hop_samples
            self._slicer.change_hop(hop_samples)
            self.hop = self._adaptive_hop()
            self._capture.due_position = self._slicer.next_end
        if (settings.same_gate, settings.every_window) != (before.same_gate, before.every_window):
            self._sound = self._sound_memory()
        self.publisher.regulate(settings.score_gate, settings.every_window, same_similarity)

    def use(self, builder: RecordBuilder, same_similarity: float, embed: Embed) -> None:
        """Publish what another model describes from now on: its embeddings are comparable with no other's.

        Args:
            builder: makes the records.
            same_similarity: smallest cosine between captions of one event.
            embed: embeds texts with that model.
        """
        self._builder = builder
        self._sound = self._sound_memory()
        self.publisher.use(builder, same_similarity, embed)

    def _sound_memory(self) -> SoundMemory | None:
        # What is heard of a file depends on nothing but the file.
        gate = self._settings.same_gate if self.live and not self._settings.every_window else None
        return None if gate is None else SoundMemory(gate)

    def _adaptive_hop(self) -> AdaptiveHop | None:
        limits = self._settings.hop_limits if self.live else None
        return None if limits is None else AdaptiveHop(self.label, self._slicer, limits)

    def tick(self) -> None:
        """Publish the gaps that are due. End the events of a live source that gives no sound, when they would have
        ended had it gone on in silence."""
        now_s = self._clocks.running_s()
        self._publish_gaps(self._losses.take_due(now_s))
        if not self.live or self.queue or not self.publisher.open_events or self._ring.backlog_samples:
            return
        if now_s - self._heard_s < SILENT_WAIT_S:
            return
        position = self._clock.position_at(now_s - SILENT_WAIT_S)
        self.publisher.expire(position - self._slicer.window_samples)

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
