"""What a hostile broker, or whoever may publish there, sends: one input of the fuzzer, from bytes to sources.

The bytes go through paho's decoder, our connection's callbacks and :class:`Steering`, as they do from a socket. After
each input the sources must be what the whole commands among the messages made them, by the few rules of
:func:`expected`, and the next command must be obeyed.
"""

from __future__ import annotations

import logging
import re
import struct
import threading
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from paho.mqtt.client import MQTT_ERR_SUCCESS, topic_matches_sub

from edge_aac.sinks.contract import SourceState
from edge_aac.sinks.mqtt.client import V5, V311
from edge_aac.sinks.mqtt.link import Link
from edge_aac.sinks.mqtt.settings import MqttSettings
from edge_aac.sinks.mqtt.steering import Steering
from tests.edge_aac.sinks.mqtt.steered import FakeBroker, FakeControl
from tests.waiting import PATIENCE_S, until

LONGEST_INPUT = 2048
"""Bytes; of more, whole commands could be dropped, since so many wait at once."""

SETTINGS = MqttSettings(url="mqtt://127.0.0.1", node="kitchen", commands=True)
SOURCES = ("garden", "hall/2", "+")
TOPICS = (
    "edge-aac/kitchen/garden/set/enabled",
    "edge-aac/kitchen/garden/set/threshold",
    "edge-aac/kitchen/garden/set/hop",
    "edge-aac/kitchen/hall%2F2/set/hop",
    "edge-aac/kitchen/%2B/set/threshold",
    "edge-aac/kitchen/+/set/hop",
    "edge-aac/kitchen/attic/set/hop",
    "homeassistant/status",
    "homeassistant/device/edge-aac_kitchen_s-garden/config",
    "homeassistant/sensor/edge-aac_kitchen/s-attic_caption/config",
)
_LEVELS = {"garden": "garden", "hall%2F2": "hall/2", "%2B": "+"}
_COMMAND = re.compile(r"edge-aac/kitchen/([^/]*)/set/(enabled|threshold|hop)")
_BLANKS = b" \t\r\n"
_NUMBER = re.compile(rb"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]{1,3})?")


class _Wire:
    """A socket that gives what it was made with, and takes all."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def recv(self, size: int) -> bytes:
        if not self._data:
            raise BlockingIOError
        data, self._data = self._data[:size], self._data[size:]
        return data

    def send(self, data: bytes) -> int:
        return len(data)

    def close(self) -> None:
        self._data = b""

    @property
    def left(self) -> bool:
        return bool(self._data)


class _Errors(logging.Handler):
    """Keeps what is logged as an error: work that failed where nothing may."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.messages: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.messages.append(f"{record.getMessage()} {record.exc_info}")


