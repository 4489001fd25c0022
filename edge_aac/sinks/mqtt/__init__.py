"""Records as messages of MQTT, and Home Assistant's view of them."""

from __future__ import annotations
