"""When to say nothing: silence is not description, and a caption of a window that is not sure enough is not said."""

from __future__ import annotations

from dataclasses import dataclass

from edge_aac.audio.windows import Window
from edge_aac.models.contract import Description


@dataclass(frozen=True)
class EnergyGate:
    """Lets a window pass when it is loud enough.

    Attributes:
        rms_dbfs: windows whose level lies below are silent.
    """

    rms_dbfs: float

    def passes(self, window: Window) -> bool:
        return window.rms_dbfs >= self.rms_dbfs


@dataclass(frozen=True)
class ScoreGate:
    """Lets a caption pass when the captioner is sure enough of it.

    Attributes:
        least_score: captions whose hybrid score lies below are not said; None lets all pass. What score is low is a
            matter of the bundle: `edge-aac evaluate` tells what a threshold keeps and stops.
        familiar_only: windows in which nothing familiar is heard are not told of, not even as an unknown sound.
    """

    least_score: float | None = None
    familiar_only: bool = False

    def passes(self, description: Description) -> bool:
        if self.familiar_only and not description.familiar:
            return False
        return self.least_score is None or description.best.hybrid >= self.least_score
