"""What the section ``[load]`` makes of a stream: gates, limits of the hop, and the board's temperature."""

from __future__ import annotations

from edge_aac.audio.windows import WINDOW_SAMPLES
from edge_aac.streaming.gate import SameGate
from edge_aac.streaming.heat import HeatLimits, HeatWatch
from edge_aac.streaming.hop import HopLimits
from edge_aac.streaming.load_settings import LoadSettings
from edge_aac.timebase import SAMPLE_RATE


def hop_limits(load: LoadSettings) -> HopLimits | None:
    """Limits of a live source's hop; None where it never changes."""
    return HopLimits(load.max_hop_s, load.max_quiet_hop_s) if load.adapt_hop else None


def same_gate(load: LoadSettings) -> SameGate | None:
    """What tells that a live source sounds as before; None where all windows are decoded."""
    if load.same_sound is None:
        return None
    # A sound that begins fills a window once it has gone on for as long.
    return SameGate(load.same_sound, load.same_level_db, WINDOW_SAMPLES, round(load.refresh_s * SAMPLE_RATE))


def heat_watch(load: LoadSettings) -> HeatWatch:
    """What reads the board's temperature: health records tell it even where it changes no hop."""
    return HeatWatch(HeatLimits(load.warm_c, load.hot_c), changes_hop=load.adapt_hop)
