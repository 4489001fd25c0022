"""The gate: silence is not captioned."""

from __future__ import annotations

import numpy as np
import pytest

from edge_aac.audio.windows import Window, file_windows
from edge_aac.captioner.rerank import ScoredCaption
from edge_aac.streaming.gate import EnergyGate, ScoreGate


@pytest.mark.parametrize(
    ("level", "passes"), [(-120.0, False), (-70.1, False), (-70.0, True), (-69.9, True), (0.0, True)]
)
def test_threshold(level: float, passes: bool) -> None:
    window = Window(0, 1600, np.zeros((8, 128), np.float32), rms_dbfs=level, peak_dbfs=0.0)
    assert EnergyGate(-70.0).passes(window) == passes


def test_digital_silence_passes_only_the_lowest_threshold() -> None:
    (window,) = file_windows([np.zeros(16_000, np.float32)])
    assert not EnergyGate(-119.9).passes(window)
    assert EnergyGate(-120.0).passes(window)


@pytest.mark.parametrize(("least", "passes"), [(None, True), (0.3, True), (0.31, False), (-1.0, True)])
def test_score(least: float | None, passes: bool) -> None:
    caption = ScoredCaption("rain falls", 0.3, -0.5, 0.6, None)
    assert ScoreGate(least).passes(caption) == passes
