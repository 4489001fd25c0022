"""A sink that is exchanged for one with other settings, as a reload does it, while the broker is away or silent."""

from __future__ import annotations

import logging
import threading
from pathlib import Path

import pytest

from edge_aac.sinks.mqtt.settings import MqttSettings
from edge_aac.sinks.mqtt.sink import MqttSink
from edge_aac.streaming.outlet import Delivery, Outlet, Reopening
from tests.edge_aac.audio.sources.network.servers import free_port
from tests.edge_aac.sinks.mqtt.brokers import CONNECT, QUICK, Mosquitto, Subscriber, kind_of
from tests.edge_aac.sinks.mqtt.hostile_broker import HostileBroker
from tests.edge_aac.sinks.mqtt.test_mqtt_outages import numbers
from tests.edge_aac.sinks.mqtt.test_mqtt_sink import event
from tests.waiting import PATIENCE_S, eventually

KINDS = ("event",)


def reopening(settings: MqttSettings) -> Reopening:
    return Reopening(lambda: MqttSink(settings, QUICK), KINDS, 256)


@pytest.mark.waits
@pytest.mark.parametrize("silent", [False, True])
def test_a_reload_while_the_broker_is_away_or_silent_loses_nothing(
    silent: bool, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    port = free_port()
    broker = Mosquitto(tmp_path / "broker", port=port).start()
    watcher = Subscriber(port)  # with a session: it misses nothing
    broker.stop()
    hostile = HostileBroker() if silent else None
    if hostile is not None:
        hostile.answer = lambda packet: None if kind_of(packet) == CONNECT else b""
    url = f"mqtt://127.0.0.1:{port if hostile is None else hostile.port}"
    old = MqttSettings(url=url, node="kitchen", spool_path=tmp_path / "spool", confirm_s=600.0)
    new = old.model_copy(update={"in_flight": 5, "url": f"mqtt://127.0.0.1:{port}"})
    outlet = Outlet("mqtt", reopening(old).open(), KINDS, 256)
    for number in range(10):
        outlet.put(Delivery(event(number)))
    eventually(lambda: outlet.health.queued == 10 and (silent or outlet.health.state == "retrying"), "they wait")
    for settings in (new, old.model_copy(update={"url": new.url}), new):  # more than once, without a broker
        outlet.exchange(reopening(settings), reopening(old), PATIENCE_S)
    for number in range(10, 20):
        outlet.put(Delivery(event(number)))
    broker.start()
    eventually(lambda: outlet.health.queued == 0 and outlet.health.state == "delivering", "it recovers")
    eventually(lambda: len(set(numbers(watcher))) == 20, f"all: {numbers(watcher)}, {outlet.health}")
    assert list(dict.fromkeys(numbers(watcher))) == list(range(20)), "in order"
    assert outlet.health.dropped == 0
    # One connection at a time: those of the sinks that are gone do not come back.
    eventually(
        lambda: len([each for each in threading.enumerate() if each.name == "edge-aac-mqtt-edge-aac-kitchen"]) == 1,
        "the others have ended",
    )
    assert not [each for each in caplog.records if each.levelno >= logging.ERROR]
    outlet.close(patient=True)
    eventually(lambda: watcher.texts("edge-aac/kitchen/status")[-1] == "offline", "its leave")
    watcher.close()
    broker.stop()
    if hostile is not None:
        hostile.close()
