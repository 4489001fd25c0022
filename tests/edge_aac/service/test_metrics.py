"""The metrics of a session: what it counted is what a scrape gives, read by prometheus_client's own parser."""

from __future__ import annotations

import json
import re
import threading
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as open_metrics_families
from prometheus_client.parser import text_string_to_metric_families
from pydantic import ValidationError

from edge_aac import __version__
from edge_aac.audio.connection import Loss, Outage
from edge_aac.audio.windows import WindowSlicer
from edge_aac.errors import DataError
from edge_aac.records.health import HealthState
from edge_aac.service.metrics import Exposition, SessionCollector
from edge_aac.service.metrics_endpoint import MetricsEndpoint, open_metrics
from edge_aac.service.metrics_settings import MetricsSettings, host_and_port
from edge_aac.settings.layers import Layer
from edge_aac.settings.tree import load_settings
from edge_aac.streaming.alerts.rules import AlertRule
from edge_aac.streaming.channel import Channel, ChannelSettings
from edge_aac.streaming.counters import LATENCY_BOUNDS_S, LatencyLog
from edge_aac.streaming.gate import EnergyGate, ScoreGate
from edge_aac.streaming.losses import LossAccount
from edge_aac.streaming.session import Session
from tests.edge_aac.fakes import FakeModel, FakeSink, FakeSource, SharingModel, scored
from tests.edge_aac.streaming.session_cases import DOG, HOP, RAIN, WINDOW, blocks, noise, session, states

Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]


def _samples(text: str, families: Callable[[str], Any] = text_string_to_metric_families) -> Samples:
    found: Samples = {}
    for family in families(text):
        for sample in family.samples:
            key = (sample.name, tuple(sorted(sample.labels.items())))
            assert key not in found, "one value for each"
            found[key] = sample.value
    return found


def _scraped(made: Session, accept: str = "") -> Samples:
    body, _ = Exposition(SessionCollector(made)).text(accept)
    return _samples(body.decode())


def _of(samples: Samples, name: str, **labels: str) -> float:
    return samples[name, tuple(sorted(labels.items()))]


def test_what_was_counted_is_what_is_scraped() -> None:
    faulty = FakeModel([RAIN, DataError("numbers that are none"), scored("hum", hybrid=-3.0), DOG])
    made = session(
        FakeSource([*blocks(5), 0 * noise(6 * HOP), *blocks(3)], live=False),
        FakeSink(),
        faulty,
        score_gate=ScoreGate(min_score=0.0),
    )
    with pytest.raises(DataError):
        made.run()
    (channel,) = made.channels
    counters = channel.counters
    assert min(counters.silent, counters.unsure, counters.failed, counters.captions) > 0, "or the test looks at nothing"
    samples = _scraped(made)
    outcomes = {
        outcome: _of(samples, "edge_aac_windows_total", source="garden.wav", outcome=outcome)
        for outcome in ("captioned", "silent", "unsure", "failed", "skipped")
    }
    assert outcomes == {
        "captioned": counters.captions,
        "silent": counters.silent,
        "unsure": counters.unsure,
        "failed": counters.failed,
        "skipped": 0,
    }
    assert sum(outcomes.values()) == _of(samples, "edge_aac_windows_cut_total", source="garden.wav")
    assert _of(samples, "edge_aac_captions_total", source="garden.wav") == counters.captions
    assert _of(samples, "edge_aac_source_hop_seconds", source="garden.wav") == HOP / 16_000
    assert _of(samples, "edge_aac_source_level_dbfs", source="garden.wav") == pytest.approx(-20, abs=1)
    sounds = {
        outcome: _of(samples, "edge_aac_sounds_total", source="garden.wav", outcome=outcome)
        for outcome in ("event", "unconfirmed", "cooled")
    }
    assert sounds == {"event": counters.events, "unconfirmed": counters.unconfirmed, "cooled": counters.cooled}
    # What sounds became of is not what windows became of.
    counted = {dict(labels)["outcome"] for name, labels in samples if name == "edge_aac_windows_total"}
    assert counted == {*outcomes, "described", "same", "private"}
    starts = sum(1 for _, state in states(made.hub.outlets[0]._sink) if state == "start")
    assert _of(samples, "edge_aac_events_total", source="garden.wav", state="start") == starts > 0
    assert _of(samples, "edge_aac_records_total", source="garden.wav", kind="caption") == counters.captions
    assert _of(samples, "edge_aac_sink_delivered_total", sink="fake") == len(made.hub.outlets[0]._sink.records)
    model = {"bundle": "fake", "bundle_version": "1", "backend": "onnxruntime", "precision": "fp32"}
    assert _of(samples, "edge_aac_build_info", version=__version__, **model) == 1
    assert samples["process_resident_memory_bytes", ()] > 1e6
    assert samples["process_open_fds", ()] > 2
    assert samples["edge_aac_threads", ()] >= 1


