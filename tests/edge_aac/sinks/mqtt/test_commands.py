"""Commands that come as messages: whole ones are carried out, anything else is refused and changes nothing."""

from __future__ import annotations

import math
import os
import random
from collections.abc import Callable

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from edge_aac.service.overrides import unusable_hop
from edge_aac.sinks.contract import SourceState
from edge_aac.sinks.mqtt.commands import MAX_PAYLOAD_BYTES, Command, Refusal, carry_out, parse, state_texts
from edge_aac.sinks.mqtt.topics import Topics, segment

_TOPICS = Topics("edge-aac", "kitchen")
_SOURCES = tuple(
    SourceState(label, True, None, 2.0, True, "listening") for label in ("mic0", "Küche/Fenster", "+", "a b")
)


class _Control:
    """A control that keeps what it was given, and refuses what the real one refuses."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, str, float | None]] = []

    def sources(self) -> tuple[SourceState, ...]:
        return _SOURCES

    def set_enabled(self, label: str, enabled: bool) -> None:
        self.calls.append(("enabled", label, enabled))

    def set_threshold(self, label: str, min_score: float | None) -> None:
        self.calls.append(("threshold", label, min_score))

    def set_hop(self, label: str, hop_s: float) -> None:
        if (fault := unusable_hop(hop_s)) is not None:
            raise ValueError(fault)
        self.calls.append(("hop", label, hop_s))

    def subscribe(self, callback: Callable[[], None]) -> Callable[[], None]:
        return callback


def _parsed(name: str, payload: bytes, source: str = "mic0") -> Command | Refusal | None:
    return parse(_TOPICS, _SOURCES, _TOPICS.command(source, name), payload)


@pytest.mark.parametrize(
    ("name", "payload", "value"),
    [
        ("enabled", b"on", True),
        ("enabled", b"OFF", False),
        ("enabled", b" True\n", True),
        ("enabled", b"0", False),
        ("threshold", b"0.25", 0.25),
        ("threshold", b"-3", -3.0),
        ("threshold", b"None", None),
        ("threshold", b"1e-2", 0.01),
        ("hop", b"2", 2.0),
        ("hop", b"2.3000000000000003", 2.3),  # a slider of Home Assistant
    ],
)
def test_a_whole_command(name: str, payload: bytes, value: object) -> None:
    found = _parsed(name, payload)
    assert isinstance(found, Command)
    assert (found.label, found.name, found.value) == ("mic0", name, value)


@pytest.mark.parametrize(
    ("name", "payload", "reason"),
    [
        ("enabled", b"", "enabled is on or off, not ''"),
        ("enabled", b"maybe", "enabled is on or off, not 'maybe'"),
        ("enabled", b'{"state": "ON"}', "enabled is on or off"),
        ("enabled", b"on\0", "enabled is on or off"),
        ("enabled", b"\xff", "no UTF-8"),
        ("threshold", b"nan", "threshold is a number or none, not 'nan'"),
        ("threshold", b"inf", "threshold is a number"),
        ("threshold", b"1e999", "threshold is a number"),
        ("threshold", "٣".encode(), "threshold is a number"),
        ("threshold", b"1_0", "threshold is a number"),
        ("hop", b"0x10", "hop is a number of seconds"),
        ("hop", b"2 s", "hop is a number of seconds, not '2 s'"),
        ("hop", b"9" * 100, "100 bytes is too long"),
        ("volume", b"3", "there is no setting 'volume': use enabled, threshold or hop"),
        ("\x1b[31m", b"3", "there is no setting '%1B%5B31m'"),
    ],
)
def test_what_is_no_command_is_refused_with_a_reason(name: str, payload: bytes, reason: str) -> None:
    found = _parsed(name, payload)
    assert isinstance(found, Refusal) and found.label == "mic0"
    assert reason in found.reason and found.reason.isascii() and found.reason.isprintable()


def test_each_source_has_topics_of_its_own_whatever_its_label_holds() -> None:
    for source in _SOURCES:
        assert _parsed("enabled", b"off", source.label) == Command(source.label, "enabled", False)
    found = parse(_TOPICS, _SOURCES, "edge-aac/kitchen/attic/set/hop", b"2")
    assert found == Refusal("there is no source 'attic'")


_topics = st.one_of(
    st.text(max_size=200),
    st.builds(
        "/".join,
        st.lists(
            st.sampled_from(
                ["edge-aac", "kitchen", "mic0", "set", "hop", "enabled", "threshold", "+", "#", "", "\0", "$SYS"]
            ),
            max_size=8,
        ),
    ),
    st.builds(lambda name: f"edge-aac/kitchen/mic0/set/{name}", st.text(max_size=30)),
    st.just("edge-aac/kitchen/mic0/set/hop"),
    st.just("edge-aac/kitchen/mic0/set/threshold"),
    st.just("edge-aac/kitchen/mic0/set/enabled"),
)
_payloads = st.one_of(
    st.binary(max_size=300),
    st.text(max_size=80).map(lambda text: text.encode("utf-8", "surrogatepass")),
    st.floats().map(lambda number: repr(number).encode()),
    st.integers().map(lambda number: str(number).encode()),
    st.sampled_from([b"on", b"off", b"none", b"0.5", b"NaN", b"[]", b"{}", b"null", b'"on"', b"2.0"]),
)


@settings(max_examples=3000, deadline=None)
@given(_topics, _payloads)
@example("x" * 65_536, b"on")
@example("edge-aac/kitchen/mic0/set/hop", b"on" * 100_000)
def test_no_message_whatever_it_holds_does_more_than_a_command_does(topic: str, payload: bytes) -> None:
    control = _Control()
    found = parse(_TOPICS, _SOURCES, topic, payload)
    if isinstance(found, Command):
        refusal = carry_out(found, control)
        assert len(control.calls) == (refusal is None)
        assert len(payload) <= MAX_PAYLOAD_BYTES
        assert topic == f"{_TOPICS.base}/{segment(found.label)}/set/{found.name}"
        for name, _label, value in control.calls:
            if name == "enabled":
                assert isinstance(value, bool)
            elif value is not None:
                assert isinstance(value, float) and math.isfinite(value)
                assert name == "threshold" or 0.1 <= value <= 3600.0
    else:
        assert control.calls == []
    if isinstance(found, Refusal):
        assert found.reason and found.reason.isprintable() and len(found.reason) < 250


@given(st.floats(-1e6, 1e6), st.one_of(st.none(), st.floats(-1e6, 1e6)), st.booleans())
def test_what_is_published_of_a_state_is_a_command_that_sets_it(hop: float, score: float | None, enabled: bool) -> None:
    texts = state_texts(SourceState("mic0", enabled, score, hop, True, "listening"))
    for name, text in texts.items():
        found = _parsed(name, text.encode())
        assert isinstance(found, Command), (name, text, found)
        if name == "enabled":
            assert found.value is enabled
        elif name == "threshold":
            assert found.value == (None if score is None else pytest.approx(score, rel=1e-5))


def test_a_refusal_of_the_stream_is_one_of_the_command() -> None:
    refusal = carry_out(Command("mic0", "hop", 0.0), _Control())
    assert refusal == Refusal("a hop is between 0.1 and 3600 seconds", "mic0")


def test_mutated_commands_neither_crash_nor_set_what_cannot_be() -> None:
    """Mutations of whole commands; ``EDGE_AAC_FUZZ_MESSAGES=1000000`` is what was run before a release."""
    count, random_ = int(os.environ.get("EDGE_AAC_FUZZ_MESSAGES", "20000")), random.Random(0)
    seeds = [b"on", b"off", b"none", b"0.25", b"-1e-3", b"2.5", b'{"state": "ON"}', "ü٣".encode(), b"\xff\xfe\0"]
    topics = [
        _TOPICS.command(source.label, name) for source in _SOURCES for name in ("enabled", "threshold", "hop", "x")
    ]
    control, carried_out = _Control(), 0
    for _ in range(count):
        payload = bytearray(random_.choice(seeds))
        for _ in range(random_.randrange(0, 4)):
            place = random_.randrange(len(payload) + 1)
            payload[place : place + random_.randrange(2)] = random_.choice(
                (b"", b"0", b".", b"e", random_.randbytes(2))
            )
        topic = random_.choice(topics)
        if random_.random() < 0.2:
            place = random_.randrange(len(topic))
            topic = topic[:place] + random_.choice(("", "/", "+", "\0", "\ud800", "x" * 300)) + topic[place + 1 :]
        found = parse(_TOPICS, _SOURCES, topic, bytes(payload))
        if isinstance(found, Command):
            carried_out += carry_out(found, control) is None
            assert len(control.calls) == carried_out
    assert carried_out > count / 100, "or the test looks at refusals only"
    assert all(value is None or math.isfinite(value) for _, _, value in control.calls)
    assert all(value is not None and 0.1 <= value <= 3600 for name, _, value in control.calls if name == "hop")
