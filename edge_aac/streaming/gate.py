"""Gates: a silent window is not captioned, and a caption with a low score is not published."""

from __future__ import annotations

from dataclasses import dataclass

from edge_aac.audio.windows import Window
from edge_aac.models.contract import Description


@dataclass(frozen=True)
class EnergyGate:
    """Passes windows that are loud enough.

    Attributes:
        rms_dbfs: level in dB below full scale; windows below it are silent and not captioned.
    """

    rms_dbfs: float

    def passes(self, window: Window) -> bool:
        """Whether the window is to be captioned."""
        return window.rms_dbfs >= self.rms_dbfs


@dataclass(frozen=True)
class ScoreGate:
    """Passes captions whose score is high enough.

    Attributes:
        min_score: lowest hybrid score of a published caption; None passes all. Scores are comparable within one
            bundle only; ``edge-aac evaluate`` reports what a threshold keeps and what it stops.
        familiar_only: whether windows without a familiar sound are left out, even as an unknown sound.
    """

    min_score: float | None = None
    familiar_only: bool = False

    def passes(self, description: Description) -> bool:
        """Whether the window's best caption is to be published."""
        if self.familiar_only and not description.familiar:
            return False
        return self.min_score is None or description.best.hybrid >= self.min_score