def test_states_are_one_hot_and_losses_have_reasons() -> None:
    stop = threading.Event()
    stop.set()
    made = session(
        FakeSource([noise(HOP), (1_600, noise(HOP))], live=True, endless=True, label='mic"1\\ä\n'),
        FakeSink(),
        stop=stop,
    )
    channel: Channel = made.channels[0]
    channel._losses.note(0, [Loss("disconnected", 1_600), Loss("lost", 800)])
    channel._losses.note_overrun(0, 0, 320)
    channel.counters.skipped["behind"] += 3
    samples = _scraped(made)
    label = channel.label
    found = {
        state: _of(samples, "edge_aac_source_state", source=label, state=state)
        for state in ("waiting", "listening", "stalled", "failed", "ended")
    }
    assert found == {"waiting": 0, "listening": 1, "stalled": 0, "failed": 0, "ended": 0}
    lost_s = {
        reason: _of(samples, "edge_aac_lost_sound_seconds_total", source=label, reason=reason)
        for reason in ("disconnected", "stalled", "suspended", "lost", "overrun")
    }
    assert lost_s == {"disconnected": 0.1, "stalled": 0, "suspended": 0, "lost": 0.05, "overrun": 0.02}
    assert _of(samples, "edge_aac_windows_skipped_total", source=label, reason="behind") == 3
    assert _of(samples, "edge_aac_sink_state", sink="fake", state="delivering") == 1
    assert _of(samples, "edge_aac_sink_state", sink="fake", state="failed") == 0
    made.run()


def test_an_outage_is_counted_while_it_goes_on_and_its_reasons_add_up() -> None:
    account = LossAccount()
    outage = Outage("stalled", 100.0, "no sound")
    seen = [account.reasons(outage, now_s)["stalled"] for now_s in (100.5, 103.0, 110.0)]
    assert seen == [0, 2 * 16_000, 9 * 16_000]
    account.note(0, [Loss("stalled", 10 * 16_000, outage), Loss("lost", 160)])
    account.note_overrun(0, 0, 320)
    again = Outage("disconnected", 200.0, "gone")
    account.close(0, again, 202.0)
    reasons = account.reasons(again, 300.0)
    assert reasons == {"disconnected": 32_000, "stalled": 160_000, "suspended": 0, "lost": 160, "overrun": 320}
    assert sum(reasons.values()) == account.total_samples(None, 300.0)


def test_latencies_are_counted_for_good_whatever_the_health_record_takes() -> None:
    log = LatencyLog()
    for latency_ms in (10.0, 50.0, 51.0, 3_000.0, 1e6):
        log.add(latency_ms)
        log.take()
    counts = log.counts
    assert counts.at_most[0] == 2, "a bound belongs to its group"
    assert counts.at_most[1] == 3
    assert counts.at_most[LATENCY_BOUNDS_S.index(4.0)] == 4
    assert counts.at_most[-1] == 5
    assert counts.sum_s == pytest.approx(1003.111)

    made = session(FakeSource(blocks(6), live=True), FakeSink())
    made.run()
    (channel,) = made.channels
    assert channel.counters.captions, "or the test looks at nothing"
    samples = _scraped(made)
    assert _of(samples, "edge_aac_latency_seconds_count", source="mic7") == channel.counters.captions
    assert _of(samples, "edge_aac_latency_seconds_bucket", source="mic7", le="+Inf") == channel.counters.captions
    assert _of(samples, "edge_aac_latency_seconds_sum", source="mic7") >= 0


