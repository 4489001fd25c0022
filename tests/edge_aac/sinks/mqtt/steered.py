"""A broker and sources of the test, for what commands do."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import replace

from paho.mqtt.client import topic_matches_sub

from edge_aac.sinks.contract import SourceState
from edge_aac.sinks.mqtt.faults import Fault
from edge_aac.sinks.mqtt.link import Subscription
from edge_aac.sinks.mqtt.messages import Message
from tests.waiting import PATIENCE_S


class FakeBroker:
    """A connection whose broker keeps what is retained, and gives messages to those who have subscribed."""

    def __init__(self) -> None:
        self.sent: list[Message] = []
        self.retained: dict[str, bytes] = {}
        self.subscriptions: list[Subscription] = []
        self.on_keep: Callable[[Message], None] = lambda message: None

    def keep(self, message: Message) -> None:
        self.on_keep(message)
        self.sent.append(message)
        if message.retain:
            self.retained[message.topic] = message.payload
            if not message.payload:
                del self.retained[message.topic]

    def send(self, messages: Sequence[Message], settled: Callable[[int, Fault | None], None]) -> None:
        for place, message in enumerate(messages):
            self.keep(message)
            settled(place, None)

    def subscribe(self, subscription: Subscription) -> None:
        self.subscriptions.append(subscription)
        if subscription.retained:
            for topic, payload in list(self.retained.items()):
                if topic_matches_sub(subscription.filter, topic):
                    subscription.take(topic, payload)

    def publish(self, topic: str, payload: bytes) -> None:
        for subscription in self.subscriptions:
            if topic_matches_sub(subscription.filter, topic):
                subscription.take(topic, payload)

    def of(self, topic: str) -> list[bytes]:
        return [message.payload for message in self.sent if message.topic == topic]


class FakeControl:
    """Sources that are changed at once."""

    def __init__(self, *labels: str) -> None:
        self.states = {label: SourceState(label, True, None, 2.0, True, "listening") for label in labels}
        self.changes = 0
        self.free = threading.Event()
        self.free.set()
        self._callbacks: list[Callable[[], None]] = []

    def sources(self) -> list[SourceState]:
        return list(self.states.values())

    def set_enabled(self, label: str, enabled: bool) -> None:
        self._set(label, enabled=enabled)

    def set_threshold(self, label: str, min_score: float | None) -> None:
        self._set(label, min_score=min_score)

    def set_hop(self, label: str, hop_s: float) -> None:
        if not 0.1 <= hop_s <= 3600.0:
            raise ValueError("a hop is between 0.1 and 3600 seconds")
        self._set(label, hop_s=hop_s)

    def subscribe(self, callback: Callable[[], None]) -> Callable[[], None]:
        self._callbacks.append(callback)
        return lambda: self._callbacks.remove(callback)

    def changed(self) -> None:
        for callback in self._callbacks:
            callback()

    def _set(self, label: str, **change: object) -> None:
        self.free.wait(PATIENCE_S)
        self.changes += 1
        self.states[label] = replace(self.states[label], **change)  # type: ignore[arg-type]
        self.changed()
