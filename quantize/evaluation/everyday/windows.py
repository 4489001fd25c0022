"""All windows that a bundle of everyday sounds is measured on, and how they are captioned."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from edge_aac.audio.features import filter_bank
from edge_aac.audio.windows import Window
from edge_aac.errors import DataError, UsageError
from edge_aac.models.contract import WindowModel
from edge_aac.models.seq2seq import window_rng
from edge_aac.timebase import SAMPLE_RATE
from quantize.captioning import described, heard
from quantize.data.everyday.events import HeardEvent, believed
from quantize.data.everyday.lexicon import Lexicon
from quantize.data.everyday.reading import read
from quantize.data.everyday.wording import caption
from quantize.data.scenes import SCENE_SAMPLES, Scene, SceneBuilder, SceneRecipe, padded_clip, two_sound_scenes
from quantize.evaluation.everyday.quiet import handling_windows, hum_windows, noise_windows, silent_windows
from quantize.evaluation.everyday.recordings import Folder, Labelled, absent_sounds, read_folders
from quantize.evaluation.everyday.scenes import REFERENCES_PER_SCENE, sound_scenes
from quantize.evaluation.everyday.teacher import Teacher
from quantize.evaluation.everyday.truth import JudgedWindow, Kind, SoundWindow, TeacherAnswer, named_confidences
from quantize.evaluation.everyday.voices import speech_left_out, speech_windows
from quantize.evaluation.windows import NOISE_WINDOWS, SCENE_SEED, SILENT_WINDOWS

TAUGHT_KINDS: tuple[Kind, ...] = ("single", "absent")
"""Kinds of window for which a teacher is asked: it names one thing, and here one is heard."""


@dataclass(frozen=True)
class Sizes:
    """How many windows there are of each kind that is made here.

    Attributes:
        scenes: two-sound scenes of ESC-10, and as many scenes of all labels.
        noise, silence: windows of these.
    """

    scenes: int
    noise: int = NOISE_WINDOWS
    silence: int = SILENT_WINDOWS


@dataclass(frozen=True)
class EvaluationSet:
    """Everything that is measured on; its windows are made while they are read.

    Attributes:
        folders: the recordings.
        absent: sounds that the bundle was not trained on.
        unheard: recordings of these, of all folds.
        fold: the held-out one.
        sizes: numbers of windows.
        speech_left_out: why no window of speech can be made; "" where they can.
    """

    lexicon: Lexicon
    folders: tuple[Folder, ...]
    absent: frozenset[str]
    unheard: tuple[Labelled, ...]
    fold: int
    sizes: Sizes
    speech_left_out: str

    @property
    def known(self) -> list[Labelled]:
        """Held-out recordings of sounds that are not absent."""
        return [one for folder in self.folders for one in folder.recordings if one.sound not in self.absent]

    def windows(self) -> Iterator[SoundWindow]:
        """All windows, in the same order for the same arguments.

        Raises:
            DataError: the recordings are too few for scenes.
            InputMissingError: see :func:`quantize.evaluation.everyday.voices.speech_windows`.
        """
        known = self.known
        for one in known:
            yield _recording("single", one)
        yield from _ten_class_scenes(self.lexicon, known, self.sizes.scenes)
        yield from sound_scenes(self.lexicon, known, self.sizes.scenes, SCENE_SEED)
        yield from noise_windows(self.sizes.noise, SCENE_SEED)
        yield from silent_windows(self.sizes.silence)
        yield from hum_windows(SCENE_SEED)
        yield from handling_windows(SCENE_SEED)
        if not self.speech_left_out:
            yield from speech_windows(SCENE_SEED)
        for one in self.unheard:
            yield _recording("absent", one, held_out=one.clip.fold == self.fold)


def evaluation_set(
    lexicon: Lexicon,
    data: Sequence[Path],
    fold: int,
    trained_on: Mapping[str, str],
    sizes: Sizes,
    absent: Sequence[str] = (),
) -> EvaluationSet:
    """Read the recordings of a fold and check that they may be measured on.

    Args:
        lexicon: the sounds.
        data: folders with ``clips.csv``.
        fold: the held-out one.
        trained_on: recording → label of all that the bundle was trained on.
        sizes: numbers of windows.
        absent: sounds, or labels of recordings, that the bundle was not trained on.

    Raises:
        UsageError: the bundle was trained on recordings of the fold or on an absent sound, or there is no such sound.
        DataError: no recording is of a sound; or as :func:`quantize.evaluation.everyday.recordings.read_folders`.
        InputMissingError: as there.
    """
    folders = read_folders(lexicon, data, (fold,))
    if not any(folder.recordings for folder in folders):
        raise DataError(f"no recording of fold {fold} has the label of a sound: choose another --fold or --data")
    paths = {one.clip.path for folder in folders for one in folder.recordings}
    if shared := trained_on.keys() & paths:
        raise UsageError(f"the bundle was trained on {len(shared)} recordings of fold {fold}: choose another --fold")
    family = absent_sounds(lexicon, absent, trained_on.values())
    unheard: list[Labelled] = []
    if absent:
        for folder in read_folders(lexicon, data, None, family):
            unheard += folder.recordings
        if not unheard:
            raise UsageError(f"there is no recording of {', '.join(absent)} in --data: correct --absent")
    return EvaluationSet(lexicon, tuple(folders), family, tuple(unheard), fold, sizes, speech_left_out())


def judged_windows(
    captioner: WindowModel,
    lexicon: Lexicon,
    windows: Iterator[SoundWindow],
    seed: int,
    teacher: Teacher | None = None,
) -> list[JudgedWindow]:
    """Caption each window as the device would, read the caption, and ask a teacher where one thing is heard.

    All windows get the same generator; those of silence, which are all alike, one each.
    """
    truths: list[SoundWindow] = []
    answers: list[TeacherAnswer | None] = []

    def given() -> Iterator[tuple[Window, np.random.Generator]]:
        for number, window in enumerate(windows):
            asked = teacher if window.kind in TAUGHT_KINDS else None
            answers.append(asked.answer(window.waveform[: window.sound_samples]) if asked else None)
            # A waveform is large, and heard no more once it was captioned.
            truths.append(replace(window, waveform=window.waveform[:0]))
            start = number if window.kind == "silence" else 0
            yield heard(filter_bank(window.waveform), samples=window.sound_samples), window_rng(seed, start)

    judged: list[JudgedWindow] = []
    for description in described(captioner, given()):
        window, best = truths[len(judged)], description.best
        judged.append(
            JudgedWindow(
                window.kind, window.source, window.moments, window.collection, window.references, window.held_out,
                best.text, read(lexicon, best.text), best.hybrid, best.log_likelihood, best.similarity,
                description.familiarity, named_confidences(description), answers[len(judged)],
            )
        )  # fmt: skip
    return judged


def _recording(kind: Kind, labelled: Labelled, held_out: bool = True) -> SoundWindow:
    """A recording as the device hears it from a file that holds no more."""
    waveform = labelled.clip.waveform
    return SoundWindow(
        kind, labelled.clip.path, padded_clip(waveform), ((labelled.sound,),), labelled.collection, (), held_out,
        min(len(waveform), SCENE_SAMPLES),
    )  # fmt: skip


def _ten_class_scenes(lexicon: Lexicon, known: Sequence[Labelled], count: int) -> Iterator[SoundWindow]:
    """Scenes of two of ESC-10's classes, those that bundles of ten sounds are measured with."""
    clips = [one.clip for one in known if one.collection == "ten"]
    if not clips:
        return
    for number, scene in enumerate(two_sound_scenes(SceneBuilder(clips, SceneRecipe()), count, SCENE_SEED)):
        sounds = [lexicon.by_label[label] for label in scene.labels]
        sequence = scene.relation == "sequence"
        moments = tuple((sound,) for sound in sounds) if sequence else (tuple(sounds),)
        wording = np.random.default_rng([SCENE_SEED, number, REFERENCES_PER_SCENE])
        events = _events(lexicon, scene)
        references = tuple(caption(lexicon, events, wording) for _ in range(REFERENCES_PER_SCENE))
        yield SoundWindow(
            "scene", f"scene {number} of ESC-10 in {scene.relation}", scene.waveform, moments, "ten", references
        )


def _events(lexicon: Lexicon, scene: Scene) -> list[HeardEvent]:
    return [
        HeardEvent(
            believed(lexicon, lexicon.by_label[event.label]), event.start / SAMPLE_RATE, event.end / SAMPLE_RATE,
            -30.0 + event.gain_db, event.count, event.far or None, longest_gap_s=event.longest_gap_s,
        )
        for event in scene.events
    ]  # fmt: skip