def test_sound_that_comes_before_its_time_has_no_negative_latency() -> None:
    log = LatencyLog()
    log.add(-40.0)
    assert (log.counts.sum_s, log.counts.at_most[0]) == (0.0, 1)
    taken = log.take()
    assert taken is not None and taken.maximum == 0.0


def test_open_metrics_for_those_that_ask_for_it() -> None:
    made = session(FakeSource(blocks(4), live=True), FakeSink())
    made.run()
    body, content_type = Exposition(SessionCollector(made)).text("application/openmetrics-text; version=1.0.0")
    assert "openmetrics" in content_type
    assert body.decode().endswith("# EOF\n")
    assert _samples(body.decode(), open_metrics_families)["edge_aac_captions_total", (("source", "mic7"),)] > 0


def test_every_metric_says_what_it_is_in_base_units(tmp_path: Path) -> None:
    made = session(FakeSource(blocks(4), live=True), FakeSink(), SharingModel())
    made.channels[0].publisher.alerts.change_rules([AlertRule("rain", ("rain",))])
    made.run()
    zone, chip = tmp_path / "sys/class/thermal/thermal_zone0", tmp_path / "sys/class/hwmon/hwmon0"
    for folder, files in (
        (zone, {"type": "cpu-thermal", "temp": "51500"}),
        (chip, {"name": "board", "power1_input": "7250000", "power1_label": "VDD_IN"}),
    ):
        folder.mkdir(parents=True)
        for name, text in files.items():
            (folder / name).write_text(text)
    body, _ = Exposition(SessionCollector(made, tmp_path)).text("")
    families = list(text_string_to_metric_families(body.decode()))
    assert len(families) > 20
    for family in families:
        assert family.documentation.endswith("."), family.name
        assert not any(unit in family.name.split("_") for unit in ("ms", "milliseconds", "kb", "mb")), family.name
    samples = _samples(body.decode())
    assert _of(samples, "edge_aac_temperature_celsius", zone="cpu-thermal") == 51.5
    assert _of(samples, "edge_aac_power_watts", rail="VDD_IN") == 7.25
    assert samples["edge_aac_alive", ()] == 1
    assert samples["edge_aac_slowed", ()] == 0
    assert [_of(samples, "edge_aac_patches_total", outcome=outcome) for outcome in ("computed", "reused")] == [23, 34]
    page = (Path(__file__).parents[3] / "docs" / "monitoring.md").read_text(encoding="utf-8")
    documented = set(re.findall(r"`(edge_aac_\w+)`", "".join(re.findall(r"^\| `edge_aac_.*$", page, re.MULTILINE))))
    names = {name for name, _ in samples if name.startswith("edge_aac_")}
    assert {re.sub("_(bucket|sum|count)$", "", name) for name in names} == documented
    (states_,) = re.findall(r"^\| `edge_aac_source_state` \|.*$", page, re.MULTILINE)
    assert all(f"`{state}`" in states_ for state in get_args(HealthState))


def test_a_model_that_shares_nothing_has_no_patches() -> None:
    made = session(FakeSource(blocks(2), live=False), FakeSink())
    made.run()
    assert not [name for name, _ in _scraped(made) if "patches" in name]


def test_sounds_are_not_counted_as_windows() -> None:
    made = session(FakeSource(blocks(8), live=False), FakeSink())
    made.run()
    (channel,) = made.channels
    samples = _scraped(made)
    assert _of(samples, "edge_aac_sounds_total", source="garden.wav", outcome="event") == channel.counters.events > 0
    outcomes = {dict(labels)["outcome"] for name, labels in samples if name == "edge_aac_windows_total"}
    assert outcomes == {"captioned", "described", "same", "silent", "unsure", "private", "failed", "skipped"}


