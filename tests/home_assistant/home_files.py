"""Files of a Home Assistant that knows a broker, and tells a test all that it shows."""

from __future__ import annotations

from typing import Any

CONFIGURATION = """
homeassistant:
  name: Test
  time_zone: UTC
http:
  server_host: 127.0.0.1
  server_port: {port}
api:
recorder:
input_boolean:
  lamp:
    name: Lamp
zone:
person:
  - name: Somebody
    id: somebody
    device_trackers: [device_tracker.phone]
logger:
  default: info
automation: !include automations.yaml
"""

AUTOMATIONS = """
- id: call
  alias: Calls what a message says
  mode: queued
  triggers: [{trigger: mqtt, topic: test/call}]
  actions:
    - action: "{{ trigger.payload_json.action }}"
      target: {entity_id: "{{ trigger.payload_json.entity_id }}"}
      data: "{{ trigger.payload_json.data }}"
- id: tell
  alias: Tells all that it knows
  mode: queued
  triggers: [{trigger: mqtt, topic: test/tell}]
  actions:
    - action: mqtt.publish
      data:
        topic: test/told
        payload: >-
          {% set all = namespace(found=[]) %}
          {% for entity in integration_entities('mqtt') | sort %}
          {% set s = states[entity] %}
          {% if s %}
          {% set all.found = all.found + [dict(id=entity, state=s.state, name=s.name,
             device=device_attr(entity, 'name'), version=device_attr(entity, 'sw_version'),
             unit=s.attributes.get('unit_of_measurement'), device_class=s.attributes.get('device_class'),
             restored=s.attributes.get('restored', false),
             score=s.attributes.get('score'), start=s.attributes.get('start') | string,
             end=s.attributes.get('end') | string, event_type=s.attributes.get('event_type'),
             caption=s.attributes.get('caption'), options=s.attributes.get('options'),
             min=s.attributes.get('min'), max=s.attributes.get('max'))] %}
          {% endif %}
          {% endfor %}
          {% set ran = namespace(last={}) %}
          {% for automation in states.automation %}
          {% set ran.last = dict(ran.last, **{automation.name: automation.attributes.last_triggered | string}) %}
          {% endfor %}
          {{ dict(ask=trigger.payload, lamp=states('input_boolean.lamp'), automations=ran.last,
             entities=all.found) | tojson }}
"""

ENTRY: dict[str, Any] = {
    "version": 1,
    "minor_version": 4,
    "key": "core.config_entries",
    "data": {
        "entries": [
            {
                "created_at": "2024-12-01T00:00:00+00:00",
                "modified_at": "2024-12-01T00:00:00+00:00",
                "data": {"broker": "127.0.0.1", "port": 0, "discovery": True},
                "disabled_by": None,
                "discovery_keys": {},
                "domain": "mqtt",
                "entry_id": "01JE0000000000000000000000",
                "minor_version": 2,
                "options": {"discovery": True},
                "pref_disable_new_entities": False,
                "pref_disable_polling": False,
                "source": "user",
                "title": "broker",
                "unique_id": None,
                "version": 1,
            }
        ]
    },
}
