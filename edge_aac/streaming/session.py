"""A run over many sources: channels, scheduler, hub and health put together, and ended in good order."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

from edge_aac.audio.clock import Clocks
from edge_aac.audio.sources.address import Source
from edge_aac.audio.windows import WindowSlicer
from edge_aac.fluency.languages import phrase_splitter
from edge_aac.models.contract import WindowModel
from edge_aac.streaming.building import RecordBuilder
from edge_aac.streaming.channel import Channel, ChannelSettings
from edge_aac.streaming.clips.saving import ClipSaving
from edge_aac.streaming.event_settings import EventRules
from edge_aac.streaming.events import EventTracker
from edge_aac.streaming.health import HealthReporter
from edge_aac.streaming.heat import HeatWatch
from edge_aac.streaming.hub import Hub
from edge_aac.streaming.scheduler import MAX_BATCH_WINDOWS, Scheduler
from edge_aac.streaming.sounds import whole_caption

JOIN_TIMEOUT_S = 0.3
CLOSE_TIMEOUT_S = 5.0
"""A source that takes longer to close is left behind."""

log = logging.getLogger(__name__)


class Session:
    """Captions all its sources until the last one ends or the stop is set.

    Args:
        model: used by the thread of :meth:`run` alone.
        hub: takes the records; closed at the end.
        node: name of the device.
        stop: set from another thread or a signal handler.
        health_interval_s: seconds between the health records of a source; 0 publishes none.
        max_batch: windows that are described together.
        clocks: of the machine; None for its own.
        heat: the board's temperature, by which live sources are heard less often; None where nobody looks at it.
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
        self._model = model
        self._hub = hub
        self._node = node
        self._stop = stop
        self._health_interval_s = health_interval_s
        self._scheduler = Scheduler(
            model=model,
            stop=stop,
            has_room=lambda: hub.has_room,
            sinks_error=lambda: hub.error,
            tick=self._tick,
            max_batch=max_batch,
            clocks=clocks,
        )
        self._heat = heat
        self._health: HealthReporter | None = None
        hub.on_room(self._scheduler.wake)

    def add(
        self,
        source: Source,
        slicer: WindowSlicer,
        settings: ChannelSettings,
        *,
        same_similarity: float | None = None,
        events: EventRules | None = None,
        reopen: Callable[[], Source] | None = None,
    ) -> Channel:
        """Add a source before the run.

        Args:
            source: opened; closed at the end.
            slicer: cuts its windows.
            settings: gates and seed.
            same_similarity: smallest cosine between phrases for one sound; None for the model's own.
            events: when a sound is an event; None confirms nothing and bridges nothing.
            reopen: opens a live source anew after it failed; None for one that is not retried.
        """
        channel = Channel(
            source=source,
            slicer=slicer,
            tracker=EventTracker(
                self._model.same_similarity if same_similarity is None else same_similarity,
                self._model.embed,
                (events or EventRules()).within(slicer.window_samples, slicer.hop_samples),
                phrase_splitter(self._model.language) or whole_caption,
            ),
            builder=RecordBuilder(self._node, source.label, self._model.identity),
            settings=settings,
            publish=self._hub.publish,
            wake=self._scheduler.wake,
            reopen=reopen,
            clocks=self._clocks,
            clips=self._clips,
        )
        if self._heat is not None:
            channel.note_heat(self._heat.share)
        self.channels.append(channel)
        return channel

    def run(self) -> None:
        """Run to the end. All that was opened is closed when this returns or raises.

        Raises:
            Exception: the first error of the model, or of a sink where none is left; or, once all sources were
                captioned to their ends, of one of them that is not retried, of a window of a file, or of a sink. After
                a stop these last ones are in the log alone: what ended long before is no failure of the stop.
        """
        self._health = HealthReporter(
            self._node, self.channels, self._hub, self._health_interval_s, self._clocks, self._heat, self._clips
        )
        try:
            self._scheduler.run(self.channels)
        finally:
            for channel in self.channels:
                channel.end()
            self._close_sources()
            deadline_s = time.monotonic() + JOIN_TIMEOUT_S
            for channel in self.channels:
                channel.capture.join(max(0.0, deadline_s - time.monotonic()))
            if self._clips is not None:
                self._clips.close()
            self._health.report()
            self._hub.close(patient=not all(channel.live for channel in self.channels))
            for channel in self.channels:
                log.info("%s: %s", channel.label, channel.counters.sentence())
        if self._hub.error is not None:
            raise self._hub.error
        if self._stop.is_set():
            return
        for channel in self.channels:
            if channel.error is not None:
                raise channel.error
        # One that ended while others went on: its records are lost. The reader of a pipe had what it wanted.
        error = self._hub.first_error
        if error is not None and not isinstance(error, BrokenPipeError):
            raise error

    def _close_sources(self) -> None:
        """Close them side by side, since each may take its time: a driver that hangs, a device that is being opened."""

        def close(channel: Channel) -> None:
            try:
                channel.close()
            except Exception as error:
                log.warning("%s cannot be closed (%s: %s)", channel.label, type(error).__name__, error)

        closers = [threading.Thread(target=close, args=(channel,), daemon=True) for channel in self.channels]
        for closer in closers:
            closer.start()
        deadline_s = time.monotonic() + CLOSE_TIMEOUT_S
        for channel, closer in zip(self.channels, closers, strict=True):
            closer.join(max(0.0, deadline_s - time.monotonic()))
            if closer.is_alive():
                log.warning("%s does not close, it is left behind", channel.label)

    def _tick(self) -> None:
        if self._heat is not None and self._heat.tick():
            for channel in self.channels:
                channel.note_heat(self._heat.share)
        if self._health is not None:
            self._health.tick()
