"""`edge-aac train`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from quantize.cli.examples import report_corpus, store
from quantize.cli.export import export_run
from quantize.cli.options import (
    AbsentOption,
    DataOption,
    ExamplesOption,
    FoldsOption,
    LlmModelOption,
    LlmUrlOption,
    OutliersOption,
    PrecisionOption,
    SentenceEmbedderOption,
    ThreadsOption,
    cache_folder,
    llm_of,
    recipe_of,
    sentence_embedder_of,
)

train = typer.Typer(add_completion=False, rich_markup_mode=None)


@train.command(epilog="Example: edge-aac train --recipe esc10-tiny --data esc10/ --run runs/a --output my-bundle")
def train_verb(
    recipe: Annotated[str, typer.Option(help="Name of a shipped recipe or a TOML file.")],
    data: DataOption,
    run: Annotated[Path, typer.Option(help="Folder of the run; one that was broken off goes on where it was.")],
    output: Annotated[Path | None, typer.Option(help="Export a bundle here at the end.")] = None,
    epochs: Annotated[int | None, typer.Option(min=1, help="In place of the recipe's.")] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="In place of the recipe's.")] = None,
    precision: PrecisionOption = None,
    threads: ThreadsOption = None,
    sentence_embedder: SentenceEmbedderOption = None,
    examples: ExamplesOption = None,
    folds: FoldsOption = None,
    absent: AbsentOption = None,
    outliers: OutliersOption = None,
    llm_url: LlmUrlOption = None,
    llm_model: LlmModelOption = "",
) -> None:
    """Train a captioner from a recipe, and export it."""
    import torch

    from quantize.bundles.staging import check_output

    if output:
        check_output(output)  # before the hours of training, not after them
    if threads:
        torch.set_num_threads(threads)
    chosen = recipe_of(recipe, epochs, seed, folds, absent, precision)
    # What these import takes seconds, and a mistake in the recipe is told before.
    from quantize.training.distributed import World
    from quantize.training.progress import TerminalProgress
    from quantize.training.sources import open_example_source
    from quantize.training.stored import StoredExamples
    from quantize.training.train import Run

    embedder = sentence_embedder_of(sentence_embedder)
    with World.from_environment() as world, TerminalProgress(quiet=not world.first) as progress:
        progress.print_line(f"reading the recordings in {data}")
        llm = llm_of(llm_url, llm_model)
        source = world.first_alone(lambda: open_example_source(chosen, data, cache_folder(), llm, outliers))
        if world.first:
            report_corpus(source, run)
        if examples and world.first:
            store(chosen, source, embedder, examples)
        world.barrier()
        stored = StoredExamples.open(examples) if examples else None
        training = Run(chosen, source, run, world, embedder, stored)
        progress.resumed(run, training.steps_done)
        training.train(progress)
    if output and world.first:
        export_run(run, data, output, None, embedder, outliers=outliers)
