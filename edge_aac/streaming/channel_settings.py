"""How one source is listened to."""

from __future__ import annotations

from dataclasses import dataclass

from edge_aac.streaming.alerts.rules import AlertRule
from edge_aac.streaming.event_settings import EventRules
from edge_aac.streaming.gate import EnergyGate, SameGate, ScoreGate
from edge_aac.streaming.hop import HopLimits
from edge_aac.streaming.privacy import PrivacyGate


@dataclass(frozen=True)
class ChannelSettings:
    """How one source is listened to.

    Attributes:
        level_gate: stops silent windows.
        score_gate: stops captions that are not sure enough.
        seed: of the candidates; each window's generator is made from it and the window's position.
        every_window: publish a caption for every window; else only for those that start an event.
        same_gate: stops windows of a live source that sound as before; None decodes all, as ``every_window`` does.
        hop_limits: limits of a live source's hop; None keeps it as it is.
        privacy: judges what may be told of a description.
        events: when a sound is an event; the defaults confirm nothing and bridge nothing.
        alerts: rules for alerts that the source follows.
        asks_every_window: ask about every window that is described; else only about those that start an event.
    """

    level_gate: EnergyGate
    score_gate: ScoreGate = ScoreGate()
    seed: int = 0
    every_window: bool = False
    same_gate: SameGate | None = None
    hop_limits: HopLimits | None = None
    privacy: PrivacyGate = PrivacyGate()
    events: EventRules = EventRules()
    alerts: tuple[AlertRule, ...] = ()
    asks_every_window: bool = False
