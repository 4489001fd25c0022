"""A run over many sources: channels, scheduler, hub and health put together, changed while running, and ended well."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import TYPE_CHECKING, TypeVar

from edge_aac.audio.clock import Clocks
from edge_aac.audio.sources.address import Source
from edge_aac.audio.windows import WindowSlicer
from edge_aac.models.contract import WindowModel
from edge_aac.records import Alert
from edge_aac.streaming.building import RecordBuilder
from edge_aac.streaming.channel import Channel, ChannelSettings
from edge_aac.streaming.clips.saving import ClipSaving
from edge_aac.streaming.events import EventTracker
from edge_aac.streaming.health import HealthReporter
from edge_aac.streaming.heat import HeatWatch
from edge_aac.streaming.hub import Delivery, Hub
from edge_aac.streaming.liveness import Sign
from edge_aac.streaming.scheduler import MAX_BATCH_WINDOWS, Scheduler
from edge_aac.streaming.signs import signs_of
from edge_aac.streaming.sounds import caption_reader

if TYPE_CHECKING:
    from concurrent.futures import Future

JOIN_TIMEOUT_S = 0.3
CLOSE_TIMEOUT_S = 5.0
"""A source that takes longer to close is left behind."""

T = TypeVar("T")

log = logging.getLogger(__name__)


class Session:
    """Captions all its sources until the last one ends or the stop is set.

    While it runs, its own thread alone changes it: :meth:`between_rounds` has something done there.

    Args:
        model: used by the thread of :meth:`run` alone.
        hub: takes the records; closed at the end.
        node: name of the device.
        stop: set from another thread or a signal handler.
        health_interval_s: seconds between the health records of a source; 0 publishes none.
        max_batch: windows that are described together.
        clocks: of the machine; None for its own.
        heat: the board's temperature, by which live sources are heard less often; None where nobody looks at it.

    Attributes:
        channels: the sources' channels, those that have ended included.
        captions: number of captions published so far, those of removed sources included.
        last_caption_s: when the last one was published, in seconds since the epoch; None before the first.
        clips: saves the sound of events; closed at the end; None where none is saved.
    """

    def __init__(  # noqa: PLR0913 - what it works between
        self,
        *,
        model: WindowModel,
        hub: Hub,
        node: str,
        stop: threading.Event,
        health_interval_s: float = 60.0,
        max_batch: int = MAX_BATCH_WINDOWS,
        clocks: Clocks | None = None,
        heat: HeatWatch | None = None,
        clips: ClipSaving | None = None,
    ) -> None:
        self._clocks = clocks
        self._clips = clips
        self.channels: list[Channel] = []
        self.captions = 0
        self.last_caption_s: float | None = None
        self.model = model
        self.hub = hub
        self.node = node
        self.health = HealthReporter(node, (), hub, health_interval_s, clocks, heat, clips)
        self.ending: Callable[[], None] = lambda: None
        """Called as soon as the run ends, before anything is closed."""
        self.alerted: Callable[[Alert], None] = lambda _record: None
        """Called with each record of an alert, in the thread of :meth:`run`: it must not wait."""
        self.more_may_come = False
        """Whether the run goes on where no source is left: others may be discovered."""
        self._stop = stop
        self._scheduler = Scheduler(
            model=model,
            stop=stop,
            has_room=lambda: hub.has_room,
            sinks_error=lambda: hub.error,
            tick=self._tick,
            max_batch=max_batch,
            clocks=clocks,
            more_may_come=lambda: self.more_may_come,
        )
        self._heat = heat
        self._changes: deque[Callable[[], None]] = deque()
        self._changing = threading.Lock()
        self._running = False
        self._ended = False
        self._closers: list[tuple[Channel, threading.Thread]] = []
        hub.on_room(self._scheduler.wake)

    def add(
        self,
        source: Source,
        slicer: WindowSlicer,
        settings: ChannelSettings,
        *,
        same_similarity: float | None = None,
        reopen: Callable[[], Source] | None = None,
    ) -> Channel:
        """Add a source: before the run, or between two rounds of it.

        Args:
            source: opened; closed at the end.
            slicer: cuts its windows.
            settings: gates and seed.
            same_similarity: smallest cosine between phrases for one sound; None for the model's own.
            reopen: opens a live source anew after it failed; None for one that is not retried.
        """
        channel = Channel(
            source=source,
            slicer=slicer,
            tracker=EventTracker(
                self._threshold(same_similarity),
                self.model.embed,
                settings.events.within(slicer.window_samples, slicer.hop_samples),
                caption_reader(self.model),
            ),
            builder=RecordBuilder(self.node, source.label, self.model.identity),
            settings=settings,
            publish=self._publish,
            wake=self._scheduler.wake,
            reopen=reopen,
            clocks=self._clocks,
            clips=self._clips,
        )
        channel.adaptation.fit(self.model)
        self._note_heat(channel)
        self.channels.append(channel)
        self.health.add(channel)
        if self._running:
            channel.start()
        return channel

    def reconfigure(
        self, channel: Channel, hop_samples: int, settings: ChannelSettings, same_similarity: float | None = None
    ) -> None:
        """Have a source heard otherwise, between two rounds of the run; see :meth:`Channel.reconfigure`.

        Args:
            channel: of the source.
            hop_samples: samples from one window to the next.
            settings: gates and seed.
            same_similarity: smallest cosine between captions of one event; None for the model's own.
        """
        channel.reconfigure(hop_samples, settings, self._threshold(same_similarity))
        self._note_heat(channel)

    def watch_heat(self, heat: HeatWatch) -> None:
        """Have the board's temperature watched otherwise, between two rounds of the run."""
        self._heat = self.health.heat = heat
        for channel in self.channels:
            self._note_heat(channel)

    def _threshold(self, same_similarity: float | None) -> float:
        return self.model.same_similarity if same_similarity is None else same_similarity

    def _note_heat(self, channel: Channel) -> None:
        if self._heat is not None:
            channel.note_heat(self._heat.share)

    def remove(self, channel: Channel) -> None:
        """Take a source out, between two rounds of the run: its events end, then it is closed in the background."""
        self.channels.remove(channel)
        self._scheduler.forget(channel)
        channel.end()
        log.info("%s: %s", channel.label, channel.counters.sentence())
        self._close(channel, lambda: self.between_rounds(lambda: self._forget(channel)))

    def _forget(self, channel: Channel) -> None:
        """Tell of a channel for the last time, once it is closed."""
        self.health.remove(channel)
        if all(other.label != channel.label for other in self.channels):
            self.hub.forget(channel.label)

    def use(self, model: WindowModel, same_similarity: float | None = None) -> None:
        """Describe with another model, between two rounds of the run. Open events end: its embeddings are others.

        Args:
            model: opened.
            same_similarity: smallest cosine between captions of one event; None for the model's own.
        """
        phrases = caption_reader(model)
        self.model = model
        self._scheduler.use(model)
        threshold = self._threshold(same_similarity)
        for channel in self.channels:
            builder = RecordBuilder(self.node, channel.label, model.identity)
            channel.use(builder, threshold, model.embed, phrases)
            channel.adaptation.fit(model)

    def between_rounds(self, change: Callable[[], T]) -> Future[T]:
        """Have something done in the thread of :meth:`run`, between two rounds; called from any thread.

        Returns:
            What becomes of it; cancelled where the run has ended.
        """
        from concurrent.futures import Future

        future: Future[T] = Future()

        def run() -> None:
            if not future.set_running_or_notify_cancel():
                return
            try:
                future.set_result(change())
            except Exception as error:  # whoever asked for the change is told
                future.set_exception(error)

        with self._changing:
            if self._ended:
                future.cancel()
            else:
                self._changes.append(run)
        self._scheduler.wake()
        return future

    def signs(self) -> Iterator[Sign]:
        """Signs of life of all parts, as they are now; see :class:`edge_aac.streaming.liveness.Liveness`."""
        if not self._running:
            return
        yield from signs_of(self._scheduler.heartbeat, list(self.channels))

    def run(self) -> None:
        """Run to the end. All that was opened is closed when this returns or raises.

        Raises:
            Exception: the first error of the model, or of a sink where none is left; or, once all sources were
                captioned to their ends, of one of them that is not retried, of a window of a file, or of a sink. After
                a stop these last ones are in the log alone: what ended long before is no failure of the stop.
        """
        self.health.begin()
        self._running = True
        try:
            self._scheduler.run(self.channels)
        finally:
            self._running = False
            self._end()
        if self.hub.error is not None:
            raise self.hub.error
        if self._stop.is_set():
            return
        for channel in self.channels:
            if channel.error is not None:
                raise channel.error
        # One that ended while others went on: its records are lost. The reader of a pipe had what it wanted.
        error = self.hub.first_error
        if error is not None and not isinstance(error, BrokenPipeError):
            raise error

    def close(self) -> None:
        """Close what was given, where :meth:`run` is not called."""
        self._end_changes()
        self._close_sources()
        if self._clips is not None:
            self._clips.close()
        self.hub.close(patient=False)

    def _end(self) -> None:
        """End and close everything, in this order; what fails of one is raised when all others are closed."""
        with ExitStack() as last_first:
            last_first.callback(self._log_counters)
            last_first.callback(lambda: self.hub.close(patient=not all(channel.live for channel in self.channels)))
            last_first.callback(self.health.report)
            if self._clips is not None:
                last_first.callback(self._clips.close)
            last_first.callback(self._close_sources)
            last_first.callback(self._end_channels)
            last_first.callback(self._end_changes)
            last_first.callback(self.ending)

    def _end_channels(self) -> None:
        with ExitStack() as ends:
            for channel in reversed(self.channels):
                ends.callback(channel.end)

    def _log_counters(self) -> None:
        for channel in self.channels:
            log.info("%s: %s", channel.label, channel.counters.sentence())

    def _publish(self, delivery: Delivery) -> None:
        if delivery.record.kind == "caption":
            self.captions += 1
            self.last_caption_s = time.time()
        self.hub.publish(delivery)
        if isinstance(delivery.record, Alert):
            self.alerted(delivery.record)

    def _close_sources(self) -> None:
        """Close them side by side, since each may take its time: a driver that hangs, a device that is being opened."""
        for channel in self.channels:
            self._close(channel)
        deadline_s = time.monotonic() + CLOSE_TIMEOUT_S
        for channel, closer in self._closers:
            closer.join(max(0.0, deadline_s - time.monotonic()))
            if closer.is_alive():
                log.warning("%s does not close, it is left behind", channel.label)
        deadline_s = time.monotonic() + JOIN_TIMEOUT_S
        for channel in self.channels:
            channel.capture.join(max(0.0, deadline_s - time.monotonic()))

    def _close(self, channel: Channel, then: Callable[[], object] = lambda: None) -> None:
        def close() -> None:
            try:
                channel.close()
                channel.capture.join(JOIN_TIMEOUT_S)
            except Exception as error:
                log.warning("%s cannot be closed (%s: %s)", channel.label, type(error).__name__, error)
            then()

        closer = threading.Thread(target=close, name="edge-aac-close", daemon=True)
        self._closers = [(one, thread) for one, thread in self._closers if thread.is_alive()]
        self._closers.append((channel, closer))
        closer.start()

    def _tick(self) -> None:
        while self._changes:
            self._changes.popleft()()
        if self._heat is not None and self._heat.tick():
            for channel in self.channels:
                self._note_heat(channel)
        self.health.tick()

    def _end_changes(self) -> None:
        """Carry out what was asked for before the end: a source that was opened for it is closed with the others."""
        with self._changing:
            self._ended = True
        while self._changes:
            self._changes.popleft()()
