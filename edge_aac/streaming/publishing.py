"""What is published of a source's windows: captions and events, each with the time that it keeps."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Protocol

from edge_aac.audio.windows import Window
from edge_aac.errors import DataError
from edge_aac.models.contract import Description, ScoredCaption, Undecoded
from edge_aac.records import TimeSpan, rfc3339
from edge_aac.streaming.alerts.publishing import AlertPublisher
from edge_aac.streaming.alerts.rules import AlertRule
from edge_aac.streaming.answering import AnswerPublisher, Described
from edge_aac.streaming.building import RecordBuilder, undescribed
from edge_aac.streaming.channel_settings import ChannelSettings
from edge_aac.streaming.channel_time import ChannelTime, Publish
from edge_aac.streaming.counters import Counters, LatencyLog
from edge_aac.streaming.event_changes import EventChange, Observation
from edge_aac.streaming.event_settings import EventRules
from edge_aac.streaming.events import EventTracker
from edge_aac.streaming.gate import ScoreGate
from edge_aac.streaming.hub import Delivery
from edge_aac.streaming.losses import milliseconds
from edge_aac.streaming.privacy import PrivacyGate, Verdict
from edge_aac.streaming.sounds import Embed, Phrases
from edge_aac.timebase import SAMPLE_RATE

log = logging.getLogger(__name__)


class Observer(Protocol):
    """What follows a source's windows and events beside what is published of them; the scheduler's thread calls it."""

    def window(self, start: int, end: int, *, kept: bool) -> None:
        """Take in a window that was judged, before the events that come of it.

        Args:
            start, end: the window in samples.
            kept: whether its sound may be kept.
        """

    def event(self, change: EventChange, span: TimeSpan) -> None:
        """Take in a change of an event, and the times that its record was given."""


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
        privacy: judges what may be told of a description.
        observer: follows windows and events; None for nobody.
        alerts: rules for alerts.
        asks_every_window: ask about every window that is described; else only about those that start an event.
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
        privacy: PrivacyGate | None = None,
        observer: Observer | None = None,
        alerts: Sequence[AlertRule] = (),
        asks_every_window: bool = False,
    ) -> None:
        self.error: Exception | None = None
        """The first error of a window of a file."""
        self._builder = builder
        self._tracker = tracker
        tracker.counters = counters
        self._score_gate = score_gate
        self._time = time_of
        self._counters = counters
        self._latencies = latencies
        self._publish = publish
        self._live = live
        self._every_window = every_window
        self._answers = AnswerPublisher(
            builder=builder, time_of=time_of, publish=publish, live=live, every_window=asks_every_window
        )
        self._privacy = privacy or PrivacyGate()
        self._observer = observer
        self._verdict = Verdict()
        """Of the last window that was decoded."""
        self._marked: set[int] = set()
        """Open events in whose windows people may talk, where that is marked."""
        self.alerts = AlertPublisher(
            alerts,
            builder=builder,
            span=time_of.span,
            counters=counters,
            publish=publish,
            live=live,
            is_marked=lambda event: event in self._marked,
        )
        self._event_spans: dict[int, tuple[int, TimeSpan]] = {}
        """Of each open event: the sample that it reaches to, and the times that its newest record was given."""
        self._lost_reported = 0
        self._described: Described | None = None
        """The newest described window, without its frames, and whether people may talk in it: what it has may become an
        event when no other tells more."""
        self._goes_on = False
        """Whether the last window that was decoded had a caption that was sure enough, and may be told."""

    def settle(self, window: Window, description: Description | DataError | Undecoded | None) -> None:
        """Publish what came of a window: its description, its error, that it sounds as before, or None of a silent one.

        Windows come in order, on which events depend.
        """
        start, end = window.start, window.start + window.samples
        if self._marked:
            self._marked &= self._tracker.wordings.keys()
        if isinstance(description, Description):
            self._verdict = self._privacy.judge(description)
        # What sounds as before is judged as before; silence tells nothing.
        verdict = self._verdict if isinstance(description, (Description, Undecoded)) else Verdict()
        # Nothing is known of a window that failed, and of a silent one not that nobody talks below the gate's level.
        unknown = isinstance(description, DataError) or (description is None and self._privacy.withholds)
        if self._observer is not None and not unknown:
            self._observer.window(start, end, kept=verdict.kept)
        self.expire(start)
        if description is None:
            self._counters.silent += 1
            self._publish_events(self._tracker.observe(start, end, ()).changes)
            self.alerts.window(start, end, self._tracker.open)
        elif isinstance(description, DataError):
            # One window's numbers say nothing about the next window's.
            self._counters.failed += 1
            level = logging.WARNING if self._counters.failed == 1 else logging.DEBUG
            log.log(level, "%s: a window could not be described: %s", self._builder.source, description)
            if not self._live:
                self.error = self.error or undescribed(self._builder.source, start, end, description)
        elif isinstance(description, Undecoded):
            # What was heard goes on, and so do its events.
            self._counters.same += 1
            if self._goes_on:
                self._settle_same(window, verdict.speech)
        else:
            self._counters.described += 1
            self._goes_on = verdict.published and self._score_gate.passes(description)
            if self._goes_on:
                self._settle_described(window, description, verdict.speech)
            elif not verdict.published:
                # Neither here nor in the log: who keeps a log keeps what stands in it.
                self._counters.private += 1
            else:
                self._counters.unsure += 1
                log.debug("%s: unsure (%s)", self._builder.source, description.confidence)

    def _settle_described(self, window: Window, description: Description, speech: bool) -> None:
        observation = self._tracker.observe(window.start, window.start + window.samples, description.possible)
        if self._every_window:
            self._publish_caption(window, description, description.best, observation.events, speech)
        else:
            self._publish_opening(window, description, observation, speech)
        self._described = replace(window, fbank=window.fbank[:0], waveform=None), description, speech
        self._publish_observation(window, observation, speech=speech)
        self._answers.described(self._described, observation, self._privacy)

    def _settle_same(self, window: Window, speech: bool) -> None:
        observation = self._tracker.repeat(window.start, window.start + window.samples)
        # What starts now has waited, for the end of a cool-down say: its words are those of the sound that goes on.
        if self._described is not None:
            self._publish_opening(window, self._described[1], observation, speech)
        self._publish_observation(window, observation, speech=speech)
        self._answers.started(self._described, observation, self._privacy)

    def _publish_opening(
        self, window: Window, description: Description, observation: Observation, speech: bool
    ) -> None:
        """Publish the caption of a window that names what started, where something did."""
        if observation.opening is not None:
            named = observation.events if observation.opening is description.best else ()
            self._publish_caption(window, description, observation.opening, named or observation.started, speech)

    def _publish_caption(
        self,
        window: Window,
        description: Description,
        caption: ScoredCaption,
        events: Sequence[int],
        speech: bool,
    ) -> None:
        start, end = window.start, window.start + window.samples
        heard_s = self._time.heard_s(end)
        record = self._builder.caption(
            self._counters.captions,
            self._time.span(start, end),
            window,
            description,
            self._newly_lost_ms(),
            events,
            1e3 * (self._time.now_s() - heard_s) if self._live else None,
            caption,
        )
        if speech:
            record = record.model_copy(update={"speech": True})
        # Of sound that came sooner than by its source's clock the end may lie ahead: the time that it took is sure.
        took_ms = record.latency_ms.total

        def delivered(_: float) -> None:
            self._latencies.add(max(took_ms, 1e3 * (self._time.now_s() - heard_s)))

        self._publish(Delivery(record, not self._live, delivered if self._live else None))
        self._counters.captions += 1

    def regulate(self, settings: ChannelSettings, rules: EventRules, same_similarity: float) -> None:
        """Publish by other rules from now on; open events go on, but for those that may not be told any more."""
        self._score_gate = settings.score_gate
        self._every_window = settings.every_window
        self._answers.every_window = settings.asks_every_window
        if settings.privacy != self._privacy:
            self._privacy = settings.privacy
            # What was judged by the old rules may not be told, nor repeated, by the new ones.
            self._described, self._goes_on, self._verdict = None, False, Verdict(kept=not self._privacy.withholds)
            verdicts = {number: self._privacy.judge_texts(texts) for number, texts in self._tracker.wordings.items()}
            self._marked = {number for number, verdict in verdicts.items() if verdict.published and verdict.speech}
            untold = {number for number, verdict in verdicts.items() if not verdict.published}
            # Whoever was told of their start waits for their end. Nothing is said of it that was not said before.
            self._publish_events(self._tracker.give_up(untold))
            self.alerts.keep_private(lambda text: self._privacy.judge_texts([text]).published)
        self._tracker.regulate(same_similarity, rules)
        self.alerts.change_rules(settings.alerts)

    def use(self, builder: RecordBuilder, same_similarity: float, embed: Embed, phrases: Phrases) -> None:
        """Publish what another model describes from now on. Open events end: its embeddings are others.

        Alerts go on: their sounds are known by words. Of an event that only starts with its end nothing is asked: the
        model that could answer is not in use any more, nor are its questions.
        """
        self._finish_events(asks=False)
        self._described, self._goes_on, self._verdict = None, False, Verdict()
        self._builder = builder
        self._answers.builder = builder
        self._tracker.use(same_similarity, embed, phrases)

    @property
    def open_events(self) -> int:
        """Number of open events."""
        return self._tracker.open_events

    @property
    def waits_for_time(self) -> bool:
        """Whether time alone may end or start something."""
        return self.open_events > 0 or self.alerts.is_open

    def expire(self, position: int) -> None:
        """Let time pass for the events: no window before ``position`` (in samples) is still to come."""
        changes = self._publish_late(self._tracker.expire(position))
        self.alerts.passed(changes, position)

    def finish(self) -> None:
        """End all events and alerts."""
        self._finish_events()
        self.alerts.finish()

    def _finish_events(self, *, asks: bool = True) -> None:
        self.alerts.late(self._publish_late(self._tracker.finish(), asks=asks))

    def _publish_late(self, observation: Observation, *, asks: bool = True) -> list[EventChange]:
        """Publish what time alone changed: what started was named by the newest window, whose caption has not come.

        Args:
            observation: what changed.
            asks: whether that window may be asked about.
        """
        if self._described is not None and not self._every_window:
            window, description, speech = self._described
            self._publish_opening(window, description, observation, speech)
            if speech:
                self._marked.update(observation.started)
        self._publish_events(observation.changes)
        if asks:
            self._answers.started(self._described, observation, self._privacy)
        return observation.changes

    def _publish_observation(self, window: Window, observation: Observation, *, speech: bool) -> None:
        """Publish the changes that a window made, marked where people may talk in it."""
        if speech:
            self._marked.update(observation.events, observation.started)
            self._marked.update(change.number for change in observation.changes if change.state == "update")
        self._publish_events(observation.changes)
        self.alerts.window(window.start, window.start + window.samples, self._tracker.open)

    def _publish_events(self, changes: list[EventChange]) -> None:
        for change in changes:
            span = self._event_span(change)
            record = self._builder.event(change, span)
            if change.number in self._marked:
                record = record.model_copy(update={"speech": True})
            self._publish(Delivery(record, not self._live))
            if self._observer is not None:
                self._observer.event(change, span)

    def _event_span(self, change: EventChange) -> TimeSpan:
        """When an event was: what one of its records gave stays, whatever is done to the clock later.

        Its last record may say that it ceased before the end of the window that an earlier record gave.
        """
        span = self._time.span(change.start, change.end)
        if (earlier := self._event_spans.get(change.number)) is not None:
            end_sample, before = earlier
            span = span.model_copy(update={"start": before.start, "start_s": before.start_s})
            if change.end < end_sample:
                span = span.model_copy(update={"end": _before(before, end_sample - change.end)})
            # RFC 3339 in UTC sorts as text. The clock may have been set back.
            elif change.end == end_sample or (span.end or "") < (before.end or ""):
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


def _before(span: TimeSpan, samples: int) -> str | None:
    """The wall-clock time so many samples before the end of a span, and no earlier than its start; None of a file's."""
    if span.end is None:
        return None
    moment = datetime.fromisoformat(span.end.replace("Z", "+00:00")) - timedelta(seconds=samples / SAMPLE_RATE)
    return max(span.start or "", rfc3339(moment.timestamp()))
