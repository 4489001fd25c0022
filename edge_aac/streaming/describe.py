"""Captioned windows as records."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass

from edge_aac.audio.clock import SampleClock
from edge_aac.audio.windows import Window
from edge_aac.models.contract import Description
from edge_aac.models.seq2seq import Captioner
from edge_aac.records import Caption, Event, LatencyMs, Model, Score, TimeSpan, rfc3339
from edge_aac.streaming.events import EventChange
from edge_aac.timebase import SAMPLE_RATE


@dataclass(frozen=True)
class Describer:
    """Fills in what all records of a run and source share."""

    node: str
    source: str
    model: Model

    @classmethod
    def of(cls, captioner: Captioner, node: str, source: str) -> Describer:
        """For the records of one captioner and source."""
        manifest, graph = captioner.bundle.manifest, captioner.encoder_graph
        model = Model(bundle=manifest.name, version=manifest.version, backend=graph.backend, precision=graph.precision)
        # A file's name may be any bytes; JSON holds text.
        return cls(node, os.fsencode(source).decode("utf-8", "replace"), model)

    def caption(  # noqa: PLR0913, PLR0917 - the parts of a record
        self,
        seq: int,
        span: TimeSpan,
        window: Window,
        captioned: Description,
        dropped_ms: int = 0,
        event: int | None = None,
    ) -> Caption:
        """The record of a captioned window."""
        best, latency = captioned.best, captioned.latency_ms
        return Caption(
            node=self.node,
            source=self.source,
            seq=seq,
            **span.model_dump(),
            caption=best.text,
            score=Score(
                hybrid=round(best.hybrid, 4),
                log_likelihood=None if best.log_likelihood is None else round(best.log_likelihood, 4),
                similarity=None if best.similarity is None else round(best.similarity, 4),
                familiarity=_rounded(captioned.familiarity),
            ),
            candidates=captioned.candidates,
            rms_dbfs=round(window.rms_dbfs, 1),
            dropped_ms=dropped_ms,
            event=event,
            model=self.model,
            latency_ms=LatencyMs(
                total=round(latency.total, 1),
                encode=round(latency.encode, 1),
                decode=round(latency.decode, 1),
                rerank=round(latency.rerank, 1),
            ),
        )

    def event(self, change: EventChange, span: TimeSpan) -> Event:
        """The record of a change of an event."""
        return Event(
            node=self.node,
            source=self.source,
            event=change.number,
            state=change.state,
            **span.model_dump(),
            caption=change.caption.text,
            windows=change.windows,
        )


def _rounded(familiarity: float | None) -> float | None:
    """For JSON, which has no infinity."""
    return round(familiarity, 2) if familiarity is not None and math.isfinite(familiarity) else None


def file_span(start: int, end: int) -> TimeSpan:
    """Samples as seconds from the start."""
    return TimeSpan(start_s=round(start / SAMPLE_RATE, 3), end_s=round(end / SAMPLE_RATE, 3))


def clock_span(start: int, end: int, clock: SampleClock) -> TimeSpan:
    """Samples as wall-clock times."""
    return TimeSpan(start=rfc3339(clock.time_of(start)), end=rfc3339(clock.time_of(end)))
