"""An evaluation of a bundle of everyday sounds: caption, judge by the lexicon, and write the report."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edge_aac.errors import DataError
from edge_aac.models.opening import CaptioningModel
from quantize.data.everyday.lexicon import Lexicon, english
from quantize.evaluation.evaluate import (
    SCORE_HEADS,
    MetricChoices,
    run_facts,
    scene_metrics,
    score_cells,
    write_results,
)
from quantize.evaluation.everyday.judging import right
from quantize.evaluation.everyday.report import sounds_report
from quantize.evaluation.everyday.tables import sound_tables
from quantize.evaluation.everyday.teacher import Teacher
from quantize.evaluation.everyday.truth import JudgedWindow
from quantize.evaluation.everyday.windows import Sizes, evaluation_set, judged_windows
from quantize.evaluation.windows import attributions
from quantize.models.taggers import load_tagger


@dataclass(frozen=True)
class SoundsAsked:
    """What a bundle of everyday sounds is to be measured on.

    Attributes:
        data: folders with ``clips.csv``.
        fold: the held-out one.
        scenes: two-sound scenes of ESC-10, and as many of all labels.
        seed: of the candidates.
        absent: sounds, or labels of recordings, that the bundle was not trained on.
        tagger: file of a tagger that answers for the same windows; None for none.
    """

    data: tuple[Path, ...]
    fold: int
    scenes: int
    seed: int
    absent: tuple[str, ...] = ()
    tagger: Path | None = None

    def command(self, metrics: MetricChoices | None) -> str:
        """The command that measures it; folders and files by their names alone, which tell nothing of a machine."""
        parts = ["edge-aac", "evaluate"]
        for folder in self.data:
            parts += ["--data", folder.resolve().name]
        parts += ["--fold", str(self.fold), "--scenes", str(self.scenes), "--seed", str(self.seed)]
        for sound in self.absent:
            parts += ["--absent", sound]
        if self.tagger:
            parts += ["--tagger", self.tagger.name]
        if metrics and metrics.embedder:
            parts += ["--sentence-embedder", "FOLDER"]
        if metrics and metrics.spice:
            parts += ["--spice"]
        return shlex.join(parts)


def evaluate_sounds(
    captioner: CaptioningModel, asked: SoundsAsked, metrics: MetricChoices | None = None
) -> tuple[dict[str, Any], list[JudgedWindow]]:
    """Scores of a bundle of everyday sounds on a held-out fold, and the judged windows.

    Args:
        captioner: a bundle that lists sounds.
        asked: what it is measured on.
        metrics: choices for metrics of the scenes' captions against those of the lexicon; None leaves them out.

    Raises:
        DataError: the bundle lists a sound that the lexicon has not; or as
            :func:`quantize.evaluation.everyday.windows.evaluation_set` and :func:`quantize.models.taggers.load_tagger`.
        UsageError, InputMissingError: as these.
    """
    lexicon = english()
    _check_sounds(captioner, lexicon)
    teacher = Teacher(lexicon, load_tagger(asked.tagger), asked.tagger.name) if asked.tagger else None
    trained_on = attributions(captioner)
    sizes = Sizes(asked.scenes)
    measured = evaluation_set(lexicon, asked.data, asked.fold, trained_on, sizes, asked.absent)
    judged = judged_windows(captioner, lexicon, measured.windows(), asked.seed, teacher)
    scores = {
        **run_facts(captioner, asked.command(metrics), asked.seed),
        "held_out_fold": asked.fold,
        "trained_on_recordings": len(trained_on),
        "recordings": [folder.facts for folder in measured.folders],
        **({"tagger": teacher.name} if teacher else {}),
        **sound_tables(lexicon, judged),
    }
    if measured.speech_left_out:
        scores["speech_windows"] = {"left_out": measured.speech_left_out}
    scores |= scene_metrics(judged, metrics, "the lexicon of the training captions")
    return scores, judged


def skipped_recordings(scores: Mapping[str, Any]) -> list[str]:
    """A sentence for each folder of which recordings were passed over."""
    return [
        f"{folder['folder']}: skipped {sum(folder['skipped'].values())} recordings whose label is no sound's "
        f"({', '.join(folder['skipped'])})"
        for folder in scores["recordings"]
        if folder["skipped"]
    ]


def write_sounds(output: Path, scores: dict[str, Any], judged: Sequence[JudgedWindow]) -> None:
    """``scores.json``, ``captions.csv`` (every window) and ``report.html``."""
    lexicon = english()
    heads = (
        "kind", "source", "collection", "truth", "caption", "names", "unknown", "right", *SCORE_HEADS, "familiarity",
        "confidences", "teacher",
    )  # fmt: skip
    rows = [
        (
            w.kind, w.source, w.collection, " then ".join(" ".join(moment) for moment in w.moments), w.caption,
            " ".join(w.named), int(w.reading.unknown), int(right(lexicon, w)),
            *score_cells(w.hybrid, w.log_likelihood, w.similarity, w.familiarity),
            " ".join(f"{name}:{sure:.4f}" for name, sure in (w.confidences or {}).items()),
            (w.teacher.sound or "") if w.teacher else "",
        )
        for w in judged
    ]  # fmt: skip
    write_results(output, scores, heads, rows, lambda: sounds_report(scores, lexicon, judged))


def _check_sounds(captioner: CaptioningModel, lexicon: Lexicon) -> None:
    listed = captioner.sound_names
    strange = sorted(set(listed.sounds) - set(lexicon.sounds)) if listed else []
    if strange:
        raise DataError(
            f"the bundle lists {len(strange)} sounds that this version has no words for, as {strange[0]!r}: measure it "
            "with the version that exported it"
        )
