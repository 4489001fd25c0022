"""A broker that breaks its word: the sink's state stays true, what waits arrives in the end, and a close ends."""

from __future__ import annotations

import logging
import os
import random
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from edge_aac.sinks.mqtt.messages import Message
from tests.edge_aac.sinks.mqtt.brokers import CONNECT, PUBACK, PUBLISH, Mosquitto, Subscriber, Wire, kind_of
from tests.edge_aac.sinks.mqtt.conftest import MakeSink
from tests.edge_aac.sinks.mqtt.hostile_broker import (
    CONNACK,
    DISCONNECT,
    PINGREQ,
    SUBACK,
    SUBSCRIBE,
    HostileBroker,
    number_of,
    packet,
    publish,
    topic_of,
)
from tests.edge_aac.sinks.mqtt.steered import FakeControl
from tests.edge_aac.sinks.mqtt.test_mqtt_sink import event, health
from tests.waiting import PATIENCE_S, ended, eventually

MakeBroker = Callable[..., HostileBroker]

SUBSCRIPTIONS = 6
"""Of a sink that takes commands: those, births of Home Assistant, announcements of both forms, states of alerts."""
STATUS = "edge-aac/kitchen/status"


@pytest.fixture
def make_broker() -> Iterator[MakeBroker]:
    made: list[HostileBroker] = []

    def make(connack: bytes = b"") -> HostileBroker:
        made.append(HostileBroker(connack))
        return made[-1]

    yield make
    for each in made:
        each.close()


