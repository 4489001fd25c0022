"""Gates: a silent window is not captioned, and a caption with a low score is not published."""

from __future__ import annotations

from dataclasses import dataclass

from edge_aac.audio.windows import Window
from edge_aac.models.contract import Description


@dataclass(frozen=True)
class EnergyGate:
    """Passes windows in which something loud enough can be heard.

    Attributes:
        audible_dbfs: A-weighted level in dB below full scale that the loudest 0.1 s of a window must reach; else the
            window is silent and not captioned.
    """

    audible_dbfs: float

    def passes(self, window: Window) -> bool:
        """Whether the window is to be captioned; one without a level (NaN) is left to the model, which says why."""
        return not window.audible_dbfs < self.audible_dbfs


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
