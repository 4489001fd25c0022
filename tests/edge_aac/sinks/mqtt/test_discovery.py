"""What Home Assistant is told; that it takes it is tested with the real one, see ``script/test-home-assistant``."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_aac.sinks.contract import SourceState
from edge_aac.sinks.mqtt.discovery import Facts, identifier, is_ours, messages, outdated, version_message
from edge_aac.sinks.mqtt.entity_names import parse_names
from edge_aac.sinks.mqtt.topics import Topics

_TOPIC = re.compile(r"homeassistant/(device/[\w-]+|\w+/[\w-]+/[\w-]+)/config", re.ASCII)
"""What Home Assistant takes for a topic of discovery."""


def _source(label: str, can_pause: bool = True) -> SourceState:
    return SourceState(label, True, None, 2.0, can_pause, "listening")


def _facts(node: str = "kitchen", labels: tuple[str, ...] = ("garden", "hall"), **more: Any) -> Facts:
    sources = [_source(label) for label in labels]
    return replace(Facts(Topics("edge-aac", node), "homeassistant", "1.2.3", sources, commands=True), **more)


def _entities(facts: Facts) -> dict[str, dict[str, Any]]:
    """All entities that are announced, by their unique ids."""
    found: dict[str, dict[str, Any]] = {}
    for message in messages(facts):
        if not message.payload:
            continue
        table = json.loads(message.payload)
        each = table.get("components", {"": table})
        for entity in each.values():
            if "unique_id" in entity:
                assert entity["unique_id"] not in found
                found[entity["unique_id"]] = {**table, **entity}
    return found


def test_each_entity_of_a_source() -> None:
    entities = _entities(_facts(labels=("garden",)))
    keys = {unique.rpartition(".")[2] for unique in entities}
    assert keys == {
        *("caption", "event", "problem", "state", "level", "latency", "lost", "listening", "threshold", "hop"),
        *("temperature", "update"),
    }
    caption = entities["edge-aac.kitchen.s-garden.caption"]
    assert caption["state_topic"] == caption["json_attributes_topic"] == "edge-aac/kitchen/garden/caption"
    assert (caption["name"], caption["object_id"]) == ("garden caption", "kitchen garden caption")
    switch = entities["edge-aac.kitchen.s-garden.listening"]
    assert switch["command_topic"] == "edge-aac/kitchen/garden/set/enabled"
    assert switch["state_topic"] == "edge-aac/kitchen/garden/enabled"
    for entity in entities.values():
        assert entity["availability_topic"] == "edge-aac/kitchen/status"
        assert entity["device"]["identifiers"] == ["edge-aac.kitchen"]
        assert entity["origin"] == {"name": "edge-aac", "sw_version": "1.2.3"}


def test_both_forms_announce_the_same_entities_on_topics_of_their_own() -> None:
    whole, single = _facts(), _facts(form="components")
    ids = {unique: entity["name"] for unique, entity in _entities(whole).items()}
    assert ids == {unique: entity["name"] for unique, entity in _entities(single).items()}
    for one, other in ((whole, single), (single, whole)):
        for message in messages(one):
            assert outdated(other, message.topic, message.payload) is not None
    for message in (*messages(whole), *messages(single)):
        assert message.payload and message.retain and message.qos == 1 and _TOPIC.fullmatch(message.topic), (
            message.topic
        )


@pytest.mark.parametrize("form", ["device", "components"])
def test_without_commands_the_switch_and_the_numbers_are_taken_back(form: str) -> None:
    facts = _facts(commands=False, form=form)
    keys = {unique.rpartition(".")[2] for unique in _entities(facts)}
    assert not keys & {"listening", "threshold", "hop"} and "caption" in keys
    if form == "device":
        (message,) = [each for each in messages(facts) if each.topic.endswith("s-hall/config") and each.payload]
        components = json.loads(message.payload)["components"]
        assert components["listening"] == {"platform": "switch"}, "so is an entity of a device removed"
    else:
        assert outdated(facts, "homeassistant/switch/edge-aac_kitchen/s-hall_listening/config", b"{}") is not None


def test_a_file_has_no_switch() -> None:
    entities = _entities(_facts(sources=[_source("garden.wav", can_pause=False)]))
    assert not [unique for unique in entities if unique.endswith(".listening")]


def test_two_nodes_and_two_sources_share_no_identifier_no_topic_and_no_state() -> None:
    first, second = _facts("a-b", ("c", "d")), _facts("a", ("b-c", "c"))
    assert not _entities(first).keys() & _entities(second).keys()
    assert not {each.topic for each in messages(first)} & {each.topic for each in messages(second)}
    states = [
        (entity["state_topic"], entity["value_template"])
        for entity in (*_entities(first).values(), *_entities(second).values())
        if "value_template" in entity
    ]
    assert len(states) == len(set(states))


def test_names_in_another_language() -> None:
    names = parse_names(["caption=Gehört", "listening = Mikrofon an"])
    facts = _facts(labels=("Küche",), names=names, device_name="Wohnung")
    entities = _entities(facts)
    captions = [entity for unique, entity in entities.items() if unique.endswith(".caption")]
    assert [entity["name"] for entity in captions] == ["Küche Gehört"]
    assert captions[0]["device"]["name"] == "Wohnung"
    assert entities.keys() == _entities(_facts(labels=("Küche",))).keys(), "names are no part of identifiers"


@pytest.mark.parametrize("text", ["caption", "caption=", "=x", "volume=x", "caption=a\nb", f"caption={'x' * 101}"])
def test_a_name_that_cannot_be(text: str) -> None:
    with pytest.raises(ValueError, match="name|entity"):
        parse_names([text])


def test_what_is_announced_no_more_is_taken_back_and_nobody_elses() -> None:
    before, now = _facts(), _facts(labels=("hall",))
    for form in ("device", "components"):
        old, new = replace(before, form=form), replace(now, form=form)
        stale = {message.topic for message in messages(old) if message.payload}
        stale -= {message.topic for message in messages(new) if message.payload}
        assert stale
        for topic in stale:
            removal = outdated(new, topic, b"{}")
            assert removal is not None and (removal.topic, removal.payload, removal.retain) == (topic, b"", True)
            assert outdated(new, topic, b"") is None, "it is gone"
        for message in messages(new):
            assert not message.payload or outdated(new, message.topic, message.payload) is None
    for node in ("kitchen-2", "kitch", "attic"):
        for message in messages(_facts(node)):
            assert outdated(now, message.topic, b"{}") is None
    for topic in ("homeassistant/device/0x01/config", "homeassistant/device", "homeassistant", "", "x/device/a/config"):
        assert not is_ours(now, topic)


def test_the_version_is_told() -> None:
    message = version_message(_facts())
    assert (message.topic, json.loads(message.payload)) == ("edge-aac/kitchen/version", {"installed_version": "1.2.3"})


@given(st.text(max_size=80))
def test_an_identifier_is_plain_and_short(name: str) -> None:
    assert re.fullmatch(r"[A-Za-z0-9-]{1,40}", identifier(name))


@given(st.lists(st.text(alphabet="ab-_ ü0f", max_size=24), unique=True, min_size=2, max_size=30))
def test_no_two_names_have_one_identifier(names: list[str]) -> None:
    # What looks like a name with a digest gets a digest of its own.
    names = list(dict.fromkeys([*names, *map(identifier, names)]))
    found = {identifier(name) for name in names if identifier(name) != name or name in names}
    assert len(found) == len(names)


@given(st.text(min_size=1, max_size=40), st.text(min_size=1, max_size=200))
def test_whatever_labels_hold_the_messages_are_json_on_topics_that_are_taken(node: str, label: str) -> None:
    facts = Facts(Topics("edge-aac", node), "homeassistant", "1", [_source(label)], commands=True)
    for message in messages(facts):
        assert _TOPIC.fullmatch(message.topic)
        assert not message.payload or json.loads(message.payload)["device"]["identifiers"]
