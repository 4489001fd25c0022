"""The shipped bundle on recordings of its own training: no others are left to measure it with.

What the recipe does with unheard ones stands in the card, measured on a held-out fold. These tests tell whether the
files in the package are those of that training, whole and in working order.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from edge_aac.audio.features import filter_bank
from edge_aac.bundle.store import DEFAULT_BUNDLE
from edge_aac.errors import UsageError
from edge_aac.models.seq2seq import Captioner, window_rng
from quantize.data.clips import load_clips
from quantize.data.everyday.lexicon import english
from quantize.data.lexicon import LABELS, named_events
from quantize.data.scenes import padded_clip
from quantize.evaluation.evaluate import evaluate_events
from quantize.evaluation.everyday.evaluate import SoundsAsked, evaluate_sounds
from quantize.evaluation.windows import attributions_of, noises
from quantize.files import CARD
from tests.edge_aac.fakes import described

RECORDINGS = Path(__file__).parents[4] / "shared" / "data" / "esc10"
FOLD, CLIPS_OF_EACH = 1, 4
ESC10 = re.compile(r"/(?P<fold>\d)-\d+-[A-Z]\.flac$")
SHARE_RIGHT = 0.85
"""Files of another training, or half a bundle, are right of far fewer."""


@pytest.fixture(scope="module")
def captioner() -> Captioner:
    return Captioner.open(DEFAULT_BUNDLE)


@pytest.fixture(scope="module")
def recordings() -> Path:
    if not RECORDINGS.is_dir():
        pytest.skip("the ESC-10 recordings are not beside this checkout")
    return RECORDINGS


def named_in(captioner: Captioner, waveform: np.ndarray) -> set[str]:
    """The sounds that its caption names: those that the bundle lists, else classes of ESC-10."""
    text = described(captioner, filter_bank(waveform), window_rng(0, 0)).best.text
    return set(captioner.sound_names.named(text) if captioner.sound_names else named_events(text))


def is_right(captioner: Captioner, label: str, named: set[str]) -> bool:
    """Whether a sound is named, by its name or a coarser one, and no other."""
    if captioner.sound_names is None:
        return named == {label}
    lexicon = english()
    return bool(named) and all(lexicon.names.related(name, lexicon.by_label[label]) for name in named)


def folds_heard(captioner: Captioner) -> set[int]:
    """The folds of ESC-10 whose recordings it was trained on."""
    found = (ESC10.search(file) for file in attributions_of(captioner.bundle))
    return {int(match["fold"]) for match in found if match}


def test_names_the_sounds_that_it_was_taught(captioner: Captioner, recordings: Path) -> None:
    clips = load_clips(recordings, (FOLD,))
    assert {clip.path for clip in clips} <= attributions_of(captioner.bundle).keys()
    chosen = [clip for label in LABELS for clip in [c for c in clips if c.label == label][:CLIPS_OF_EACH]]
    assert len(chosen) == CLIPS_OF_EACH * len(LABELS)
    named = [named_in(captioner, padded_clip(clip.waveform)) for clip in chosen]
    right = [is_right(captioner, clip.label, names) for clip, names in zip(chosen, named, strict=True)]
    assert np.mean(right) >= SHARE_RIGHT


def test_names_nothing_in_noise(captioner: Captioner) -> None:
    named = [named_in(captioner, noise) for noise in noises(20, seed=5)]
    assert sum(not names for names in named) >= 19, named


def test_is_not_measured_with_what_it_was_taught(captioner: Captioner, recordings: Path) -> None:
    with pytest.raises(UsageError, match="was trained on"):
        if captioner.sound_names is None:
            evaluate_events(captioner, recordings, FOLD, 2, seed=0)
        else:
            evaluate_sounds(captioner, SoundsAsked((recordings,), FOLD, 2, seed=0))


def test_its_scores_are_marked_as_anothers_where_they_are(captioner: Captioner) -> None:
    assert len(folds_heard(captioner)) >= 3
    held_out = captioner.bundle.manifest.quality["held_out_fold"]
    card = " ".join((captioner.bundle.folder / CARD).read_text(encoding="utf-8").split())
    assert (f"trained without fold {held_out}" in card) == (held_out in folds_heard(captioner))
