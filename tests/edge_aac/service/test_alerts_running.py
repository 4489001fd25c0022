"""Rules for alerts of a running stream: read anew in place, told at a broker, and true after a death and a restart."""

from __future__ import annotations

import json
import logging
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from edge_aac import app
from edge_aac.audio.sources.address import Address, Source, SourceContext
from edge_aac.service.reload_request import ReloadRequest
from edge_aac.settings.layers import Layer
from edge_aac.settings.tree import load_settings
from tests.edge_aac.fakes import FakeModel, FakeSource
from tests.edge_aac.sinks.mqtt.brokers import Mosquitto, Subscriber
from tests.edge_aac.streaming.session_cases import noise
from tests.waiting import eventually

pytestmark = [pytest.mark.one_python, pytest.mark.waits]

_PATIENCE_S = 60.0
_RAIN = '[[alerts]]\nname = "rain"\nsounds = ["rain*"]\n'
_WET = '[[alerts]]\nname = "wet"\nsounds = ["rain*"]\nsources = ["hall"]\n'
_TOPIC = "edge-aac/kitchen/hall/alert"


class _Stream:
    """``edge-aac stream`` of a microphone whose sound comes ten times as fast as it is heard.

    Args:
        folder: of the configuration and of the lines that are written.
        port: of the broker.
    """

    def __init__(self, folder: Path, port: int) -> None:
        self._folder, self._port = folder, port
        self._stop = threading.Event()
        self._reload = ReloadRequest(lambda: load_settings(folder / "config.toml", Layer()))
        self._thread = threading.Thread(target=self._run)

    @staticmethod
    def open(address: str, context: SourceContext) -> Source:
        label = context.label(Address.parse(address))
        return FakeSource([noise(16_000)] * 5000, live=True, endless=True, pace_s=0.1, label=label)

    def write(self, alerts: str) -> None:
        (self._folder / "config.toml").write_text(
            '[stream]\nnode = "kitchen"\n[[sources]]\naddress = "mic0"\nname = "hall"\n'
            f'[[sinks]]\nkind = "mqtt"\nurl = "mqtt://127.0.0.1:{self._port}"\nspool_mb = 0\n'
            f'[[sinks]]\nkind = "jsonl"\npath = "{self._folder}/heard.jsonl"\n{alerts}'
        )

    def _run(self) -> None:
        settings = load_settings(self._folder / "config.toml", Layer())
        app.run_stream(settings, app.Output(), self._stop, reload=self._reload)

    def start(self, alerts: str) -> None:
        self.write(alerts)
        self._thread.start()

    def read_anew(self, alerts: str) -> None:
        self.write(alerts)
        self._reload.make()

    @property
    def alerts(self) -> list[dict[str, Any]]:
        path = self._folder / "heard.jsonl"
        lines = path.read_text().splitlines() if path.exists() else []
        return [record for record in map(json.loads, lines) if record["schema"] == "edge-aac/alert/1"]

    def await_alerts(self, count: int) -> list[dict[str, Any]]:
        deadline_s = time.monotonic() + _PATIENCE_S
        while len(self.alerts) < count:
            assert time.monotonic() < deadline_s, self.alerts
            time.sleep(0.02)
        return self.alerts

    def end(self) -> None:
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(_PATIENCE_S)


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Mosquitto]:
    made = Mosquitto(tmp_path / "broker").start()
    yield made
    made.stop()


@pytest.fixture
def watcher(broker: Mosquitto) -> Iterator[Subscriber]:
    made = Subscriber(broker.port)
    yield made
    made.close()


@pytest.fixture
def stream(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, broker: Mosquitto) -> Iterator[Callable[[], _Stream]]:
    monkeypatch.setattr("edge_aac.settings.tree.default_files", lambda: [])
    monkeypatch.setattr(app, "open_model", lambda _settings: FakeModel())
    monkeypatch.setenv("STATE_DIRECTORY", str(tmp_path / "state"))
    for module in ("opening", "plans"):
        monkeypatch.setattr(f"edge_aac.service.{module}.open_source", _Stream.open)
    made: list[_Stream] = []

    def make() -> _Stream:
        made.append(_Stream(tmp_path, broker.port))
        return made[-1]

    yield make
    for each in made:
        each.end()


def test_rules_are_exchanged_in_place(
    stream: Callable[[], _Stream], watcher: Subscriber, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    running = stream()
    running.start(_RAIN)
    running.await_alerts(1)
    eventually(lambda: watcher.texts(f"{_TOPIC}/rain")[-1:] == ["ON"], "the state is not on")
    config = "homeassistant/binary_sensor/edge-aac_kitchen/s-hall_alert-{}/config"
    running.read_anew(_RAIN + _WET.replace("hall", "garage"))
    eventually(lambda: "'garage', which is not configured: there is hall" in caplog.text, "nobody is told")
    running.read_anew(_WET)
    alerts = running.await_alerts(3)
    assert [(each["alert"], each["state"], each.get("reason")) for each in alerts] == [
        ("rain", "start", None),
        ("rain", "end", "rule"),
        ("wet", "start", None),
    ]
    for topic in (f"{_TOPIC}/rain", config.format("rain")):
        eventually(lambda topic=topic: watcher.texts(topic)[-1] == "", f"{topic} is still there")
    eventually(lambda: watcher.texts(f"{_TOPIC}/wet")[-1:] == ["ON"], "the new one is not on")
    assert json.loads(watcher.texts(config.format("wet"))[-1])["name"] == "hall wet"
    running.end()
    assert [(each["alert"], each["state"], each.get("reason")) for each in running.alerts[3:]] == [
        ("wet", "end", "stopped")
    ]
    assert watcher.texts(f"{_TOPIC}/wet")[-1] == "OFF"
    assert "needs a restart" not in caplog.text


def test_a_run_that_dies_leaves_no_alert_without_an_end_and_no_state_that_is_wrong(
    stream: Callable[[], _Stream], watcher: Subscriber, tmp_path: Path
) -> None:
    first = stream()
    first.start(_RAIN)
    (start,) = first.await_alerts(1)
    kept = tmp_path / "state" / "alerts.json"
    eventually(lambda: kept.exists() and "rain" in kept.read_text(), "it is not kept")
    shutil.copy(kept, tmp_path / "kept.json")
    first.end()
    # What a death would have left: the file, the state, and a log without the end.
    shutil.copy(tmp_path / "kept.json", kept)
    (tmp_path / "heard.jsonl").unlink()
    watcher.publish(f"{_TOPIC}/rain", "ON", retain=True)
    states = len(watcher.of(f"{_TOPIC}/rain"))
    second = stream()
    second.start(_RAIN.replace("rain*", "hail"))
    (end,) = second.await_alerts(1)
    assert (end["state"], end["reason"], end["id"], end["start"]) == ("end", "restart", start["id"], start["start"])
    eventually(lambda: watcher.texts(f"{_TOPIC}/rain")[states:] == ["OFF"], "the state is not off")
    eventually(lambda: "rain" not in kept.read_text(), "it would be ended again")
