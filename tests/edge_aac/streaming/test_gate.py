"""The gate: silence is not captioned."""

from __future__ import annotations

import numpy as np
import pytest

from edge_aac.audio.windows import Window, file_windows
from edge_aac.models.contract import Description, Latency, ScoredCaption
from edge_aac.streaming.gate import EnergyGate, ScoreGate


@pytest.mark.parametrize(
    ("level", "passes"), [(-120.0, False), (-70.1, False), (-70.0, True), (-69.9, True), (0.0, True)]
)
def test_threshold(level: float, passes: bool) -> None:
    window = Window(0, 1600, np.zeros((8, 128), np.float32), 0.0, 0.0, audible_dbfs=level)
    assert EnergyGate(-70.0).passes(window) == passes


def test_digital_silence_passes_only_the_lowest_threshold() -> None:
    (window,) = file_windows([np.zeros(16_000, np.float32)])
    assert not EnergyGate(-119.9).passes(window)
    assert EnergyGate(-120.0).passes(window)


def test_dc_does_not_hold_the_gate_open() -> None:
    hiss = 10 ** (-85 / 20) * np.random.default_rng(0).standard_normal(320_000)
    for window in file_windows([(hiss + 10 ** (-50 / 20)).astype(np.float32)]):
        assert window.rms_dbfs > -51
        assert not EnergyGate(-70.0).passes(window)


def test_a_window_without_a_level_is_left_to_the_model() -> None:
    (window,) = file_windows([np.full(16_000, np.nan, np.float32)])
    assert EnergyGate(-70.0).passes(window)


@pytest.mark.parametrize(("min_score", "passes"), [(None, True), (0.3, True), (0.31, False), (-1.0, True)])
def test_score(min_score: float | None, passes: bool) -> None:
    assert ScoreGate(min_score).passes(_captioned()) == passes


@pytest.mark.parametrize(
    ("familiar_only", "familiar", "passes"), [(False, False, True), (True, True, True), (True, False, False)]
)
def test_unknown_sounds_can_be_left_out(familiar_only: bool, familiar: bool, passes: bool) -> None:
    assert ScoreGate(None, familiar_only).passes(_captioned(familiar)) == passes
    assert not ScoreGate(0.31, familiar_only).passes(_captioned(familiar)), "a score that is too low stays too low"


def _captioned(familiar: bool = True) -> Description:
    caption = ScoredCaption("rain falls", 0.3, -0.5, 0.6, None)
    return Description([caption], np.ones(2, np.float32), 1, Latency(1.0, 1.0, 1.0), familiar=familiar)
