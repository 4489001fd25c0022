"""Alerts at a broker and in Home Assistant: a state that is true for each rule and source, nothing of what is gone."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from edge_aac.records import Alert
from edge_aac.sinks.contract import AlertState, SourceState
from edge_aac.sinks.mqtt.alert_messages import alert_topics
from edge_aac.sinks.mqtt.discovery import Facts, messages, outdated
from edge_aac.sinks.mqtt.settings import MqttSettings
from edge_aac.sinks.mqtt.steering import Steering
from edge_aac.sinks.mqtt.topics import Topics
from tests.edge_aac.sinks.mqtt.brokers import Mosquitto, Subscriber
from tests.edge_aac.sinks.mqtt.conftest import MakeSink
from tests.waiting import eventually

_BASE = "edge-aac/kitchen"
_BABY = AlertState("baby cries", "Das Baby schreit")
_BELL = AlertState("bell", "bell", "problem")


def alert(state: str = "start", name: str = "bell", **more: Any) -> Alert:
    return Alert.model_validate(
        {
            "schema": "edge-aac/alert/1",
            "node": "kitchen",
            "source": "hall",
            "alert": name,
            "number": 0,
            "state": state,
            "lasted_s": 12.0,
            "caption": "a doorbell rings",
            "event": 3,
            **more,
        }
    )


class Control:
    """Sources that a test changes."""

    def __init__(self, *sources: SourceState) -> None:
        self.now = list(sources)
        self.callbacks: list[Any] = []

    def sources(self) -> list[SourceState]:
        return list(self.now)

    def subscribe(self, callback: Any) -> Any:
        self.callbacks.append(callback)
        return self.callbacks.clear

    def set_enabled(self, label: str, enabled: bool) -> None:
        raise ValueError("not here")

    def set_threshold(self, label: str, min_score: float | None) -> None:
        raise ValueError("not here")

    def set_hop(self, label: str, hop_s: float) -> None:
        raise ValueError("not here")

    def change(self, *sources: SourceState) -> None:
        self.now = list(sources)
        for callback in list(self.callbacks):
            callback()


def source(label: str, *alerts: AlertState) -> SourceState:
    return SourceState(label, True, None, 2.0, True, "listening", alerts)


def _facts(*sources: SourceState, **more: Any) -> Facts:
    return replace(Facts(Topics("edge-aac", "kitchen"), "homeassistant", "1.2.3", sources, commands=False), **more)


@pytest.mark.parametrize("form", ["device", "components"])
def test_each_rule_of_each_source_is_a_binary_sensor_of_its_own(form: str) -> None:
    facts = _facts(source("hall", _BABY, _BELL), source("attic", _BELL), form=form)
    found = {each.topic: json.loads(each.payload) for each in messages(facts) if "alert-" in each.topic}
    assert len(found) == 3 == len({table["unique_id"] for table in found.values()})
    bell = found["homeassistant/binary_sensor/edge-aac_kitchen/s-hall_alert-bell/config"]
    assert (bell["name"], bell["object_id"], bell["device_class"]) == (
        "hall bell",
        "kitchen hall alert bell",
        "problem",
    )
    assert (bell["state_topic"], bell["payload_on"], bell["payload_off"]) == (f"{_BASE}/hall/alert/bell", "ON", "OFF")
    assert (bell["availability_topic"], bell["device"]["identifiers"]) == (f"{_BASE}/status", ["edge-aac.kitchen"])
    (baby,) = [table for table in found.values() if table["name"] == "hall Das Baby schreit"]
    assert baby["state_topic"] == f"{_BASE}/hall/alert/baby%20cries" and baby["device_class"] == "sound"
    shown = replace(_BABY, title="The baby cries")
    other = {each.topic for each in messages(_facts(source("hall", shown), form=form)) if "alert-" in each.topic}
    assert other < set(found), "a title is no part of an identifier"


def test_a_rule_that_is_gone_is_taken_back() -> None:
    before, now = _facts(source("hall", _BABY, _BELL)), _facts(source("hall", _BABY))
    gone = {each.topic for each in messages(before)} - {each.topic for each in messages(now)}
    assert [topic for topic in gone if outdated(now, topic, b"{}") is None] == []
    assert gone == {"homeassistant/binary_sensor/edge-aac_kitchen/s-hall_alert-bell/config"}


def test_a_state_is_retained_and_follows_the_alerts(
    broker: Mosquitto, watcher: Subscriber, make_sink: MakeSink
) -> None:
    sink = make_sink(f"mqtt://127.0.0.1:{broker.port}")
    control = Control(source("hall", _BABY, _BELL))
    sink.take_commands(control)
    topic = f"{_BASE}/hall/alert/bell"
    watcher.await_messages(topic)
    control.change(source("hall", _BABY, replace(_BELL, newest=alert())))
    watcher.await_messages(topic, 2)
    control.change(source("hall", _BABY, replace(_BELL, newest=alert("end", reason="quiet"))))
    watcher.await_messages(topic, 3)
    assert watcher.texts(topic) == ["OFF", "ON", "OFF"]
    assert watcher.texts(f"{_BASE}/hall/alert/baby%20cries") == ["OFF"]
    watcher.await_messages(f"{topic}/attributes", 2)
    assert [each["state"] for each in watcher.records(f"{topic}/attributes")] == ["start", "end"]
    late = Subscriber(broker.port, "edge-aac/#", client="late")
    late.await_messages(f"{topic}/attributes")
    late.close()
    assert (late.texts(topic), late.of(topic)[0].retain) == (["OFF"], True)
    for record in (alert(), alert("end")):
        sink.publish(record)
    watcher.await_messages(f"{_BASE}/hall/alert", 2)
    assert not any(message.retain for message in watcher.of(f"{_BASE}/hall/alert"))
    assert [each["alert"] for each in watcher.records(f"{_BASE}/hall/alert")] == ["bell", "bell"]


def test_what_a_run_before_left_on_is_told_to_be_off_and_what_is_gone_is_deleted(
    broker: Mosquitto, watcher: Subscriber, make_sink: MakeSink
) -> None:
    stale = [f"{_BASE}/hall/alert/old", f"{_BASE}/attic/alert/bell", f"{_BASE}/hall/alert/old/attributes"]
    for topic in [f"{_BASE}/hall/alert/bell", *stale, "edge-aac/attic/hall/alert/old"]:
        watcher.publish(topic, "ON", retain=True)
    sink = make_sink(f"mqtt://127.0.0.1:{broker.port}")
    sink.take_commands(Control(source("hall", _BELL)))
    for topic in stale:
        watcher.await_messages(topic, 2)
        assert watcher.texts(topic) == ["ON", ""]
    eventually(lambda: watcher.texts(f"{_BASE}/hall/alert/bell") == ["ON", "OFF"], "it is not off")
    late = Subscriber(broker.port, "edge-aac/+/+/alert/#", client="late")
    late.await_messages("edge-aac/attic/hall/alert/old")
    late.await_messages(f"{_BASE}/hall/alert/bell")
    late.close()
    assert {message.topic for message in late.messages} == {
        "edge-aac/attic/hall/alert/old",
        f"{_BASE}/hall/alert/bell",
    }, "another node's is not ours"


def test_the_state_is_true_after_the_broker_has_forgotten_all_and_after_the_end(
    broker: Mosquitto, watcher: Subscriber, make_sink: MakeSink
) -> None:
    topic = f"{_BASE}/hall/alert/bell"
    sink = make_sink(f"mqtt://127.0.0.1:{broker.port}", discovery=False)
    control = Control(source("hall", replace(_BELL, newest=alert())))
    sink.take_commands(control)
    watcher.await_messages(topic)
    broker.stop()
    (broker.folder / "mosquitto.db").unlink()
    control.change(source("hall", replace(_BELL, newest=alert("end"))))
    broker.start()
    eventually(lambda: watcher.texts(topic)[-1] == "OFF", "it is still on")
    control.change(source("hall", replace(_BELL, newest=alert())))
    eventually(lambda: watcher.texts(topic)[-1] == "ON", "it is not on again")
    # As a stop does: the alert ends, and the sink is closed at once.
    control.now = [source("hall", replace(_BELL, newest=alert("end")))]
    sink.close()
    eventually(lambda: watcher.texts(f"{_BASE}/status")[-1] == "offline", "it is not offline")
    assert watcher.texts(topic)[-1] == "OFF"
    assert {message.topic.split("/")[2] for message in watcher.messages} == {"status", "hall"}
    assert not watcher.of(f"{_BASE}/hall/hop"), "settings are told where they can be set or are announced"


def test_what_a_sink_does_not_retain_it_does_not_retain_of_alerts_but_their_states() -> None:
    kept: list[Any] = []

    class Connection:
        def keep(self, message: Any) -> None:
            kept.append(message)

        def send(self, messages: Any, settled: Any) -> None:
            raise AssertionError("nothing is refused")

        def subscribe(self, subscription: Any) -> None:
            subscriptions.append(subscription.filter)

    subscriptions: list[str] = []
    control = Control(source("hall", replace(_BELL, newest=alert())))
    settings = MqttSettings(url="mqtt://127.0.0.1", node="kitchen", retain=False, discovery=False)
    steering = Steering(Connection(), settings, control)
    try:
        eventually(lambda: len(kept) == 2, "nothing is told")
    finally:
        steering.close()
    assert [(message.topic, message.retain) for message in kept] == [
        (f"{_BASE}/hall/alert/bell/attributes", False),
        (f"{_BASE}/hall/alert/bell", True),
    ]
    assert subscriptions == [], "a broker that allows nobody to read would end the connection"
    assert alert_topics(settings.topics, control.sources()) == {message.topic for message in kept}
