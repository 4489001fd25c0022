"""Sources as a configuration has them, for the tests of commands."""

from __future__ import annotations

from edge_aac.audio.sources.address import SourceContext
from edge_aac.service.plans import SourcePlan
from edge_aac.streaming.channel import ChannelSettings
from edge_aac.streaming.gate import EnergyGate, ScoreGate
from edge_aac.streaming.settings import ConfiguredSource


def plan(label: str, address: str = "mic0", min_score: float | None = None, hop_s: float = 2.0) -> SourcePlan:
    """A source that is published whole."""
    settings = ChannelSettings(EnergyGate(-70.0), ScoreGate(min_score), every_window=True)
    return SourcePlan(ConfiguredSource(address, None, hop_s, -70.0), SourceContext(label), settings, None)
