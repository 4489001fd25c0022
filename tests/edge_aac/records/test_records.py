"""Records: exactly the fields that the interface promises, absent ones left out."""

from __future__ import annotations

import json
from typing import Any

import pytest
from pydantic import ValidationError

from edge_aac.records import Caption, Event, Score, TimeSpan, rfc3339
from tests.edge_aac.fakes import caption_record

# What a program that reads the records was promised, with the JSON type of each field.
_ALWAYS = {
    "schema": str,
    "node": str,
    "source": str,
    "seq": int,
    "caption": str,
    "score": {"hybrid": float, "log_likelihood": float, "similarity": float},
    "candidates": int,
    "rms_dbfs": float,
    "dropped_ms": int,
    "model": {"bundle": str, "version": str, "backend": str, "precision": str},
    "latency_ms": {"total": float, "encode": float, "decode": float, "rerank": float},
}
_CLOCK = {"start": str, "end": str}
_SECONDS = {"start_s": float, "end_s": float}


def _kinds(table: dict[str, Any]) -> dict[str, Any]:
    return {key: _kinds(value) if isinstance(value, dict) else type(value) for key, value in table.items()}


def test_a_file_caption_has_exactly_the_promised_fields() -> None:
    assert _kinds(json.loads(caption_record().to_json())) == {**_ALWAYS, **_SECONDS}


def test_a_live_caption_has_exactly_the_promised_fields() -> None:
    record = caption_record(start_s=None, end_s=None, start=rfc3339(0.0), end=rfc3339(10.0))
    assert _kinds(json.loads(record.to_json())) == {**_ALWAYS, **_CLOCK}


def test_the_event_is_there_only_where_windows_are_tracked() -> None:
    assert json.loads(caption_record(event=0).to_json())["event"] == 0
    assert "event" not in caption_record().to_table()


def test_zeros_are_not_absent() -> None:
    table = caption_record(seq=0, dropped_ms=0, rms_dbfs=0.0, start_s=0.0).to_table()
    assert (table["seq"], table["dropped_ms"], table["rms_dbfs"], table["start_s"]) == (0, 0, 0.0, 0.0)


def test_a_similarity_that_was_not_computed_is_left_out() -> None:
    record = caption_record(score=Score(hybrid=-0.62, log_likelihood=-0.62))
    assert json.loads(record.to_json())["score"] == {"hybrid": -0.62, "log_likelihood": -0.62}
    assert record.to_table()["score"] == {"hybrid": -0.62, "log_likelihood": -0.62}
    assert Caption.model_validate_json(record.to_json()) == record
    zero = caption_record(score=Score(hybrid=0.0, log_likelihood=-0.62, similarity=0.0))
    assert json.loads(zero.to_json())["score"]["similarity"] == 0.0


def test_table_and_json_are_the_same_and_come_back() -> None:
    record = caption_record(caption='töne ♪ "quoted"\n', event=3)
    assert json.loads(record.to_json()) == record.to_table()
    assert "\n" not in record.to_json()
    assert "null" not in record.to_json()
    assert Caption.model_validate_json(record.to_json()) == record


def test_event() -> None:
    record = Event(
        node="kitchen", source="mic0", event=1, state="end", start=rfc3339(0), end=rfc3339(1), caption="rain", windows=2
    )
    assert _kinds(json.loads(record.to_json())) == {
        "schema": str,
        "node": str,
        "source": str,
        "event": int,
        "state": str,
        "start": str,
        "end": str,
        "caption": str,
        "windows": int,
    }
    assert record.to_table()["schema"] == "edge-aac/event/1"
    assert Event.model_validate_json(record.to_json()) == record


def test_schemas() -> None:
    assert caption_record().to_table()["schema"] == "edge-aac/caption/1"
    for kind, name in ((Caption, "edge-aac/caption/1"), (Event, "edge-aac/event/1")):
        schema = kind.model_json_schema()
        assert schema["properties"]["schema"]["const"] == name
        assert {"node", "source", "caption"} <= set(schema["required"])
        assert not {"start", "end", "start_s", "end_s"} & set(schema["required"])


@pytest.mark.parametrize(
    "change", [{"schema": "edge-aac/caption/2"}, {"seq": "first"}, {"score": {}}, {"caption": None}, {"model": "esc10"}]
)
def test_what_is_no_record_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Caption.model_validate({**caption_record().to_table(), **change})


def test_a_record_does_not_change() -> None:
    with pytest.raises(ValidationError):
        caption_record().seq = 4  # type: ignore[misc]


def test_span() -> None:
    assert TimeSpan(start_s=0.0, end_s=1.0).model_dump(exclude_none=True) == {"start_s": 0.0, "end_s": 1.0}


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0, "1970-01-01T00:00:00.000Z"),
        (1_777_629_600.0, "2026-05-01T10:00:00.000Z"),
        (1_777_629_600.0014, "2026-05-01T10:00:00.001Z"),
        (1_777_629_600.9996, "2026-05-01T10:00:01.000Z"),
        (1_777_629_600.123, "2026-05-01T10:00:00.123Z"),
        (1_777_629_600.999, "2026-05-01T10:00:00.999Z"),
    ],
)
def test_rfc3339(seconds: float, text: str) -> None:
    assert rfc3339(seconds) == text


def test_every_millisecond_is_kept() -> None:
    second = 1_777_629_600
    texts = [rfc3339(second + number / 1000) for number in range(1000)]
    assert texts == [f"2026-05-01T10:00:00.{number:03d}Z" for number in range(1000)]
