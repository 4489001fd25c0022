"""What leaves the device: records with a schema, one JSON object each. What is absent is left out, never null."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, populate_by_name=True, protected_namespaces=())

    def to_table(self) -> dict[str, Any]:
        """Plain tables, absent fields left out."""
        return self.model_dump(by_alias=True, exclude_none=True)

    def to_json(self) -> str:
        """One line of JSON."""
        return self.model_dump_json(by_alias=True, exclude_none=True)


class TimeSpan(BaseModel):
    """When the sound was: wall-clock times (RFC 3339, UTC), or seconds from the start of a file or pipe."""

    model_config = ConfigDict(frozen=True)

    start: str | None = None
    end: str | None = None
    start_s: float | None = None
    end_s: float | None = None


class Score(_Record):
    """Why this caption was chosen: see :class:`edge_aac.models.contract.ScoredCaption`; and how familiar the window
    is, see :class:`edge_aac.models.contract.Description`."""

    hybrid: float
    log_likelihood: float | None = None
    similarity: float | None = None
    familiarity: float | None = None


class Model(_Record):
    """What said it."""

    bundle: str
    version: str
    backend: str
    precision: str


class LatencyMs(_Record):
    """Milliseconds from the finished window to its caption."""

    total: float
    encode: float
    decode: float
    rerank: float


class Caption(_Record):
    """One caption of one window.

    Attributes:
        node: name of the device.
        source: what it heard: ``mic0``, or the path as the user wrote it.
        seq: number of the record, from 0, within its run and source.
        candidates: how many were drawn.
        rms_dbfs: level of the window.
        dropped_ms: sound that was lost since the caption before.
        event: number of the event that the caption opens or belongs to; absent where windows are not tracked.
    """

    schema_: Literal["edge-aac/caption/1"] = Field(default="edge-aac/caption/1", alias="schema")
    node: str
    source: str
    seq: int
    start: str | None = None
    end: str | None = None
    start_s: float | None = None
    end_s: float | None = None
    caption: str
    score: Score
    candidates: int
    rms_dbfs: float
    dropped_ms: int
    event: int | None = None
    model: Model
    latency_ms: LatencyMs


class Event(_Record):
    """One change of an event: overlapping windows that say the same thing.

    Attributes:
        event: its number, from 0, within its run and source.
        state: "start" with its first window, "update" with each further one, "end" when no window says it any more.
        caption: the best-scored of its captions so far.
        windows: how many windows said it so far.
    """

    schema_: Literal["edge-aac/event/1"] = Field(default="edge-aac/event/1", alias="schema")
    node: str
    source: str
    event: int
    state: Literal["start", "update", "end"]
    start: str | None = None
    end: str | None = None
    start_s: float | None = None
    end_s: float | None = None
    caption: str
    windows: int


Record = Caption | Event


def rfc3339(seconds: float) -> str:
    """Unix time as RFC 3339 in UTC with milliseconds."""
    moment = datetime.fromtimestamp(round(seconds, 3), tz=timezone.utc)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
