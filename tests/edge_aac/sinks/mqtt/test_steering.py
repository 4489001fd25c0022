"""Commands by MQTT, their answers and announcements, over a connection of the test; hostile messages change nothing."""

from __future__ import annotations

import json
import random
import threading
import time
from collections.abc import Iterator
from dataclasses import replace

import pytest

from edge_aac.sinks.contract import SourceState
from edge_aac.sinks.mqtt.messages import Message
from edge_aac.sinks.mqtt.settings import MqttSettings
from edge_aac.sinks.mqtt.steering import MAX_WAITING, Steering
from tests.edge_aac.sinks.mqtt.steered import FakeBroker, FakeControl
from tests.waiting import until

_SETTINGS = MqttSettings(url="mqtt://127.0.0.1", node="kitchen", commands=True)


@pytest.fixture
def broker() -> FakeBroker:
    return FakeBroker()


@pytest.fixture
def control() -> FakeControl:
    return FakeControl("garden", "hall")


@pytest.fixture
def steering(broker: FakeBroker, control: FakeControl) -> Iterator[Steering]:
    made = Steering(broker, _SETTINGS, control)
    until(lambda: "edge-aac/kitchen/hall/hop" in broker.retained)
    yield made
    control.free.set()
    made.close()


@pytest.mark.usefixtures("steering")
def test_a_command_is_obeyed_and_answered_on_the_topic_of_its_state(broker: FakeBroker, control: FakeControl) -> None:
    broker.publish("edge-aac/kitchen/garden/set/enabled", b"off")
    until(lambda: broker.retained["edge-aac/kitchen/garden/enabled"] == b"off")
    broker.publish("edge-aac/kitchen/hall/set/threshold", b"0.25")
    broker.publish("edge-aac/kitchen/hall/set/hop", b"4")
    until(lambda: broker.retained["edge-aac/kitchen/hall/hop"] == b"4")
    assert broker.retained["edge-aac/kitchen/hall/threshold"] == b"0.25"
    assert (control.states["garden"].enabled, control.states["hall"].enabled) == (False, True)
    assert not broker.of("edge-aac/kitchen/garden/error") + broker.of("edge-aac/kitchen/hall/error")


@pytest.mark.usefixtures("steering")
def test_a_bad_command_is_refused_with_a_reason_and_the_state_is_told_again(
    broker: FakeBroker, control: FakeControl
) -> None:
    before = len(broker.of("edge-aac/kitchen/hall/hop"))
    broker.publish("edge-aac/kitchen/hall/set/hop", b"0")
    until(lambda: len(broker.of("edge-aac/kitchen/hall/hop")) > before)
    assert broker.of("edge-aac/kitchen/hall/error") == [b"a hop is between 0.1 and 3600 seconds"]
    assert broker.of("edge-aac/kitchen/hall/hop")[-1] == b"2"
    broker.publish("edge-aac/kitchen/attic/set/hop", b"2")
    until(lambda: broker.of("edge-aac/kitchen/error") == [b"there is no source 'attic'"])
    assert not [message for message in broker.sent if message.topic.endswith("error") and message.retain]
    assert control.changes == 0


@pytest.mark.usefixtures("steering")
def test_announcements_come_again_when_home_assistant_is_born(broker: FakeBroker) -> None:
    topic = "homeassistant/device/edge-aac_kitchen_s-hall/config"
    (announcement,) = broker.of(topic)
    broker.publish("homeassistant/status", b"offline")
    broker.publish("homeassistant/status", b"online")
    until(lambda: len(broker.of("edge-aac/kitchen/hall/hop")) == 2)
    assert broker.of(topic) == [announcement] * 2


@pytest.mark.parametrize("full", [False, True])
def test_a_birth_while_announcements_are_made_is_answered_too(
    full: bool, broker: FakeBroker, control: FakeControl, steering: Steering
) -> None:
    last = "edge-aac/kitchen/hall/hop"  # of what is sent at each announcement
    born = threading.Event()

    def born_in_between(message: Message) -> None:
        if message.topic == "edge-aac/kitchen/garden/hop" and not born.is_set():
            born.set()
            for _ in range(MAX_WAITING + 1 if full else 0):
                broker.publish("edge-aac/kitchen/hall/set/hop", b"bad")
            broker.publish("homeassistant/status", b"online")

    broker.on_keep = born_in_between
    control.states["garden"] = replace(control.states["garden"], hop_s=3.0)
    control.changed()
    until(born.is_set)
    until(lambda: len(broker.of("homeassistant/device/edge-aac_kitchen_s-hall/config")) == 2)
    until(steering._waiting.empty)
    assert broker.of(last)[-1] == b"2"


@pytest.mark.usefixtures("steering")
def test_commands_that_are_refused_do_not_fill_the_log(broker: FakeBroker, caplog: pytest.LogCaptureFixture) -> None:
    for number in range(100):
        broker.publish("edge-aac/kitchen/hall/set/hop", b"bad %d" % number)
    until(lambda: len(broker.of("edge-aac/kitchen/hall/error")) == 100)
    assert [each.getMessage() for each in caplog.records] == [
        "MQTT: a command is refused: hop is a number of seconds, not 'bad 0'"
    ]


