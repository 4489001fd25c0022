"""What Home Assistant is told of the device, so that its entities appear by themselves.

Home Assistant 2024.11 and later take one message for all entities of a source ("device"); before, each entity has a
message of its own ("components"). Rules for alerts have one each in either form: what a device's message leaves out is
not removed there, and which rules there were before is known to the broker alone. All are retained under the discovery
prefix. Form and names of the fields: https://www.home-assistant.io/integrations/mqtt/#mqtt-discovery.

All of a node's sources are one device there. Identifiers are made of node and source, so that neither two nodes nor
two sources share anything, and the same source is the same entity for as long as it keeps its label.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from edge_aac.records.health import HealthState
from edge_aac.sinks.contract import SourceState
from edge_aac.sinks.mqtt.alert_messages import alert_entity
from edge_aac.sinks.mqtt.commands import OFF, ON
from edge_aac.sinks.mqtt.entity_names import NAMES, Key
from edge_aac.sinks.mqtt.messages import Message
from edge_aac.sinks.mqtt.topics import Topics

Form = Literal["device", "components"]

_ORIGIN = "edge-aac"
_NODE_PART = "node"
_PLAIN_ID = re.compile(r"(?!.*-[0-9a-f]{10}$)[A-Za-z0-9-]{1,40}")
_LONGEST_STATE = 255
"""Home Assistant takes no longer state; the whole caption is among the attributes."""

# Absent values are left out of records: a template gives None then, which Home Assistant shows as unknown.
_CAPTION_ATTRIBUTES = (
    "{% set a = dict(caption=value_json.caption, start=value_json.get('start'), end=value_json.get('end'), "
    "score=value_json.score.hybrid, similarity=value_json.score.get('similarity'), "
    "familiarity=value_json.score.get('familiarity'), event=value_json.get('event'), "
    "level_dbfs=value_json.rms_dbfs, bundle=value_json.model.bundle) %}{{ a | tojson }}"
)
_EVENT = (
    "{% set a = dict(event_type=value_json.state, caption=value_json.caption, start=value_json.get('start'), "
    "end=value_json.get('end'), id=value_json.get('id'), windows=value_json.windows) %}{{ a | tojson }}"
)
_PROBLEM = "{{ 'OFF' if value_json.state in ('listening', 'paused', 'ended') else 'ON' }}"
_WARNINGS = (
    "{% set a = dict(reason=value_json.get('reason'), warnings=value_json.get('warnings', []), "
    "reconnects=value_json.reconnects) %}{{ a | tojson }}"
)

_PLATFORMS: dict[Key, str] = {
    "caption": "sensor",
    "event": "event",
    "problem": "binary_sensor",
    "state": "sensor",
    "level": "sensor",
    "latency": "sensor",
    "lost": "sensor",
    "listening": "switch",
    "threshold": "number",
    "hop": "number",
}
_NODE_PLATFORMS: dict[Key, str] = {"temperature": "sensor", "update": "update"}


@dataclass(frozen=True)
class Facts:
    """What is announced.

    Attributes:
        topics: of the device.
        prefix: what Home Assistant's discovery topics begin with.
        version: of edge-aac.
        sources: those that there are.
        commands: whether commands are taken.
        form: "device" for one message a source, "components" for one an entity.
        device_name: name of the device there; None for the node.
        names: names of entities in place of the English ones.
    """

    topics: Topics
    prefix: str
    version: str
    sources: Sequence[SourceState]
    commands: bool
    form: Form = "device"
    device_name: str | None = None
    names: Mapping[str, str] = field(default_factory=dict)


def messages(facts: Facts) -> list[Message]:
    """All discovery messages. What other settings announced before is found by :func:`filters` and :func:`outdated`."""
    found: list[Message] = []
    about = {"device": _device(facts), "origin": _origin(facts), **_availability(facts)}
    for part, entities, platforms in _parts(facts):
        if facts.form == "device":
            # One of a platform and nothing else is removed, where it was there.
            components = {key: {"platform": platform, **entities.get(key, {})} for key, platform in platforms.items()}
            found.append(_message(_device_topic(facts, part), about | {"components": components}))
            continue
        for key, entity in entities.items():
            found.append(_message(_component_topic(facts, platforms[key], part, key), entity | about))
    return found + [_message(topic, entity | about) for topic, entity in _alerts(facts)]


def version_message(facts: Facts) -> Message:
    """The version that runs, for the update entity."""
    payload = json.dumps({"installed_version": facts.version}).encode()
    return Message(f"{facts.topics.base}/version", payload, qos=1, retain=True)


def filters(facts: Facts) -> tuple[str, str]:
    """Filters of all topics on which something may stand that was announced of this node before."""
    return f"{facts.prefix}/device/+/config", f"{facts.prefix}/+/{_node_id(facts)}/+/config"


def is_ours(facts: Facts, topic: str) -> bool:
    """Whether a topic of discovery is this node's."""
    platform, _, rest = topic.removeprefix(f"{facts.prefix}/").partition("/")
    node = _node_id(facts)
    return rest.startswith(f"{node}/") or (platform == "device" and rest.startswith(f"{node}_"))


