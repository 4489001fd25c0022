"""Records as messages to an MQTT broker."""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from dataclasses import replace

from edge_aac.backoff import Backoff
from edge_aac.credentials import SecretPlace
from edge_aac.errors import ConfigError, DataError
from edge_aac.records import Record
from edge_aac.sinks.contract import SinkStatus, SourceControl
from edge_aac.sinks.message import Message as StoredMessage
from edge_aac.sinks.mqtt.connection import BACKOFF, Connection
from edge_aac.sinks.mqtt.faults import Fault
from edge_aac.sinks.mqtt.login import CREDENTIALS, read_login
from edge_aac.sinks.mqtt.messages import Message, Moment, message_of, of_stored, to_stored
from edge_aac.sinks.mqtt.settings import MqttSettings
from edge_aac.sinks.mqtt.steering import Steering
from edge_aac.sinks.remote import Receipts, RemoteFault, Spooled, Window
from edge_aac.sinks.spool import Spool

WAIT_S = 2.0
"""How long a try to deliver waits for a connection."""

LONGEST_RETRY_S = 5.0
"""Longest pause between two looks at whether waiting messages can be sent."""

MIN_WINDOW = 100
"""Messages that are taken from the disk at once, or more; half of them may be of topics that the broker refuses."""

_log = logging.getLogger(__name__)

_clients: set[tuple[str, int, str]] = set()
_clients_lock = threading.Lock()


class MqttSink:
    """Publishes records to a broker, which it stays connected to.

    Records wait on disk until the broker has confirmed them. Those of which only the newest is of use, as health, do
    not: the newest goes when there is a connection. One that is longer than the settings or the broker allow is
    dropped and counted.

    Args:
        settings: see :class:`MqttSettings`.
        backoff: pauses between tries to connect.

    Raises:
        ConfigError: the credentials or certificates hold nothing of use, another process uses the file of waiting
            messages, or another sink of this process is the same client, which a broker would disconnect.
        InputMissingError: a file of credentials or certificates is not there.
    """

    Settings = MqttSettings

    def __init__(self, settings: MqttSettings, backoff: Backoff = BACKOFF) -> None:
        if settings.credentials is not None:
            read_login(settings.credentials)
        settings.tls_context()
        self._settings = settings
        self._topics = settings.topics
        self._steering: Steering | None = None
        self._client = (settings.broker.host, settings.broker.port, settings.client)
        self._claim()
        try:
            spool = Spool(settings.spool_file("mqtt", f"{settings.url} {settings.client}"), settings.spool_limits)
        except BaseException:
            self._release()
            raise
        warn_of_open_ways(settings)
        self.connection = Connection(
            settings,
            will=self._status_message("offline"),
            birth=lambda: [self._status_message("online")],
            keep_session=settings.commands,
            backoff=backoff,
        )
        window = Window(messages=max(settings.in_flight, MIN_WINDOW))
        remote = _Broker(settings, self.connection)
        # The connection itself waits as long as it should: this only sees whether it is there.
        retries = replace(backoff, longest_s=min(backoff.longest_s, LONGEST_RETRY_S))
        self._spooled = Spooled(remote, spool, f"MQTT {settings.broker.label}", window=window, backoff=retries)
        self.connection.on_connected(self._spooled.retry_now)
        self.connection.start()

    @classmethod
    def open(cls, settings: MqttSettings) -> MqttSink:
        """See :class:`edge_aac.sinks.contract.SinkKind`. It does not wait for the broker."""
        return cls(settings)

    @classmethod
    def check(cls, settings: MqttSettings) -> str:
        """See :class:`edge_aac.sinks.contract.SinkKind`."""
        from edge_aac.sinks.mqtt.check import check

        return check(settings)

    def take_commands(self, control: SourceControl) -> None:
        """See :class:`edge_aac.sinks.contract.TakesCommands`: alerts are told and, where wanted, the device announced
        and steered."""
        self._steering = Steering(self.connection, self._settings, control)

    @property
    def status(self) -> SinkStatus:
        """See :class:`edge_aac.sinks.contract.Sink`. It delivers only while it is connected and nothing is refused."""
        status = self._spooled.status
        fault = self.connection.fault
        if fault is None or status.state == "failed":
            return status
        return replace(status, state="retrying", reason=fault.sentence)

    def publish(self, record: Record) -> None:
        """See :class:`edge_aac.sinks.contract.Sink`: the record is on its way, or on the disk, when it returns."""
        message = _message_of(record, self._settings)
        if message.qos == 0 and self._settings.qos and len(message.payload) <= self._settings.payload_limit:
            self.connection.keep(message)
        else:
            self._spooled.publish(record)

    def close(self) -> None:
        """See :class:`edge_aac.sinks.contract.Sink`: what waits is delivered, and the device is told to be offline."""
        if self._steering is not None:
            self._steering.close()
        try:
            self._spooled.close()
        finally:
            last = [] if self._steering is None else self._steering.farewell()
            self.connection.close([*last, self._status_message("offline")])
            self._release()

    def _status_message(self, text: str) -> Message:
        return Message(self._topics.status, text.encode(), qos=1, retain=True, json=False)

    def _claim(self) -> None:
        with _clients_lock:
            if self._client in _clients:
                raise ConfigError(
                    f"another sink is the client '{self._settings.client}' at {self._settings.broker.label}: give one "
                    "of them another 'client_id'"
                )
            _clients.add(self._client)

    def _release(self) -> None:
        with _clients_lock:
            _clients.discard(self._client)


