"""Where records go."""

from __future__ import annotations
