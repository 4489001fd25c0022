"""Alerts as records of a stream: their times over outages, pauses and clocks that are set, their ends, their marks."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

import numpy as np
import pytest

from edge_aac.audio.windows import Window, WindowSlicer
from edge_aac.models.contract import Description, Latency
from edge_aac.records import Alert, Event, Record, TimeSpan, rfc3339
from edge_aac.streaming.alerts.rules import AlertRule
from edge_aac.streaming.building import RecordBuilder
from edge_aac.streaming.channel import ChannelSettings
from edge_aac.streaming.channel_time import ChannelTime
from edge_aac.streaming.counters import Counters, LatencyLog
from edge_aac.streaming.event_settings import EventRules
from edge_aac.streaming.events import EventTracker
from edge_aac.streaming.gate import EnergyGate, ScoreGate
from edge_aac.streaming.privacy import PrivacyGate
from edge_aac.streaming.publishing import DescriptionPublisher
from edge_aac.streaming.session import Session
from edge_aac.timebase import SAMPLE_RATE
from tests.edge_aac.fakes import MODEL, FakeModel, FakeSink, FakeSource, scored
from tests.edge_aac.streaming import world_cases
from tests.edge_aac.streaming.session_cases import HOP, WINDOW, blocks, noise, session
from tests.waiting import PATIENCE_S, ended, until

pytestmark = pytest.mark.one_python

RAIN = AlertRule("rain", ("rain",), hold_samples=30 * SAMPLE_RATE, title="Regen")


def _alerts(records: Sequence[Record]) -> list[Alert]:
    return [record for record in records if isinstance(record, Alert)]


def _take_alerts(made: Session) -> None:
    (outlet,) = made.hub.outlets
    outlet.kinds |= {"alert"}


def _heard(steps: list[world_cases.Step]) -> tuple[world_cases.Device, list[Alert]]:
    """A device whose every window is rain, which a rule is for."""
    device = world_cases.Device(steps)
    _take_alerts(device.session)
    settings = ChannelSettings(EnergyGate(-70.0), every_window=True, alerts=(RAIN,))
    device.session.reconfigure(device.channel, world_cases.HOP, settings)
    device.run()
    return device, _alerts(device.sink.records)


def _after(text: str | None) -> float:
    assert text is not None
    return datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp() - world_cases.START_S


def test_an_outage_ends_an_alert_and_its_sound_begins_another() -> None:
    device, alerts = _heard([*world_cases.sound(20), *world_cases.unplugged(8), *world_cases.sound(20)])
    assert [(alert.state, alert.reason, alert.number) for alert in alerts] == [
        ("start", None, 0),
        ("end", "stopped", 0),
        ("start", None, 1),
        ("end", "stopped", 1),
    ]
    assert (_after(alerts[0].start), _after(alerts[1].end)) == (pytest.approx(0, abs=0.01), pytest.approx(20, abs=0.5))
    assert _after(alerts[2].start) > 50
    assert device.channel.counters.alerts == sum(record.alerts for record in device.health) == 2


@pytest.mark.parametrize("step_s", [3_600.0, -3_600.0])
def test_a_clock_that_is_set_changes_neither_the_start_nor_how_long_it_lasted(step_s: float) -> None:
    _, (start, end) = _heard([*world_cases.sound(40), *world_cases.clock_set(step_s), *world_cases.sound(40)])
    assert (start.id, start.start) == (end.id, end.start) == ("20260501T100000.000Z-0", "2026-05-01T10:00:00.000Z")
    assert end.lasted_s == pytest.approx(80, abs=1)
    assert start.end is not None and end.end is not None and end.end >= str(end.start)
    if step_s > 0:
        assert _after(end.end) == pytest.approx(3680, abs=1)


def test_silence_ends_it_after_the_hold_with_the_time_at_which_it_began_to_be_silent() -> None:
    _, (start, end) = _heard([*world_cases.sound(30), *world_cases.muted(60)])
    assert (start.state, end.state, end.reason) == ("start", "end", "quiet")
    # Below the gate lies the first window that is silent as a whole.
    assert _after(end.end) == pytest.approx(30, abs=2)
    assert end.sentence() == f"[alert over] Regen: rain, for {end.lasted_s:.0f} s"
    assert start.sentence() == "[alert] Regen: rain"


def _run(made: Session, source: FakeSource, rules: Sequence[AlertRule]) -> threading.Thread:
    settings = ChannelSettings(EnergyGate(-70.0), every_window=True, alerts=tuple(rules))
    made.add(source, WindowSlicer(WINDOW, HOP), settings, reopen=_microphone)
    _take_alerts(made)
    thread = threading.Thread(target=made.run)
    thread.start()
    return thread


def _microphone() -> FakeSource:
    return FakeSource(blocks(1) * 20_000, live=True, endless=True, pace_s=0.02, label="hall")


def test_a_pause_ends_it_at_once_and_a_removal_too() -> None:
    sink, stop = FakeSink(), threading.Event()
    made = session([], sink, stop=stop)
    thread = _run(made, _microphone(), [RAIN])
    (channel,) = made.channels
    try:
        until(lambda: len(_alerts(sink.records)) == 1)
        channel.capture.pause()
        until(lambda: len(_alerts(sink.records)) == 2)
        assert not channel.publisher.alerts.is_open
        time.sleep(0.2)
        channel.capture.resume()
        until(lambda: len(_alerts(sink.records)) == 3)
        made.between_rounds(lambda: made.remove(channel)).result()
        until(lambda: len(_alerts(sink.records)) == 4)
    finally:
        stop.set()
        ended(thread)
    assert [(alert.state, alert.reason) for alert in _alerts(sink.records)] == [
        ("start", None),
        ("end", "stopped"),
    ] * 2


def test_time_alone_ends_it_where_no_sound_comes_any_more_and_no_event_is_open() -> None:
    sink, stop = FakeSink(), threading.Event()
    made = session([], sink, stop=stop)
    source = FakeSource([noise(4 * HOP)], live=True, endless=True, label="hall")
    thread = _run(made, source, [replace(RAIN, hold_samples=SAMPLE_RATE)])
    try:
        until(lambda: len(_alerts(sink.records)) == 2)
        assert made.channels[0].capture.state == "listening"
        assert sum(isinstance(record, Event) and record.state == "end" for record in sink.records) == 1
    finally:
        stop.set()
        ended(thread)
    end = _alerts(sink.records)[1]
    assert (end.state, end.reason) == ("end", "stopped") and 0 < end.lasted_s <= 0.2


def test_another_model_ends_no_alert(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edge_aac.streaming.channel.SILENT_WAIT_S", PATIENCE_S)  # no block is late
    sink, stop = FakeSink(), threading.Event()
    made = session([], sink, stop=stop)
    thread = _run(made, _microphone(), [RAIN])
    try:
        until(lambda: len(_alerts(sink.records)) == 1)
        ends = sum(isinstance(record, Event) and record.state == "end" for record in sink.records)
        made.between_rounds(lambda: made.use(FakeModel([scored("heavy rain", direction=50)]))).result()
        captions = len(sink.captions)
        until(lambda: len(sink.captions) > captions + 3)
        assert sum(isinstance(record, Event) and record.state == "end" for record in sink.records) == ends + 1
        assert len(_alerts(sink.records)) == 1
    finally:
        stop.set()
        ended(thread)
    assert [alert.state for alert in _alerts(sink.records)] == ["start", "end"]


def test_a_file_has_alerts_with_seconds_in_the_file_and_no_id() -> None:
    sink = FakeSink()
    made = session([], sink)
    made.alerted = heard = _Calls()
    ended(_run(made, FakeSource(blocks(10)), [RAIN]))
    start, end = _alerts(sink.records)
    assert (start.start_s, start.id, start.start, end.start_s) == (0.0, None, None, 0.0)
    assert (end.end_s, end.lasted_s, end.reason) == (0.5, 0.5, "stopped")
    assert heard.records == [start, end]


class _Calls:
    def __init__(self) -> None:
        self.records: list[Alert] = []

    def __call__(self, record: Alert) -> None:
        self.records.append(record)


class _Bench:
    """A publisher of windows of 10 s every 2 s."""

    def __init__(self, privacy: PrivacyGate) -> None:
        self.records: list[Record] = []
        self.number = 0
        self.settings = ChannelSettings(EnergyGate(-70.0), privacy=privacy, alerts=(replace(RAIN, sounds=("man",)),))
        self.publisher = DescriptionPublisher(
            builder=RecordBuilder("kitchen", "hall", MODEL),
            tracker=EventTracker(0.8, FakeModel().embed, EventRules(), lambda text: (text,)),
            score_gate=ScoreGate(),
            time_of=ChannelTime(
                lambda start, end: TimeSpan(start=rfc3339(start / SAMPLE_RATE), end=rfc3339(end / SAMPLE_RATE)),
                lambda position: position / SAMPLE_RATE,
                lambda: 0,
            ),
            counters=Counters(),
            latencies=LatencyLog(),
            publish=lambda delivery: self.records.append(delivery.record),
            live=True,
            every_window=False,
            privacy=privacy,
            alerts=self.settings.alerts,
        )

    def hear(self, text: str) -> None:
        start = 2 * SAMPLE_RATE * self.number
        window = Window(start, 10 * SAMPLE_RATE, np.zeros((998, 128), np.float32), -20.0, -3.0, -20.0)
        self.number += 1
        found = Description([scored(text)], np.ones(2, np.float32), 2, Latency(1.0, 1.0, 1.0))
        self.publisher.settle(window, found)


def _talks(text: str) -> bool:
    return "talks" in text


def test_where_people_may_talk_the_alert_says_so() -> None:
    bench = _Bench(PrivacyGate("mark", _talks))
    bench.hear("a man talks")
    bench.publisher.finish()
    assert [(alert.state, alert.speech) for alert in _alerts(bench.records)] == [("start", True), ("end", True)]
    late = _Bench(PrivacyGate("mark", _talks))
    late.publisher.regulate(late.settings, EventRules(min_windows=2), 0.8)
    late.hear("a man talks")
    late.publisher.finish()
    assert [(alert.state, alert.speech) for alert in _alerts(late.records)] == [("start", True), ("end", True)]


def test_what_may_not_be_told_begins_no_alert_and_new_rules_let_none_say_more() -> None:
    bench = _Bench(PrivacyGate("suppress", _talks))
    bench.hear("a man talks")
    bench.publisher.finish()
    assert bench.records == []
    bench = _Bench(PrivacyGate())
    bench.hear("a man talks")
    bench.publisher.regulate(replace(bench.settings, privacy=PrivacyGate("suppress", _talks)), EventRules(), 0.8)
    start, end = _alerts(bench.records)
    assert bench.publisher.alerts.newest["rain"].caption == "Regen", "what tells the state anew repeats no words"
    for _ in range(25):
        bench.hear("a man talks")
    bench.publisher.expire(10**9)
    assert _alerts(bench.records) == [start, end]
    assert (start.caption, end.caption, end.reason) == ("a man talks", "a man talks", "stopped")


def test_new_rules_of_privacy_leave_an_alert_open_whose_words_may_be_told() -> None:
    bench = _Bench(PrivacyGate())
    bench.hear("a man laughs")
    bench.publisher.regulate(replace(bench.settings, privacy=PrivacyGate("suppress", _talks)), EventRules(), 0.8)
    (start,) = _alerts(bench.records)
    assert bench.publisher.alerts.newest == {"rain": start}
