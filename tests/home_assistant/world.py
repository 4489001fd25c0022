"""All parts of the tests together: which restart, and what no restart may change."""

from __future__ import annotations

import signal
from dataclasses import dataclass
from typing import Any

from tests.home_assistant.parts import Home, Radio
from tests.home_assistant.process import Process


@dataclass
class World:
    """All parts."""

    home: Home
    radio: Radio
    kitchen: Process
    attic: Process


def all_there(told: dict[str, Any]) -> bool:
    captions = [f"sensor.{source}_caption" for source in ("kitchen_garden", "kitchen_hall", "attic_garden")]
    return all(told[caption]["state"] not in {"unknown", "unavailable"} for caption in captions)


def lasting(told: dict[str, Any]) -> dict[str, tuple[object, ...]]:
    """Of each entity what no restart may change: all but what is heard and measured."""
    facts = ("name", "device", "version", "unit", "device_class", "options", "restored")
    return {
        entity: (*(known[fact] for fact in facts), known["state"] if _is_set_by_people(entity) else None)
        for entity, known in told.items()
        if entity != "lamp"
    }


def _is_set_by_people(entity: str) -> bool:
    kind = entity.split(".", maxsplit=1)[0]
    return kind in {"switch", "number", "binary_sensor", "update"} and "_alert_" not in entity


def end_part(world: World, part: str) -> None:
    if part == "edge-aac":
        world.kitchen.end()
        world.attic.end(signal.SIGKILL)
    else:
        (world.home.hass if part == "hass" else world.home.broker).end()


def start_part(world: World, part: str) -> None:
    if part == "edge-aac":
        world.kitchen.start()
        world.attic.start()
    elif part == "hass":
        world.home.hass.start()
    else:
        world.home.start_broker()


def ends_as_before(world: World, before: dict[str, Any]) -> None:
    """Wait until all is as before: all there, what was set still set, and what is not paused heard anew."""
    heard = ("sensor.kitchen_hall_caption", "sensor.attic_garden_caption")
    told = world.home.eventually(
        lambda told: (
            all_there(told)
            and all(told[caption]["start"] != before[caption]["start"] for caption in heard)
            and lasting(told) == lasting(before)
            and told["sensor.kitchen_garden_state"]["state"] == "paused"
            and told["sensor.kitchen_hall_state"]["state"] == told["sensor.attic_garden_state"]["state"] == "listening"
        ),
        "it is not as before",
    )
    assert told["switch.kitchen_garden_listening"]["state"] == "off"
    assert told["switch.kitchen_hall_listening"]["state"] == told["switch.attic_garden_listening"]["state"] == "on"
    assert told["number.attic_garden_threshold"]["state"] == "-3.25"
    assert told["number.attic_garden_hop"]["state"] == "4.5"
    assert told["number.kitchen_hall_hop"]["state"] == "3", "the hop of another node has changed"
    assert not any(entity["restored"] for name, entity in told.items() if name != "lamp")
    assert world.radio.listeners["/kitchen-garden"] == 0, "a paused source was opened by a restart"
