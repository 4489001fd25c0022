"""When not to spend energy: silence is not captioned."""

from __future__ import annotations

from dataclasses import dataclass

from edge_aac.audio.windows import Window


@dataclass(frozen=True)
class EnergyGate:
    """Lets a window pass when it is loud enough.

    Attributes:
        rms_dbfs: windows whose level lies below are silent.
    """

    rms_dbfs: float

    def passes(self, window: Window) -> bool:
        return window.rms_dbfs >= self.rms_dbfs