def outdated(facts: Facts, topic: str, payload: bytes) -> Message | None:
    """The message that takes back what is retained on a topic, where it is this node's and announced no more."""
    if not payload or not is_ours(facts, topic) or topic in {message.topic for message in messages(facts)}:
        return None
    return Message(topic, b"", qos=1, retain=True, json=False)


def identifier(name: str) -> str:
    """A name as part of an identifier: letters, digits and hyphens stay; no two names have the same one."""
    if _PLAIN_ID.fullmatch(name):
        return name
    plain = re.sub(r"[^A-Za-z0-9]+", "-", name).strip("-")[:24].strip("-")
    digest = hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:10]
    return f"{plain}-{digest}" if plain else f"x-{digest}"


def _parts(facts: Facts) -> Iterator[tuple[str, dict[Key, dict[str, Any]], dict[Key, str]]]:
    """Parts of the device: identifier, entities that it has, and platforms of all that it may have."""
    for source in facts.sources:
        yield f"s-{identifier(source.label)}", dict(_source_entities(facts, source)), _PLATFORMS
    yield _NODE_PART, dict(_node_entities(facts)), _NODE_PLATFORMS


def _source_entities(facts: Facts, source: SourceState) -> Iterator[tuple[Key, dict[str, Any]]]:
    topics, label = facts.topics, source.label
    caption, health = topics.of(label, "caption"), topics.of(label, "health")
    part = f"s-{identifier(label)}"

    def entity(key: Key, **more: object) -> tuple[Key, dict[str, Any]]:
        return key, {
            "name": f"{label} {facts.names.get(key, NAMES[key])}",
            "unique_id": f"{_ORIGIN}.{identifier(topics.node)}.{part}.{key}",
            "object_id": f"{topics.node} {label} {key}",
            **more,
        }

    def diagnostic(key: Key, template: str, **more: object) -> tuple[Key, dict[str, Any]]:
        return entity(key, state_topic=health, value_template=template, entity_category="diagnostic", **more)

    yield entity(
        "caption",
        state_topic=caption,
        value_template=f"{{{{ value_json.caption[:{_LONGEST_STATE}] }}}}",
        json_attributes_topic=caption,
        json_attributes_template=_CAPTION_ATTRIBUTES,
        icon="mdi:ear-hearing",
    )
    yield entity(
        "event",
        state_topic=topics.of(label, "event"),
        event_types=["start", "update", "end"],
        value_template=_EVENT,
        icon="mdi:waveform",
    )
    yield diagnostic(
        "problem",
        _PROBLEM,
        device_class="problem",
        json_attributes_topic=health,
        json_attributes_template=_WARNINGS,
    )
    yield diagnostic(
        "state",
        "{{ value_json.state }}",
        device_class="enum",
        options=list(get_args(HealthState)),
        icon="mdi:microphone",
    )
    yield diagnostic(
        "level",
        "{{ value_json.get('level_dbfs') }}",
        unit_of_measurement="dBFS",
        state_class="measurement",
        icon="mdi:volume-high",
    )
    yield diagnostic(
        "latency",
        "{{ value_json.get('latency_ms', {}).get('median') }}",
        device_class="duration",
        unit_of_measurement="ms",
        state_class="measurement",
    )
    yield diagnostic(
        "lost",
        "{{ value_json.dropped_ms }}",
        device_class="duration",
        unit_of_measurement="ms",
        state_class="measurement",
    )
    if not facts.commands:
        return
    if source.can_pause:
        yield entity(
            "listening",
            state_topic=topics.of(label, "enabled"),
            command_topic=topics.command(label, "enabled"),
            payload_on=ON,
            payload_off=OFF,
            state_on=ON,
            state_off=OFF,
            qos=1,
            icon="mdi:microphone",
        )

    def number(key: Key, **more: object) -> tuple[Key, dict[str, Any]]:
        return entity(
            key,
            state_topic=topics.of(label, key),
            command_topic=topics.command(label, key),
            entity_category="config",
            mode="box",
            step=0.01,
            qos=1,
            **more,
        )

    yield number("threshold", min=-10, max=10, payload_reset="none", icon="mdi:filter-variant")
    yield number("hop", min=0.1, max=3600, unit_of_measurement="s", device_class="duration")