def _get(endpoint: MetricsEndpoint, path: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{endpoint.port}{path}", timeout=60) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def test_health_is_that_of_the_sessions_parts() -> None:
    missing: list[str] = []
    made = session(
        [FakeSource(blocks(4), live=True, label=label) for label in ("mic0", "mic1")], FakeSink(), FakeModel()
    )
    made.health.missing = lambda _label: missing
    endpoint = MetricsEndpoint("127.0.0.1", 0)
    endpoint.start(made)
    try:
        assert "edge_aac_build_info" in _get(endpoint, "/metrics")[1]
        assert _get(endpoint, "/health") == _get(endpoint, "/-/healthy") == (200, "ok\n")
        missing.append("describing has not come to an end for 40 s")
        assert _get(endpoint, "/health") == (503, "describing has not come to an end for 40 s\n")
        assert _scraped(made)["edge_aac_alive", ()] == 0
        assert _get(endpoint, "/")[0] == 200
        assert _get(endpoint, "/favicon.ico")[0] == 404
    finally:
        endpoint.close()
        endpoint.close()
        made.run()


def test_scrapes_while_the_session_runs_hold_up_nothing() -> None:
    endpoint = MetricsEndpoint("127.0.0.1", 0)
    made = session(
        [FakeSource(blocks(300), live=False, label=f"{n}.wav") for n in range(3)],
        FakeSink(),
        FakeModel(by_position=HOP),
    )
    endpoint.start(made)
    ended = threading.Event()
    scraped: list[Samples] = []

    def scrape() -> None:
        while not ended.is_set() or not scraped:
            scraped.append(_samples(_get(endpoint, "/metrics")[1]))

    thread = threading.Thread(target=scrape)
    thread.start()
    try:
        made.run()
    finally:
        ended.set()
        thread.join()
        endpoint.close()
    assert all(channel.counters.captions == 299 for channel in made.channels)
    keys = [("edge_aac_captions_total", (("source", f"{n}.wav"),)) for n in range(3)]
    for key in keys:
        values = [samples[key] for samples in scraped]
        assert values == sorted(values), "a counter never goes back"


def test_nothing_is_served_unless_the_settings_say_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", "/nonexistent")
    assert open_metrics(load_settings()) is None
    endpoint = open_metrics(load_settings(None, Layer({"metrics": {"listen": "9464"}})))
    assert endpoint is not None
    assert endpoint.port == 9464
    endpoint.close()  # it was never started


def test_a_source_that_comes_later_is_scraped_too() -> None:
    made = session(FakeSource(blocks(4), live=True), FakeSink())
    collector = Exposition(SessionCollector(made))
    collector.text("")
    made.add(
        FakeSource(blocks(4), live=True, label="garden"), WindowSlicer(WINDOW, HOP), ChannelSettings(EnergyGate(-70.0))
    )
    samples = _samples(collector.text("")[0].decode())
    assert _of(samples, "edge_aac_source_state", source="garden", state="listening") == 1
    made.run()
    assert _of(_scraped(made), "edge_aac_source_sound_seconds_total", source="garden") == pytest.approx(
        4 * HOP / 16_000
    )


@pytest.mark.parametrize(
    ("listen", "meant"),
    [
        ("127.0.0.1:9464", ("127.0.0.1", 9464)),
        ("9464", ("127.0.0.1", 9464)),
        (":9464", ("127.0.0.1", 9464)),
        ("[::1]:9464", ("::1", 9464)),
        ("[fe80::1%eth0]:1", ("fe80::1%eth0", 1)),
        ("0.0.0.0:65535", ("0.0.0.0", 65535)),
        ("kitchen.lan:80", ("kitchen.lan", 80)),
    ],
)
def test_addresses(listen: str, meant: tuple[str, int]) -> None:
    assert host_and_port(MetricsSettings(listen=listen).listen or "") == meant


@pytest.mark.parametrize(
    "listen", ["", "on", "::1:9464", "1.2.3.4", "host:", "host:65536", "http://host:1", "a b:1", "x:٣"]
)
def test_what_is_no_address(listen: str) -> None:
    with pytest.raises(ValidationError, match="expected HOST:PORT"):
        MetricsSettings(listen=listen)


def test_json_of_no_metric_is_lost() -> None:
    """Nothing in the text depends on the locale or on Python's repr of numbers that JSON lacks."""
    made = session(FakeSource(blocks(3), live=True), FakeSink())
    made.run()
    assert json.dumps(sorted(value for _, value in _scraped(made).items()), allow_nan=False)
