"""A health record for tests."""

from __future__ import annotations

from typing import Any

from edge_aac.records import Health, SinkHealth


def health_record(**changes: Any) -> Health:
    """A complete health record of a live source."""
    fields: dict[str, Any] = {
        "node": "kitchen",
        "source": "mic0",
        "start": "2026-05-01T10:00:00.000Z",
        "end": "2026-05-01T10:01:00.000Z",
        "state": "listening",
        "windows": 30,
        "captions": 4,
        "silent": 20,
        "unsure": 1,
        "failed": 0,
        "skipped": {"overlap": 5},
        "dropped_ms": 0,
        "queued_ms": 100,
        "due_windows": 0,
        "reconnects": 0,
        "sinks": {"stdout": SinkHealth(state="delivering", queued=0, delivered=4, dropped=0, retries=0)},
    }
    return Health(**{**fields, **changes})
