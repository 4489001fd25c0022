"""Alerts in Home Assistant itself: binary sensors that are true, and the automations of the documentation.

They come before the story of ``test_home_assistant.py``, in the same world, and leave it as it was.
"""

from __future__ import annotations

import json
import os
import signal

import pytest

from tests.home_assistant.conftest import NAMES
from tests.home_assistant.documented import documented_rules
from tests.home_assistant.parts import VARIABLE, eventually, write_configuration
from tests.home_assistant.world import World

pytestmark = [
    pytest.mark.one_python,
    pytest.mark.skipif(VARIABLE not in os.environ, reason="script/test-home-assistant runs it"),
]

_ANYTHING = "binary_sensor.attic_garden_alert_anything"


def test_an_alert_switches_its_sensor_on_and_off(world: World) -> None:
    told = world.home.eventually(lambda told: told[_ANYTHING]["state"] == "on", "no alert begins")
    assert told[_ANYTHING]["caption"] and told[_ANYTHING]["end"] > told[_ANYTHING]["start"]
    assert told["binary_sensor.kitchen_hall_alert_baby"]["name"] == "Küche hall The baby cries"
    assert {
        told[f"binary_sensor.kitchen_{each}"]["state"] for each in ("hall_alert_baby", "garden_alert_doorbell")
    } == {"off"}
    world.home.eventually(lambda told: told[_ANYTHING]["state"] == "off", "no alert ends")


def test_an_alert_that_a_death_left_open_is_off_after_the_start(world: World) -> None:
    home = world.home
    home.eventually(lambda told: told[_ANYTHING]["state"] == "on", "no alert begins")
    world.attic.end(signal.SIGKILL)
    home.eventually(lambda told: told[_ANYTHING]["state"] == "unavailable", "nobody sees the death")
    states = home.received["edge-aac/attic/garden/alert/anything"]
    records, before = home.received["edge-aac/attic/garden/alert"], len(states)
    assert (states[-1], json.loads(records[-1])["state"]) == (b"ON", "start")
    begun = json.loads(records[-1])
    world.attic.start()
    eventually(lambda: states[before:], "no state is told")
    assert states[before] == b"OFF"
    eventually(lambda: json.loads(records[-1])["id"] != begun["id"] or len(records) % 2 == 0, "it has no end")
    ends = [record for record in map(json.loads, records) if record["id"] == begun["id"]]
    assert [(end["state"], end.get("reason")) for end in ends] == [("start", None), ("end", "restart")]


def test_the_documented_automation_lights_the_lamp(world: World) -> None:
    home, topic = world.home, "edge-aac/kitchen/hall/alert/doorbell"
    home.call("input_boolean.turn_off", "input_boolean.lamp")
    home.publish("edge-aac/kitchen/hall/alert/baby", "ON")
    home.eventually(lambda told: told["binary_sensor.kitchen_hall_alert_baby"]["state"] == "on", "it is not heard")
    assert home.told()["lamp"] == "off", "a baby is no doorbell"
    home.publish(topic, "ON")
    home.eventually(lambda told: told["lamp"] == "on", "the lamp stays dark")
    for name in ("doorbell", "baby"):
        home.publish(f"edge-aac/kitchen/hall/alert/{name}", "OFF")
        home.eventually(
            lambda told, name=name: told[f"binary_sensor.kitchen_hall_alert_{name}"]["state"] == "off", "it is on"
        )


def test_the_documented_automation_tells_of_a_baby_that_has_cried_for_a_minute(world: World) -> None:
    home, name = world.home, "The baby has cried for a minute"
    before = home.automations[name]
    topic, sensor = "edge-aac/kitchen/hall/alert/baby", "binary_sensor.kitchen_hall_alert_baby"
    record = {"schema": "edge-aac/alert/1", "node": "kitchen", "source": "hall", "alert": "baby", "state": "start"}
    times = {"start": "2026-05-01T10:00:00.000Z", "end": "2026-05-01T10:01:10.000Z", "lasted_s": 70.0}
    home.publish(f"{topic}/attributes", json.dumps({**record, **times, "caption": "a baby wails"}))
    home.eventually(lambda told: told[sensor]["caption"] == "a baby wails", "it has no attributes")
    assert home.automations[name] == before, "it has not cried for a minute"
    home.publish(topic, "ON")
    home.eventually(lambda _: home.automations[name] != before, "nobody is told")
    home.publish(topic, "OFF")
    home.eventually(lambda told: told[sensor]["state"] == "off", "it is on")


def test_a_rule_that_is_taken_out_is_gone_and_another_comes(world: World) -> None:
    home = world.home
    rules = documented_rules().replace('"baby"', '"infant"', 1)
    write_configuration(home, world.radio, "kitchen", ["garden", "hall"], NAMES + rules)
    world.kitchen.end()
    world.kitchen.start()
    told = home.eventually(
        lambda told: (
            "binary_sensor.kitchen_hall_alert_baby" not in told
            and told["binary_sensor.kitchen_hall_alert_infant"]["state"] == "off"
        ),
        "the rules are as before",
    )
    assert told["binary_sensor.kitchen_garden_alert_doorbell"]["state"] == "off"
    assert home.received["edge-aac/kitchen/hall/alert/baby"][-1] == b"", "its state is still retained"
    write_configuration(home, world.radio, "kitchen", ["garden", "hall"], NAMES + documented_rules())
    world.kitchen.end()
    world.kitchen.start()
    home.eventually(
        lambda told: (
            "binary_sensor.kitchen_hall_alert_infant" not in told
            and told["binary_sensor.kitchen_hall_alert_baby"]["state"] == "off"
        ),
        "the rules are not back",
    )
