"""The way to a broker, stage by stage, for ``edge-aac doctor``."""

from __future__ import annotations

import secrets
import socket
import ssl
import threading
from concurrent.futures import TimeoutError as FutureTimeoutError

from edge_aac.errors import DeviceError
from edge_aac.sinks.mqtt.client import V5, V311
from edge_aac.sinks.mqtt.faults import BAD_PROTOCOL, BrokerError, Fault, Stage, fault_of_opening
from edge_aac.sinks.mqtt.link import Link, Subscription
from edge_aac.sinks.mqtt.messages import Message
from edge_aac.sinks.mqtt.settings import Broker, MqttSettings

_STAGES: dict[Stage, str] = {
    "login": "credentials",
    "name": "name",
    "tcp": "TCP",
    "tls": "TLS",
    "websocket": "WebSocket",
    "connack": "CONNACK",
    "publish": "publish",
    "receive": "receive",
}


def check(settings: MqttSettings) -> str:
    """Go the whole way of a record: name, TCP, TLS, CONNACK, a message that is published and received again.

    The message is not retained, on a topic of its own below the device's, sent by a client of its own: a service that
    runs meanwhile notices nothing.

    Returns:
        What was done, as one sentence without its full stop.

    Raises:
        DeviceError: a stage failed; it is named, with the mend.
        EdgeAacError: a file of credentials or certificates cannot be used.
    """
    broker = settings.broker
    try:
        context = settings.tls_context()
        _reach(broker, context, settings.connect_s)
        link, received, payload = _opened(settings)
        try:
            heard = _sent_and_received(settings, link, received, payload)
        finally:
            link.close()
    except BrokerError as error:
        raise DeviceError(f"{_STAGES[error.fault.stage]}: {error.fault.sentence}") from error
    version = "5" if link.protocol == V5 else "3.1.1"
    secured = ", TLS" if broker.tls else ""
    return f"{broker.label}: name, TCP{secured}, CONNACK (MQTT {version}) and publish work, {heard}"


def _reach(broker: Broker, context: ssl.SSLContext | None, limit_s: float) -> None:
    """Make a connection of the socket's own, so that each stage has its own fault."""
    try:
        socket.getaddrinfo(broker.host, broker.port, type=socket.SOCK_STREAM)
        connection = socket.create_connection((broker.host, broker.port), limit_s)
    except (OSError, UnicodeError) as error:
        raise BrokerError(fault_of_opening(error, broker)) from error
    with connection:
        if context is None:
            return
        try:
            with context.wrap_socket(connection, server_hostname=broker.host):
                pass
        except TimeoutError as error:
            raise BrokerError(Fault("tls", f"{broker.label} does not speak TLS: correct the port")) from error
        except (ConnectionError, EOFError) as error:
            fault = Fault("tls", f"{broker.label} does not speak TLS, or refuses it: correct the port")
            raise BrokerError(fault) from error
        except OSError as error:
            raise BrokerError(fault_of_opening(error, broker)) from error


def _opened(settings: MqttSettings) -> tuple[Link, threading.Event, bytes]:
    payload = secrets.token_hex(8).encode()
    received = threading.Event()

    def receive(_topic: str, content: bytes, _retained: bool) -> None:
        if content == payload:
            received.set()

    client = f"{settings.client}-doctor-{secrets.token_hex(4)}"
    versions = {"auto": (V5, V311), "5": (V5,), "3.1.1": (V311,)}[settings.protocol]
    for version in versions:
        link = Link(settings, version, None, client, receive, keep_session=False)
        try:
            link.open()
        except BrokerError as error:
            other = error.fault.code == BAD_PROTOCOL or (link.made and not link.answered)
            if version == versions[-1] or not other:
                raise
        else:
            return link, received, payload
    raise AssertionError("there is always a version to try")


def _sent_and_received(settings: MqttSettings, link: Link, received: threading.Event, payload: bytes) -> str:
    topic = settings.topics.doctor
    refused: Fault | None = None
    try:
        link.subscribe(Subscription(topic, lambda _topic, _payload: None)).result(settings.confirm_s)
    except BrokerError as error:
        if error.fault.stage != "receive":
            raise
        refused = error.fault
    except FutureTimeoutError:
        refused = Fault("receive", f"{settings.broker.label} does not answer the subscription to '{topic}'")
    try:
        link.publish(Message(topic, payload, qos=1, json=False)).result(settings.confirm_s)
    except FutureTimeoutError as error:
        fault = Fault("publish", f"{settings.broker.label} does not confirm a message for '{topic}': see its log")
        raise BrokerError(fault) from error
    if refused is None and not received.wait(settings.connect_s):
        sentence = f"a message for '{topic}' does not come back: allow publishing and reading it in the broker's ACL"
        refused = Fault("receive", sentence)
    if refused is None:
        return "and a message came back"
    if settings.commands:
        raise BrokerError(refused)
    return "and nothing may be received, which only commands need"
