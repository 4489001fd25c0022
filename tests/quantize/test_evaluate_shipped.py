"""The shipped bundle on recordings of the fold that its card names as held out, by the very measure of the card."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from edge_aac.captioner.captioner import Captioner
from quantize.evaluation.evaluate import evaluate_events

RECORDINGS = Path(__file__).parents[3] / "shared" / "data" / "esc10"


@pytest.fixture(scope="module")
def captioner() -> Captioner:
    return Captioner.open("esc10-tiny")


@pytest.fixture(scope="module")
def scores(captioner: Captioner) -> dict[str, Any]:
    if not RECORDINGS.is_dir():
        pytest.skip("the ESC-10 recordings are not beside this checkout")
    card = captioner.bundle.manifest.quality
    scenes = card["two_sound_scenes"]["count"]
    return evaluate_events(captioner, RECORDINGS, card["held_out_fold"], scenes, seed=0, metrics=None)[0]


def test_names_the_sound_of_single_clips(scores: dict[str, Any]) -> None:
    assert scores["single_clips"]["right_sound_named"] >= 0.85


def test_names_the_events_of_two_sound_scenes(scores: dict[str, Any]) -> None:
    assert scores["two_sound_scenes"]["f1"] >= 0.75


def test_the_card_holds_what_is_measured(scores: dict[str, Any], captioner: Captioner) -> None:
    """Within the wording that another processor's rounding may tip."""
    card = captioner.bundle.manifest.quality
    for group, name in (("single_clips", "right_sound_named"), ("two_sound_scenes", "f1")):
        assert card[group][name] == pytest.approx(scores[group][name], abs=0.02)
