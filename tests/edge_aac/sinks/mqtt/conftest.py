"""A broker and its subscriber for each test that wants one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from edge_aac.backoff import Backoff
from edge_aac.sinks import remote
from edge_aac.sinks.mqtt import connection, link
from edge_aac.sinks.mqtt.settings import MqttSettings
from edge_aac.sinks.mqtt.sink import MqttSink
from tests.edge_aac.sinks.mqtt.brokers import QUICK, Certificates, Mosquitto, Subscriber, Wire
from tests.waiting import PATIENCE_S

MakeSink = Callable[..., MqttSink]


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
def wire(broker: Mosquitto) -> Iterator[Wire]:
    made = Wire(broker.port)
    yield made
    made.close()


@pytest.fixture
def time_for_the_leave(monkeypatch: pytest.MonkeyPatch) -> None:
    """A sink that is closed has the time to take leave of its broker, however long a machine under load needs."""
    for module, name in ((connection, "FAREWELL_S"), (connection, "LEAVE_S"), (link, "LEAVE_S")):
        monkeypatch.setattr(module, name, PATIENCE_S)


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return Certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture
def make_sink(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[MakeSink]:
    """Opens sinks of the node "kitchen", and closes them; for what waits then nobody waits, who looks at it no more.

    They wait for long for the broker's confirmations, so that no delay of its process is a broken connection.
    """
    opened: list[MqttSink] = []

    def make(url: str, backoff: Backoff = QUICK, **settings: Any) -> MqttSink:
        given = {"node": "kitchen", "spool_path": tmp_path / "spool.sqlite", "keepalive_s": 5, "confirm_s": 60.0}
        opened.append(MqttSink(MqttSettings(url=url, **{**given, **settings}), backoff))
        return opened[-1]

    yield make
    monkeypatch.setattr(remote, "_OUTAGE_HASTE", 1e9)
    for each in opened:
        each.close()