@pytest.mark.usefixtures("steering")
def test_a_source_that_goes_takes_its_announcement_and_states_with_it(broker: FakeBroker, control: FakeControl) -> None:
    del control.states["garden"]
    control.changed()
    until(lambda: "edge-aac/kitchen/garden/hop" not in broker.retained)
    assert not [topic for topic in broker.retained if "garden" in topic]
    control.states["attic"] = SourceState("attic", True, None, 2.0, True, "listening")
    control.changed()
    until(lambda: "homeassistant/device/edge-aac_kitchen_s-attic/config" in broker.retained)


@pytest.mark.usefixtures("steering")
def test_the_last_source_that_goes_leaves_nothing_either(broker: FakeBroker, control: FakeControl) -> None:
    """Where sources are discovered there may be none for a while: an alert of the last one must not stay."""
    until(lambda: any("/hall/" in topic for topic in broker.retained))
    control.states.clear()
    control.changed()
    until(lambda: not any("hall" in topic or "garden" in topic for topic in broker.retained))
    assert any(topic.endswith("/version") for topic in broker.retained), "the device itself is there"


def test_what_a_run_before_announced_is_taken_back_and_nothing_of_others(
    broker: FakeBroker, control: FakeControl
) -> None:
    ours = [
        "homeassistant/device/edge-aac_kitchen_s-cellar/config",
        "homeassistant/sensor/edge-aac_kitchen/s-hall_caption/config",
    ]
    others = ["homeassistant/device/edge-aac_kitchen-2_s-hall/config", "homeassistant/switch/0x0017/plug/config"]
    broker.retained.update(dict.fromkeys([*ours, *others], b"\xff garbage"))
    made = Steering(broker, _SETTINGS, control)
    try:
        until(lambda: not set(ours) & set(broker.retained))
        until(lambda: "edge-aac/kitchen/hall/hop" in broker.retained)
    finally:
        made.close()
    assert set(others) <= set(broker.retained)


def test_before_the_stream_begins_nothing_is_announced_and_nothing_taken_back(broker: FakeBroker) -> None:
    topic = "homeassistant/device/edge-aac_kitchen_s-hall/config"
    stale = "homeassistant/device/edge-aac_kitchen_s-cellar/config"
    broker.retained = {topic: b"{}", stale: b"{}"}
    control = FakeControl()
    made = Steering(broker, _SETTINGS, control)
    try:
        broker.publish("homeassistant/status", b"online")
        time.sleep(0.1)
        assert broker.retained == {topic: b"{}", stale: b"{}"} and not broker.sent
        control.states["hall"] = SourceState("hall", True, None, 2.0, True, "listening")
        control.changed()
        until(lambda: "edge-aac/kitchen/hall/hop" in broker.retained)
        assert json.loads(broker.retained[topic])["components"]
        until(lambda: stale not in broker.retained)
    finally:
        made.close()


def test_without_commands_none_is_subscribed_to(broker: FakeBroker, control: FakeControl) -> None:
    made = Steering(broker, _SETTINGS.model_copy(update={"commands": False}), control)
    try:
        until(lambda: "edge-aac/kitchen/hall/hop" in broker.retained)
        assert not [each for each in broker.subscriptions if "set" in each.filter]
        broker.publish("edge-aac/kitchen/hall/set/hop", b"4")
    finally:
        made.close()
    assert control.changes == 0


def test_without_discovery_nothing_is_told_under_its_prefix(broker: FakeBroker, control: FakeControl) -> None:
    made = Steering(broker, _SETTINGS.model_copy(update={"discovery": False}), control)
    try:
        until(lambda: "edge-aac/kitchen/hall/hop" in broker.retained)
    finally:
        made.close()
    assert {message.topic.split("/")[0] for message in broker.sent} == {"edge-aac"}


def test_a_flood_of_commands_is_dropped_beyond_a_bound_and_neither_memory_nor_connection_suffer(
    broker: FakeBroker, control: FakeControl, steering: Steering
) -> None:
    control.free.clear()  # the model takes its time
    for _ in range(20 * MAX_WAITING):
        broker.publish("edge-aac/kitchen/hall/set/hop", b"4")
    assert steering._waiting.qsize() <= MAX_WAITING
    control.free.set()
    until(lambda: broker.retained["edge-aac/kitchen/hall/hop"] == b"4")
    until(steering._waiting.empty)
    broker.publish("edge-aac/kitchen/hall/set/hop", b"5")
    until(lambda: broker.retained["edge-aac/kitchen/hall/hop"] == b"5")
    assert control.changes <= MAX_WAITING + 3


@pytest.mark.usefixtures("steering")
def test_garbage_on_every_topic_that_is_read_changes_nothing(broker: FakeBroker, control: FakeControl) -> None:
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

    def obeyed() -> bool:
        broker.publish("edge-aac/kitchen/garden/set/hop", b"3")
        return control.states["garden"].hop_s == 3.0

    until(obeyed)
    assert control.states == before
    assert all(
        len(payload) < 300
        for message in broker.sent
        if message.topic.endswith("error")
        for payload in [message.payload]
    )