class Target:
    """A device with three sources that takes what a broker sends."""

    def __init__(self) -> None:
        self.broker = FakeBroker()
        self.control = FakeControl(*SOURCES)
        self._marks = 0
        self._received: list[tuple[str, bytes, bool]] = []
        self._errors = _Errors()
        logging.getLogger("edge_aac").addHandler(self._errors)
        self._changed = threading.Event()
        self.control.subscribe(self._changed.set)
        self.steering = Steering(self.broker, SETTINGS, self.control)
        until(lambda: "edge-aac/kitchen/garden/hop" in self.broker.retained)
        self.messages = 0

    def close(self) -> None:
        self.steering.close()
        logging.getLogger("edge_aac").removeHandler(self._errors)

    def one_input(self, data: bytes) -> None:
        """Takes one input: a byte of flags, then what the broker sends (bit 1), or what messages are made of.

        Raises:
            AssertionError: a source is not what the commands made it, or the next command is not obeyed.
        """
        if not data:
            return
        protocol = V5 if data[0] & 1 else V311
        stream = data[1:LONGEST_INPUT] if data[0] & 2 else b"".join(_published(data[1:LONGEST_INPUT], protocol))
        before = {state.label: state for state in self.control.sources()}
        self._received = []
        self._feed(stream, protocol)
        self._obeys()
        for topic, payload, retained in self._received:
            if not retained:
                expected(before, topic, payload)
        self.messages += len(self._received)
        after = {state.label: state for state in self.control.sources()}
        assert after == before, f"{self._received}: {after} in place of {before}"
        assert self._errors.messages == []
        del self.broker.sent[:]

    def _feed(self, stream: bytes, protocol: int) -> None:
        """Has paho read a stream as its network thread does, after the broker has accepted the client."""
        faults: list[str] = []
        link = Link(SETTINGS, protocol, None, "fuzzed", self._receive, keep_session=True)
        client = link.prepare()
        client.on_log = lambda _client, _data, _level, text: faults.append(text) if "Caught exception" in text else None
        wire: Any = _Wire((b"\x20\x03\x00\x00\x00" if protocol == V5 else b"\x20\x02\x00\x00") + stream)
        client._sock = wire  # a real one would hide nothing, and cost a hundred times as much
        try:
            while wire.left and client.loop_read() == MQTT_ERR_SUCCESS:
                pass
        except Exception as error:
            # The network thread would end by it, which the link takes for a loss.
            assert type(error).__module__ == "builtins" or "paho" in type(error).__module__, error
        finally:
            client._sock = None
        assert faults == [], faults

    def _receive(self, topic: str, payload: bytes, retained: bool) -> None:
        self._received.append((topic, payload, retained))
        for subscription in self.broker.subscriptions:
            if topic_matches_sub(subscription.filter, topic) and (subscription.retained or not retained):
                subscription.take(topic, payload)

    def _obeys(self) -> None:
        """Has a command obeyed that comes after all others: the thread still lives, and is through with them."""
        self._marks += 1
        label, mark = SOURCES[1], 7_654_321.0 + self._marks  # nobody else's value
        before = self.control.states[label].min_score
        self.broker.publish("edge-aac/kitchen/hall%2F2/set/threshold", str(mark).encode())
        while self.control.states[label].min_score != mark:
            assert self._changed.wait(PATIENCE_S), "commands are not obeyed any more"
            self._changed.clear()
        self.control.states[label] = replace(self.control.states[label], min_score=before)


def expected(states: dict[str, SourceState], topic: str, payload: bytes) -> None:
    """Carries out a message on states that are not those of the target, by the rules as docs/mqtt.md has them."""
    match = _COMMAND.fullmatch(topic)
    label = _LEVELS.get(match[1]) if match else None
    if match is None or label is None or len(payload) > 64:
        return
    text = payload.strip(_BLANKS)
    if match[2] == "enabled":
        if text.lower() in {b"on", b"true", b"1", b"yes", b"off", b"false", b"0", b"no"}:
            states[label] = replace(states[label], enabled=text.lower() in {b"on", b"true", b"1", b"yes"})
        return
    if match[2] == "threshold" and text.lower() == b"none":
        states[label] = replace(states[label], min_score=None)
        return
    if not _NUMBER.fullmatch(text) or abs(value := float(text)) == float("inf"):
        return
    if match[2] == "threshold":
        states[label] = replace(states[label], min_score=value)
    elif 0.1 <= round(value, 2) <= 3600.0:
        states[label] = replace(states[label], hop_s=round(value, 2))


def _published(data: bytes, protocol: int) -> Iterator[bytes]:
    """PUBLISH packets, well-formed but for what topics and payloads hold.

    Each is made of a byte that names one of :data:`TOPICS` (or, from 128 on, gives the length of a topic that follows),
    a byte of flags (bit 0: retained; bits 1 and 2: QoS), a byte with the length of the payload, and the payload.
    """
    while len(data) >= 3:
        choice, flags, length = data[:3]
        data = data[3:]
        if choice < 128:
            topic = TOPICS[choice % len(TOPICS)].encode()
        else:
            topic, data = data[: choice - 128], data[choice - 128 :]
        payload, data = data[:length], data[length:]
        qos = min(flags >> 1 & 3, 2)
        body = struct.pack("!H", len(topic)) + topic
        body += (b"\0\7" if qos else b"") + (b"\0" if protocol == V5 else b"") + payload
        header = bytearray([0x30 | qos << 1 | flags & 1])
        left = len(body)
        while True:
            header.append(left % 128 | (128 if left > 127 else 0))
            left //= 128
            if not left:
                break
        yield bytes(header) + body
