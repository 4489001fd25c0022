"""Alerts on topics of their own: a retained state for each rule and source, and the entity that shows it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from edge_aac.records import as_text
from edge_aac.sinks.contract import AlertState, SourceState
from edge_aac.sinks.mqtt.messages import Message
from edge_aac.sinks.mqtt.topics import Topics

ON, OFF = "ON", "OFF"

# Absent values are left out of records: a template gives None then.
_ATTRIBUTES = (
    "{% set a = dict(caption=value_json.caption, start=value_json.get('start'), end=value_json.get('end'), "
    "lasted_s=value_json.lasted_s, id=value_json.get('id'), reason=value_json.get('reason')) %}{{ a | tojson }}"
)


def alert_messages(
    topics: Topics, sources: Iterable[SourceState], *, retain: bool, expiry_s: int | None
) -> list[Message]:
    """State and newest record of each rule that a source follows.

    A state is always retained, and never grows old: it is true until another one comes.

    Args:
        topics: of the device.
        sources: those that there are.
        retain: whether the broker keeps records.
        expiry_s: seconds that a kept record is worth keeping; None for ever.
    """
    found: list[Message] = []
    for source in sources:
        for alert in source.alerts:
            # First what an automation reads when the state has changed.
            if alert.newest is not None:
                found.append(
                    Message(
                        topics.alert_attributes(source.label, alert.name),
                        as_text(alert.newest.to_json()).encode(),
                        retain=retain,
                        expiry_s=expiry_s if retain else None,
                    )
                )
            found.append(_state(topics.alert(source.label, alert.name), alert))
    return found


def states(topics: Topics, sources: Sequence[SourceState]) -> list[Message]:
    """The states of those rules that have had an alert, see :func:`alert_messages`."""
    return [
        _state(topics.alert(source.label, alert.name), alert)
        for source in sources
        for alert in source.alerts
        if alert.newest is not None
    ]


def alert_topics(topics: Topics, sources: Iterable[SourceState]) -> set[str]:
    """All topics on which something of the rules may stand."""
    return {
        topic
        for source in sources
        for alert in source.alerts
        for topic in (topics.alert(source.label, alert.name), topics.alert_attributes(source.label, alert.name))
    }


def alert_entity(topics: Topics, label: str, alert: AlertState) -> dict[str, Any]:
    """What Home Assistant is told of a rule's binary sensor, beside its identifier.

    Args:
        topics: of the device.
        label: of the source.
        alert: the rule.
    """
    attributes = topics.alert_attributes(label, alert.name)
    return {
        "name": f"{label} {alert.title}",
        "object_id": f"{topics.node} {label} alert {alert.name}",
        "state_topic": topics.alert(label, alert.name),
        "payload_on": ON,
        "payload_off": OFF,
        "device_class": alert.device_class,
        "json_attributes_topic": attributes,
        "json_attributes_template": _ATTRIBUTES,
        "qos": 1,
    }


def _state(topic: str, alert: AlertState) -> Message:
    return Message(topic, (ON if alert.is_open else OFF).encode(), retain=True, json=False)
