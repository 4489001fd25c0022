"""A connection to a broker that is made again, for ever, whenever it is lost."""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from contextlib import suppress
from functools import partial

from edge_aac.backoff import Backoff
from edge_aac.errors import EdgeAacError
from edge_aac.sinks.mqtt.delivery import deliver
from edge_aac.sinks.mqtt.faults import BrokerError, Fault, fault_of_loss, fault_of_short_lives
from edge_aac.sinks.mqtt.link import LEAVE_S, Link, Subscription
from edge_aac.sinks.mqtt.login import Login, read_login
from edge_aac.sinks.mqtt.messages import Message
from edge_aac.sinks.mqtt.refusals import Refusals
from edge_aac.sinks.mqtt.settings import MqttSettings
from edge_aac.sinks.mqtt.states import KeptState, KeptStates
from edge_aac.sinks.mqtt.versions import Versions

BACKOFF = Backoff(first_s=0.5, longest_s=30.0, refused_s=300.0, jitter=0.5, steady_s=10.0)
LOOK_AT_LOGIN_S = 2.0
FAREWELL_S = 1.0
SHORT_LIVES = 4  # connections in a row that were lost soon, which is no outage any more

_log = logging.getLogger(__name__)


class Connection:
    """A client that stays connected.

    A thread of its own connects again and again, with growing pauses. It counts as connected from the broker's consent
    (CONNACK) to the loss. Each fault is logged once until a connection has held.

    Args:
        settings: of the broker.
        will: published by the broker when the connection is lost without a leave.
        birth: gives what is published first after each connection.
        keep_session: whether the broker keeps what is sent to this client while it is away.
        backoff: pauses between tries.
    """

    def __init__(
        self,
        settings: MqttSettings,
        *,
        will: Message | None = None,
        birth: Callable[[], Sequence[Message]] = tuple,
        keep_session: bool = False,
        backoff: Backoff = BACKOFF,
    ) -> None:
        self._settings = settings
        self._will = will
        self._birth = birth
        self._keep_session = keep_session
        self._backoff = backoff
        self._changed = threading.Condition()
        self._stop = threading.Event()
        self._link: Link | None = None
        """The connection that the broker has accepted."""
        self._making: Link | None = None
        """The newest one, accepted or not."""
        self._fault: Fault | None = None
        self.refusals = Refusals(backoff.refused_s)
        """What the broker refuses although it is connected."""
        self._states = KeptStates(self.refusals.resting)
        self._subscriptions: list[Subscription] = []
        self._on_connected: list[Callable[[], None]] = []
        self._logged: set[str] = set()
        self._down = False
        """Whether it was logged that there is no connection."""
        self._versions = Versions(settings.protocol)
        self._farewell: Sequence[Message] = ()
        self.connections = 0  # that the broker accepted
        self.tries = 0
        self._thread = threading.Thread(target=self._run, name=f"edge-aac-mqtt-{settings.client}", daemon=True)

    def start(self) -> None:
        """Begin to connect, in a thread of its own."""
        self._thread.start()

    @property
    def connected(self) -> bool:
        """Whether the broker has accepted the client, and the connection is not lost since."""
        link = self._link
        return link is not None and not link.lost.is_set()

    @property
    def fault(self) -> Fault | None:
        """Why there is no connection, or what the broker refuses; None where all is well."""
        with self._changed:
            if not self.connected:
                return self._fault or Fault("tcp", f"not connected to {self._settings.broker.label} yet")
            return self.refusals.fault

    @property
    def protocol(self) -> str:
        """Version of MQTT that is spoken: "5" or "3.1.1"."""
        return self._versions.name

    def wait(self, timeout_s: float) -> bool:
        """Wait until it is connected; False where it is not within the time."""
        with self._changed:
            return self._changed.wait_for(lambda: self.connected or self._stop.is_set(), timeout_s) and self.connected

    def on_connected(self, call: Callable[[], None]) -> None:
        """Have ``call`` called after each connection, in the connection's own thread; it must not wait."""
        self._on_connected.append(call)

    def subscribe(self, subscription: Subscription) -> None:
        """Subscribe now, where it is connected, and after each connection."""
        self._subscriptions.append(subscription)
        if (link := self._link) is not None:
            self._subscribe(link, [subscription])

    def keep(self, message: Message) -> None:
        """Have the newest message of a topic sent: now or, where it is not connected, later. It never waits.

        A retained one is sent again after each connection, since a broker may have lost what it kept. An empty
        retained one deletes what the broker keeps.
        """
        self._states.keep(message)
        with self._changed:
            self._changed.notify_all()

    def send(self, messages: Sequence[Message], settled: Callable[[int, Fault | None], None]) -> None:
        """Deliver messages in order, several at once.

        Args:
            messages: in order.
            settled: called with the place of each message, and None where the broker has confirmed it (with QoS 0:
                where it was written), else why not. After a loss of the connection it may have arrived all the same.
        """
        link = self._link
        if link is None or link.lost.is_set():
            fault = self.fault or self._loss()
            for place in range(len(messages)):
                settled(place, fault)
            return

        def note(place: int, fault: Fault | None) -> None:
            topic = messages[place].topic
            if fault is None:
                self._taken(topic)
            elif fault.stage == "publish" and not fault.hopeless:
                self._refused(topic, fault)
            settled(place, fault)

        resting = [self.refusals.resting(message.topic) for message in messages]
        for place, refusal in enumerate(resting):
            if refusal is not None:
                settled(place, refusal)
        places = [place for place, refusal in enumerate(resting) if refusal is None]
        deliver(link, [messages[place] for place in places], self._settings, lambda at, fault: note(places[at], fault))

    def close(self, farewell: Sequence[Message] = ()) -> None:
        """Send what is kept and the last messages, where it is connected, and take leave of the broker.

        A broker that does not answer is cut off. Nothing reaches a broker once this has returned, not even by a
        connection that is being made.
        """
        self._farewell = tuple(farewell)
        with self._changed:
            self._stop.set()
            self._changed.notify_all()
        if not self._thread.is_alive():
            return
        if self.connected:
            self._thread.join(FAREWELL_S + LEAVE_S)
        if self._thread.is_alive() and (link := self._making) is not None:
            link.abandon()
            self._thread.join(FAREWELL_S)

    def _loss(self) -> Fault:
        return fault_of_loss(0, "it was closed", self._settings.broker, self._settings.client)

    def _run(self) -> None:
        failures = short = 0
        link: Link | None = None
        while not self._stop.is_set():
            link = self._making = Link(
                self._settings,
                self._versions.protocol,
                self._will,
                self._settings.client,
                self._receive,
                keep_session=self._keep_session,
                retained_will=self._versions.retained_will,
            )
            login = self._login()
            self.tries += 1
            fault = self._lived(link)
            if self._stop.is_set():
                break
            if link.held(self._backoff.steady_s):
                failures = short = 0
                self._logged.clear()
            short += link.accepted
            link.close()
            if self._versions.adapted(link, fault):
                continue
            failures += 1
            cause = self.refusals.cause_of_loss if link.accepted else None
            if link.accepted and cause is None and short >= SHORT_LIVES and not fault.refused:
                fault = fault_of_short_lives(self._settings.broker, self._settings.client)
            self._note(cause or fault, consequence=cause is not None)
            self._pause(failures, fault, login)
        if link is not None:
            link.close()

    def _lived(self, link: Link) -> Fault:
        """Open a connection and use it until it is lost; gives why it was, or could not be made."""
        try:
            link.open()
            return self._loss() if self._stop.is_set() else self._stay(link)
        except BrokerError as error:
            return error.fault
        except EdgeAacError as error:
            return Fault("login", str(error))
        except Exception as error:  # a fault of ours must not end the tries
            _log.debug("a connection failed", exc_info=True)
            return Fault("tcp", f"{self._settings.broker.label} is not reached ({type(error).__name__}: {error})")
        finally:
            with self._changed:
                self._link = None

    def _stay(self, link: Link) -> Fault:
        """Subscribe, greet the broker and send what is kept until the connection is lost; gives why it was.

        A broker takes a client's packets in turn: who hears the greeting and answers with a command is heard.
        """
        subscribed = list(self._subscriptions)
        self._subscribe(link, subscribed)
        for message in self._birth():
            if not self.refusals.resting(message.topic):
                self._post(link, message)
        with self._changed:
            self._states.send_all()
            self._link, self._fault = link, None
            self.connections += 1
            self._versions.accepted(link)
            again, self._down = self._down, False
            later = [each for each in self._subscriptions if each not in subscribed]
            self._changed.notify_all()
        level = logging.WARNING if again else logging.INFO if self.connections == 1 else logging.DEBUG
        whom = f"{self._settings.broker.label}{' again' if again else ''}"
        _log.log(level, "MQTT: connected to %s (MQTT %s)", whom, self.protocol)
        self._subscribe(link, later)
        for call in self._on_connected:
            call()
        while not link.lost.is_set() and not self._stop.is_set():
            self._send_kept(link)
            with self._changed:
                self._changed.wait_for(lambda: self._states.waiting or link.lost.is_set() or self._stop.is_set(), 0.25)
        if self._stop.is_set():
            self._leave(link)
        return link.fault or self._loss()

    def _leave(self, link: Link) -> None:
        """Send the last messages: by the thread that has greeted, so that none who was greeted is left without."""
        deadline_s = time.monotonic() + FAREWELL_S
        self._send_kept(link)
        for future in [link.publish(message) for message in self._farewell]:
            with suppress(BrokerError, FutureTimeoutError):
                future.result(max(deadline_s - time.monotonic(), 0.0))

    def _send_kept(self, link: Link) -> None:
        for message, kept in self._states.take():
            self._post(link, message).add_done_callback(partial(self._keep_again, kept))

    def _keep_again(self, kept: KeptState, done: Future[None]) -> None:
        if isinstance(done.exception(), BrokerError) and kept.message.qos and kept.message.retain:
            self._states.keep_again(kept)

    def _post(self, link: Link, message: Message) -> Future[None]:
        """Send without waiting; a refusal is noted."""
        future = link.publish(message)

        def note(done: Future[None]) -> None:
            error = done.exception()
            if error is None:
                self._taken(message.topic)
            elif isinstance(error, BrokerError) and error.fault.stage == "publish":
                self._refused(message.topic, error.fault)

        future.add_done_callback(note)
        return future

    def _subscribe(self, link: Link, subscriptions: Sequence[Subscription]) -> None:
        def note(filter_: str, done: Future[None]) -> None:
            error = done.exception()
            if error is None:
                self._taken(filter_)
            elif isinstance(error, BrokerError) and error.fault.stage == "receive":
                self._refused(filter_, error.fault)

        for each in subscriptions:
            link.subscribe(each).add_done_callback(partial(note, each.filter))

    def _refused(self, topic: str, fault: Fault) -> None:
        first = self.refusals.add(topic, fault)
        _log.log(logging.WARNING if first else logging.DEBUG, "MQTT: %s", fault.sentence)

    def _taken(self, topic: str) -> None:
        if self.refusals.accepted(topic):
            _log.warning("MQTT: the broker takes '%s' now", topic)

    def _receive(self, topic: str, payload: bytes, retained: bool) -> None:
        from paho.mqtt.client import topic_matches_sub

        for subscription in tuple(self._subscriptions):
            if topic_matches_sub(subscription.filter, topic) and (subscription.retained or not retained):
                try:
                    subscription.take(topic, payload)
                except Exception:  # one message must not end the connection
                    _log.exception("MQTT: a message could not be taken")

    def _note(self, fault: Fault, *, consequence: bool) -> None:
        with self._changed:
            self._fault = fault
            first = fault.sentence not in self._logged and not consequence
            self._logged.add(fault.sentence)
            self._down |= first
            self._changed.notify_all()
        _log.log(logging.WARNING if first else logging.DEBUG, "MQTT: %s; it is tried again", fault.sentence.rstrip("."))

    def _pause(self, failures: int, fault: Fault, login: Login | None) -> None:
        """Wait before the next try; no longer than until the credentials are others, where those were refused."""
        wait_s = self._backoff.wait_s(failures, random.random())
        if fault.refused:
            wait_s = max(wait_s, self._backoff.refused_s * (1 - self._backoff.jitter * random.random()))
        deadline_s = time.monotonic() + wait_s
        while (left_s := deadline_s - time.monotonic()) > 0 and not self._stop.wait(min(left_s, LOOK_AT_LOGIN_S)):
            if fault.refused and self._login() != login:
                return

    def _login(self) -> Login | None:
        if self._settings.credentials is None:
            return None
        try:
            return read_login(self._settings.credentials)
        except EdgeAacError:
            return None
