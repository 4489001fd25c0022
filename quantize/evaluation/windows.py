"""The windows that a bundle is measured on: clips of a held-out fold, scenes made of them, and what holds no sound."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt

from edge_aac.audio.features import filter_bank
from edge_aac.audio.windows import Window
from edge_aac.bundle.store import Bundle
from edge_aac.errors import UsageError
from edge_aac.models.opening import CaptioningModel
from edge_aac.models.seq2seq import window_rng
from quantize.bundles.card import read_attributions
from quantize.captioning import described, heard
from quantize.data.captions import captions
from quantize.data.clips import Clip, folds_of, load_clips, load_outliers
from quantize.data.lexicon import LABELS, named_events
from quantize.data.scenes import (
    SCENE_SAMPLES,
    Relation,
    SceneBuilder,
    SceneRecipe,
    padded_clip,
    two_sound_scenes,
)
from quantize.data.sound_shaping import coloured_noise
from quantize.files import ATTRIBUTIONS

SCENE_SEED = 4404
"""Not the seed of the validation scenes that training prints, so that nobody chose an epoch by these."""

MAX_OUTLIERS = 200
NOISE_WINDOWS = 50
SILENT_WINDOWS = 10
REFERENCES_PER_SCENE = 5
"""As many as Clotho has."""

Kind = Literal["single", "scene", "noise", "silence", "outlier", "absent"]


@dataclass(frozen=True)
class TruthWindow:
    """10 s of sound whose truth is known.

    Attributes:
        kind: "outlier" is a recording of no class that there are words for, "absent" one of a class that there are
            words for, but that the bundle was not trained on.
        source: the recording's path, or the number of the scene.
        truth: labels in the order of their onsets.
        relation: relation in time of two events.
        fbank: (998, 128).
        references: true captions, where there are.
        held_out: whether it comes from the held-out fold alone.
        sound_samples: number of samples of the trimmed recording; the others fill up the 10 s.
    """

    kind: Kind
    source: str
    truth: tuple[str, ...]
    relation: Relation
    fbank: npt.NDArray[np.float32]
    references: tuple[str, ...] = ()
    held_out: bool = True
    sound_samples: int = SCENE_SAMPLES


@dataclass(frozen=True)
class CaptionedWindow:
    """A window with its caption and the scores of that caption, as the runtime gives them."""

    kind: Kind
    source: str
    truth: tuple[str, ...]
    relation: Relation
    references: tuple[str, ...]
    held_out: bool
    caption: str
    hybrid: float
    log_likelihood: float | None
    similarity: float | None
    familiarity: float | None = None

    @property
    def named(self) -> list[str]:
        return named_events(self.caption)

    @property
    def right(self) -> bool:
        """Whether the caption names the true events and no other; of an absent class, whether it names no known one."""
        if self.kind == "absent":
            return not set(self.named) - set(self.truth)
        return set(self.named) == set(self.truth)


def caption_windows(captioner: CaptioningModel, windows: Iterator[TruthWindow], seed: int) -> list[CaptionedWindow]:
    """Caption each window as the device would; all windows get the same generator, silence excepted.

    Windows of silence are all alike, so another generator is all that can tell them apart.
    """
    truths: list[TruthWindow] = []

    def given() -> Iterator[tuple[Window, np.random.Generator]]:
        for number, window in enumerate(windows):
            # Its filter bank is large, and read no more once it was captioned.
            truths.append(replace(window, fbank=np.zeros((0, 0), np.float32)))
            start = number if window.kind == "silence" else 0
            yield heard(window.fbank, samples=window.sound_samples), window_rng(seed, start)

    captioned: list[CaptionedWindow] = []
    for description in described(captioner, given()):
        window, best = truths[len(captioned)], description.best
        captioned.append(
            CaptionedWindow(
                window.kind, window.source, window.truth, window.relation, window.references, window.held_out,
                best.text, best.hybrid, best.log_likelihood or 0.0, best.similarity, description.familiarity,
            )
        )  # fmt: skip
    return captioned


def evaluation_windows(
    captioner: CaptioningModel,
    data: Path,
    fold: int,
    scene_count: int,
    absent: Sequence[str] = (),
    outliers: Path | None = None,
) -> Iterator[TruthWindow]:
    """All windows of one fold; the same for the same arguments.

    Args:
        captioner: captioner whose bundle was not trained on the recordings.
        data: folder with ``clips.csv``.
        fold: the held-out one.
        scene_count: number of two-sound scenes, every second one a sequence.
        absent: classes that the bundle was not trained on; their recordings of all folds are used, and no scene
            holds them.
        outliers: folder of recordings of no known class; up to ``MAX_OUTLIERS`` of the fold are used.

    Raises:
        UsageError: the bundle was trained on recordings of the fold or on an absent class, or there is no such class.
        InputMissingError, DataError: see :func:`quantize.data.clips.load_clips`.
    """
    clips = load_clips(data, (fold,))
    outlier_clips = load_outliers(outliers, (fold,)) if outliers else []
    trained_on = attributions(captioner)
    if shared := trained_on.keys() & {clip.path for clip in (*clips, *outlier_clips)}:
        raise UsageError(f"the bundle was trained on {len(shared)} recordings of fold {fold}: choose another --fold")
    for label in absent:
        if label not in LABELS:
            raise UsageError(f"there is no class {label!r} for --absent: use one of {', '.join(LABELS)}")
        if label in trained_on.values():
            raise UsageError(f"the bundle was trained on {label}: give --absent a class that it never heard")
    known = [clip for clip in clips if clip.label not in absent]
    unheard = _recordings_of(data, absent)
    kept = np.linspace(0, len(outlier_clips), min(len(outlier_clips), MAX_OUTLIERS), endpoint=False).astype(int)
    return _windows(known, unheard, [outlier_clips[place] for place in kept], fold, scene_count)


def attributions(captioner: CaptioningModel) -> dict[str, str]:
    """Recording → class of all that the bundle, or any of an ensemble, says it was trained on; empty where none says.

    Raises:
        DataError: a list lacks a column.
    """
    heard: dict[str, str] = {}
    for bundle in captioner.bundles:
        heard |= attributions_of(bundle)
    return heard


def attributions_of(bundle: Bundle) -> dict[str, str]:
    """Recording → class of all that one bundle says it was trained on; empty where it does not say.

    Raises:
        DataError: the list lacks a column.
    """
    path = bundle.folder / ATTRIBUTIONS
    return read_attributions(path) if path.is_file() else {}


def _recordings_of(data: Path, labels: Sequence[str]) -> list[Clip]:
    """Recordings of the classes, of every fold."""
    if not labels:
        return []
    folds = folds_of(data, labels)
    if not folds:
        raise UsageError(f"there is no recording of {', '.join(labels)} in {data}: correct --absent")
    return [clip for clip in load_clips(data, folds) if clip.label in labels]


def noises(count: int, seed: int) -> Iterator[npt.NDArray[np.float32]]:
    """Windows of noise from white to brown, at -60 to -35 dBFS."""
    rng = np.random.default_rng(seed)
    for _ in range(count):
        yield coloured_noise(SCENE_SAMPLES, rng) * np.float32(10.0 ** (rng.uniform(-60.0, -35.0) / 20.0))


def _windows(
    clips: list[Clip], unheard: list[Clip], outlier_clips: list[Clip], fold: int, scene_count: int
) -> Iterator[TruthWindow]:
    builder = SceneBuilder(clips, SceneRecipe())
    for clip in clips:
        yield _clip_window("single", clip, (clip.label,))
    for number, scene in enumerate(two_sound_scenes(builder, scene_count, SCENE_SEED)):
        wording = np.random.default_rng([SCENE_SEED, number, REFERENCES_PER_SCENE])
        yield TruthWindow(
            "scene", f"scene {number}", tuple(scene.labels), scene.relation, filter_bank(scene.waveform),
            tuple(captions(scene, wording, REFERENCES_PER_SCENE)),
        )  # fmt: skip
    for number, noise in enumerate(noises(NOISE_WINDOWS, SCENE_SEED)):
        yield TruthWindow("noise", f"noise {number}", (), "none", filter_bank(noise))
    silence = filter_bank(np.zeros(SCENE_SAMPLES, dtype=np.float32))
    for number in range(SILENT_WINDOWS):
        yield TruthWindow("silence", f"silence {number}", (), "none", silence)
    for clip in unheard:
        yield _clip_window("absent", clip, (clip.label,), held_out=clip.fold == fold)
    for clip in outlier_clips:
        yield _clip_window("outlier", clip, ())


def _clip_window(kind: Kind, clip: Clip, truth: tuple[str, ...], held_out: bool = True) -> TruthWindow:
    """A recording as the device hears it from a file that holds no more."""
    return TruthWindow(
        kind, clip.path, truth, "single" if truth else "none", filter_bank(padded_clip(clip.waveform)),
        held_out=held_out, sound_samples=min(len(clip.waveform), SCENE_SAMPLES),
    )  # fmt: skip
