"""What a bundle needs of the sound that it was trained on: attributions, and windows to check its graphs with."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, fields
from itertools import islice
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from edge_aac.audio.features import filter_bank
from edge_aac.errors import ConfigError, DataError
from quantize.bundles.card import Attribution
from quantize.data.captions import caption
from quantize.data.clips import UNKNOWN_LABEL, Clip, Waveform, load_clips, outlier_rows
from quantize.data.corpus import window
from quantize.data.everyday.drawn_events import drawn_captions
from quantize.data.everyday.lexicon import english, sound_of
from quantize.data.everyday.scenes import without
from quantize.data.manifests import read_manifest
from quantize.data.scenes import SceneBuilder, SceneRecipe
from quantize.data.sounds.mixtures import MixtureMaker, MixtureRecipe
from quantize.data.sounds.store import OURS, SoundStore, StoredSound
from quantize.data.waveform_cache import decoded_stretch
from quantize.training.recipe import Recipe
from quantize.training.train import outliers_heard

CHECK_SCENES = 8
_WINDOW_S = 10.0


@dataclass(frozen=True)
class TrainingData:
    """The training data of a run, as far as its bundle needs it.

    Attributes:
        recordings: the recordings that the bundle attributes.
        fbanks: (windows, 998, 128) that the graphs are checked with.
        texts: captions that they are checked with.
        calibration: (windows, 998, 128) that INT8 is calibrated with.
        calibrated_with: origin of the calibration windows, in words.
        clips: the recordings of known classes themselves; none of a corpus.
    """

    recordings: list[Attribution]
    fbanks: torch.Tensor
    texts: list[str]
    calibration: npt.NDArray[np.float32]
    calibrated_with: str
    clips: Sequence[Clip] = ()


def outliers_of(run: Path, folder: Path | None) -> list[Attribution]:
    """The attributions of recordings of no known class that a run noted.

    Raises:
        ConfigError: it noted some, and their folder is not given.
        DataError: one of them does not lie there.
    """
    heard = outliers_heard(run)
    if not heard:
        return []
    if folder is None:
        raise ConfigError(
            f"{run} learnt from {len(heard)} recordings of other sounds: name their folder with --outliers"
        )
    names = [entry.name for entry in fields(Attribution)]
    found = {row["file"]: Attribution(**{name: row[name] for name in names}) for row in outlier_rows(folder)}
    if missing := [path for path in heard if path not in found]:
        raise DataError(f"{run} learnt from {missing[0]}, which {folder} does not list: give the same --outliers")
    return [found[path] for path in heard]


def left_out(run: Path) -> frozenset[str]:
    """Names of a corpus's clips that the run could not use, as it noted them."""
    noted = run / "clips.json"
    if not noted.is_file():
        return frozenset()
    return frozenset(clip["name"] for clip in json.loads(noted.read_text(encoding="utf-8"))["clips"])


def training_data_of(
    recipe: Recipe,
    data: Path,
    broken: frozenset[str] = frozenset(),
    calibration_windows: int = 0,
    outliers: Sequence[Attribution] = (),
) -> TrainingData:
    """Recordings, check inputs and windows to calibrate with, of a recipe's corpus, its broken clips left out, of its
    store of sound, or of its folds.

    Raises:
        InputMissingError, DataError: they cannot be read.
    """
    count = CHECK_SCENES + calibration_windows
    clips: Sequence[Clip] = ()
    if recipe.corpus:
        recordings, windows, texts = _of_corpus(recipe, data, broken, count)
        source = "recordings of the training corpus"
    elif recipe.everyday:
        recordings, windows, texts = _of_store(recipe, data, count)
        source = f"mixtures of {len(recordings)} sounds that it was trained on"
    else:
        clips = load_clips(data, recipe.folds.train, recipe.folds.absent)
        recordings = [
            *(
                Attribution(clip.path, clip.label, clip.title, clip.author, clip.license, clip.source_url)
                for clip in clips
            ),
            *outliers,
        ]
        rng = np.random.default_rng(0)
        builder = SceneBuilder(clips, SceneRecipe())
        scenes = [builder.scene(rng) for _ in range(CHECK_SCENES)]
        texts = [caption(scene, rng) for scene in scenes]
        scenes += [builder.scene(rng) for _ in range(calibration_windows)]
        windows = [scene.waveform for scene in scenes]
        source = f"scenes of {len(clips)} recordings that it was trained on"
    fbanks = np.stack([filter_bank(window) for window in windows])
    return TrainingData(
        recordings, torch.from_numpy(fbanks[:CHECK_SCENES]), texts, fbanks[CHECK_SCENES:], source, clips
    )


_Parts = tuple[list[Attribution], list[Waveform], list[str]]
"""Attributions, windows and texts."""


def _of_corpus(recipe: Recipe, data: Path, broken: frozenset[str], count: int) -> _Parts:
    corpus = recipe.corpus
    assert corpus is not None
    rng = np.random.default_rng(0)
    listed = read_manifest(corpus.format, data / corpus.captions, data / corpus.audio).clips
    heard = [clip for clip in listed if clip.name not in broken]
    recordings = [
        Attribution(clip.name, ";".join(clip.labels), clip.recording, clip.author, clip.license, "") for clip in heard
    ]
    windows = [window(decoded_stretch(clip.path, clip.start_s, clip.duration_s), rng) for clip in heard[:count]]
    return recordings, windows, [clip.captions[0] for clip in heard[:CHECK_SCENES]]


def _of_store(recipe: Recipe, data: Path, count: int) -> _Parts:
    lexicon = english()
    store = SoundStore.open(data)
    # By label alone: what a tagger heard in the others is not at hand here.
    store = without(store, [()] * len(store.rows), lexicon, recipe.folds.absent)
    held_out = store.folds_but(recipe.folds.train)
    maker = MixtureMaker(store, MixtureRecipe(length_s=_WINDOW_S), 0, held_out)
    windows = [maker.mixture(0, index).waveform for index in range(count)]
    texts = list(islice(drawn_captions(lexicon, np.random.default_rng(0)), CHECK_SCENES))
    return attributions_of(store.training_rows(held_out)), windows, texts


def attributions_of(stored: Sequence[StoredSound]) -> list[Attribution]:
    """What a bundle says of sounds that it was trained on; what was computed shares entries."""
    rows = sorted(stored, key=lambda row: row.source)
    recordings = (_attribution(row) for row in rows if row.author != OURS)
    # A long file lies in the store in pieces.
    return [*dict.fromkeys(recordings), *_computed(rows)]


def _label(row: StoredSound) -> str:
    """What a stored sound was said to be: a label of the lexicon or the sound of an AudioSet class, else "unknown"."""
    lexicon = english()
    return row.label if row.label in lexicon.by_label else sound_of(lexicon, row.label) or UNKNOWN_LABEL


def _attribution(row: StoredSound) -> Attribution:
    title = row.work or row.title.rpartition("/")[2]
    return Attribution(row.title, _label(row), title, row.author, row.license, row.source_url or row.source)


def _computed(rows: Sequence[StoredSound]) -> list[Attribution]:
    """What was computed for the training and has no other author: an entry for each source, sound and licence."""
    counts = Counter((row.source, _label(row), row.license) for row in rows if row.author == OURS)
    return [
        Attribution(f"{source}/{label}", label, f"{count} sounds, computed", OURS, license_, "")
        for (source, label, license_), count in sorted(counts.items())
    ]
