"""Records as messages to an MQTT broker."""

from __future__ import annotations

import logging
import threading

from edge_aac.backoff import Backoff
from edge_aac.errors import ConfigError
from edge_aac.records import Record
from edge_aac.sinks.contract import SinkStatus, SourceControl, TransientSinkError
from edge_aac.sinks.mqtt.connection import BACKOFF, Connection
from edge_aac.sinks.mqtt.login import is_open, read_login
from edge_aac.sinks.mqtt.messages import Message, message_of
from edge_aac.sinks.mqtt.settings import MqttSettings
from edge_aac.sinks.mqtt.steering import Steering

WAIT_S = 2.0
"""How long a record waits for a connection before it is handed back, to be tried again later."""

_log = logging.getLogger(__name__)

_clients: set[tuple[str, int, str]] = set()
_clients_lock = threading.Lock()


class MqttSink:
    """Publishes records to a broker, which it stays connected to.

    A record counts as delivered when the broker has confirmed it. Where there is no connection, or the broker refuses
    a topic, the record is handed back. One that is longer than the settings or the broker allow is dropped and counted.

    Args:
        settings: see :class:`MqttSettings`.
        backoff: pauses between tries to connect.

    Raises:
        ConfigError: the credentials or certificates hold nothing of use, or another sink of this process is the same
            client, which a broker would disconnect.
        InputMissingError: a file of credentials or certificates is not there.
    """

    Settings = MqttSettings

    def __init__(self, settings: MqttSettings, backoff: Backoff = BACKOFF) -> None:
        if settings.credentials is not None:
            read_login(settings.credentials)
        settings.tls_context()
        self._settings = settings
        self._topics = settings.topics
        self._dropped = 0
        self._retries = 0
        self._under_way = 0
        self._warned = False
        self._steering: Steering | None = None
        self._client = (settings.broker.host, settings.broker.port, settings.client)
        self._claim()
        warn_of_open_ways(settings)
        self.connection = Connection(
            settings,
            will=self._status_message("offline"),
            birth=lambda: [self._status_message("online")],
            keep_session=settings.commands,
            backoff=backoff,
        )
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
        """See :class:`edge_aac.sinks.contract.TakesCommands`: the device is announced and, where wanted, steered."""
        if self._settings.commands or self._settings.discovery:
            self._steering = Steering(self.connection, self._settings, control)

    @property
    def status(self) -> SinkStatus:
        """See :class:`edge_aac.sinks.contract.Sink`."""
        fault = self.connection.fault
        return SinkStatus(
            state="delivering" if fault is None else "retrying",
            queued=0,
            dropped=self._dropped,
            retries=self._retries,
            reason=None if fault is None else fault.sentence,
        )

    def publish(self, record: Record) -> None:
        """See :class:`edge_aac.sinks.contract.Sink`."""
        message = self.message(record)
        if message is None:
            return
        if message.qos == 0 and self._settings.qos:
            self.connection.keep(message)
            return
        if not self.connection.wait(WAIT_S):
            fault = self.connection.fault
            raise TransientSinkError(fault.sentence if fault else "the broker is not connected")
        (fault,) = self.connection.send([message])
        if fault is None:
            return
        if fault.hopeless:
            self._drop(fault.sentence)
            return
        self._retries += 1
        raise TransientSinkError(fault.sentence)

    def message(self, record: Record) -> Message | None:
        """The message of a record; None for one that is too long, which is counted."""
        settings = self._settings
        message = message_of(
            record, self._topics, qos=settings.qos, retain=settings.retain, expiry_s=settings.state_expiry_s or None
        )
        if len(message.payload) <= settings.payload_limit:
            return message
        self._drop(f"a {record.kind} record has {len(message.payload)} bytes, more than 'payload_limit'")
        return None

    def close(self) -> None:
        """See :class:`edge_aac.sinks.contract.Sink`: the device is told to be offline."""
        if self._steering is not None:
            self._steering.close()
        try:
            self.connection.close([self._status_message("offline")])
        finally:
            with _clients_lock:
                _clients.discard(self._client)

    def _status_message(self, text: str) -> Message:
        return Message(self._topics.status, text.encode(), qos=1, retain=True, json=False)

    def _drop(self, why: str) -> None:
        self._dropped += 1
        _log.log(logging.DEBUG if self._warned else logging.WARNING, "MQTT: %s: it is dropped and counted", why)
        self._warned = True

    def _claim(self) -> None:
        with _clients_lock:
            if self._client in _clients:
                raise ConfigError(
                    f"another sink is the client '{self._settings.client}' at {self._settings.broker.label}: give one "
                    "of them another 'client_id'"
                )
            _clients.add(self._client)


def warn_of_open_ways(settings: MqttSettings) -> None:
    """Log by which ways others could learn what is sent, or who sends it."""
    if settings.credentials is not None and is_open(settings.credentials):
        path = settings.credentials.partition(":")[2]
        _log.warning(
            "'%s' holds credentials and every user of this machine may read or change it: `chmod 600 '%s'`", path, path
        )
    loopback = settings.broker.host in {"localhost", "127.0.0.1", "::1"}
    if settings.credentials is not None and not settings.broker.tls and not loopback:
        _log.warning("MQTT: user and password go to %s unencrypted: use mqtts://", settings.broker.label)
