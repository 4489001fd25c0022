"""`edge-aac distill --kind dual_encoder`: a student of CLAP, over the filter bank of 10 s windows."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import typer

from quantize.cli.options import folders_of_kind


@dataclass(frozen=True)
class DualPlan:
    """What the options of the verb ask for.

    Attributes:
        recipe: name or file of a recipe.
        teacher: file or folder of a CLAP.
        data: folder of a store of sound, or of recordings with their ``clips.csv``.
        run: folder of the student's run.
        texts: file of labels and captions; None for the lexicon's.
        output: folder of the bundle; None for none.
        epochs, seed: in place of the recipe's; None for the recipe's.
    """

    recipe: str
    teacher: Path
    data: Path
    run: Path
    texts: Path | None
    output: Path | None
    epochs: int | None = None
    seed: int | None = None


def dual_plan(
    recipe: str,
    folders: Mapping[str, Path | None],
    texts: Path | None,
    output: Path | None,
    numbers: tuple[int | None, int | None],
    unused: Mapping[str, object],
) -> DualPlan:
    """The plan that options make.

    Args:
        recipe: name or file of a recipe.
        folders: ``--teacher``, ``--data`` and ``--run``.
        texts: file of labels and captions.
        output: folder of the bundle.
        numbers: epochs and seed in place of the recipe's.
        unused: options that mean nothing here, with what was given.

    Raises:
        UsageError: such an option was given, or a folder was not.
    """
    teacher, data, run = folders_of_kind("dual_encoder", folders, unused)
    return DualPlan(recipe, teacher, data, run, texts, output, *numbers)


def distil_dual(plan: DualPlan) -> None:
    """Do what is left to do of a plan."""
    from quantize.bundles.convert_clap import provenance_of_clap
    from quantize.bundles.dual_student import export_dual_student
    from quantize.data.everyday.lexicon import english
    from quantize.models.clap.loading import load_any_clap
    from quantize.training.distributed import World
    from quantize.training.dual_encoder import DualTraining
    from quantize.training.dual_recipe import load_dual_recipe
    from quantize.training.dual_sounds import Recordings
    from quantize.training.dual_texts import texts_of_file, texts_of_lexicon
    from quantize.training.progress import TerminalProgress, counting

    recipe = load_dual_recipe(plan.recipe).changed(plan.epochs, plan.seed)
    texts = texts_of_file(plan.texts) if plan.texts else texts_of_lexicon(english())
    recordings = Recordings.open(plan.data, recipe.train.held_out)
    teacher = load_any_clap(plan.teacher)
    with World.from_environment() as world:
        with counting("windows that the teacher hears", recipe.train.windows) as on_progress:
            training = DualTraining(recipe, teacher, recordings, texts, plan.run, world, on_progress)
        with TerminalProgress(quiet=not world.first) as progress:
            progress.resumed(plan.run, training.trainer.steps_done)
            training.train(progress)
    if world.first and plan.output:
        logging.getLogger("torch.onnx").setLevel(logging.ERROR)
        named = provenance_of_clap(plan.teacher, plan.teacher.stem)
        export_dual_student(plan.run, recordings, named, plan.output, lambda line: typer.echo(line, err=True))
        typer.echo(f"bundle written to {plan.output}", err=True)
