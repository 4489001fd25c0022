"""Commands by MQTT, their answers and announcements, over a connection of the test; hostile messages change nothing."""

from __future__ import annotations

import json
import random
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import pytest
from paho.mqtt.client import topic_matches_sub

from edge_aac.sinks.contract import SourceState
from edge_aac.sinks.mqtt.faults import Fault
from edge_aac.sinks.mqtt.link import Subscription
from edge_aac.sinks.mqtt.messages import Message
from edge_aac.sinks.mqtt.settings import MqttSettings
from edge_aac.sinks.mqtt.steering import MAX_WAITING, Steering

_PATIENCE_S = 30.0
_SETTINGS = MqttSettings(url="mqtt://127.0.0.1", node="kitchen", commands=True)


def _wait_for(condition: Callable[[], object]) -> None:
    deadline_s = time.monotonic() + _PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline_s
        time.sleep(0.005)


class _Broker:
    """A connection whose broker keeps what is retained, and gives messages to those who have subscribed."""

    def __init__(self) -> None:
        self.sent: list[Message] = []
        self.retained: dict[str, bytes] = {}
        self.subscriptions: list[Subscription] = []

    def keep(self, message: Message) -> None:
        self.sent.append(message)
        if message.retain:
            self.retained[message.topic] = message.payload
            if not message.payload:
                del self.retained[message.topic]

    def send(self, messages: Sequence[Message], settled: Callable[[int, Fault | None], None]) -> None:
        for place, message in enumerate(messages):
            self.keep(message)
            settled(place, None)

    def subscribe(self, subscription: Subscription) -> None:
        self.subscriptions.append(subscription)
        if subscription.retained:
            for topic, payload in list(self.retained.items()):
                if topic_matches_sub(subscription.filter, topic):
                    subscription.take(topic, payload)

    def publish(self, topic: str, payload: bytes) -> None:
        for subscription in self.subscriptions:
            if topic_matches_sub(subscription.filter, topic):
                subscription.take(topic, payload)

    def of(self, topic: str) -> list[bytes]:
        return [message.payload for message in self.sent if message.topic == topic]


class _Control:
    """Sources that are changed at once."""

    def __init__(self, *labels: str) -> None:
        self.states = {label: SourceState(label, True, None, 2.0, True, "listening") for label in labels}
        self.changes = 0
        self.free = threading.Event()
        self.free.set()
        self._callbacks: list[Callable[[], None]] = []

    def sources(self) -> list[SourceState]:
        return list(self.states.values())

    def set_enabled(self, label: str, enabled: bool) -> None:
        self._set(label, enabled=enabled)

    def set_threshold(self, label: str, min_score: float | None) -> None:
        self._set(label, min_score=min_score)

    def set_hop(self, label: str, hop_s: float) -> None:
        if not 0.1 <= hop_s <= 3600.0:
            raise ValueError("a hop is between 0.1 and 3600 seconds")
        self._set(label, hop_s=hop_s)

    def subscribe(self, callback: Callable[[], None]) -> Callable[[], None]:
        self._callbacks.append(callback)
        return lambda: self._callbacks.remove(callback)

    def changed(self) -> None:
        for callback in self._callbacks:
            callback()

    def _set(self, label: str, **change: object) -> None:
        self.free.wait(_PATIENCE_S)
        self.changes += 1
        self.states[label] = replace(self.states[label], **change)  # type: ignore[arg-type]
        self.changed()


@pytest.fixture
def broker() -> _Broker:
    return _Broker()


@pytest.fixture
def control() -> _Control:
    return _Control("garden", "hall")


@pytest.fixture
def steering(broker: _Broker, control: _Control) -> Iterator[Steering]:
    made = Steering(broker, _SETTINGS, control)
    _wait_for(lambda: "edge-aac/kitchen/hall/hop" in broker.retained)
    yield made
    control.free.set()
    made.close()


