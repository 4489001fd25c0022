"""What the broker keeps for the device, and what the device sends again after a broker has lost it."""

from __future__ import annotations

from pathlib import Path

from edge_aac.sinks.mqtt.link import Subscription
from edge_aac.sinks.mqtt.messages import Message
from edge_aac.sinks.mqtt.sink import MqttSink
from tests.edge_aac.audio.sources.network.servers import free_port
from tests.edge_aac.sinks.mqtt.brokers import CONNECT, PUBLISH, Mosquitto, Subscriber, kind_of
from tests.edge_aac.sinks.mqtt.conftest import MakeSink
from tests.edge_aac.sinks.mqtt.hostile_broker import SUBSCRIBE, HostileBroker, topic_of
from tests.waiting import eventually, until

COMMAND = "edge-aac/kitchen/mic0/set/hop"


def hearing(sink: MqttSink) -> list[tuple[str, bytes]]:
    heard: list[tuple[str, bytes]] = []
    sink.connection.subscribe(Subscription("edge-aac/kitchen/+/set/+", lambda *message: heard.append(message)))
    return heard


def await_subscription(sink: MqttSink, watcher: Subscriber) -> None:
    """Wait until the broker has the subscription that :func:`hearing` made before: it has a later one then.

    That the sink is connected does not say so: another client's message may overtake its SUBSCRIBE.
    """
    came: list[bytes] = []
    sink.connection.subscribe(Subscription("probe", lambda _topic, payload: came.append(payload)))

    def probed() -> list[bytes]:
        watcher.publish("probe", b"?")
        return came

    until(probed, interval_s=0.05)


def test_commands_of_an_outage_arrive_and_retained_ones_do_not(
    broker: Mosquitto, watcher: Subscriber, make_sink: MakeSink
) -> None:
    for protocol in ("5", "3.1.1"):
        settings = {"commands": True, "protocol": protocol, "client_id": f"steered-{protocol}", "discovery": False}
        sink = make_sink(f"mqtt://127.0.0.1:{broker.port}", **settings)
        heard = hearing(sink)
        await_subscription(sink, watcher)
        watcher.publish(COMMAND, b"first")
        eventually(lambda heard=heard: heard == [(COMMAND, b"first")], "a command")  # type: ignore[misc]
        sink.close()
        watcher.publish(COMMAND, b"meanwhile")
        watcher.publish("edge-aac/kitchen/mic0/set/threshold", b"garbage", retain=True)
        with broker.standing_still():  # what the session kept comes as soon as it answers: somebody must listen then
            again = make_sink(f"mqtt://127.0.0.1:{broker.port}", **settings)
            heard = hearing(again)
        watcher.publish(COMMAND, b"last")
        eventually(lambda heard=heard: heard[-1:] == [(COMMAND, b"last")], "the last command")  # type: ignore[misc]
        assert (COMMAND, b"meanwhile") in heard
        retained = [payload for topic, payload in heard if topic.endswith("threshold")]
        # The session had been there when it was published: then it is a command of the outage, once, and not retained.
        assert retained in ([], [b"garbage"])
        again.close()
        watcher.publish("edge-aac/kitchen/mic0/set/threshold", b"", retain=True)


def test_garbage_that_was_retained_is_no_command(broker: Mosquitto, watcher: Subscriber, make_sink: MakeSink) -> None:
    watcher.publish(COMMAND, b"\xff garbage", retain=True)
    for protocol in ("5", "3.1.1"):
        sink = make_sink(
            f"mqtt://127.0.0.1:{broker.port}", commands=True, protocol=protocol, client_id=f"new-{protocol}"
        )
        heard = hearing(sink)
        await_subscription(sink, watcher)
        watcher.publish("edge-aac/kitchen/mic0/set/enabled", b"on")
        eventually(lambda heard=heard: len(heard) == 1, "the command alone")  # type: ignore[misc]
        assert heard == [("edge-aac/kitchen/mic0/set/enabled", b"on")]
        sink.close()


def test_who_hears_that_the_device_is_there_is_heard_by_it(make_sink: MakeSink) -> None:
    broker = HostileBroker()
    sink = make_sink(f"mqtt://127.0.0.1:{broker.port}", commands=True)
    hearing(sink)
    eventually(lambda: sink.connection.connected, "connected")
    broker.drop()
    eventually(lambda: sink.connection.connections == 2, "connected again")

    def since() -> list[bytes]:
        seen = list(broker.seen)
        return seen[max(at for at, each in enumerate(seen) if kind_of(each) == CONNECT) :]

    def greeted() -> bool:
        return any(kind_of(each) == PUBLISH and topic_of(each) == "edge-aac/kitchen/status" for each in since())

    eventually(greeted, "it greets")
    assert [kind for each in since() if (kind := kind_of(each)) in (SUBSCRIBE, PUBLISH)][0] == SUBSCRIBE
    broker.close()


def test_states_are_sent_again_to_a_broker_that_has_lost_them(tmp_path: Path, make_sink: MakeSink) -> None:
    port = free_port()
    broker = Mosquitto(tmp_path / "first", port=port).start()
    sink = make_sink(f"mqtt://127.0.0.1:{port}")
    sink.connection.keep(Message("edge-aac/kitchen/mic0/enabled", b"on", retain=True, json=False))
    sink.connection.keep(Message("edge-aac/kitchen/mic0/error", b"no", json=False))
    eventually(lambda: sink.connection.connected, "connected")
    broker.stop()
    broker = Mosquitto(tmp_path / "second", port=port).start()
    watcher = Subscriber(port)
    watcher.await_messages("edge-aac/kitchen/mic0/enabled")
    watcher.await_messages("edge-aac/kitchen/status")
    sink.connection.keep(Message("edge-aac/kitchen/mic0/enabled", b"", retain=True, json=False))
    watcher.await_messages("edge-aac/kitchen/mic0/enabled", 2)
    late = Subscriber(port, client="late")
    late.await_messages("edge-aac/kitchen/status")
    assert late.of("edge-aac/kitchen/mic0/enabled") == [], "it is deleted"
    late.close()
    watcher.close()
    broker.stop()
