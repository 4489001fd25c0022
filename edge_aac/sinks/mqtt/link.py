"""One connection to a broker, from its making to its loss. It is never made anew: the next one is another object."""

from __future__ import annotations

import logging
import os
import socket
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from edge_aac.sinks.mqtt.answers import Answers
from edge_aac.sinks.mqtt.client import V5, made_client, publish_properties, session_options
from edge_aac.sinks.mqtt.faults import (
    FAILURE,
    BrokerError,
    Fault,
    fault_of_connack,
    fault_of_loss,
    fault_of_opening,
    fault_of_publish,
    fault_of_silence,
    fault_of_subscription,
    fault_of_tls,
    is_of_tls,
)
from edge_aac.sinks.mqtt.messages import Message
from edge_aac.sinks.mqtt.settings import Broker, MqttSettings

if TYPE_CHECKING:
    from paho.mqtt.client import Client, ConnectFlags, DisconnectFlags, MQTTMessage
    from paho.mqtt.properties import Properties
    from paho.mqtt.reasoncodes import ReasonCode

    from edge_aac.sinks.mqtt.paho_client import WatchedClient

LEAVE_S = 1.0
"""A broker that reads nothing any more is waited for so long when taking leave, and then cut off."""

_PACKET_OVERHEAD_BYTES = 64
"""More than the fixed header, the packet's number and our properties of a PUBLISH take beside topic and payload."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Limits:
    """What the broker allows, by its CONNACK.

    Attributes:
        in_flight: messages with QoS 1 that may be unconfirmed at once.
        qos: the highest QoS.
        retain: whether it retains messages.
        packet_bytes: length of the longest packet; None where it has no limit.
        session: whether it still has the session of an earlier connection.
    """

    in_flight: int = 65_535
    qos: int = 1
    retain: bool = True
    packet_bytes: int | None = None
    session: bool = False


@dataclass(frozen=True)
class Subscription:
    """What is received.

    Attributes:
        filter: topics, with wildcards.
        take: called with topic and payload of each message, in the thread of the connection: it must not wait.
        retained: whether messages count that the broker had kept. A command that it kept would be obeyed again and
            again.
    """

    filter: str
    take: Callable[[str, bytes], None]
    retained: bool = False


class Link:
    """A connection.

    Args:
        settings: the broker, how it is reached, and who the client is.
        protocol: :data:`V5` or :data:`V311`.
        will: published by the broker when the connection is lost; None for none.
        client: name of the client.
        receive: called with topic, payload and whether it had been retained, in the connection's own thread.
        keep_session: whether the broker keeps what is sent to the client while it is away.
        retained_will: whether the broker may retain the will.
    """

    def __init__(
        self,
        settings: MqttSettings,
        protocol: int,
        will: Message | None,
        client: str,
        receive: Callable[[str, bytes, bool], None],
        *,
        keep_session: bool,
        retained_will: bool = True,
    ) -> None:
        self.lost = threading.Event()
        self.fault: Fault | None = None
        self.limits = Limits()
        self.protocol = protocol
        self.made = False
        """Whether there was a connection to send CONNECT by."""
        self.answered = False
        """Whether the broker has answered CONNECT, be it by a refusal."""
        self.accepted = False
        """Whether the broker has accepted the client."""
        self._settings = settings
        self._broker: Broker = settings.broker
        self._name = client
        self._receive = receive
        self._keep_session = keep_session
        self._accepted = threading.Event()
        self._ended = threading.Event()  # the network thread has
        self._ended.set()
        self._abandoned = False
        self._lock = threading.Lock()
        self._answers = Answers(lambda: self.fault or self._unknown_loss())
        self._accepted_s = 0.0
        self._heard_of_tls = ""
        self._will = will if will is None or retained_will else replace(will, retain=False)
        self._client: WatchedClient | None = None

    def held(self, seconds: float) -> bool:
        """Whether it has worked for so long since the broker accepted it; one that confirms nothing does not work."""
        silent = self.fault == fault_of_silence(self._broker)
        until_s = self._answers.newest_s if silent else time.monotonic()
        return self.accepted and until_s is not None and until_s - self._accepted_s >= seconds

    def prepare(self) -> WatchedClient:
        """Make the client by which :meth:`open` connects.

        Raises:
            EdgeAacError: the files of credentials or certificates cannot be used.
        """
        client = self._client = made_client(
            self._settings, self.protocol, self._name, self._will, keep_session=self._keep_session
        )
        client.on_connect = self._on_connect
        client.on_disconnect = self._on_disconnect
        client.on_publish = self._on_publish
        client.on_subscribe = self._on_subscribe
        client.on_message = self._on_message
        client.on_log = self._on_log
        client.on_socket_open = lambda _client, _data, opened: self._cut(opened) if self._abandoned else None
        client.ended = self._on_end_of_thread
        return client

    def open(self) -> None:
        """Connect, and wait for the broker's consent.

        Raises:
            BrokerError: it is not reached, or refuses.
            EdgeAacError: the files of credentials or certificates cannot be used.
        """
        client = self.prepare()
        try:
            client.connect(
                self._broker.host,
                self._broker.port,
                keepalive=self._settings.keepalive_s,
                **session_options(self._settings, self.protocol, keep_session=self._keep_session),
            )
        except (OSError, ValueError, EOFError) as error:
            self._heard_of_tls = ""
            fault = fault_of_opening(error, self._broker)
            self._end(fault)
            raise BrokerError(fault) from error
        self.made = True
        self._ended.clear()
        client.loop_start()
        if not self._accepted.wait(self._settings.connect_s) and self.fault is None:
            self._end(Fault("connack", f"{self._broker.label} does not answer in MQTT: correct the port"))
        if self.fault is not None:
            self.close()
            raise BrokerError(self.fault)

    def publish(self, message: Message) -> Future[None]:
        """Send a message. It waits while as many are unconfirmed as the broker allows.

        Returns:
            Done when the broker has confirmed it (QoS 1) or it is written (QoS 0); raises a :class:`BrokerError` where
            the broker refuses it, it is too long, or the connection is lost before.
        """
        future: Future[None] = Future()
        client, qos = self._client, min(message.qos, self.limits.qos)
        if (fault := self._too_long(message)) is not None:
            future.set_exception(BrokerError(fault))
            return future
        if qos and not self._answers.take_room(max(1, self.limits.in_flight), self._settings.confirm_s):
            self.drop(fault_of_silence(self._broker))
        if client is None or self.lost.is_set():
            future.set_exception(BrokerError(self.fault or self._unknown_loss()))
            return future
        info = client.publish(
            message.topic,
            message.payload,
            qos=qos,
            retain=message.retain and self.limits.retain,
            properties=publish_properties(message) if self.protocol == V5 else None,
        )
        self._answers.expect(
            info.mid, future, lambda code, name: fault_of_publish(code, name, message.topic), counts=qos > 0
        )
        return future

    def _too_long(self, message: Message) -> Fault | None:
        longest = self.limits.packet_bytes
        length = len(message.topic.encode()) + len(message.payload) + _PACKET_OVERHEAD_BYTES
        if longest is None or length <= longest:
            return None
        sentence = f"a message for '{message.topic}' has {length} bytes, and the broker takes {longest} at most"
        return Fault("publish", f"{sentence}: raise the broker's limit", refused=True, hopeless=True)

    def subscribe(self, subscription: Subscription) -> Future[None]:
        """Subscribe; the future raises a :class:`BrokerError` where the broker refuses."""
        from paho.mqtt.subscribeoptions import SubscribeOptions

        future: Future[None] = Future()
        client = self._client
        if client is None or self.lost.is_set():
            future.set_exception(BrokerError(self.fault or self._unknown_loss()))
            return future
        if self.protocol == V5:
            handling = SubscribeOptions.RETAIN_SEND_ON_SUBSCRIBE
            if not subscription.retained:
                handling = SubscribeOptions.RETAIN_DO_NOT_SEND
            options = SubscribeOptions(qos=1, retainAsPublished=False, retainHandling=handling)
            _, mid = client.subscribe(subscription.filter, options=options)
        else:
            _, mid = client.subscribe(subscription.filter, qos=1)
        self._answers.expect(mid, future, lambda code, name: fault_of_subscription(code, name, subscription.filter))
        return future

    def close(self) -> None:
        """Take leave of the broker, which then keeps its will to itself."""
        client = self._client
        if client is not None:
            with suppress(OSError, ValueError):
                client.disconnect()
            if not self._ended.wait(LEAVE_S):
                self._cut(client.socket())
        self._end(None)

    def drop(self, fault: Fault) -> None:
        """End a connection that does not work, without a leave: the broker publishes the will.

        Args:
            fault: why.
        """
        self._end(fault)
        if self._client is not None:
            self._cut(self._client.socket())
            self._ended.wait(LEAVE_S)

    def abandon(self) -> None:
        """Have nothing sent any more, where the connection is still being made too; any thread may call it."""
        self._abandoned = True
        self.drop(self._unknown_loss())
        self._accepted.set()

    @staticmethod
    def _cut(sock: Any) -> None:
        if sock is not None:
            # By the descriptor, since a socket of TLS or WebSocket would take leave first.
            with suppress(OSError, ValueError), socket.socket(fileno=os.dup(sock.fileno())) as bare:
                bare.shutdown(socket.SHUT_RDWR)

    def _unknown_loss(self) -> Fault:
        return fault_of_loss(0, "it was closed", self._broker, self._name)

    def _on_connect(
        self, _client: Client, _data: Any, flags: ConnectFlags, reason: ReasonCode, properties: Properties | None
    ) -> None:
        self.answered = True
        if reason.value >= FAILURE:
            self._end(fault_of_connack(reason.value, str(reason), self._broker, self._name))
        else:
            self.accepted, self._accepted_s = True, time.monotonic()
            self.limits = Limits(
                in_flight=getattr(properties, "ReceiveMaximum", 65_535),
                qos=getattr(properties, "MaximumQoS", 1),
                retain=bool(getattr(properties, "RetainAvailable", 1)),
                packet_bytes=getattr(properties, "MaximumPacketSize", None),
                session=flags.session_present,
            )
        self._accepted.set()

    def _on_disconnect(
        self, _client: Client, _data: Any, _flags: DisconnectFlags, reason: ReasonCode, _properties: Properties | None
    ) -> None:
        if self._heard_of_tls:
            self._end(fault_of_tls(self._heard_of_tls, self._broker))
        else:
            self._end(fault_of_loss(reason.value, str(reason), self._broker, self._name))
        self._accepted.set()

    def _on_end_of_thread(self) -> None:
        self._end(fault_of_loss(0, "what it sent cannot be read", self._broker, self._name))
        self._cut(None if self._client is None else self._client.socket())
        self._accepted.set()
        self._ended.set()

    def _on_publish(
        self, _client: Client, _data: Any, mid: int, reason: ReasonCode, _properties: Properties | None
    ) -> None:
        # Called within a lock of paho's that publish() takes too: nothing here may wait for a publish.
        self._answers.come(mid, reason.value, str(reason))

    def _on_subscribe(
        self, _client: Client, _data: Any, mid: int, reasons: list[ReasonCode], _properties: Properties | None
    ) -> None:
        worst = max(reasons, key=lambda reason: int(reason.value), default=None)
        if worst is None:  # as no broker of good faith answers
            self._answers.come(mid, FAILURE, "an answer without a reason code")
        else:
            self._answers.come(mid, worst.value, str(worst))

    def _on_message(self, _client: Client, _data: Any, message: MQTTMessage) -> None:
        try:
            topic = message.topic
        except UnicodeDecodeError:
            _log.debug("a message whose topic is no UTF-8 is left aside")
            return
        self._receive(topic, bytes(message.payload), message.retain)

    def _on_log(self, _client: Client, _data: Any, _level: int, text: str) -> None:
        if is_of_tls(text):
            self._heard_of_tls = text

    def _end(self, fault: Fault | None) -> None:
        with self._lock:
            if self.lost.is_set():
                return
            self.fault = fault
            self.lost.set()
        self._answers.end()
