"""Clients of the same real broker that publish what nobody should: the stream goes on, and no source is another."""

from __future__ import annotations

import json
import logging
import random
import socket

import pytest

from tests.edge_aac.fakes import caption_record
from tests.edge_aac.sinks.mqtt.brokers import Mosquitto, Subscriber
from tests.edge_aac.sinks.mqtt.conftest import MakeSink
from tests.edge_aac.sinks.mqtt.hostile_broker import packet, publish
from tests.edge_aac.sinks.mqtt.steered import FakeControl
from tests.edge_aac.sinks.mqtt.test_mqtt_outages import numbers
from tests.edge_aac.sinks.mqtt.test_mqtt_sink import event
from tests.waiting import eventually

BASE = "edge-aac/kitchen"
OF_A_SOURCE = ("caption", "event", "health", "gap", "clip", "enabled", "threshold", "hop", "error")
READ = (
    *(f"{BASE}/mic0/set/{name}" for name in ("enabled", "threshold", "hop", "set", "x")),
    *(f"{BASE}/{source}/set/hop" for source in ("attic", "%2B", "mic0%00", "\u202emic0", "$SYS")),
    "homeassistant/status",
    "homeassistant/device/edge-aac_kitchen_s-mic0/config",
    "homeassistant/device/edge-aac_kitchen_s-attic/config",
    "homeassistant/device/edge-aac_kitchen_node/config",
    "homeassistant/device/somebody/config",
    "homeassistant/sensor/edge-aac_kitchen/s-mic0_caption/config",
    "homeassistant/sensor/edge-aac_kitchen/\u202e/config",
)
"""Every topic that is read: commands, births of Home Assistant, and what was announced before."""

OWN = (f"{BASE}/status", f"{BASE}/version", f"{BASE}/doctor", *(f"{BASE}/mic0/{name}" for name in OF_A_SOURCE))

GARBAGE = (
    *(b"\xff\xfe garbage \0", b"{", b"\x1b[2J", b"null", b"ONLINE\0", b"9" * 5000, b"\xf0\x9f\x94\x8a" * 40),
    b'{"components": {"a": {"platform": "switch", "command_topic": "edge-aac/kitchen/mic0/set/enabled"}}}',
)


class RawClient:
    """A client that sends what paho would refuse to; the broker may end it for that."""

    def __init__(self, port: int) -> None:
        self._port = port

    def send(self, *packets: bytes) -> bool:
        """Connects, sends packets, and gives whether the broker still answers a ping then."""
        name = b"raw-%d" % random.randrange(1 << 30)
        with socket.create_connection(("127.0.0.1", self._port), 20) as client:
            body = b"\0\4MQTT\5\2\0\0\0" + len(name).to_bytes(2, "big") + name
            client.sendall(packet(1, body))
            assert client.recv(100)[0] == 0x20
            try:
                for each in (*packets, packet(12, b"")):
                    client.sendall(each)
                answer = client.recv(100)
            except ConnectionError:
                return False
            return answer[:1] == b"\xd0"


