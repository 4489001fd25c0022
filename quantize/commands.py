"""The verbs of the build-time side."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Annotated, Any

import typer

train = typer.Typer(add_completion=False, rich_markup_mode=None)
export = typer.Typer(add_completion=False, rich_markup_mode=None)
convert = typer.Typer(add_completion=False, rich_markup_mode=None)

DataOption = Annotated[
    Path,
    typer.Option("--data", envvar="EDGE_AAC_DATA", help="Folder with clips.csv and the recordings that it lists."),
]
OutputOption = Annotated[Path, typer.Option("--output", help="Folder of the bundle; an older one there is replaced.")]


@train.command(epilog="Example: edge-aac train --recipe esc10-tiny --data esc10/ --run runs/a --output my-bundle")
def train_verb(
    recipe: Annotated[str, typer.Option(help="Name of a shipped recipe or a TOML file.")],
    data: DataOption,
    run: Annotated[Path, typer.Option(help="Folder of the run; one that was broken off goes on where it was.")],
    output: Annotated[Path | None, typer.Option(help="Export a bundle here at the end.")] = None,
    epochs: Annotated[int | None, typer.Option(min=1, help="In place of the recipe's.")] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="In place of the recipe's.")] = None,
    threads: Annotated[int | None, typer.Option(min=1, help="CPU threads of torch; all cores by default.")] = None,
) -> None:
    """Train a captioner from a recipe, and export it."""
    from dataclasses import replace

    import torch

    from quantize.deploy.bundle_writer import check_output
    from quantize.training.progress import TerminalProgress
    from quantize.training.recipe import load_recipe
    from quantize.training.train import Run

    if output:
        check_output(output)  # before the hours of training, not after them
    if threads:
        torch.set_num_threads(threads)
    chosen = load_recipe(recipe)
    changes: dict[str, Any] = {"epochs": epochs, "seed": seed}
    chosen = replace(chosen, train=replace(chosen.train, **{k: v for k, v in changes.items() if v is not None}))
    with TerminalProgress() as progress:
        progress.say(f"reading the recordings in {data}")
        training = Run(chosen, data, run)
        if training.epochs_done:
            progress.say(f"{run} goes on after epoch {training.epochs_done}")
        training.train(progress)
    if output:
        _export(run, data, output, None)


@export.command(epilog="Example: edge-aac export --run runs/a --data esc10/ --output my-bundle")
def export_verb(
    run: Annotated[Path, typer.Option(help="Folder of a training run.")],
    data: DataOption,
    output: OutputOption,
    quality: Annotated[
        Path | None, typer.Option(help="JSON file of measured scores (benchmarks.quality writes one) for the card.")
    ] = None,
) -> None:
    """Export a trained run as a bundle; every graph is compared with torch first."""
    _export(run, data, output, quality)


@convert.command(epilog="Example: edge-aac convert captioner/ --instructor instructor-xl/ --output my-bundle")
def convert_verb(
    path: Annotated[Path, typer.Argument(metavar="PATH", help="Folder of a captioner as published.")],
    instructor: Annotated[Path, typer.Option(help="Folder of the INSTRUCTOR that it was trained with.")],
    output: OutputOption,
    tokenizer: Annotated[
        str | None,
        typer.Option(
            help="Folder or file of the decoder's tokenizer, where it does not lie beside the weights; "
            '"numbered" makes words of token numbers.'
        ),
    ] = None,
    name: Annotated[str | None, typer.Option(help="Of the bundle. Default: the output folder's.")] = None,
) -> None:
    """Convert a captioner and INSTRUCTOR from their published layouts into a bundle."""
    from quantize.deploy.convert import NUMBERED, convert_published, provenance_of

    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    chosen = tokenizer if tokenizer in {None, NUMBERED} else Path(tokenizer)
    provenance = provenance_of(path, instructor, name or output.resolve().name)
    convert_published(path, instructor, chosen, output, provenance, lambda line: typer.echo(line, err=True))
    typer.echo(f"bundle written to {output}", err=True)


def _export(run: Path, data: Path, output: Path, quality: Path | None) -> None:
    from edge_aac.errors import DataError, InputMissingError
    from quantize.deploy.export import export_bundle

    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    if quality is not None and not quality.is_file():
        raise InputMissingError(f"no file {quality}: correct --quality or leave it out")
    try:
        scores = json.loads(quality.read_text(encoding="utf-8")) if quality else {}
    except ValueError as error:
        raise DataError(f"{quality} is not JSON: {error}") from error
    export_bundle(run, data, output, scores, lambda line: typer.echo(line, err=True))
    typer.echo(f"bundle written to {output}", err=True)
