"""The shipped bundle on recordings of its own training: no others are left to measure it with.

What the recipe does with unheard ones stands in the card, measured without fold 4. These tests tell whether the files
in the package are those of that training, whole and in working order.
"""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

from edge_aac.audio.features import filter_bank
from edge_aac.errors import UsageError
from edge_aac.models.seq2seq import Captioner, window_rng
from quantize.data.clips import load_clips
from quantize.data.lexicon import LABELS, named_events
from quantize.data.scenes import SCENE_SAMPLES, padded_clip
from quantize.data.sound_shaping import coloured_noise
from quantize.evaluation.evaluate import evaluate_events
from quantize.files import ATTRIBUTIONS, CARD
from tests.edge_aac.fakes import described

RECORDINGS = Path(__file__).parents[4] / "shared" / "data" / "esc10"
CLIPS_OF_EACH = 4


@pytest.fixture(scope="module")
def captioner() -> Captioner:
    return Captioner.open("esc10-tiny")


@pytest.fixture(scope="module")
def recordings() -> Path:
    if not RECORDINGS.is_dir():
        pytest.skip("the ESC-10 recordings are not beside this checkout")
    return RECORDINGS


def named_in(captioner: Captioner, waveform: np.ndarray) -> set[str]:
    caption = described(captioner, filter_bank(waveform), window_rng(0, 0)).best.text
    return set(named_events(caption))


def test_names_the_sounds_that_it_was_taught(captioner: Captioner, recordings: Path) -> None:
    clips = load_clips(recordings, (4,))
    chosen = [clip for label in LABELS for clip in [c for c in clips if c.label == label][:CLIPS_OF_EACH]]
    assert len(chosen) == CLIPS_OF_EACH * len(LABELS)
    right = [named_in(captioner, padded_clip(clip.waveform)) == {clip.label} for clip in chosen]
    assert np.mean(right) >= 0.9


def test_names_nothing_in_noise(captioner: Captioner) -> None:
    rng = np.random.default_rng(5)
    levels = [10 ** (-dbfs / 20) for dbfs in (10, 20, 30, 40, 50)]
    noises = [coloured_noise(SCENE_SAMPLES, rng) * np.float32(level) for level in levels]
    assert [named_in(captioner, noise) for noise in noises] == [set()] * len(noises)


def test_is_not_measured_with_what_it_was_taught(captioner: Captioner, recordings: Path) -> None:
    with pytest.raises(UsageError, match="was trained on"):
        evaluate_events(captioner, recordings, 4, 2, seed=0)


def test_every_recording_is_attributed_and_its_scores_are_marked_as_anothers(captioner: Captioner) -> None:
    folder = captioner.bundle.folder
    with (folder / ATTRIBUTIONS).open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert all(row["author"] and row["license"] and row["source_url"] for row in rows)
    assert sum(row["label"] in LABELS for row in rows) == 320
    assert {row["label"] for row in rows} - set(LABELS) == {"unknown"}
    card = (folder / CARD).read_text(encoding="utf-8")
    assert captioner.bundle.manifest.quality["held_out_fold"] == 4
    assert "trained without fold 4" in " ".join(card.split())
