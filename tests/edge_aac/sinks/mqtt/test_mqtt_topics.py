"""Names of topics: legal, one for each name, and bounded, whatever names hold."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from edge_aac.sinks.mqtt.messages import Message, Moment, message_of, of_stored, to_stored
from edge_aac.sinks.mqtt.settings import MqttSettings
from edge_aac.sinks.mqtt.topics import LONGEST_SEGMENT_BYTES, Topics, segment
from tests.edge_aac.fakes import caption_record

NAMES = st.text(st.characters(), max_size=100) | st.text(st.sampled_from("+#/%~ \0é€\udc80a"), max_size=80)


@given(NAMES)
def test_a_level_is_legal_and_bounded(name: str) -> None:
    level = segment(name)
    assert 0 < len(level.encode()) <= LONGEST_SEGMENT_BYTES
    assert not re.search(r"[+#/\s\x00-\x1f\x7f-\x9f]", level)


@given(st.sets(NAMES, min_size=2, max_size=20))
def test_no_two_names_share_a_level(names: set[str]) -> None:
    # Two lone surrogates that together are the bytes of a character are the only other way to write a name.
    real = {name.encode("utf-8", "surrogatepass") for name in names}
    plain = {name for name in names if not re.search("[\ud800-\udfff]", name)}
    assert len({segment(name) for name in plain}) == len(plain) <= len(real)


def test_what_levels_look_like() -> None:
    assert segment("mic0") == "mic0"
    assert segment("Küche 1") == "Küche%201"
    assert segment("/home/x/a.wav") == "%2Fhome%2Fx%2Fa.wav"
    assert segment("%2F") == "%252F"
    assert segment("bad\udcff") == "bad%FF"
    assert segment("") == "%"
    assert re.fullmatch(r"a{47}~[0-9a-f]{16}", segment("a" * 65))
    assert segment("a" * 65) != segment("a" * 66)


@given(NAMES, NAMES, st.sampled_from(["enabled", "threshold", "hop"]))
def test_a_command_is_read_back(node: str, source: str, name: str) -> None:
    topics = Topics("edge-aac", node)
    assert topics.parse_command(topics.command(source, name)) == (segment(source), name)


@pytest.mark.parametrize(
    "topic",
    [
        "edge-aac/kitchen/mic0/enabled",
        "edge-aac/kitchen//set/hop",
        "edge-aac/kitchen/mic0/set/",
        "edge-aac/kitchen/set/hop",
    ]
    + [
        "edge-aac/kitchen/mic0/set/a/b",
        "edge-aac/other/mic0/set/hop",
        "x/edge-aac/kitchen/mic0/set/hop",
        "",
        "a/b/set/c",
    ],
)
def test_other_topics_are_no_commands(topic: str) -> None:
    assert Topics("edge-aac", "kitchen").parse_command(topic) is None


def test_a_state_that_has_outlived_its_expiry_is_history() -> None:
    record = caption_record(0, source="mic0")
    message = message_of(record, Topics("edge-aac", "kitchen"), qos=1, retain=True, expiry_s=100)
    stored = to_stored(message, "mic0", Moment(1000.0, 10.0, "first"))
    assert of_stored(stored, Moment(1000.0, 10.0, "first")) == message
    assert of_stored(stored, Moment(5e8, 50.0, "first")).expiry_s == 60, "the clock was set"
    assert of_stored(stored, Moment(1040.0, 5.0, "second")).expiry_s == 60, "the machine was started again"
    late = of_stored(stored, Moment(1100.0, 110.0, "first"))
    assert (late.retain, late.expiry_s, late.payload) == (False, None, message.payload)
    assert of_stored(stored, Moment(900.0, 1.0, "second")) == message, "the clock was set back"
    plain = Message("t", b"x")
    assert of_stored(to_stored(plain, "mic0", Moment(1.0, 1.0, "first")), Moment(1e9, 1e9, "second")) == plain


@pytest.mark.parametrize(
    ("url", "parts"),
    [
        ("mqtt://host", ("host", 1883, False, None)),
        ("mqtts://host:1/", ("host", 1, True, None)),
        ("ws://[::1]/x?y=1", ("::1", 80, False, "/x?y=1")),
        ("wss://host", ("host", 443, True, "/mqtt")),
    ],
)
def test_addresses(url: str, parts: tuple[str, int, bool, str | None]) -> None:
    broker = MqttSettings(url=url).broker
    assert (broker.host, broker.port, broker.tls, broker.path) == parts


@pytest.mark.parametrize(
    "changes",
    [
        {"url": "http://host"},
        {"url": "mqtt://user:hunter2@host"},
        {"url": "mqtt://host/topic"},
        {"url": "mqtt://host:99999"},
        {"url": "mqtt://"},
        {"url": "mqtt://[::1"},
        {"url": "mqtt://h\0st"},
        {"credentials": "kitchen:hunter2"},
        {"root": "a/#"},
        {"root": "/a"},
        {"root": ""},
        {"root": "a\0"},
        {"root": "a" * 65},
        {"ca": "/etc/ca.pem"},
        {"key": "/etc/key.pem"},
        {"qos": 2},
        {"client_id": "a\n"},
    ],
)
def test_settings_that_are_refused(changes: dict[str, object]) -> None:
    with pytest.raises(ValidationError) as error:
        MqttSettings.model_validate({"url": "mqtt://host", **changes})
    assert "hunter2" not in error.value.errors()[0]["msg"]