def warnings_of(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [each.getMessage() for each in caplog.records if each.levelno >= logging.WARNING]


@pytest.mark.parametrize("limit", [1, 3])
def test_no_more_is_unconfirmed_than_the_broker_allows(
    limit: int, make_broker: MakeBroker, make_sink: MakeSink
) -> None:
    broker = make_broker(b"\x21" + limit.to_bytes(2, "big"))  # Receive Maximum
    unconfirmed, largest = 0, 0
    lock = threading.Lock()

    def answer(each: bytes) -> bytes | None:
        nonlocal unconfirmed, largest
        if kind_of(each) != PUBLISH or not each[0] & 6:
            return None
        with lock:
            unconfirmed += 1
            largest = max(largest, unconfirmed)
        threading.Timer(0.01, confirm, (number_of(each),)).start()
        return b""

    def confirm(number: bytes) -> None:
        nonlocal unconfirmed
        with lock:
            unconfirmed -= 1
        with suppress(OSError):  # the test may have ended
            broker.send(packet(PUBACK, number))

    broker.answer = answer
    sink = make_sink(f"mqtt://127.0.0.1:{broker.port}", discovery_form="components", commands=True, confirm_s=20.0)
    sink.take_commands(FakeControl("mic0", "mic1"))
    for number in range(20):
        sink.publish(event(number))
    eventually(lambda: sink.status.delivered == 20, "events")
    eventually(lambda: sum("/config" in topic_of(each) for each in broker.of(PUBLISH)) > 20, "announcements")
    assert largest <= limit


def test_a_broker_that_allows_short_packets_only_gets_what_fits(
    tmp_path: Path, make_sink: MakeSink, caplog: pytest.LogCaptureFixture
) -> None:
    small = Mosquitto(tmp_path / "small", "max_packet_size 700").start()
    watcher = Subscriber(small.port)
    sink = make_sink(f"mqtt://127.0.0.1:{small.port}", commands=True)
    sink.take_commands(FakeControl("mic0"))
    for number in range(5):
        sink.publish(event(number))
    watcher.await_messages("edge-aac/kitchen/mic0/hop")
    eventually(lambda: sink.status.delivered == 5, "events")
    eventually(lambda: "raise the broker's limit" in (sink.status.reason or ""), "its health")
    assert sink.connection.connections == 1, "the broker has no reason to end it"
    assert len([line for line in warnings_of(caplog) if "homeassistant/device" in line]) <= 2  # its two announcements
    watcher.close()
    small.stop()


def test_a_server_keep_alive_is_kept_to(make_broker: MakeBroker, make_sink: MakeSink) -> None:
    broker = make_broker(b"\x13\x00\x01")
    sink = make_sink(f"mqtt://127.0.0.1:{broker.port}", keepalive_s=3600)
    eventually(lambda: len(broker.of(PINGREQ)) >= 2, "pings each second")
    assert sink.connection.connections == 1


def test_a_broker_that_falls_silent_is_found(make_broker: MakeBroker, make_sink: MakeSink) -> None:
    broker = make_broker(b"\x13\x00\x01")
    sink = make_sink(f"mqtt://127.0.0.1:{broker.port}")
    eventually(lambda: sink.status.state == "delivering", "connected")
    broker.answer = lambda each: None if kind_of(each) == CONNECT else b""
    eventually(lambda: sink.connection.connections > 1, "the connection is made anew")


@pytest.mark.parametrize("where", ["no CONNACK", "no TLS", "no WebSocket", "no PUBACK"])
def test_a_broker_that_accepts_and_never_answers(
    where: str, make_broker: MakeBroker, make_sink: MakeSink, caplog: pytest.LogCaptureFixture
) -> None:
    broker = make_broker()
    broker.answer = lambda each: b"" if where != "no PUBACK" or kind_of(each) == PUBLISH else None
    scheme = {"no TLS": "mqtts", "no WebSocket": "ws"}.get(where, "mqtt")
    sink = make_sink(f"{scheme}://127.0.0.1:{broker.port}", connect_s=0.5, confirm_s=0.5, keepalive_s=3600)
    sink.publish(event(0))
    eventually(lambda: broker.connections > 3, "it tries again")
    assert sink.status.state == "retrying" and sink.status.queued == 1
    assert len([line for line in warnings_of(caplog) if "answer" in line or "confirms nothing" in line]) == 1
    assert len(warnings_of(caplog)) <= 2, warnings_of(caplog)
    if where in {"no CONNACK", "no PUBACK"}:
        broker.answer = lambda _each: None
        eventually(lambda: sink.status.delivered == 1 and sink.status.state == "delivering", "it recovers")


def test_a_session_that_the_broker_has_lost_is_made_anew(make_broker: MakeBroker, make_sink: MakeSink) -> None:
    broker = make_broker()
    sink = make_sink(f"mqtt://127.0.0.1:{broker.port}", commands=True)
    control = FakeControl("mic0")
    sink.take_commands(control)
    eventually(lambda: len(broker.of(SUBSCRIBE)) == SUBSCRIPTIONS, "subscriptions")
    broker.send(packet(DISCONNECT, b"\x8b"))  # shutting down; CONNACK says that there is no session each time
    eventually(lambda: len(broker.of(SUBSCRIBE)) == 2 * SUBSCRIPTIONS, "subscriptions again")
    broker.send(publish(b"edge-aac/kitchen/mic0/set/hop", b"4"))
    eventually(lambda: control.states["mic0"].hop_s == 4.0, "a command")


def hostile_packets() -> Iterator[bytes]:
    yield packet(PUBLISH, b"\0\1")
    yield packet(SUBACK, b"\0\1\0")
    yield packet(SUBACK, b"")
    yield packet(PUBACK, b"\0\1\xff")
    yield packet(CONNACK, b"")
    yield packet(CONNACK, b"\0\7\0")
    yield packet(DISCONNECT, b"")
    yield packet(DISCONNECT, b"\xfe\xff")
    yield packet(15, b"\0\0\0")
    yield publish(b"edge-aac/kitchen/mic0/set/hop", b"4", properties=b"\x7f")
    yield b"\xd0\xff\xff\xff\xff\xff"
    chance = random.Random(7)
    for _ in range(20):
        yield packet(chance.randrange(2, 16), chance.randbytes(chance.randrange(12)), chance.randrange(16))


def test_packets_that_nobody_may_send_leave_no_client_that_only_looks_connected(
    make_broker: MakeBroker, make_sink: MakeSink, caplog: pytest.LogCaptureFixture
) -> None:
    broker = make_broker()
    # Nobody else would find it: neither events nor pings are due.
    sink = make_sink(f"mqtt://127.0.0.1:{broker.port}", commands=True, keepalive_s=3600, confirm_s=600.0)
    control = FakeControl("mic0")
    sink.take_commands(control)
    before = dict(control.states)
    for number, each in enumerate(hostile_packets()):
        eventually(lambda: sink.connection.connected, "connected")
        broker.send(each)
        sink.publish(event(number))
        eventually(lambda number=number: sink.status.delivered == number + 1, f"after {each!r}")  # type: ignore[misc]
    assert control.states == before
    assert not [each for each in caplog.records if each.levelno >= logging.ERROR]


def test_a_thread_that_ends_by_a_fault_of_the_decoder_is_a_loss(
    make_broker: MakeBroker, make_sink: MakeSink, monkeypatch: pytest.MonkeyPatch
) -> None:
    from paho.mqtt.client import Client

    broker = make_broker()
    sink = make_sink(f"mqtt://127.0.0.1:{broker.port}", keepalive_s=3600, confirm_s=600.0)
    eventually(lambda: sink.connection.connected, "connected")

    def unforeseen(_client: Client) -> None:
        raise IndexError("as other versions of paho may have it")

    with monkeypatch.context() as patched:
        patched.setattr(Client, "_handle_pingresp", unforeseen)
        broker.send(packet(13, b""))
        eventually(lambda: sink.connection.connections > 1, "connected again")
    sink.publish(event(0))
    eventually(lambda: sink.status.delivered == 1, "delivered")


def test_topics_that_no_broker_may_send_are_left_aside(
    make_broker: MakeBroker, make_sink: MakeSink, caplog: pytest.LogCaptureFixture
) -> None:
    broker = make_broker()
    sink = make_sink(f"mqtt://127.0.0.1:{broker.port}", commands=True)
    control = FakeControl("mic0")
    sink.take_commands(control)
    eventually(lambda: len(broker.of(SUBSCRIBE)) == SUBSCRIPTIONS, "subscriptions")
    before = dict(control.states)
    for topic in (
        *(b"edge-aac/kitchen/+/set/hop", b"edge-aac/kitchen/mic0/set/#", b"#", b"", b"\0", b"$SYS/broker"),
        *(b"edge-aac/kitchen/mic0\0/set/hop", b"edge-aac/kitchen/" + b"x" * 65_000 + b"/set/hop"),
        *(b"edge-aac/kitchen/mic0/set/" + b"y" * 65_000, b"edge-aac/kitchen/mic0/set/h\xffp", b"\xed\xa0\x80" * 9),
    ):
        for payload in (b"4", b"", b"\xff" * 100_000):
            broker.send(publish(topic, payload))
    broker.send(publish(b"", b"4", properties=b"\x23\0\1"))  # an alias that was never given
    broker.send(publish(b"edge-aac/kitchen/mic0/set/hop", b"5", flags=1))  # as if it had been retained
    sink.publish(health())
    broker.send(publish(b"edge-aac/kitchen/mic0/set/threshold", b"0.5"))
    eventually(lambda: control.states["mic0"].min_score == 0.5, "a whole command")
    assert {**before, "mic0": control.states["mic0"]} == control.states
    assert control.states["mic0"].hop_s == before["mic0"].hop_s
    assert sink.connection.connections == 1
    assert len(warnings_of(caplog)) <= 1, warnings_of(caplog)


def test_nothing_is_told_to_a_broker_that_accepts_after_the_close(
    broker: Mosquitto, wire: Wire, watcher: Subscriber, make_sink: MakeSink
) -> None:
    asked, go_on = threading.Event(), threading.Event()

    def slow(packet_: bytes, from_client: bool) -> bytes:
        if kind_of(packet_) == CONNACK and not from_client:
            asked.set()
            assert go_on.wait(PATIENCE_S)
        return packet_

    wire.pass_on = slow
    sink = make_sink(f"mqtt://127.0.0.1:{wire.port}")
    assert asked.wait(PATIENCE_S)
    sink.close()
    go_on.set()
    other = make_sink(f"mqtt://127.0.0.1:{broker.port}", client_id="other", node="other")
    watcher.await_messages("edge-aac/other/status")
    other.close()
    watcher.await_messages("edge-aac/other/status", 2)
    # The broker had accepted the first one: that it is lost again may be told, but not that it is there.
    assert "online" not in watcher.texts(STATUS)
    eventually(
        lambda: not [each for each in threading.enumerate() if each.name == "edge-aac-mqtt-edge-aac-kitchen"],
        "its thread has ended",
    )


def test_a_broker_that_reads_nothing_does_not_hold_up_the_close(tmp_path: Path, make_sink: MakeSink) -> None:
    frozen = Mosquitto(tmp_path / "frozen").start()
    sink = make_sink(f"mqtt://127.0.0.1:{frozen.port}", keepalive_s=3600, confirm_s=600.0, payload_limit=10_000_000)
    eventually(lambda: sink.connection.connected, "connected")
    assert frozen._process is not None
    os.kill(frozen._process.pid, signal.SIGSTOP)
    try:
        # More than the sockets' buffers take.
        for number in range(8):
            sink.connection.keep(Message(f"edge-aac/kitchen/{number}", bytes(4_000_000), qos=0, json=False))
        eventually(lambda: not sink.connection._states.waiting, "they are on their way")
        sink.close()
        eventually(
            lambda: not [each for each in threading.enumerate() if "edge-aac-mqtt" in each.name or "paho" in each.name],
            "its threads have ended",
        )
    finally:
        os.kill(frozen._process.pid, signal.SIGCONT)
        frozen.stop()


@pytest.mark.usefixtures("time_for_the_leave")
def test_what_is_kept_just_before_the_close_is_sent(
    watcher: Subscriber, broker: Mosquitto, make_sink: MakeSink
) -> None:
    for number in range(5):
        sink = make_sink(f"mqtt://127.0.0.1:{broker.port}")
        eventually(lambda sink=sink: sink.connection.connected, "connected")  # type: ignore[misc]
        time.sleep(0.05)
        sink.publish(health(windows=number))
        sink.close()
        eventually(lambda number=number: len(watcher.texts(STATUS)) == 2 * number + 2, "offline")  # type: ignore[misc]
        assert [each["windows"] for each in watcher.records("edge-aac/kitchen/mic0/health")] == list(range(number + 1))


def test_an_answer_to_commands_that_the_acl_refuses_is_not_tried_each_time(tmp_path: Path, make_sink: MakeSink) -> None:
    acl = tmp_path / "b" / "acl"
    acl.parent.mkdir()
    acl.write_text(
        "topic readwrite edge-aac/kitchen/mic0/set/#\ntopic readwrite edge-aac/kitchen/mic0/+\n"
        "topic readwrite edge-aac/kitchen/status\ntopic deny edge-aac/kitchen/mic0/error\n"
    )
    os.chmod(acl, 0o644)
    broker = Mosquitto(tmp_path / "b", f"acl_file {acl}").start()
    sink = make_sink(f"mqtt://127.0.0.1:{broker.port}", commands=True, discovery=False)
    control = FakeControl("mic0")
    sink.take_commands(control)
    commander = Subscriber(broker.port, "edge-aac/kitchen/mic0/hop", client="commander")
    commander.await_messages("edge-aac/kitchen/mic0/hop")  # it takes commands before it tells its states
    # mosquitto 2.0.11 ends the connection with a refusal.
    commander.publish("edge-aac/kitchen/mic0/set/hop", b"bad")
    eventually(lambda: broker.log.count("Denied PUBLISH") == 1, "the answer is refused")
    eventually(lambda: sink.connection.connections > 1 and sink.connection.connected, "connected again")
    for _ in range(3):
        commander.publish("edge-aac/kitchen/mic0/set/hop", b"bad")
    commander.publish("edge-aac/kitchen/mic0/set/hop", b"4")
    eventually(lambda: control.states["mic0"].hop_s == 4.0, "obeyed")
    # Whoever sends bad commands could keep the device away.
    commander.await_messages("edge-aac/kitchen/mic0/hop", 2)
    assert broker.log.count("Denied PUBLISH") == 1
    commander.close()
    broker.stop()


def test_a_socket_that_is_nobody(make_sink: MakeSink) -> None:
    """A close while the name or the port is still being reached ends soon too."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as server:
        port = server.getsockname()[1]
        fillers = [socket.socket() for _ in range(8)]
        for filler in fillers:
            filler.setblocking(False)
            filler.connect_ex(("127.0.0.1", port))
        sink = make_sink(f"mqtt://127.0.0.1:{port}", connect_s=300.0)
        eventually(lambda: sink.connection.tries == 1, "it tries")
        closing = threading.Thread(target=sink.close, daemon=True)
        closing.start()
        ended(closing)  # it does not wait for the connection
        for filler in fillers:
            filler.close()
