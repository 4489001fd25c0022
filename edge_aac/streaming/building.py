"""Descriptions of windows as records."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from edge_aac.audio.clock import SampleClock
from edge_aac.audio.windows import Window
from edge_aac.errors import DataError
from edge_aac.models.contract import Description, Latency, PromptAnswer, ScoredCaption
from edge_aac.records import Caption, Event, Gap, LatencyMs, Model, Score, TimeSpan, as_text, rfc3339
from edge_aac.records.answer import Answer, PossibleAnswer
from edge_aac.streaming.event_changes import EventChange
from edge_aac.streaming.losses import LostSound
from edge_aac.timebase import SAMPLE_RATE


@dataclass(frozen=True)
class RecordBuilder:
    """Builds the records of one run and source.

    Attributes:
        node: name of the device.
        source: label of the source; any bytes that a file's name may have are made text, as JSON needs it.
        model: identity of the model that describes the windows.
    """

    node: str
    source: str
    model: Model

    def __post_init__(self) -> None:
        object.__setattr__(self, "source", as_text(self.source))

    def caption(  # noqa: PLR0913, PLR0917 - the parts of a record
        self,
        seq: int,
        span: TimeSpan,
        window: Window,
        description: Description,
        dropped_ms: int = 0,
        events: Sequence[int] = (),
        waited_ms: float | None = None,
        chosen: ScoredCaption | None = None,
    ) -> Caption:
        """The record of a described window.

        Args:
            seq: number of the caption within its run and source.
            span: time span of the window's sound.
            window: the window, whose level the record holds.
            description: the model's description of the window.
            dropped_ms: sound lost since the caption before, in milliseconds.
            events: numbers of the events that it names, in its order.
            waited_ms: milliseconds from the end of the window's sound until now; None where that means nothing.
            chosen: which of the description's captions the record is of; None for the best.
        """
        best = chosen or description.best
        return Caption(
            node=self.node,
            source=self.source,
            seq=seq,
            **span.model_dump(),
            caption=best.text,
            score=Score(
                hybrid=round(best.hybrid, 4),
                log_likelihood=rounded(best.log_likelihood, 4),
                similarity=rounded(best.similarity, 4),
                familiarity=rounded(description.familiarity, 2),
                sounds={name: round(sure, 3) for name, sure in (best.sounds or {}).items()} or None,
            ),
            candidates=description.candidates,
            rms_dbfs=round(window.rms_dbfs, 1),
            dropped_ms=dropped_ms,
            event=events[0] if events else None,
            events=list(events) if len(events) > 1 else None,
            model=self.model,
            latency_ms=latency_ms(description.latency_ms, waited_ms),
        )

    def event(self, change: EventChange, span: TimeSpan) -> Event:
        """The record of a change of an event."""
        return Event(
            node=self.node,
            source=self.source,
            event=change.number,
            id=None if span.start is None else f"{compact(span.start)}-{change.number}",
            state=change.state,
            **span.model_dump(),
            caption=change.caption.text,
            windows=change.windows,
        )

    def answer(self, answer: PromptAnswer, span: TimeSpan, event: int | None, waited_ms: float | None) -> Answer:
        """The record of an answer about a window.

        Args:
            answer: of the model.
            span: time span of the window's sound.
            event: number of the event that it was asked about; None where it was asked about the window.
            waited_ms: milliseconds from the end of the window's sound until now; None where that means nothing.
        """
        return Answer(
            node=self.node,
            source=self.source,
            **span.model_dump(),
            answer=answer.texts[0].strip(),
            prompt=answer.prompt or None,
            task=answer.task,
            answers=[
                PossibleAnswer(text=text.strip(), log_likelihood=rounded(score, 4))
                for text, score in zip(answer.texts, answer.log_likelihoods, strict=True)
            ],
            event=event,
            model=answer.model,
            latency_ms=latency_ms(answer.latency_ms, waited_ms),
        )

    def gap(self, lost: LostSound, span: TimeSpan) -> Gap:
        """The record of sound that was lost within a time span."""
        detail = None if lost.detail is None else as_text(lost.detail)
        return Gap(
            node=self.node,
            source=self.source,
            **span.model_dump(),
            reason=lost.reason,
            lost_ms=lost.lost_ms,
            detail=detail,
        )


def compact(time: str) -> str:
    """A time of RFC 3339 without what separates its parts, as it may stand in a topic or a file's name."""
    return time.replace("-", "").replace(":", "")


def latency_ms(latency: Latency, waited_ms: float | None = None) -> LatencyMs:
    """What a record tells of the work on it.

    Args:
        latency: of the model.
        waited_ms: milliseconds from the end of the sound until now; None where that means nothing.
    """
    total_ms = latency.total if waited_ms is None else max(waited_ms, latency.total)
    return LatencyMs(
        total=round(total_ms, 1),
        queue=None if waited_ms is None else round(total_ms - latency.total, 1),
        encode=round(latency.encode, 1),
        decode=round(latency.decode, 1),
        rerank=round(latency.rerank, 1),
    )


def rounded(value: float | None, digits: int) -> float | None:
    """A number for JSON, which has no infinity; None where there is none."""
    return round(value, digits) if value is not None and math.isfinite(value) else None


def undescribed(source: str, start: int, end: int, error: DataError) -> DataError:
    """The error of one window of a file, with the file and the stretch; the model does not know which sound it hears.

    Args:
        source: label of the file.
        start, end: positions of the window in samples at 16 kHz.
        error: what the model gave in place of a description; the cause of the result.
    """
    span = file_span(start, end)
    placed = DataError(f"'{source}' cannot be captioned from {span.start_s} s to {span.end_s} s: {error}")
    placed.__cause__ = error
    return placed


def file_span(start: int, end: int) -> TimeSpan:
    """Positions in samples as seconds from the start of a file."""
    return TimeSpan(start_s=round(start / SAMPLE_RATE, 3), end_s=round(end / SAMPLE_RATE, 3))


def clock_span(start: int, end: int, clock: SampleClock) -> TimeSpan:
    """Positions in samples as wall-clock times."""
    start_s, end_s = clock.span_s(start, end)
    return TimeSpan(start=rfc3339(start_s), end=rfc3339(end_s))
