"""Answers to questions about what a stream hears, published beside its captions."""

from __future__ import annotations

import logging
from typing import TypeAlias

from edge_aac.audio.windows import Window
from edge_aac.errors import DataError
from edge_aac.models.contract import CancelledError, Description
from edge_aac.models.tokens import plain_text
from edge_aac.streaming.building import RecordBuilder
from edge_aac.streaming.channel_time import ChannelTime, Publish
from edge_aac.streaming.event_changes import Observation
from edge_aac.streaming.hub import Delivery
from edge_aac.streaming.privacy import PrivacyGate

log = logging.getLogger(__name__)

Described: TypeAlias = "tuple[Window, Description, bool]"
"""A window that was described, its description, and whether people may talk in it, where that is marked."""


class AnswerPublisher:
    """Asks about windows of one source, and publishes the answers. The scheduler's thread alone uses it.

    Nothing is asked about a window that is not described: a silent one, or one that sounds as before.

    Args:
        builder: makes the records.
        time_of: times of the source's samples.
        publish: takes the records.
        live: whether the source is live.
        every_window: ask about every window that is described; else about those with which an event starts.
    """

    def __init__(
        self, *, builder: RecordBuilder, time_of: ChannelTime, publish: Publish, live: bool, every_window: bool
    ) -> None:
        self.builder, self.every_window = builder, every_window
        self._time, self._publish, self._live = time_of, publish, live
        self._failed = False

    def described(self, newest: Described, observation: Observation, privacy: PrivacyGate) -> None:
        """Ask about a window that was described, where it is to be asked about.

        Args:
            newest: the window; its description was published, or may be.
            observation: what it changed.
            privacy: says which answers may be told.
        """
        if self.every_window:
            self._ask(newest, None, privacy)
        else:
            self.started(newest, observation, privacy)

    def started(self, newest: Described | None, observation: Observation, privacy: PrivacyGate) -> None:
        """Ask about the newest window that was described, where an event started with it, or has started since."""
        if newest is not None and observation.started and not self.every_window:
            self._ask(newest, observation.started[0], privacy)

    def _ask(self, newest: Described, event: int | None, privacy: PrivacyGate) -> None:
        window, description, speech = newest
        if description.ask is None:
            return
        try:
            answers = description.ask()
        except CancelledError:
            return  # the stream is being stopped
        except DataError as error:
            log.log(
                logging.DEBUG if self._failed else logging.WARNING, "%s: not answered: %s", self.builder.source, error
            )
            self._failed = True
            return
        start, end = window.start, window.start + window.samples
        for answer in answers:
            # "yes" tells what the question says.
            verdict = privacy.judge_texts([plain_text(text) for text in (answer.prompt, *answer.texts)])
            if not verdict.published:
                continue
            waited_ms = 1e3 * (self._time.now_s() - self._time.heard_s(end)) if self._live else None
            record = self.builder.answer(answer, self._time.span(start, end), event, waited_ms)
            if speech or verdict.speech:
                record = record.model_copy(update={"speech": True})
            self._publish(Delivery(record, not self._live))
