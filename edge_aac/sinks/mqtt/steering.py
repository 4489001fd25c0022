"""Commands that come by MQTT, the states that answer them, states of alerts, and what Home Assistant is told."""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable, Sequence
from typing import Protocol

import edge_aac
from edge_aac.records import as_text
from edge_aac.sinks.contract import SourceControl, SourceState
from edge_aac.sinks.mqtt.alert_messages import alert_messages, alert_topics, states
from edge_aac.sinks.mqtt.commands import Refusal, carry_out, parse, state_texts
from edge_aac.sinks.mqtt.discovery import Facts, filters, is_ours, messages, outdated, version_message
from edge_aac.sinks.mqtt.entity_names import parse_names
from edge_aac.sinks.mqtt.faults import Fault
from edge_aac.sinks.mqtt.link import Subscription
from edge_aac.sinks.mqtt.messages import Message
from edge_aac.sinks.mqtt.settings import MqttSettings

MAX_WAITING = 256
"""Messages that may wait for those before them; more are dropped, which the log tells."""

MAX_FOUND = 4096
"""Announcements of earlier runs that are looked at; of more, the rest at the next connection."""

REFUSAL_LOGGED_EVERY_S = 60.0
"""Of commands that are refused within this time, the first has a line in the log."""

JOIN_TIMEOUT_S = 0.5

log = logging.getLogger(__name__)


class KeepsMessages(Protocol):
    """What is used of a :class:`~edge_aac.sinks.mqtt.connection.Connection`."""

    def keep(self, message: Message) -> None:
        """Have the newest message of a topic sent, now or later."""

    def send(self, messages: Sequence[Message], settled: Callable[[int, Fault | None], None]) -> None:
        """Deliver messages, all of them, where it is connected; ``settled`` is called with what became of each."""

    def subscribe(self, subscription: Subscription) -> None:
        """Subscribe now and after each connection."""


