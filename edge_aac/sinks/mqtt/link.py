"""One connection to a broker, from its making to its loss. It is never made anew: the next one is another object."""

from __future__ import annotations

import logging
import os
import socket
import threading
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from edge_aac.sinks.mqtt.client import V5, made_client, publish_properties, session_options
from edge_aac.sinks.mqtt.faults import (
    FAILURE,
    BrokerError,
    Fault,
    fault_of_connack,
    fault_of_loss,
    fault_of_opening,
    fault_of_publish,
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
        self._lock = threading.Lock()
        self._waiting: dict[int, tuple[str, Future[None]]] = {}
        self._early: dict[int, tuple[int, str]] = {}
        self._heard_of_tls = ""
        self._will = will if will is None or retained_will else replace(will, retain=False)
        self._client: Client | None = None

    def open(self) -> None:
        """Connect, and wait for the broker's consent.

        Raises:
            BrokerError: it is not reached, or refuses.
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
        client.loop_start()
        if not self._accepted.wait(self._settings.connect_s) and self.fault is None:
            self._end(Fault("connack", f"{self._broker.label} does not answer in MQTT: correct the port"))
        if self.fault is not None:
            self.close()
            raise BrokerError(self.fault)

    def publish(self, message: Message) -> Future[None]:
        """Send a message.

        Returns:
            Done when the broker has confirmed it (QoS 1) or it is written (QoS 0); raises a :class:`BrokerError` where
            the broker refuses it, or the connection is lost before.
        """
        future: Future[None] = Future()
        client = self._client
        with self._lock:
            if self.lost.is_set() or client is None:
                future.set_exception(BrokerError(self.fault or self._unknown_loss()))
                return future
        info = client.publish(
            message.topic,
            message.payload,
            qos=min(message.qos, self.limits.qos),
            retain=message.retain and self.limits.retain,
            properties=publish_properties(message) if self.protocol == V5 else None,
        )
        with self._lock:
            if info.mid in self._early:
                _finish(future, _refusal(fault_of_publish, *self._early.pop(info.mid), message.topic))
            elif self.lost.is_set():
                _finish(future, self.fault or self._unknown_loss())
            else:
                self._waiting[info.mid] = message.topic, future
        return future

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
        with self._lock:
            if mid is None or self.lost.is_set():
                _finish(future, self.fault or self._unknown_loss())
            elif mid in self._early:
                _finish(future, _refusal(fault_of_subscription, *self._early.pop(mid), subscription.filter))
            else:
                self._waiting[mid] = subscription.filter, future
        return future

    def close(self) -> None:
        """Take leave of the broker, which then keeps its will to itself."""
        if self._client is not None:
            with suppress(OSError, ValueError):
                self._client.disconnect()
            self._client.loop_stop()
        self._end(None)

    def drop(self, fault: Fault) -> None:
        """End a connection that does not work, without a leave: the broker publishes the will.

        Args:
            fault: why.
        """
        self._end(fault)
        client = self._client
        sock = None if client is None else client.socket()
        if sock is not None:
            # By the descriptor, since a socket of TLS or WebSocket would take leave first.
            with suppress(OSError, ValueError), socket.socket(fileno=os.dup(sock.fileno())) as bare:
                bare.shutdown(socket.SHUT_RDWR)
        if client is not None:
            client.loop_stop()

    def _unknown_loss(self) -> Fault:
        return fault_of_loss(0, "it was closed", self._broker, self._name)

    def _on_connect(
        self, _client: Client, _data: Any, flags: ConnectFlags, reason: ReasonCode, properties: Properties | None
    ) -> None:
        self.answered = True
        if reason.value >= FAILURE:
            self._end(fault_of_connack(reason.value, str(reason), self._broker, self._name))
        else:
            self.accepted = True
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

    def _on_publish(
        self, _client: Client, _data: Any, mid: int, reason: ReasonCode, _properties: Properties | None
    ) -> None:
        # Called within a lock of paho's that publish() takes too: nothing here may wait for a publish.
        self._answer(mid, fault_of_publish, reason.value, str(reason))

    def _on_subscribe(
        self, _client: Client, _data: Any, mid: int, reasons: list[ReasonCode], _properties: Properties | None
    ) -> None:
        worst = max(reasons, key=lambda reason: int(reason.value))
        self._answer(mid, fault_of_subscription, worst.value, str(worst))

    def _answer(self, mid: int, why: Callable[[int, str, str], Fault], code: int, name: str) -> None:
        with self._lock:
            topic, future = self._waiting.pop(mid, ("", None))
            if future is None:  # it was confirmed before publish() came back
                self._early[mid] = code, name
                return
        _finish(future, _refusal(why, code, name, topic))

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
            waiting, self._waiting = self._waiting, {}
            self.lost.set()
        for _, future in waiting.values():
            _finish(future, fault or self._unknown_loss())


def _refusal(why: Callable[[int, str, str], Fault], code: int, name: str, topic: str) -> Fault | None:
    return why(code, name, topic) if code >= FAILURE else None


def _finish(future: Future[None], fault: Fault | None) -> None:
    if fault is None:
        future.set_result(None)
    else:
        future.set_exception(BrokerError(fault))
