"""Who is let in: TLS, passwords, ACLs. Each fault is told once, in words, and is over without a restart."""

from __future__ import annotations

import logging
import os
import socket
import subprocess
import time
from pathlib import Path

import pytest

from edge_aac.sinks.mqtt import refusals
from edge_aac.sinks.mqtt.sink import MqttSink
from tests.edge_aac.audio.sources.network.servers import free_port
from tests.edge_aac.fakes import caption_record
from tests.edge_aac.sinks.mqtt.brokers import Certificates, Mosquitto, Subscriber
from tests.edge_aac.sinks.mqtt.conftest import MakeSink
from tests.edge_aac.sinks.mqtt.test_mqtt_sink import event
from tests.waiting import PATIENCE_S, eventually

PASSWORD = "hunter2 :@/#%41"
STATUS = "edge-aac/kitchen/status"


def warnings_of(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [each.getMessage() for each in caplog.records if each.levelno >= logging.WARNING]


def refused(sink: MqttSink, word: str, caplog: pytest.LogCaptureFixture) -> None:
    """The sink tells why in its health and, once, in the log; what is published waits."""
    sink.publish(event(0))
    eventually(lambda: word in (sink.status.reason or ""), f"{word} in {sink.status.reason}")
    tries = sink.connection.tries
    eventually(lambda: sink.connection.tries > tries + 1, "it tries again")
    assert sink.status.state == "retrying"
    assert sink.status.queued == 1
    assert not sink.connection.connected
    assert len([line for line in warnings_of(caplog) if word in line]) == 1, warnings_of(caplog)


def with_password(folder: Path, user: str, password: str) -> tuple[str, ...]:
    """Lines of mosquitto's configuration."""
    folder.mkdir(exist_ok=True)
    passwords = folder / "passwords"
    passwords.touch()
    subprocess.run(["mosquitto_passwd", "-b", str(passwords), user, password], check=True, capture_output=True)
    return (f"password_file {passwords}",)


def test_tls_with_authority_and_client_certificate(
    certificates: Certificates, tmp_path: Path, make_sink: MakeSink, caplog: pytest.LogCaptureFixture
) -> None:
    certificates.signed("server")
    certificate, key = certificates.signed("device")
    broker = Mosquitto(
        tmp_path / "tls", *certificates.listener("server"), "require_certificate true", "use_identity_as_username true"
    ).start()
    url = f"mqtts://localhost:{broker.port}"
    sink = make_sink(url, ca=certificates.ca, certificate=certificate, key=key)
    sink.publish(event(0))
    eventually(lambda: sink.status.delivered == 1, "delivered")
    assert "u'device'" in broker.log
    without = make_sink(url, ca=certificates.ca, client_id="without", spool_path=tmp_path / "w.sqlite")
    refused(without, "certificate", caplog)
    broker.stop()


@pytest.mark.parametrize(
    ("server", "word"),
    [
        ({"days": 0}, "expired"),
        ({"host": "elsewhere.example"}, "another host"),
        ({"ca": "stranger"}, "not trusted"),
    ],
)
def test_certificates_that_do_not_fit(
    server: dict[str, str],
    word: str,
    certificates: Certificates,
    tmp_path: Path,
    make_sink: MakeSink,
    caplog: pytest.LogCaptureFixture,
) -> None:
    if "ca" in server:
        certificates.authority("stranger")
    name = "-".join(("bad", *server))
    certificates.signed(name, **server)  # type: ignore[arg-type]
    if "days" in server:
        time.sleep(1.1)  # it has ended in the second in which it began
    port = free_port()
    broker = Mosquitto(tmp_path / "bad", *certificates.listener(name), port=port).start()
    sink = make_sink(f"mqtts://localhost:{port}", ca=certificates.ca)
    refused(sink, word, caplog)
    broker.stop()
    certificates.signed("server")
    broker = Mosquitto(tmp_path / "good", *certificates.listener("server"), port=port).start()
    eventually(lambda: sink.status.delivered == 1, "it recovers without a restart")
    assert sink.status.state == "delivering"
    broker.stop()


def test_a_host_name_is_not_checked_where_the_settings_say_so(
    certificates: Certificates, tmp_path: Path, make_sink: MakeSink
) -> None:
    certificates.signed("elsewhere", host="elsewhere.example")
    broker = Mosquitto(tmp_path / "tls", *certificates.listener("elsewhere")).start()
    sink = make_sink(f"mqtts://localhost:{broker.port}", ca=certificates.ca, check_host_name=False)
    sink.publish(event(0))
    eventually(lambda: sink.status.delivered == 1, "delivered")
    broker.stop()


def test_encryption_where_there_is_none(
    broker: Mosquitto, make_sink: MakeSink, caplog: pytest.LogCaptureFixture
) -> None:
    refused(make_sink(f"mqtts://localhost:{broker.port}"), "TLS", caplog)


def test_a_wrong_password_until_it_is_corrected(
    tmp_path: Path, make_sink: MakeSink, caplog: pytest.LogCaptureFixture
) -> None:
    lines = with_password(tmp_path / "b", "kitchen", PASSWORD)
    broker = Mosquitto(tmp_path / "b", *lines, anonymous=False).start()
    credentials = tmp_path / "login"
    credentials.touch(0o600)
    credentials.write_text("kitchen:wrong-secret\n")
    with caplog.at_level(logging.DEBUG):
        sink = make_sink(f"mqtt://127.0.0.1:{broker.port}", credentials=f"file:{credentials}")
        refused(sink, "refuses user and password", caplog)
        credentials.write_text(f"kitchen:{PASSWORD}\n")
        eventually(lambda: sink.status.delivered == 1, "it recovers without a restart")
    assert "wrong-secret" not in caplog.text + repr(sink.status)
    assert PASSWORD not in caplog.text
    assert PASSWORD.encode() not in b"".join(path.read_bytes() for path in tmp_path.glob("spool*"))
    broker.stop()


def test_user_and_password_from_the_environment(
    tmp_path: Path, make_sink: MakeSink, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = with_password(tmp_path / "b", "kitchen", PASSWORD)
    broker = Mosquitto(tmp_path / "b", *lines, anonymous=False).start()
    monkeypatch.setenv("BROKER_LOGIN", f"kitchen:{PASSWORD}")
    sink = make_sink(f"mqtt://127.0.0.1:{broker.port}", credentials="env:BROKER_LOGIN")
    sink.publish(event(0))
    eventually(lambda: sink.status.delivered == 1, "delivered")
    broker.stop()


def test_a_file_of_credentials_that_all_may_read_is_told(
    broker: Mosquitto, tmp_path: Path, make_sink: MakeSink, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "login").write_text("kitchen:x\n")
    os.chmod(tmp_path / "login", 0o644)
    make_sink(f"mqtt://127.0.0.1:{broker.port}", credentials=f"file:{tmp_path}/login")
    assert "chmod o=" in caplog.text


def test_a_topic_that_the_acl_refuses_until_it_allows_it(
    tmp_path: Path, make_sink: MakeSink, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    # On a machine under load the loss that a refusal causes comes late.
    monkeypatch.setattr(refusals, "CONSEQUENCE_S", PATIENCE_S)
    acl = tmp_path / "b" / "acl"
    acl.parent.mkdir()
    allowed = f"topic readwrite {STATUS}\ntopic readwrite edge-aac/kitchen/+/caption\n"
    acl.write_text(allowed)
    os.chmod(acl, 0o644)
    broker = Mosquitto(tmp_path / "b", f"acl_file {acl}").start()
    sink = make_sink(f"mqtt://127.0.0.1:{broker.port}")
    sink.publish(event(0))
    sink.publish(caption_record(0))
    eventually(lambda: "edge-aac/kitchen/mic0/event" in (sink.status.reason or ""), "its health")
    assert "ACL" in (sink.status.reason or "")
    assert sink.status.state == "retrying"
    eventually(lambda: sink.status.delivered == 1, "the caption arrives")
    tries = sink.connection.tries
    # mosquitto 2.0.11 ends the connection with each refusal.
    eventually(lambda: sink.connection.tries > tries + 1 or "2.0.11" not in broker.log, "it is tried again")
    assert len(warnings_of(caplog)) == 1, warnings_of(caplog)
    acl.write_text(f"{allowed}topic readwrite edge-aac/kitchen/+/event\n")
    broker.read_again()
    watcher = Subscriber(broker.port, "edge-aac/kitchen/+/event")
    eventually(lambda: sink.status.delivered == 2 and sink.status.queued == 0, "it recovers without a restart")
    assert sink.status.state == "delivering"
    watcher.close()
    broker.stop()


def test_a_name_that_is_not_found(make_sink: MakeSink, caplog: pytest.LogCaptureFixture) -> None:
    refused(make_sink("mqtt://broker.invalid"), "name", caplog)


def test_a_server_of_something_else(make_sink: MakeSink, caplog: pytest.LogCaptureFixture) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        sink = make_sink(f"mqtt://127.0.0.1:{port}", connect_s=0.5)
        refused(sink, "does not answer in MQTT", caplog)


def test_websockets_with_and_without_tls(certificates: Certificates, tmp_path: Path, make_sink: MakeSink) -> None:
    certificates.signed("server")
    for number, (scheme, lines) in enumerate((("ws", ()), ("wss", certificates.listener("server")))):
        broker = Mosquitto(tmp_path / scheme, "protocol websockets", *lines).start()
        settings = {"ca": certificates.ca} if lines else {}
        sink = make_sink(
            f"{scheme}://localhost:{broker.port}/mqtt", spool_path=tmp_path / f"{number}.sqlite", **settings
        )
        for count in range(50):
            sink.publish(event(count))
        eventually(lambda sink=sink: sink.status.delivered == 50, scheme)  # type: ignore[misc]
        sink.close()
        broker.stop()


def test_a_websocket_that_is_none(broker: Mosquitto, make_sink: MakeSink, caplog: pytest.LogCaptureFixture) -> None:
    refused(make_sink(f"ws://127.0.0.1:{broker.port}/mqtt", connect_s=0.5), "127.0.0.1", caplog)
