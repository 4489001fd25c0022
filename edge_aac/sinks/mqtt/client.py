"""A client of paho-mqtt, made from the settings, and the properties of MQTT 5."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from edge_aac.sinks.mqtt.login import read_login
from edge_aac.sinks.mqtt.messages import Message
from edge_aac.sinks.mqtt.settings import MqttSettings

if TYPE_CHECKING:
    from paho.mqtt.properties import Properties

    from edge_aac.sinks.mqtt.paho_client import WatchedClient

V5, V311 = 5, 4
"""Protocol versions as they stand in CONNECT."""

RECEIVED_BYTES = 1_048_576
"""Longest packet that the broker is asked to send (MQTT 5): commands are short, and the announcements of other devices,
which come too, have some kilobytes. Nobody else's message shall fill the memory of a small board."""


def made_client(
    settings: MqttSettings, protocol: int, name: str, will: Message | None, *, keep_session: bool
) -> WatchedClient:
    """A client that is not connected yet, and that never connects again by itself.

    The credentials and certificates are read anew each time.

    Args:
        settings: of the broker.
        protocol: :data:`V5` or :data:`V311`.
        name: of the client.
        will: published by the broker when the connection is lost; None for none.
        keep_session: whether the broker keeps what is sent to the client while it is away.

    Raises:
        EdgeAacError: the files of credentials or certificates cannot be used.
    """
    from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

    from edge_aac.sinks.mqtt.paho_client import WatchedClient

    v5 = protocol == V5
    path = settings.broker.path
    client = WatchedClient(
        CallbackAPIVersion.VERSION2,
        client_id=name,
        protocol=MQTTProtocolVersion.MQTTv5 if v5 else MQTTProtocolVersion.MQTTv311,
        transport="tcp" if path is None else "websockets",
        clean_session=None if v5 else not keep_session,
        reconnect_on_failure=False,
    )
    client.connect_timeout = settings.connect_s
    client.max_inflight_messages_set(0)  # whoever publishes counts them
    client.suppress_exceptions = True
    if settings.credentials is not None:
        login = read_login(settings.credentials)
        client.username_pw_set(login.user, login.password)
    if (context := settings.tls_context()) is not None:
        client.tls_set_context(context)
        # Else paho compares the name itself, by a function that Python 3.12 has no more.
        client.tls_insecure_set(not settings.check_host_name)
    if path is not None:
        client.ws_set_options(path=path)
    if will is not None:
        client.will_set(will.topic, will.payload, will.qos, will.retain)
    return client


def session_options(settings: MqttSettings, protocol: int, *, keep_session: bool) -> dict[str, Any]:
    """What a client's connect() is given of the session."""
    if protocol != V5:
        return {}
    properties = _properties("CONNECT")
    properties.MaximumPacketSize = RECEIVED_BYTES
    if keep_session:
        properties.SessionExpiryInterval = settings.session_expiry_s
    return {"clean_start": not keep_session, "properties": properties}


def publish_properties(message: Message) -> Properties:
    """Properties of a message: its form, and when the broker drops it."""
    properties = _properties("PUBLISH")
    properties.PayloadFormatIndicator = 1
    if message.json:
        properties.ContentType = "application/json"
    if message.expiry_s is not None:
        properties.MessageExpiryInterval = message.expiry_s
    return properties


def _properties(packet: str) -> Properties:
    from paho.mqtt.packettypes import PacketTypes
    from paho.mqtt.properties import Properties

    make: Any = Properties  # paho's own has no types
    made: Properties = make(getattr(PacketTypes, packet))
    return made
