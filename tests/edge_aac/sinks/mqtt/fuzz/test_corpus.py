"""What the fuzzer found worth keeping, and whole commands beside it: none crashes, none changes what it may not."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.edge_aac.sinks.mqtt.fuzz.harness import TOPICS, Target

CORPUS = Path(__file__).parent / "corpus"


@pytest.fixture
def target() -> Iterator[Target]:
    made = Target()
    yield made
    made.close()


def published(topic: str, payload: bytes, flags: int = 0) -> bytes:
    return bytes([TOPICS.index(topic), flags, len(payload)]) + payload


@pytest.mark.parametrize("protocol", [0, 1])
def test_the_target_takes_commands_and_leaves_retained_ones(target: Target, protocol: int) -> None:
    topic = "edge-aac/kitchen/garden/set/hop"
    target.one_input(bytes([protocol]) + published(topic, b"4") + published("homeassistant/status", b"online"))
    assert target.control.states["garden"].hop_s == 4.0
    target.one_input(bytes([protocol]) + published(topic, b"5", 1) + published(topic, b"6 s"))
    assert target.control.states["garden"].hop_s == 4.0
    assert target.messages == 4


def test_the_target_finds_what_changes_too_much(target: Target) -> None:
    data = bytes([1]) + published("edge-aac/kitchen/garden/set/enabled", b"off")
    change = target.control.set_enabled
    target.control.set_enabled = lambda _label, enabled: change("+", enabled)  # type: ignore[method-assign]
    with pytest.raises(AssertionError, match="in place of"):
        target.one_input(data)


def test_what_the_fuzzer_found(target: Target) -> None:
    inputs = sorted(CORPUS.iterdir())
    assert len(inputs) > 50
    for path in inputs:
        try:
            target.one_input(path.read_bytes())
        except AssertionError as error:
            raise AssertionError(f"{path.name}: {error}") from error
    assert target.messages > len(inputs) / 2, "or nothing reaches the device"