def warnings_of(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [each.getMessage() for each in caplog.records if each.levelno >= logging.WARNING]


def test_topics_that_no_client_may_use_end_that_client_alone(
    broker: Mosquitto, watcher: Subscriber, make_sink: MakeSink, caplog: pytest.LogCaptureFixture
) -> None:
    sink = make_sink(f"mqtt://127.0.0.1:{broker.port}", commands=True)
    control = FakeControl("mic0")
    before = dict(control.states)
    sink.take_commands(control)
    watcher.await_messages(f"{BASE}/mic0/hop")
    raw, base = RawClient(broker.port), BASE.encode()
    for count, topic in enumerate(
        (
            *(base + b"/+/set/hop", base + b"/mic0/set/#", b"#", b"", base + b"/mic0\0/set/hop"),
            *(base + b"/mic0/set/h\xffp", base + b"/\xed\xa0\x80/set/hop", b"\xc0\xaf/" + base),
        )
    ):
        assert not raw.send(publish(topic, b"4")), f"mosquitto took {topic!r}: the test shows nothing"
        sink.publish(event(count))
    for count, topic in enumerate((base + b"/" + b"x" * 60_000 + b"/set/hop", base + b"/mic0/set/" + b"y" * 65_000), 8):
        assert raw.send(publish(topic, b"4"), publish(topic, b"4", flags=1))
        sink.publish(event(count))
    assert not raw.send(publish(b"", b"4", properties=b"\x23\0\1"))
    # A command of more than a packet may have for us, which mosquitto drops: it neither ends nor fills the device.
    assert raw.send(publish(base + b"/mic0/set/hop", b"4" * 3_000_000))
    watcher.publish(f"{BASE}/mic0/set/threshold", b"0.5")
    eventually(lambda: control.states["mic0"].min_score == 0.5, "a whole command")
    eventually(lambda: numbers(watcher) == list(range(10)), "the stream goes on")
    assert "3000000" not in "".join(watcher.texts(f"{BASE}/mic0/error")), "the broker keeps to the longest packet"
    assert control.states["mic0"].hop_s == before["mic0"].hop_s and set(control.states) == set(before)
    assert sink.connection.connections == 1 and sink.status.state == "delivering"
    assert len(warnings_of(caplog)) == 1, warnings_of(caplog)


@pytest.mark.parametrize("protocol", ["5", "3.1.1"])
def test_garbage_that_is_retained_on_every_topic_that_is_read_or_written(
    protocol: str, broker: Mosquitto, watcher: Subscriber, make_sink: MakeSink, caplog: pytest.LogCaptureFixture
) -> None:
    chance = random.Random(0)
    for topic in (*READ, *OWN):
        watcher.publish(topic, chance.choice(GARBAGE), retain=True)
    sink = make_sink(f"mqtt://127.0.0.1:{broker.port}", commands=True, protocol=protocol)
    control = FakeControl("mic0")
    before = dict(control.states)
    sink.take_commands(control)
    sink.publish(event(0))
    sink.publish(caption_record(1, source="mic0"))
    eventually(lambda: sink.status.delivered == 2, "the stream goes on")
    late = Subscriber(broker.port, client="late")

    def stands(topic: str) -> str:
        return late.of(topic)[-1].payload.decode("utf-8", "replace") if late.of(topic) else ""

    eventually(lambda: stands(f"{BASE}/status") == "online", "what is true stands on the device's own topics")
    eventually(lambda: (stands(f"{BASE}/mic0/enabled"), stands(f"{BASE}/mic0/hop")) == ("on", "2"), "states")
    eventually(lambda: '"seq":1' in stands(f"{BASE}/mic0/caption").replace(" ", ""), "the caption")
    own = "homeassistant/device/edge-aac_kitchen_s-mic0/config"
    eventually(lambda: "Audio captioner" in stands(own), "what is announced")
    assert "components" in json.loads(stands(own))
    eventually(
        lambda: watcher.of("homeassistant/device/edge-aac_kitchen_s-attic/config")[-1].payload == b"", "taken back"
    )
    assert watcher.of("homeassistant/device/somebody/config")[-1].payload != b"", "what is not ours stays"
    assert control.states == before
    assert warnings_of(caplog) == []
    # And while it runs, retained or not.
    for number, topic in enumerate((*READ, *OWN) * 3):
        watcher.publish(topic, chance.choice(GARBAGE), retain=number % 2 == 0)
    watcher.publish("homeassistant/status", b"online")
    watcher.publish(f"{BASE}/mic0/set/threshold", b"0.5")
    eventually(lambda: control.states["mic0"].min_score == 0.5, "a whole command")
    sink.publish(event(1))
    eventually(lambda: sink.status.delivered == 3, "the stream goes on")
    assert {**before, "mic0": control.states["mic0"]} == control.states
    assert (control.states["mic0"].hop_s, control.states["mic0"].enabled) == (2.0, True)
    eventually(
        lambda: watcher.of(f"{BASE}/mic0/hop")[-1].payload == b"2", "a birth has the states told again, as they are"
    )
    assert sink.connection.connections == 1
    assert len(warnings_of(caplog)) == 1 and "a command is refused" in caplog.text
    late.close()
