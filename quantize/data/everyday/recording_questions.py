"""Questions about labelled recordings, as a folder that `edge-aac evaluate --task aqa` measures a bundle on.

    python -m quantize.data.everyday.recording_questions --data recordings/ --fold 4 OUTPUT

writes ``audio/`` and ``questions.csv``: of each recording whether its sound is there, whether others of the same set
are, and what is heard. In scenes (:mod:`quantize.data.everyday.task_folder`) sounds are mixed as in training; here one
is alone, and all of a set are asked for as often where they are heard as where they are not.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import Annotated

import numpy as np
import typer

from edge_aac.cli import run_command
from edge_aac.errors import UsageError
from quantize.data.everyday.lexicon import Lexicon, english, sound_of
from quantize.data.everyday.questions import EVENTS, NO, PRESENCE, YES, Question, named
from quantize.data.everyday.task_folder import SEED, write_questions
from quantize.data.task_sets.contract import ChosenPart
from quantize.data.task_sets.finding import labelled_set

app = typer.Typer(add_completion=False)


def recording_questions(
    lexicon: Lexicon, sound: str, others: Sequence[str], rng: np.random.Generator, absent: int
) -> Iterator[Question]:
    """Questions about a recording in which one sound is heard.

    Args:
        lexicon: the sounds and their words.
        sound: what is heard.
        others: sounds that may be asked for where they are not heard; what is related to ``sound`` is not.
        rng: draws among them.
        absent: how many are drawn; fewer where there are fewer.
    """
    yield Question("presence", PRESENCE.format(named(lexicon, sound)), YES, (sound,))
    apart = [other for other in others if not lexicon.names.related(other, sound)]
    for place in sorted(rng.permutation(len(apart))[:absent]):
        yield Question("presence", PRESENCE.format(named(lexicon, apart[place])), NO, (apart[place],))
    yield Question("events", EVENTS, named(lexicon, sound))


@app.command()
def write_recordings(
    output: Annotated[Path, typer.Argument(help="Folder to write.")],
    data: Annotated[Path, typer.Option(help="Labelled recordings: a clips.csv, ESC-50, UrbanSound8K or FSD50K.")],
    fold: Annotated[int | None, typer.Option(help="Its recordings alone; all without it.")] = None,
    absent: Annotated[int, typer.Option(min=0, help="Sounds that are not heard and asked for, of each.")] = 1,
) -> None:
    """Write recordings with questions about them; those with several labels, without words, or of a name that one of
    another fold has as well, are left out."""
    lexicon, labelled = english(), labelled_set(data, ChosenPart(fold))
    sounds = sorted({sound for label in labelled.labels if (sound := sound_of(lexicon, label))})
    if output.exists() and any(output.iterdir()):
        raise UsageError(f"{output} is not empty: give another folder")
    # A bundle's attributions are searched for recordings that it learnt from by their names alone: one whose name
    # another of the set has, in another fold, may seem to be among them.
    ambiguous = {PurePosixPath(name).stem for name in labelled.about.others}
    asked: list[tuple[str, Question]] = []
    for number, one in enumerate(labelled.recordings):
        sound = sound_of(lexicon, one.labels[0]) if len(one.labels) == 1 else None
        if sound is None or one.recording.stems & ambiguous:
            print(f"left out: {one.recording.name}", file=sys.stderr)
            continue
        name = str(PurePosixPath("audio", PurePosixPath(one.recording.name).parent, one.recording.path.name))
        (output / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(one.recording.path, output / name)
        rng = np.random.default_rng([SEED, number])
        asked += [(name, question) for question in recording_questions(lexicon, sound, sounds, rng, absent)]
    write_questions(output, asked)


if __name__ == "__main__":
    run_command(app)