class _Broker:
    """The broker as the store of waiting messages delivers to it, see :class:`edge_aac.sinks.remote.Remote`."""

    def __init__(self, settings: MqttSettings, connection: Connection) -> None:
        self._settings = settings
        self._connection = connection

    def messages(self, record: Record) -> Sequence[StoredMessage]:
        message = _message_of(record, self._settings)
        if len(message.payload) > self._settings.payload_limit:
            raise DataError(f"a {record.kind} record has {len(message.payload)} bytes, more than 'payload_limit'")
        return [to_stored(message, record.source, Moment.now())]

    def send(self, messages: Sequence[StoredMessage], receipts: Receipts) -> None:
        if not self._connection.wait(WAIT_S):
            fault = self._connection.fault
            raise RemoteFault(fault.sentence if fault else "the broker is not connected", logged=True)
        faults = self._give_up_refused(messages, receipts)
        ready = [message for message in messages if self._connection.refusals.resting(message.topic) is None]
        # A refused topic whose rest is over is tried last, by one message: the broker may end the connection for it.
        ready.sort(key=lambda message: self._connection.refusals.known(message.topic))
        messages = [message for message in ready if not self._connection.refusals.known(message.topic)]
        messages += ready[len(messages) : len(messages) + 1]

        def settled(place: int, fault: Fault | None) -> None:
            if fault is None:
                receipts.acknowledged(messages[place])
            elif fault.hopeless:
                receipts.refused(messages[place], fault.sentence)
            else:
                faults.append(fault)

        now = Moment.now()
        self._connection.send([of_stored(message, now) for message in messages], settled)
        if faults:
            raise RemoteFault(faults[0].sentence, logged=True)

    def _give_up_refused(self, messages: Sequence[StoredMessage], receipts: Receipts) -> list[Fault]:
        """Drop the oldest messages of topics that rest where they leave no room for others; why the rest waits."""
        resting = [
            (message, fault) for message in messages if (fault := self._connection.refusals.resting(message.topic))
        ]
        for message, fault in resting[: max(0, len(resting) - MIN_WINDOW // 2)]:
            receipts.refused(message, fault.sentence)
        return [fault for _, fault in resting]

    def close(self) -> None:
        """Nothing is to be done: the sink closes the connection after its last words."""


def _message_of(record: Record, settings: MqttSettings) -> Message:
    return message_of(
        record, settings.topics, qos=settings.qos, retain=settings.retain, expiry_s=settings.state_expiry_s or None
    )


def warn_of_open_ways(settings: MqttSettings) -> None:
    """Log by which ways others could learn what is sent, or who sends it."""
    if settings.credentials is not None:
        SecretPlace.parse(settings.credentials).warn_if_open(CREDENTIALS)
    loopback = settings.broker.host in {"localhost", "127.0.0.1", "::1"}
    if settings.credentials is not None and not settings.broker.tls and not loopback:
        _log.warning("MQTT: user and password go to %s unencrypted: use mqtts://", settings.broker.label)
