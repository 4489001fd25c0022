"""Records at a real broker: topics, forms, what is kept, and the state of the device."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import pytest

from edge_aac.errors import ConfigError, InputMissingError
from edge_aac.records import Event, Gap, Health
from edge_aac.sinks.mqtt.settings import MqttSettings
from edge_aac.sinks.mqtt.sink import MqttSink
from tests.edge_aac.audio.sources.network.servers import free_port
from tests.edge_aac.fakes import caption_record
from tests.edge_aac.sinks.mqtt.brokers import Mosquitto, Subscriber
from tests.edge_aac.sinks.mqtt.conftest import MakeSink
from tests.waiting import eventually


def event(number: int, state: str = "start", source: str = "mic0") -> Event:
    return Event.model_validate(
        {
            "schema": "edge-aac/event/1",
            "node": "kitchen",
            "source": source,
            "event": number,
            "state": state,
            "caption": "a dog barks",
            "windows": 1,
        }
    )


def health(source: str = "mic0", windows: int = 3) -> Health:
    return Health.model_validate(
        {
            "schema": "edge-aac/health/1",
            "node": "kitchen",
            "source": source,
            "state": "listening",
            **dict.fromkeys(["captions", "silent", "unsure", "failed", "dropped_ms"], 0),
            **dict.fromkeys(["queued_ms", "due_windows", "reconnects"], 0),
            "windows": windows,
            "skipped": {},
            "sinks": {},
        }
    )


def test_topics_and_forms(broker: Mosquitto, watcher: Subscriber, make_sink: MakeSink) -> None:
    sink = make_sink(f"mqtt://127.0.0.1:{broker.port}")
    caption = caption_record(7, source="mic0")
    gap = Gap(node="kitchen", source="mic0", reason="lost", lost_ms=5)
    for record in (caption, event(0), gap, health()):
        sink.publish(record)
    base = "edge-aac/kitchen"
    for topic in ("status", "mic0/caption", "mic0/event", "mic0/gap", "mic0/health"):
        watcher.await_messages(f"{base}/{topic}")
    assert watcher.texts(f"{base}/status") == ["online"]
    assert watcher.texts(f"{base}/mic0/caption") == [caption.to_json()]
    assert watcher.records(f"{base}/mic0/event") == [event(0).to_table()]
    (message,) = watcher.of(f"{base}/mic0/caption")
    assert message.qos == 1
    assert message.properties.ContentType == "application/json"
    assert message.properties.PayloadFormatIndicator == 1
    assert 86_000 < message.properties.MessageExpiryInterval <= 86_400
    assert watcher.of(f"{base}/mic0/health")[0].qos == 0
    assert not hasattr(watcher.of(f"{base}/mic0/event")[0].properties, "MessageExpiryInterval")
    assert sink.status.state == "delivering"
    eventually(lambda: sink.status.delivered == 3, "health does not wait for its delivery")
    late = Subscriber(broker.port, client="late")
    eventually(lambda: len(late.messages) == 3, "what is retained")
    assert {message.topic: message.retain for message in late.messages} == {
        f"{base}/status": True,
        f"{base}/mic0/caption": True,
        f"{base}/mic0/health": True,
    }
    late.close()


@pytest.mark.usefixtures("time_for_the_leave")
def test_the_device_is_offline_after_its_leave(broker: Mosquitto, watcher: Subscriber, make_sink: MakeSink) -> None:
    sink = make_sink(f"mqtt://127.0.0.1:{broker.port}")
    sink.publish(caption_record(0))
    sink.close()
    eventually(lambda: watcher.texts("edge-aac/kitchen/status") == ["online", "offline"], "offline")
    assert len(watcher.of("edge-aac/kitchen/garden.wav/caption")) == 1, "what waited went first"
    late = Subscriber(broker.port, "edge-aac/kitchen/status", client="late")
    eventually(lambda: late.texts("edge-aac/kitchen/status") == ["offline"], "retained")
    late.close()


def test_a_broker_that_is_absent_at_the_start(
    broker: Mosquitto, make_sink: MakeSink, caplog: pytest.LogCaptureFixture
) -> None:
    broker.stop()
    with caplog.at_level(logging.INFO):
        sink = make_sink(f"mqtt://127.0.0.1:{broker.port}")
        for number in range(30):
            sink.publish(event(number))
        eventually(lambda: "nothing listens" in (sink.status.reason or ""), "its health")
        assert sink.status.state == "retrying"
        assert sink.status.queued == 30
        tries = sink.connection.tries
        eventually(lambda: sink.connection.tries > tries + 3, "it goes on trying")
        assert [each.levelname for each in caplog.records if "mqtt" in each.name or "sinks" in each.name] == ["WARNING"]
        broker.start()
        watcher = Subscriber(broker.port)
        eventually(lambda: sink.status.state == "delivering" and sink.status.queued == 0, "it recovers")
    eventually(lambda: len(watcher.of("edge-aac/kitchen/mic0/event")) >= 1 or sink.status.delivered == 30, "delivered")
    assert sink.status.delivered == 30
    assert sum(each.levelno >= logging.WARNING for each in caplog.records) == 2, "gone and back"
    watcher.close()


def test_only_the_newest_health_waits(broker: Mosquitto, watcher: Subscriber, make_sink: MakeSink) -> None:
    broker.stop()
    sink = make_sink(f"mqtt://127.0.0.1:{broker.port}")
    for windows in range(5):
        sink.publish(health(windows=windows))
    assert sink.status.queued == 0
    broker.start()
    eventually(lambda: watcher.records("edge-aac/kitchen/mic0/health") != [], "health")
    assert [each["windows"] for each in watcher.records("edge-aac/kitchen/mic0/health")] == [4]


def test_a_record_that_is_too_long_is_dropped_and_counted(
    broker: Mosquitto, watcher: Subscriber, make_sink: MakeSink, caplog: pytest.LogCaptureFixture
) -> None:
    sink = make_sink(f"mqtt://127.0.0.1:{broker.port}", payload_limit=1024)
    for number in range(3):
        sink.publish(caption_record(number, caption="a dog barks " * 200))
    sink.publish(caption_record(3))
    eventually(lambda: len(watcher.of("edge-aac/kitchen/garden.wav/caption")) == 1, "the short one")
    assert sink.status.dropped == 3
    assert sink.status.state == "delivering"
    assert "payload_limit" in caplog.text


def test_a_message_that_is_longer_than_the_broker_allows(tmp_path: Path, make_sink: MakeSink) -> None:
    small = Mosquitto(tmp_path / "small", "max_packet_size 2000").start()
    watcher = Subscriber(small.port)
    sink = make_sink(f"mqtt://127.0.0.1:{small.port}")
    sink.publish(caption_record(0, caption="a dog barks " * 200))
    sink.publish(caption_record(1))
    eventually(lambda: len(watcher.of("edge-aac/kitchen/garden.wav/caption")) == 1, "the short one")
    assert json.loads(watcher.texts("edge-aac/kitchen/garden.wav/caption")[0])["seq"] == 1
    assert sink.status.dropped == 1
    watcher.close()
    small.stop()


def test_a_second_sink_of_the_same_client_is_refused(broker: Mosquitto, tmp_path: Path, make_sink: MakeSink) -> None:
    url = f"mqtt://127.0.0.1:{broker.port}"
    make_sink(url)
    with pytest.raises(ConfigError, match="client_id"):
        make_sink(url, spool_path=tmp_path / "other.sqlite")
    with pytest.raises(ConfigError, match="spool"):
        make_sink(url, client_id="another")
    make_sink(url, client_id="another", spool_path=tmp_path / "other.sqlite")


def test_files_that_are_not_there_are_refused_at_once(tmp_path: Path) -> None:
    for changes, word in (
        ({"credentials": f"file:{tmp_path}/no"}, "credentials"),
        ({"ca": tmp_path / "no.pem"}, "'ca'"),
        ({"certificate": tmp_path / "no.pem"}, "'certificate'"),
    ):
        with pytest.raises(InputMissingError, match=word):
            MqttSink.open(MqttSettings(url=f"mqtts://localhost:{free_port()}", **changes))