@pytest.mark.usefixtures("steering")
def test_a_command_is_obeyed_and_answered_on_the_topic_of_its_state(broker: _Broker, control: _Control) -> None:
    broker.publish("edge-aac/kitchen/garden/set/enabled", b"off")
    _wait_for(lambda: broker.retained["edge-aac/kitchen/garden/enabled"] == b"off")
    broker.publish("edge-aac/kitchen/hall/set/threshold", b"0.25")
    broker.publish("edge-aac/kitchen/hall/set/hop", b"4")
    _wait_for(lambda: broker.retained["edge-aac/kitchen/hall/hop"] == b"4")
    assert broker.retained["edge-aac/kitchen/hall/threshold"] == b"0.25"
    assert (control.states["garden"].enabled, control.states["hall"].enabled) == (False, True)
    assert not broker.of("edge-aac/kitchen/garden/error") + broker.of("edge-aac/kitchen/hall/error")


@pytest.mark.usefixtures("steering")
def test_a_bad_command_is_refused_with_a_reason_and_the_state_is_told_again(broker: _Broker, control: _Control) -> None:
    before = len(broker.of("edge-aac/kitchen/hall/hop"))
    broker.publish("edge-aac/kitchen/hall/set/hop", b"0")
    _wait_for(lambda: len(broker.of("edge-aac/kitchen/hall/hop")) > before)
    assert broker.of("edge-aac/kitchen/hall/error") == [b"a hop is between 0.1 and 3600 seconds"]
    assert broker.of("edge-aac/kitchen/hall/hop")[-1] == b"2"
    broker.publish("edge-aac/kitchen/attic/set/hop", b"2")
    _wait_for(lambda: broker.of("edge-aac/kitchen/error") == [b"there is no source 'attic'"])
    assert not [message for message in broker.sent if message.topic.endswith("error") and message.retain]
    assert control.changes == 0


@pytest.mark.usefixtures("steering")
def test_announcements_come_again_when_home_assistant_is_born(broker: _Broker) -> None:
    topic = "homeassistant/device/edge-aac_kitchen_s-hall/config"
    (announcement,) = broker.of(topic)
    broker.publish("homeassistant/status", b"offline")
    broker.publish("homeassistant/status", b"online")
    _wait_for(lambda: len(broker.of("edge-aac/kitchen/hall/hop")) == 2)
    assert broker.of(topic) == [announcement] * 2


@pytest.mark.usefixtures("steering")
def test_a_source_that_goes_takes_its_announcement_and_states_with_it(broker: _Broker, control: _Control) -> None:
    del control.states["garden"]
    control.changed()
    _wait_for(lambda: "edge-aac/kitchen/garden/hop" not in broker.retained)
    assert not [topic for topic in broker.retained if "garden" in topic]
    control.states["attic"] = SourceState("attic", True, None, 2.0, True, "listening")
    control.changed()
    _wait_for(lambda: "homeassistant/device/edge-aac_kitchen_s-attic/config" in broker.retained)


def test_what_a_run_before_announced_is_taken_back_and_nothing_of_others(broker: _Broker, control: _Control) -> None:
    ours = [
        "homeassistant/device/edge-aac_kitchen_s-cellar/config",
        "homeassistant/sensor/edge-aac_kitchen/s-hall_caption/config",
    ]
    others = ["homeassistant/device/edge-aac_kitchen-2_s-hall/config", "homeassistant/switch/0x0017/plug/config"]
    broker.retained.update(dict.fromkeys([*ours, *others], b"\xff garbage"))
    made = Steering(broker, _SETTINGS, control)
    try:
        _wait_for(lambda: not set(ours) & set(broker.retained))
        _wait_for(lambda: "edge-aac/kitchen/hall/hop" in broker.retained)
    finally:
        made.close()
    assert set(others) <= set(broker.retained)


