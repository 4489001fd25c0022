"""The rate that all sound inside edge-aac has: time is a count of samples."""

from __future__ import annotations

SAMPLE_RATE = 16_000
"""Rate in Hz of every sample inside edge-aac."""
