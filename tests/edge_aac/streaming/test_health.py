"""Health: what is counted, how long it took, and how the sinks do."""

from __future__ import annotations

import math
import os
import threading
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from edge_aac.audio.windows import Window
from edge_aac.errors import DataError, DeviceError
from edge_aac.records import Health, as_text
from edge_aac.sinks.contract import reason_of
from edge_aac.streaming import outlet
from edge_aac.streaming.counters import MAX_LATENCIES, Counters, LatencyLog, LevelMeter
from edge_aac.streaming.gate import ScoreGate
from tests.edge_aac.fakes import FakeModel, FakeSink, FakeSource, scored
from tests.edge_aac.streaming.session_cases import HOP, RAIN, blocks, counters, noise, running, session
from tests.waiting import until


def _health(sink: FakeSink) -> list[Health]:
    return [record for record in sink.records if isinstance(record, Health)]


def test_the_last_record_has_all_that_happened() -> None:
    silence = np.zeros(8 * HOP, np.float32)
    model = FakeModel([RAIN, DataError("the decoder gave NaN"), scored("dog", hybrid=0.1), RAIN])
    sink = FakeSink()
    source = FakeSource([noise(6 * HOP), silence], label="garden.wav")
    made = session(source, sink, model, score_gate=ScoreGate(0.3), health_interval_s=3600.0)
    with pytest.raises(DataError, match="NaN"):
        made.run()
    (record,) = _health(sink)
    # Windows 0 to 5 hold sound: one failed, one was unsure.
    counted = (record.windows, record.captions, record.silent, record.unsure, record.failed, record.skipped)
    assert counted == (13, 4, 7, 1, 1, {})
    assert (record.source, record.state, record.latency_ms, record.due_windows) == ("garden.wav", "ended", None, 0)
    assert record.level_dbfs is not None and -30 < record.level_dbfs < -20
    sinks = record.sinks["fake"]
    assert (sinks.state, sinks.dropped) == ("delivering", 0)


def test_records_come_at_their_interval_and_cover_all_time() -> None:
    sink, stop = FakeSink(), threading.Event()
    source = FakeSource(blocks(20), live=True, endless=True, pace_s=0.02)
    made = session(source, sink, stop=stop, health_interval_s=0.2)
    with running(made, stop):
        until(lambda: len(_health(sink)) >= 2 and counters(made).windows == 19)
    records = _health(sink)
    assert all(earlier.end == later.start for earlier, later in pairwise(records))
    assert sum(record.windows for record in records) == 19
    assert sum(record.captions for record in records) == len(sink.captions)
    assert records[0].state == "listening"


def test_what_is_removed_after_its_last_record_is_told_of_no_more() -> None:
    """A record may be due while a source is being closed, which takes a moment."""
    made = session(FakeSource(blocks(3), label="garden.wav"), FakeSink(), health_interval_s=3600.0)
    made.run()
    assert made.health.latest["garden.wav"].state == "ended"
    made.health.remove(made.channels[0])
    assert made.health.latest == {}


def test_latency_is_from_the_end_of_the_sound_to_its_publication() -> None:
    """With a model of 0.2 s that is never idle, a window waits for the one before it, then for itself."""
    sink = FakeSink(seconds=0.05)
    source = FakeSource(blocks(40), live=True, pace_s=0.05)
    made = session(source, sink, FakeModel(seconds=0.2), health_interval_s=3600.0)
    made.run()
    (record,) = _health(sink)
    assert record.latency_ms is not None
    assert record.latency_ms.maximum >= record.latency_ms.median >= 250.0, "model and sink alone take that"
    assert record.skipped["overlap"] > 0
    for caption in sink.captions:
        latency = caption.latency_ms
        assert latency.queue is not None
        assert latency.total == pytest.approx(latency.queue + 3.5, abs=0.2)
        assert latency.total >= 200.0


def test_a_sink_that_is_stuck_is_seen_in_the_health_of_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outlet, "CLOSE_TIMEOUT_S", 0.02)
    stuck, stop = threading.Event(), threading.Event()
    sink = FakeSink(stuck=stuck)
    made = session(FakeSource(blocks(9), live=True, endless=True, pace_s=0.02), sink, stop=stop)
    with running(made, stop):
        until(lambda: made.hub.health()["fake"].queued >= 5)
        assert made.hub.health()["fake"].delivered == 0
    stuck.set()


def test_no_interval_means_no_health() -> None:
    sink = FakeSink()
    session(FakeSource(blocks(4)), sink, health_interval_s=0.0).run()
    assert _health(sink) == []


def test_counters_since_an_earlier_copy() -> None:
    counted = Counters(windows=5, captions=2)
    counted.skipped["overlap"] += 2
    before = counted.copy()
    counted.windows += 3
    counted.skipped["overlap"] += 1
    counted.skipped["behind"] += 4
    assert counted.since(before) == Counters(windows=3, skipped=counted.skipped - before.skipped)
    assert before.windows == 5
    assert "8 windows" in counted.sentence() and "7 skipped" in counted.sentence()


def test_latencies_are_taken_once_and_bounded() -> None:
    latencies = LatencyLog()
    assert latencies.take() is None
    for latency_ms in (3.0, 1.0, 200.0):
        latencies.add(latency_ms)
    taken = latencies.take()
    assert taken is not None and (taken.median, taken.maximum) == (3.0, 200.0)
    assert latencies.take() is None
    for number in range(MAX_LATENCIES + 5):
        latencies.add(float(number))
    taken = latencies.take()
    assert taken is not None and taken.maximum == MAX_LATENCIES + 4


def _window(rms_dbfs: float, samples: int = 160_000) -> Window:
    fbank: Any = np.zeros((998, 128), np.float32)
    return Window(0, samples, fbank, rms_dbfs, rms_dbfs, rms_dbfs)


def test_the_level_is_the_mean_power() -> None:
    meter = LevelMeter()
    assert meter.take() is None
    meter.add(_window(-20.0))
    meter.add(_window(-120.0))
    assert meter.take() == -23.0
    meter.add(_window(-120.0))
    assert meter.take() == -120.0
    meter.add(_window(math.inf))
    assert meter.take() is None, "JSON has no infinity"


def test_windows_that_a_stop_leaves_out_are_counted() -> None:
    stop = threading.Event()
    sink = FakeSink()
    model = FakeModel(seconds=1e9)
    made = session(FakeSource([noise(9 * HOP)]), sink, model, stop=stop, health_interval_s=3600.0)
    with running(made, stop):
        until(lambda: model.batches)
    (record,) = _health(sink)
    assert record.windows > 0
    assert record.skipped == {"stop": record.windows}


def test_a_reason_that_is_no_unicode_ends_nothing() -> None:
    """The name of a damaged file may have any bytes; its error stands in the health record."""
    sink, path = FakeSink(), os.fsdecode(b"/sounds/caf\xe9.wav")
    source = FakeSource(blocks(3), error=DataError(f"'{path}' is damaged"), label=path)
    with pytest.raises(DataError, match="damaged"):
        session(source, sink, health_interval_s=3600.0).run()
    (record,) = _health(sink)
    assert record.reason == "'/sounds/caf\ufffd.wav' is damaged"
    assert "\ufffd" in record.to_json()
    failure = DeviceError(f"'{path}' cannot be written")
    assert reason_of(failure) == "'/sounds/caf\ufffd.wav' cannot be written"
    assert as_text("caf\udcc3\udca9 \ud800") == "café \ufffd"
