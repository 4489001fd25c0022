"""Home Assistant itself, with its own MQTT integration, a real broker and two nodes with three sources.

One story, told in order: ``script/test-home-assistant`` runs it.
"""

from __future__ import annotations

import itertools
import json
import os
import re
import signal

import pytest

from edge_aac import __version__
from tests.home_assistant.conftest import NAMES
from tests.home_assistant.documented import documented_entities
from tests.home_assistant.parts import VARIABLE, eventually, write_configuration
from tests.home_assistant.world import World, all_there, end_part, ends_as_before, start_part

pytestmark = [
    pytest.mark.one_python,
    pytest.mark.skipif(VARIABLE not in os.environ, reason="script/test-home-assistant runs it"),
]


def test_entities_appear_with_names_units_classes_and_states(world: World) -> None:
    told = world.home.eventually(all_there, "not all captions are there")
    assert len([entity for entity in told if entity != "lamp"]) == 3 * 10 + 2 + 4, sorted(told)
    kitchen = {entity for entity in told if ".kitchen_" in entity and ".kitchen_hall" not in entity}
    assert documented_entities() == kitchen
    caption = told["sensor.kitchen_garden_caption"]
    assert (caption["name"], caption["device"]) == ("Küche garden Gehört", "Küche")
    assert caption["version"] == __version__
    assert isinstance(caption["score"], float)
    assert re.match(r"\d{4}-\d\d-\d\dT.*Z", caption["start"]) and caption["end"] > caption["start"]
    assert told["switch.kitchen_hall_listening"]["name"] == "Küche hall Mikrofon an"
    assert told["sensor.attic_garden_caption"]["name"] == "attic garden caption"
    found = {
        entity: (told[f"{entity}"]["unit"], told[f"{entity}"]["device_class"])
        for entity in (
            "sensor.kitchen_garden_level",
            "sensor.kitchen_garden_latency",
            "sensor.kitchen_garden_lost",
            "sensor.attic_garden_state",
            "binary_sensor.attic_garden_problem",
            "binary_sensor.kitchen_hall_alert_baby",
            "number.attic_garden_hop",
            "update.attic_update",
        )
    }
    assert found == {
        "sensor.kitchen_garden_level": ("dBFS", None),
        "sensor.kitchen_garden_latency": ("ms", "duration"),
        "sensor.kitchen_garden_lost": ("ms", "duration"),
        "sensor.attic_garden_state": (None, "enum"),
        "binary_sensor.attic_garden_problem": (None, "problem"),
        "binary_sensor.kitchen_hall_alert_baby": (None, "sound"),
        "number.attic_garden_hop": ("s", "duration"),
        "update.attic_update": (None, "firmware"),
    }
    assert (told["number.attic_garden_hop"]["min"], told["number.attic_garden_hop"]["max"]) == (0.1, 3600)
    told = world.home.eventually(lambda now: now["sensor.attic_garden_state"]["state"] == "listening", "no health")
    assert told["switch.attic_garden_listening"]["state"] == "on"
    assert told["number.attic_garden_hop"]["state"] == "3"
    assert told["number.attic_garden_threshold"]["state"] == "unknown", "there is none"
    assert told["binary_sensor.attic_garden_problem"]["state"] == "off"
    # Events are not retained: the next one that is heard counts.
    world.home.eventually(
        lambda now: now["event.kitchen_garden_event"]["event_type"] in {"start", "update", "end"}, "no event"
    )


def test_a_caption_changes_its_sensor_and_no_other(world: World) -> None:
    before = world.home.told()
    after = world.home.eventually(
        lambda told: told["sensor.kitchen_hall_caption"]["start"] != before["sensor.kitchen_hall_caption"]["start"],
        "no new caption",
    )
    assert after["sensor.kitchen_hall_caption"]["caption"].startswith(after["sensor.kitchen_hall_caption"]["state"])


def test_the_switch_pauses_one_source_and_no_other(world: World) -> None:
    eventually(lambda: world.radio.listeners.get("/kitchen-garden") == 1, "the garden is not heard")
    world.home.call("switch.turn_off", "switch.kitchen_garden_listening")
    told = world.home.eventually(
        lambda told: (
            told["switch.kitchen_garden_listening"]["state"] == "off"
            and told["sensor.kitchen_garden_state"]["state"] == "paused"
        ),
        "it is not paused",
    )
    eventually(lambda: world.radio.listeners["/kitchen-garden"] == 0, "the connection is still open")
    assert told["switch.attic_garden_listening"]["state"] == told["switch.kitchen_hall_listening"]["state"] == "on"
    assert told["binary_sensor.kitchen_garden_problem"]["state"] == "off", "a pause is no problem"
    assert world.radio.listeners["/attic-garden"] == world.radio.listeners["/kitchen-hall"] == 1


