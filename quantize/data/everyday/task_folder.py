"""Scenes of recordings kept apart, as a folder that `edge-aac evaluate --task` measures captions, retrieval and
questions on: what is true of them is known, as in training.

    python -m quantize.data.everyday.task_folder --data sounds/ --examples heard/ --fold 4 OUTPUT

writes ``audio/*.flac``, ``captions.csv`` (a row a caption, for the tasks caption and retrieve) and ``questions.csv``
(a row a question, with its kind, for the task aqa).
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated

import numpy as np
import soundfile
import typer

from edge_aac.cli import run_command
from edge_aac.timebase import SAMPLE_RATE
from quantize.data.everyday.events import HeardEvent
from quantize.data.everyday.heard_sounds import read_heard
from quantize.data.everyday.lexicon import english
from quantize.data.everyday.questions import Question, questions, sounds_elsewhere
from quantize.data.everyday.scenes import EverydaySceneRecipe, EverydayScenes
from quantize.data.everyday.story import story
from quantize.data.everyday.wording import tell
from quantize.data.sounds.store import SoundStore

SEED = 20_270_101
"""Of the scenes, whatever seed a run has: no training draws with it."""

app = typer.Typer(add_completion=False)


@app.command()
def write_scenes(
    output: Annotated[Path, typer.Argument(help="Folder to write.")],
    data: Annotated[Path, typer.Option(help="Store of sound.")],
    examples: Annotated[Path, typer.Option(help="Folder of what the tagger heard.")],
    fold: Annotated[int, typer.Option(help="Its recordings alone are in the scenes.")] = 4,
    scenes: Annotated[int, typer.Option(min=1)] = 300,
    captions: Annotated[int, typer.Option(min=1, help="Of each scene.")] = 5,
    asked: Annotated[int, typer.Option(min=0, help="Questions about each scene.")] = 8,
) -> None:
    """Write scenes of one fold with captions and questions."""
    lexicon, store = english(), SoundStore.open(data)
    maker = EverydayScenes(store, read_heard(examples), lexicon, EverydaySceneRecipe(), SEED, store.folds_but((fold,)))
    (output / "audio").mkdir(parents=True, exist_ok=True)
    told: list[tuple[str, str]] = []
    heard: list[tuple[str, tuple[HeardEvent, ...], np.random.Generator]] = []
    for number in range(scenes):
        scene, rng = maker.scene(0, number), np.random.default_rng([SEED, number])
        name = f"audio/scene-of-fold-{fold}-{number:04d}.flac"
        soundfile.write(output / name, scene.waveform, SAMPLE_RATE)
        what = story(lexicon, scene.events)
        told += [(name, text) for text in dict.fromkeys(tell(lexicon, what, rng) for _ in range(captions))]
        heard.append((name, tuple(scene.events), rng))
    elsewhere = sounds_elsewhere(lexicon, [events for _, events, _ in heard])
    questioned = [
        (name, one) for name, events, rng in heard for one in questions(lexicon, events, rng, asked, elsewhere)
    ]
    _write(output / "captions.csv", ("file", "caption"), told)
    write_questions(output, questioned)


def write_questions(folder: Path, asked: Iterable[tuple[str, Question]]) -> None:
    """Write ``questions.csv``: names of sound files, and what is asked about them."""
    rows = ((name, one.text, one.answer, one.kind) for name, one in asked)
    _write(folder / "questions.csv", ("file", "question", "answer", "kind"), rows)


def _write(path: Path, heads: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as stream:
        table = csv.writer(stream, lineterminator="\n")
        table.writerow(heads)
        table.writerows(rows)


if __name__ == "__main__":
    run_command(app)
