"""Alerts: rules that tell when a named sound is heard for long enough, and when it is over."""

from __future__ import annotations
