"""What is sent for a record: topic, payload, and how the broker shall keep it."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace

from edge_aac.records import Record, as_text
from edge_aac.sinks.message import Message as StoredMessage
from edge_aac.sinks.mqtt.topics import Topics
from edge_aac.sinks.spool_settings import since_boot_s, this_boot

_STATES = frozenset({"caption", "health"})
"""Kinds of record of which the newest one is the state of a source, and is kept by the broker."""

_FRESH_ONLY = frozenset({"health"})
"""Kinds of record of which only the newest one is of use: sent with QoS 0, and not kept here while nobody listens."""


@dataclass(frozen=True)
class Message:
    """A message to the broker.

    Attributes:
        topic: its topic.
        payload: its content.
        qos: 1 where the broker confirms it, else 0.
        retain: whether the broker keeps it for those who subscribe later.
        expiry_s: seconds after which the broker drops it, counted from when it is sent; None for never. MQTT 5 only.
        json: whether the payload is JSON; else it is plain text.
    """

    topic: str
    payload: bytes
    qos: int = 1
    retain: bool = False
    expiry_s: int | None = None
    json: bool = True

    def aged(self, age_s: float) -> Message:
        """The message when it has waited for some time.

        What has outlived its expiry is no state any more, but it was heard: it is sent without being retained.
        """
        if self.expiry_s is None:
            return self
        left_s = int(self.expiry_s - max(age_s, 0.0))
        return replace(self, expiry_s=left_s) if left_s > 0 else replace(self, expiry_s=None, retain=False)


def message_of(record: Record, topics: Topics, *, qos: int, retain: bool, expiry_s: int | None) -> Message:
    """The message of a record.

    Args:
        record: any record.
        topics: of the device.
        qos: of records that are not states which only count while they are fresh.
        retain: whether states are retained.
        expiry_s: seconds that a state is worth keeping; None for ever.
    """
    state = record.kind in _STATES
    return Message(
        topics.of(record.source, record.kind),
        as_text(record.to_json()).encode(),
        qos=0 if record.kind in _FRESH_ONLY else qos,
        retain=state and retain,
        expiry_s=expiry_s if state and retain else None,
    )


@dataclass(frozen=True)
class Moment:
    """A point in time, by the clock that is set and by the one that nobody can set.

    Attributes:
        wall_s: seconds since the epoch.
        since_boot_s: seconds since the machine was started.
        boot: name of this run of the machine.
    """

    wall_s: float
    since_boot_s: float
    boot: str

    @classmethod
    def now(cls) -> Moment:
        """The moment that it is now."""
        return cls(time.time(), since_boot_s(), this_boot())


def to_stored(message: Message, source: str, made: Moment) -> StoredMessage:
    """The message as it waits for its delivery.

    Args:
        message: any.
        source: label of the source that it tells of.
        made: when it was made.
    """
    properties = {"qos": str(message.qos)}
    if message.retain:
        properties["retain"] = "1"
    if message.expiry_s is not None:
        properties |= {"expiry_s": str(message.expiry_s), "made_s": f"{made.wall_s:.0f}"}
        properties |= {"boot": made.boot, "made_since_boot_s": f"{made.since_boot_s:.0f}"}
    return StoredMessage(message.topic, source, message.payload, properties)


def of_stored(stored: StoredMessage, now: Moment) -> Message:
    """The message of one that has waited.

    A clock that was set meanwhile, as it is on boards without one of their own, changes nothing within a run of the
    machine; over its restarts it changes the message's expiry.

    Args:
        stored: see :func:`to_stored`.
        now: when it is sent.
    """
    properties = stored.properties
    expiry = properties.get("expiry_s")
    message = Message(
        stored.topic,
        stored.payload,
        qos=int(properties.get("qos", "1")),
        retain="retain" in properties,
        expiry_s=None if expiry is None else int(expiry),
    )
    if now.boot and properties.get("boot") == now.boot:
        return message.aged(now.since_boot_s - float(properties["made_since_boot_s"]))
    return message.aged(now.wall_s - float(properties.get("made_s", now.wall_s)))