def test_before_the_stream_begins_nothing_is_announced_and_nothing_taken_back(broker: _Broker) -> None:
    topic = "homeassistant/device/edge-aac_kitchen_s-hall/config"
    stale = "homeassistant/device/edge-aac_kitchen_s-cellar/config"
    broker.retained = {topic: b"{}", stale: b"{}"}
    control = _Control()
    made = Steering(broker, _SETTINGS, control)
    try:
        broker.publish("homeassistant/status", b"online")
        time.sleep(0.1)
        assert broker.retained == {topic: b"{}", stale: b"{}"} and not broker.sent
        control.states["hall"] = SourceState("hall", True, None, 2.0, True, "listening")
        control.changed()
        _wait_for(lambda: "edge-aac/kitchen/hall/hop" in broker.retained)
        assert json.loads(broker.retained[topic])["components"]
        _wait_for(lambda: stale not in broker.retained)
    finally:
        made.close()


def test_without_commands_none_is_subscribed_to(broker: _Broker, control: _Control) -> None:
    made = Steering(broker, _SETTINGS.model_copy(update={"commands": False}), control)
    try:
        _wait_for(lambda: "edge-aac/kitchen/hall/hop" in broker.retained)
        assert not [each for each in broker.subscriptions if "set" in each.filter]
        broker.publish("edge-aac/kitchen/hall/set/hop", b"4")
    finally:
        made.close()
    assert control.changes == 0


def test_without_discovery_nothing_is_told_under_its_prefix(broker: _Broker, control: _Control) -> None:
    made = Steering(broker, _SETTINGS.model_copy(update={"discovery": False}), control)
    try:
        _wait_for(lambda: "edge-aac/kitchen/hall/hop" in broker.retained)
    finally:
        made.close()
    assert {message.topic.split("/")[0] for message in broker.sent} == {"edge-aac"}


def test_a_flood_of_commands_is_dropped_beyond_a_bound_and_neither_memory_nor_connection_suffer(
    broker: _Broker, control: _Control, steering: Steering
) -> None:
    control.free.clear()  # the model takes its time
    for _ in range(20 * MAX_WAITING):
        broker.publish("edge-aac/kitchen/hall/set/hop", b"4")
    assert steering._waiting.qsize() <= MAX_WAITING
    control.free.set()
    _wait_for(lambda: broker.retained["edge-aac/kitchen/hall/hop"] == b"4")
    _wait_for(steering._waiting.empty)
    broker.publish("edge-aac/kitchen/hall/set/hop", b"5")
    _wait_for(lambda: broker.retained["edge-aac/kitchen/hall/hop"] == b"5")
    assert control.changes <= MAX_WAITING + 3


@pytest.mark.usefixtures("steering")
def test_garbage_on_every_topic_that_is_read_changes_nothing(broker: _Broker, control: _Control) -> None:
    before, random_ = dict(control.states), random.Random(0)
    names = ["enabled", "threshold", "hop", "", "\0", "+", "#", "x" * 65_000, "ü", "set"]
    topics = [
        f"edge-aac/kitchen/{source}/set/{name}" for source in ("garden", "hall", "attic", "\x1b") for name in names
    ]
    topics += [
        "homeassistant/status",
        "homeassistant/device/edge-aac_kitchen_s-hall/config",
        "homeassistant/device//config",
    ]
    for number in range(2000):
        payload = random_.randbytes(random_.randrange(0, 200)) + b"\xff"
        for subscription in broker.subscriptions:
            subscription.take(topics[number % len(topics)], payload)
        if number % 100 == 99:
            time.sleep(0.01)
    broker.publish("edge-aac/kitchen/garden/set/hop", b"3")
    before["garden"] = replace(before["garden"], hop_s=3.0)
    deadline_s = time.monotonic() + _PATIENCE_S
    while control.states["garden"].hop_s != 3.0 and time.monotonic() < deadline_s:
        broker.publish("edge-aac/kitchen/garden/set/hop", b"3")
        time.sleep(0.05)
    assert control.states == before
    assert all(
        len(payload) < 300
        for message in broker.sent
        if message.topic.endswith("error")
        for payload in [message.payload]
    )
