"""`edge-aac distill --kind prompted`: a student that answers questions, over the encoder of a captioner."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import typer

from quantize.cli.options import folders_of_kind


@dataclass(frozen=True)
class PromptedPlan:
    """What the options of the verb ask for.

    Attributes:
        recipe: name or file of a recipe.
        teacher: folder of a captioner's finished run, with its stored scenes.
        data: folder of the store of sound that it was trained on.
        heard: folder of what the tagger heard.
        run: folder of the student's run.
        output: folder of the bundle; None for none.
        epochs, seed: in place of the recipe's; None for the recipe's.
    """

    recipe: str
    teacher: Path
    data: Path
    heard: Path
    run: Path
    output: Path | None
    epochs: int | None = None
    seed: int | None = None


def prompted_plan(
    recipe: str,
    folders: Mapping[str, Path | None],
    output: Path | None,
    numbers: tuple[int | None, int | None],
    unused: Mapping[str, object],
) -> PromptedPlan:
    """The plan that options make.

    Args:
        recipe: name or file of a recipe.
        folders: ``--teacher``, ``--data``, ``--examples`` and ``--run``.
        output: folder of the bundle.
        numbers: epochs and seed in place of the recipe's.
        unused: options that mean nothing here, with what was given.

    Raises:
        UsageError: such an option was given, or a folder was not.
    """
    teacher, data, heard, run = folders_of_kind("prompted", folders, unused)
    return PromptedPlan(recipe, teacher, data, heard, run, output, *numbers)


def distil_prompted(plan: PromptedPlan) -> None:
    """Do what is left to do of a plan."""
    from quantize.bundles.prompted_student import export_prompted
    from quantize.training.distributed import World
    from quantize.training.progress import TerminalProgress, counting
    from quantize.training.prompted import Encoder, PromptedTraining
    from quantize.training.prompted_recipe import load_prompted_recipe

    recipe = load_prompted_recipe(plan.recipe).changed(plan.epochs, plan.seed)
    encoder = Encoder.load(plan.teacher)
    source = encoder.source(plan.data, plan.heard)
    with World.from_environment() as world:
        with counting("events of the scenes", encoder.recipe.stored.count) as on_progress:
            training = PromptedTraining(recipe, encoder, source, plan.run, world, on_progress)
        with TerminalProgress(quiet=not world.first) as progress:
            progress.resumed(plan.run, training.trainer.steps_done)
            training.train(progress)
    if world.first and plan.output:
        logging.getLogger("torch.onnx").setLevel(logging.ERROR)
        export_prompted(plan.run, plan.teacher, plan.data, plan.output, {}, lambda line: typer.echo(line, err=True))
        typer.echo(f"bundle written to {plan.output}", err=True)
