"""What leaves the device: one file a schema."""

from __future__ import annotations

from edge_aac.records.alert import Alert
from edge_aac.records.base import Record, TimeSpan, as_text, rfc3339
from edge_aac.records.caption import Caption, LatencyMs, Model, Score
from edge_aac.records.clip import Clip
from edge_aac.records.event import Event
from edge_aac.records.gap import Gap, GapReason
from edge_aac.records.health import ClipsHealth, Health, PublishedLatencyMs, SinkHealth
from edge_aac.records.labels import Labels, NamedLabel, Pooling, Scoring
from edge_aac.records.registry import known_kinds, parse_record, record_class

__all__ = [
    "Alert",
    "Caption",
    "Clip",
    "ClipsHealth",
    "Event",
    "Gap",
    "GapReason",
    "Health",
    "Labels",
    "LatencyMs",
    "Model",
    "NamedLabel",
    "Pooling",
    "PublishedLatencyMs",
    "Record",
    "Score",
    "Scoring",
    "SinkHealth",
    "TimeSpan",
    "as_text",
    "known_kinds",
    "parse_record",
    "record_class",
    "rfc3339",
]
