"""Text in, faults of its language out."""

from __future__ import annotations
