"""Windows as records: times, rounding, and names that are no text."""

from __future__ import annotations

import json
import os
from dataclasses import replace

import numpy as np
import pytest

from edge_aac.audio.clock import SampleClock
from edge_aac.audio.windows import Window
from edge_aac.models.contract import Description, Latency, ScoredCaption
from edge_aac.records import TimeSpan
from edge_aac.streaming.building import RecordBuilder, clock_span, file_span
from edge_aac.streaming.event_changes import EventChange
from tests.edge_aac.fake_clocks import FakeClocks
from tests.edge_aac.fakes import MODEL, scored

_WINDOW = Window(32_000, 160_000, np.zeros((998, 128), np.float32), -31.2345, -3.0, -31.2345)


def _description(similarity: float | None = 0.987654) -> Description:
    best = ScoredCaption("rain", 0.123456, -0.654321, similarity, np.ones(2, np.float32))
    return Description([best, scored("dog")], np.ones(2, np.float32), 6, Latency(1.26, 2.04, 3.01))


def test_caption() -> None:
    record = RecordBuilder("kitchen", "garden.wav", MODEL).caption(
        3, file_span(32_000, 192_000), _WINDOW, _description(), 12, (4, 2)
    )
    table = record.to_table()
    assert (table["node"], table["source"], table["seq"], table["event"]) == ("kitchen", "garden.wav", 3, 4)
    assert table["events"] == [4, 2]
    assert (table["start_s"], table["end_s"]) == (2.0, 12.0)
    assert table["score"] == {"hybrid": 0.1235, "log_likelihood": -0.6543, "similarity": 0.9877}
    assert (table["candidates"], table["rms_dbfs"], table["dropped_ms"]) == (6, -31.2, 12)
    assert table["latency_ms"] == {"total": 6.3, "encode": 1.3, "decode": 2.0, "rerank": 3.0}


def test_a_caption_without_similarity() -> None:
    builder = RecordBuilder("kitchen", "garden.wav", MODEL)
    table = builder.caption(0, file_span(0, 16_000), _WINDOW, _description(None)).to_table()
    assert table["score"] == {"hybrid": 0.1235, "log_likelihood": -0.6543}
    table = builder.caption(0, file_span(0, 16_000), _WINDOW, _description(0.0)).to_table()
    assert table["score"]["similarity"] == 0.0


def test_event() -> None:
    change = EventChange(2, "update", 0, 192_000, scored("rain"), 3)
    table = RecordBuilder("kitchen", "mic0", MODEL).event(change, file_span(0, 192_000)).to_table()
    assert table == {
        "schema": "edge-aac/event/1",
        "node": "kitchen",
        "source": "mic0",
        "event": 2,
        "state": "update",
        "start_s": 0.0,
        "end_s": 12.0,
        "caption": "rain",
        "windows": 3,
    }


def test_an_event_of_a_live_source_has_a_name_that_no_other_has() -> None:
    change = EventChange(2, "start", 0, 16_000, scored("rain"), 1)
    span = TimeSpan(start="2026-05-01T10:00:00.000Z", end="2026-05-01T10:00:01.000Z")
    assert RecordBuilder("kitchen", "mic0", MODEL).event(change, span).id == "20260501T100000.000Z-2"


def test_a_caption_of_one_event_lists_no_others() -> None:
    builder = RecordBuilder("kitchen", "garden.wav", MODEL)
    table = builder.caption(0, file_span(0, 16_000), _WINDOW, _description(), events=(3,)).to_table()
    assert (table["event"], "events" in table) == (3, False)
    table = builder.caption(0, file_span(0, 16_000), _WINDOW, _description(), chosen=scored("dog")).to_table()
    assert (table["caption"], table["score"]["hybrid"], "event" in table) == ("dog", 0.5, False)


def test_the_waiting_before_a_live_caption_is_part_of_its_latency() -> None:
    builder = RecordBuilder("kitchen", "mic0", MODEL)
    record = builder.caption(0, file_span(0, 16_000), _WINDOW, _description(), waited_ms=1100.0)
    table = record.to_table()
    assert table["latency_ms"] == {"total": 1100.0, "queue": 1093.7, "encode": 1.3, "decode": 2.0, "rerank": 3.0}


def test_a_files_name_may_be_any_bytes_a_record_is_text() -> None:
    builder = RecordBuilder("kitchen", os.fsdecode(b"caf\xe9.wav"), MODEL)
    line = builder.caption(0, file_span(0, 16_000), _WINDOW, _description()).to_json()
    assert json.loads(line.encode("utf-8"))["source"] == "caf\ufffd.wav"
    assert RecordBuilder("kitchen", "töne ♪.wav", MODEL).source == "töne ♪.wav"


def test_file_span() -> None:
    span = file_span(1_601, 161_601)
    assert (span.start_s, span.end_s, span.start, span.end) == (0.1, 10.1, None, None)


def test_clock_span_is_wall_clock_time_of_the_samples() -> None:
    clock = SampleClock(FakeClocks(1_777_629_600.0).clocks)
    clock.note(192_000)
    span = clock_span(16_000, 176_000, clock)
    assert span == TimeSpan(start="2026-05-01T09:59:49.000Z", end="2026-05-01T09:59:59.000Z")


@pytest.mark.parametrize(
    ("familiarity", "published"), [(-1.2345, -1.23), (0.0, 0.0), (None, None), (-np.inf, None), (np.nan, None)]
)
def test_familiarity_is_published_where_it_is_a_number(familiarity: float | None, published: float | None) -> None:
    description = replace(_description(), familiarity=familiarity)
    record = RecordBuilder("kitchen", "mic0", MODEL).caption(0, file_span(0, 160_000), _WINDOW, description)
    assert json.loads(record.to_json())["score"].get("familiarity") == published


def test_a_record_tells_how_sure_the_sounds_are_that_it_names() -> None:
    caption = replace(scored("a dog barks"), sounds={"dog_bark": 0.81349})
    others = (replace(scored("a sound"), sounds={}), scored("rain falls"))
    for chosen, published in ((caption, {"dog_bark": 0.813}), (others[0], None), (others[1], None)):
        description = replace(_description(), ranked=[others[1], caption])
        record = RecordBuilder("kitchen", "mic0", MODEL).caption(
            0, file_span(0, 160_000), _WINDOW, description, chosen=chosen
        )
        assert json.loads(record.to_json())["score"].get("sounds") == published
