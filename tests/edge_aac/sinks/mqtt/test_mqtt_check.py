"""``edge-aac doctor`` goes the whole way to a broker, and names the stage that fails."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

import pytest

from edge_aac.errors import DeviceError
from edge_aac.sinks.mqtt.settings import MqttSettings
from edge_aac.sinks.mqtt.sink import MqttSink
from tests.edge_aac.audio.sources.network.servers import free_port
from tests.edge_aac.sinks.mqtt.brokers import Certificates, Mosquitto, Subscriber
from tests.edge_aac.sinks.mqtt.conftest import MakeSink
from tests.edge_aac.sinks.mqtt.test_mqtt_access import PASSWORD, with_password
from tests.waiting import PATIENCE_S


def checked(url: str, connect_s: float = PATIENCE_S, **settings: Any) -> str:
    settings = {"confirm_s": PATIENCE_S, **settings}
    return MqttSink.check(MqttSettings(url=url, node="kitchen", connect_s=connect_s, **settings))


def test_all_stages(broker: Mosquitto, watcher: Subscriber, make_sink: MakeSink) -> None:
    url = f"mqtt://127.0.0.1:{broker.port}"
    running = make_sink(url)
    watcher.await_messages("edge-aac/kitchen/status")
    found = checked(url)
    assert "MQTT 5" in found
    assert "a message came back" in found
    assert running.connection.connections == 1, "a service that runs meanwhile notices nothing"
    assert watcher.texts("edge-aac/kitchen/status") == ["online"]
    late = Subscriber(broker.port, "edge-aac/kitchen/doctor", client="late")
    late.publish("edge-aac/kitchen/doctor", "mark")
    late.await_messages("edge-aac/kitchen/doctor")
    assert late.texts("edge-aac/kitchen/doctor") == ["mark"], "nothing was retained"
    late.close()


def test_stages_of_the_network(certificates: Certificates, tmp_path: Path) -> None:
    with pytest.raises(DeviceError, match="^name: .*correct the address"):
        checked("mqtt://broker.invalid")
    with pytest.raises(DeviceError, match="^TCP: nothing listens .*start the broker"):
        checked(f"mqtt://127.0.0.1:{free_port()}")
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        with pytest.raises(DeviceError, match="^TLS: .*does not speak TLS"):
            checked(f"mqtts://127.0.0.1:{port}", 0.5)
        with pytest.raises(DeviceError, match="^CONNACK: .*does not answer in MQTT"):
            checked(f"mqtt://127.0.0.1:{port}", 0.5, protocol="5")
    certificates.signed("other", host="elsewhere.example")
    broker = Mosquitto(tmp_path / "tls", *certificates.listener("other")).start()
    with pytest.raises(DeviceError, match="^TLS: .*of another host"):
        checked(f"mqtts://localhost:{broker.port}", ca=certificates.ca)
    with pytest.raises(DeviceError, match="^TLS: .*not trusted.*'ca'"):
        checked(f"mqtts://localhost:{broker.port}")
    broker.stop()


def test_stages_of_the_broker(tmp_path: Path) -> None:
    folder = tmp_path / "b"
    lines = with_password(folder, "kitchen", PASSWORD)
    acl = folder / "acl"
    acl.write_text("user kitchen\ntopic readwrite edge-aac/kitchen/other\n")
    acl.chmod(0o644)
    broker = Mosquitto(folder, *lines, f"acl_file {acl}", anonymous=False).start()
    url = f"mqtt://127.0.0.1:{broker.port}"
    login = tmp_path / "login"
    login.write_text("kitchen:wrong-secret")
    with pytest.raises(DeviceError, match="^CONNACK: .*refuses user and password") as error:
        checked(url, credentials=f"file:{login}")
    assert "wrong-secret" not in str(error.value)
    login.write_text(f"kitchen:{PASSWORD}")
    with pytest.raises(DeviceError, match="^publish: .*edge-aac/kitchen/doctor.*ACL"):
        checked(url, credentials=f"file:{login}")
    acl.write_text("user kitchen\ntopic write edge-aac/kitchen/#\n")
    broker.stop()
    broker.start()
    with pytest.raises(DeviceError, match="^receive: .*does not come back"):
        checked(url, 3.0, credentials=f"file:{login}", commands=True)
    assert "which only commands need" in checked(url, 3.0, credentials=f"file:{login}")
    broker.stop()