class Steering:
    """Obeys commands, answers them on the topics of states, tells which alerts are open, and announces the device to
    Home Assistant.

    All of it is done by a thread of its own: a command may wait for the model, and neither the connection nor the
    records wait with it. What a broker had retained is no command.

    Args:
        connection: to the broker.
        settings: of the sink.
        control: of the sources.
    """

    def __init__(self, connection: KeepsMessages, settings: MqttSettings, control: SourceControl) -> None:
        self._connection = connection
        self._settings = settings
        self._topics = settings.topics
        self._names = parse_names(settings.entity_names)
        self._control = control
        self._waiting: queue.Queue[Callable[[], None] | None] = queue.Queue(MAX_WAITING)
        self._announce_due = threading.Event()
        self._repeat_due = threading.Event()
        """What is announced next is sent although it has not changed."""
        self._shown: dict[str, bytes] = {}
        """Payloads of the states and announcements that are there, by topic."""
        self._found: dict[str, bytes] = {}
        """Announcements and states of alerts of this node that the broker had, by topic, until it is known which of
        them still hold."""
        self._dropped = 0
        self._refusal_logged_s = float("-inf")
        self._refusals_unlogged = 0
        self._closed = False
        self._thread = threading.Thread(target=self._run, name=f"edge-aac-mqtt-commands-{settings.client}", daemon=True)
        self._thread.start()
        self._end_subscription = control.subscribe(self._announce)
        if settings.commands:
            connection.subscribe(Subscription(self._topics.commands, self._take_command))
        if settings.discovery:
            status = f"{settings.discovery_prefix}/status"
            connection.subscribe(Subscription(status, self._take_birth))
            for filter_ in filters(self._facts([])):
                connection.subscribe(Subscription(filter_, self._take_announcement, retained=True))
            # With discovery only: a broker that lets nobody read these topics may end the connection for it.
            for filter_ in self._topics.alerts:
                connection.subscribe(Subscription(filter_, self._take_alert, retained=True))
        self._announce()

    def farewell(self) -> list[Message]:
        """The last states of alerts that there were: none is open when nothing is listened to any more."""
        return states(self._topics, self._control.sources())

    def close(self) -> None:
        """Take no more commands."""
        self._closed = True
        self._end_subscription()
        self._put(None)
        self._thread.join(JOIN_TIMEOUT_S)

    def _facts(self, sources: list[SourceState]) -> Facts:
        settings = self._settings
        return Facts(
            topics=self._topics,
            prefix=settings.discovery_prefix,
            version=edge_aac.__version__,
            sources=sources,
            commands=settings.commands,
            form=settings.discovery_form,
            device_name=settings.device_name,
            names=self._names,
        )

    def _run(self) -> None:
        while (work := self._waiting.get()) is not None and not self._closed:
            for each in (work, self._publish_if_due):
                try:
                    each()
                except Exception:  # one message must not end the others
                    log.exception("MQTT: a message could not be carried out")

    def _put(self, work: Callable[[], None] | None) -> bool:
        try:
            self._waiting.put_nowait(work)
        except queue.Full:
            return False
        return True

    def _announce(self, *, again: bool = False) -> None:
        """Have states and announcements brought up to date; ``again``: those too that have not changed."""
        if again:
            self._repeat_due.set()
        if not self._announce_due.is_set():
            self._announce_due.set()
            self._put(_nothing)  # whatever fills a full queue wakes the thread as well

    def _publish_if_due(self) -> None:
        if self._announce_due.is_set():
            self._publish()

    def _publish(self) -> None:
        self._announce_due.clear()
        sources = list(self._control.sources())
        if not sources and not self._shown:
            return  # the stream has not begun, or nothing was found yet
        wanted: list[Message] = []
        if self._settings.discovery:
            facts = self._facts(sources)
            wanted += [*messages(facts), version_message(facts)]
        if self._settings.commands or self._settings.discovery:
            for source in sources:
                for name, text in state_texts(source).items():
                    wanted.append(self._message(self._topics.of(source.label, name), text, retain=True))
        expiry_s = self._settings.state_expiry_s or None
        wanted += alert_messages(self._topics, sources, retain=self._settings.retain, expiry_s=expiry_s)
        again = self._repeat_due.is_set()
        self._repeat_due.clear()
        topics = {message.topic for message in wanted}
        for topic in set(self._shown) - topics:
            if self._shown[topic]:
                wanted.append(Message(topic, b"", qos=1, retain=True, json=False))
        for message in wanted:
            if again or self._shown.get(message.topic) != message.payload:
                self._connection.keep(message)
        self._shown = {message.topic: message.payload for message in wanted if message.topic in topics}
        self._take_back()

    def _take_command(self, topic: str, payload: bytes) -> None:
        if not self._put(lambda: self._obey(topic, payload)):
            self._dropped += 1
            log.log(
                logging.WARNING if self._dropped == 1 else logging.DEBUG,
                "MQTT: commands come faster than they can be carried out: some are dropped",
            )

    def _obey(self, topic: str, payload: bytes) -> None:
        command = parse(self._topics, self._control.sources(), topic, payload)
        if command is None:
            return
        refusal = command if isinstance(command, Refusal) else carry_out(command, self._control)
        if refusal is None:
            self._publish()
            return
        self._log_refusal(refusal)
        label = refusal.label
        error = f"{self._topics.base}/error" if label is None else self._topics.error(label)
        # Each of them: of what is kept, the newest of a topic stands for all.
        self._connection.send([self._message(error, refusal.reason, retain=False)], _unheeded)
        # Whoever has shown the change before it was obeyed is shown what is.
        if label is not None:
            for source in self._control.sources():
                if source.label == label:
                    for name, text in state_texts(source).items():
                        self._connection.keep(self._message(self._topics.of(label, name), text, retain=True))

    def _log_refusal(self, refusal: Refusal) -> None:
        """Log it, unless another one was logged a moment ago: whoever sends them must not fill the log."""
        now_s = time.monotonic()
        if now_s - self._refusal_logged_s < REFUSAL_LOGGED_EVERY_S:
            self._refusals_unlogged += 1
            log.debug("MQTT: a command is refused: %s", refusal.reason)
            return
        others = f" ({self._refusals_unlogged} before it too)" if self._refusals_unlogged else ""
        log.warning("MQTT: a command is refused: %s%s", refusal.reason, others)
        self._refusal_logged_s, self._refusals_unlogged = now_s, 0

    def _take_birth(self, _topic: str, payload: bytes) -> None:
        if payload.strip() == b"online":
            self._announce(again=True)

    def _take_announcement(self, topic: str, payload: bytes) -> None:
        # Those of all other devices come too.
        if payload and is_ours(self._facts([]), topic):
            self._put(lambda: self._note_announcement(topic, payload))

    def _take_alert(self, topic: str, payload: bytes) -> None:
        # What was just told comes back, too.
        if payload and topic not in self._shown:
            self._put(lambda: self._note_announcement(topic, payload))

    def _note_announcement(self, topic: str, payload: bytes) -> None:
        if len(self._found) < MAX_FOUND:
            self._found[topic] = payload
        self._take_back()

    def _take_back(self) -> None:
        """Take back what was announced before and is no more, as soon as it is known what is."""
        sources = list(self._control.sources())
        if not (sources or self._shown) or not self._found:
            return  # the stream has not begun: what stands there may be announced again
        facts, found, self._found = self._facts(sources), self._found, {}
        states_there = alert_topics(self._topics, sources)
        for topic, payload in found.items():
            if topic.startswith(f"{self._topics.base}/"):
                stale = topic not in states_there
                removal = Message(topic, b"", retain=True, json=False) if stale else None
            else:
                removal = outdated(facts, topic, payload)
            if removal is not None:
                self._connection.keep(removal)

    def _message(self, topic: str, text: str, *, retain: bool) -> Message:
        return Message(topic, as_text(text).encode(), qos=1, retain=retain, json=False)


def _nothing() -> None:
    """Work that wakes the thread."""


def _unheeded(_place: int, _fault: Fault | None) -> None:
    """Whoever sent a bad command and is not told of it now can see that nothing changed."""
