"""Time: windows in order, events, when not to spend energy."""

from __future__ import annotations