def test_numbers_are_set_and_a_bad_command_is_refused_with_a_reason(world: World) -> None:
    home = world.home
    home.call("number.set_value", "number.attic_garden_threshold", value=-3.25)
    home.call("number.set_value", "number.attic_garden_hop", value=4.5)
    home.eventually(
        lambda told: (
            told["number.attic_garden_threshold"]["state"] == "-3.25"
            and told["number.attic_garden_hop"]["state"] == "4.5"
        ),
        "the numbers do not change",
    )
    home.publish("edge-aac/attic/garden/set/hop", "often")
    home.publish("edge-aac/attic/garden/set/hop", "0.01")
    errors = eventually(lambda: home.received.get("edge-aac/attic/garden/error", [])[1:], "there is no reason")
    assert b"between 0.1 and 3600 seconds" in errors[0]
    assert home.told()["number.attic_garden_hop"]["state"] == "4.5"


def test_a_death_is_seen_and_a_return_too(world: World) -> None:
    world.attic.end(signal.SIGKILL)
    world.home.eventually(
        lambda told: (
            told["sensor.attic_garden_caption"]["state"] == "unavailable"
            and told["sensor.kitchen_hall_caption"]["state"] != "unavailable"
        ),
        "nobody sees it",
    )
    world.attic.start()
    world.home.eventually(lambda told: told["sensor.attic_garden_caption"]["state"] != "unavailable", "it is not back")


_PARTS = ("hass", "broker", "edge-aac")


@pytest.mark.parametrize("order", [*itertools.permutations(_PARTS), *((part,) for part in _PARTS)], ids=" ".join)
def test_restarts_in_any_order_end_in_the_same_state(order: tuple[str, ...], world: World) -> None:
    before = world.home.told()
    for part in order:
        end_part(world, part)
    for part in order:
        start_part(world, part)
    ends_as_before(world, before)


def test_home_assistant_restarts_while_edge_aac_is_down(world: World) -> None:
    before = world.home.told()
    end_part(world, "edge-aac")
    end_part(world, "hass")
    start_part(world, "hass")
    world.home.eventually(
        lambda told: (
            told.keys() == before.keys()
            and all(known["state"] == "unavailable" for entity, known in told.items() if entity != "lamp")
        ),
        "what is down is not shown as unavailable",
    )
    start_part(world, "edge-aac")
    ends_as_before(world, before)


def test_the_documented_automations_do_not_listen_while_somebody_is_at_home(world: World) -> None:
    home, radio = world.home, world.radio
    phone = {"state_topic": "test/phone", "unique_id": "phone", "object_id": "phone", "name": "phone"}
    home.publish("homeassistant/device_tracker/phone/config", json.dumps(phone), retain=True)
    for where, switch, listeners in (("home", "off", 0), ("not_home", "on", 1)):
        # Again and again: whether the phone is known by now is not told.
        home.eventually(
            lambda told, where=where, switch=switch: (
                home.publish("test/phone", where) or told["switch.kitchen_hall_listening"]["state"] == switch
            ),
            f"it is {where}, and the switch is not {switch}",
        )
        eventually(
            lambda listeners=listeners: radio.listeners["/kitchen-hall"] == listeners, f"{where}: not {listeners}"
        )
    home.publish("homeassistant/device_tracker/phone/config", "", retain=True)
    home.eventually(lambda told: "device_tracker.phone" not in told, "the phone stays")


def test_the_documented_automation_tells_of_a_microphone_that_is_deaf(world: World) -> None:
    home, name = world.home, "A microphone is deaf"
    home.eventually(lambda told: told["binary_sensor.kitchen_hall_problem"]["state"] == "off", "it is deaf already")
    before = home.automations[name]
    world.kitchen.end()
    home.eventually(lambda _: home.automations[name] != before, "nobody is told")
    world.kitchen.start()
    home.eventually(lambda told: told["binary_sensor.kitchen_hall_problem"]["state"] == "off", "it is not back")


def test_a_source_that_is_taken_out_is_gone_while_the_others_stay(world: World) -> None:
    write_configuration(world.home, world.radio, "kitchen", ["hall"], NAMES)
    world.kitchen.end()
    world.kitchen.start()
    told = world.home.eventually(lambda told: not [e for e in told if "kitchen_garden" in e], "it is still there")
    assert "sensor.attic_garden_caption" in told
    world.home.eventually(
        lambda told: told["sensor.kitchen_hall_caption"]["state"] != "unavailable", "the hall is gone"
    )


def test_neither_home_assistant_nor_edge_aac_has_complained(world: World) -> None:
    log = world.home.hass.log.read_text(errors="replace")
    assert "components.mqtt" in log, "or the test looks at nothing"
    faults = [line for line in log.splitlines() if re.search(r"(WARNING|ERROR).*(mqtt|edge-aac)", line)]
    expected = (
        "disconnected",
        "Connection refused",
        "Connection reset by peer",
        "Failed to connect",
        "SSDP",
        "Timed out",
        "Broken pipe",
    )
    assert [line for line in faults if not any(text.lower() in line.lower() for text in expected)] == []
    for process in (world.kitchen, world.attic):
        assert "Traceback" not in process.log.read_text(errors="replace")