def _alerts(facts: Facts) -> Iterator[tuple[str, dict[str, Any]]]:
    """Topic and entity of each rule for alerts of each source."""
    for source in facts.sources:
        part = f"s-{identifier(source.label)}"
        for alert in source.alerts:
            key = f"alert-{identifier(alert.name)}"
            unique = {"unique_id": f"{_ORIGIN}.{identifier(facts.topics.node)}.{part}.{key}"}
            topic = _component_topic(facts, "binary_sensor", part, key)
            yield topic, unique | alert_entity(facts.topics, source.label, alert)


def _node_entities(facts: Facts) -> Iterator[tuple[Key, dict[str, Any]]]:
    topics = facts.topics

    def entity(key: Key, **more: object) -> tuple[Key, dict[str, Any]]:
        return key, {
            "name": facts.names.get(key, NAMES[key]),
            "unique_id": f"{_ORIGIN}.{identifier(topics.node)}.{_NODE_PART}.{key}",
            "object_id": f"{topics.node} {key}",
            "entity_category": "diagnostic",
            **more,
        }

    if facts.sources:
        yield entity(
            "temperature",
            state_topic=topics.of(facts.sources[0].label, "health"),
            value_template="{{ value_json.get('temperature_c') }}",
            device_class="temperature",
            unit_of_measurement="°C",
            state_class="measurement",
            enabled_by_default=False,
        )
    yield entity(
        "update",
        state_topic=f"{topics.base}/version",
        latest_version_topic=f"{topics.base}/version/latest",
        device_class="firmware",
        title="edge-aac",
    )


def _device(facts: Facts) -> dict[str, Any]:
    return {
        "identifiers": [f"{_ORIGIN}.{identifier(facts.topics.node)}"],
        "name": facts.device_name or facts.topics.node,
        "manufacturer": "edge-aac",
        "model": "Audio captioner",
        "sw_version": facts.version,
    }


def _origin(facts: Facts) -> dict[str, Any]:
    return {"name": _ORIGIN, "sw_version": facts.version}


def _availability(facts: Facts) -> dict[str, Any]:
    return {
        "availability_topic": facts.topics.status,
        "payload_available": "online",
        "payload_not_available": "offline",
    }


def _node_id(facts: Facts) -> str:
    return f"{_ORIGIN}_{identifier(facts.topics.node)}"


def _device_topic(facts: Facts, part: str) -> str:
    # No level of its own for the node: Home Assistant 2024.12 does not remove the entities of such a device message.
    return f"{facts.prefix}/device/{_node_id(facts)}_{part}/config"


def _component_topic(facts: Facts, platform: str, part: str, key: str) -> str:
    return f"{facts.prefix}/{platform}/{_node_id(facts)}/{part}_{key}/config"


def _message(topic: str, payload: Mapping[str, Any]) -> Message:
    return Message(topic, json.dumps(payload, ensure_ascii=False).encode("utf-8", "replace"), qos=1, retain=True)
