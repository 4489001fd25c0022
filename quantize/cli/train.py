"""The verbs of the build-time side."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Sequence
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from quantize.data.llm import LlmClient
    from quantize.training.recipe import Recipe
    from quantize.training.sources import ExampleSource

train = typer.Typer(add_completion=False, rich_markup_mode=None)
export = typer.Typer(add_completion=False, rich_markup_mode=None)
convert = typer.Typer(add_completion=False, rich_markup_mode=None)

DataOption = Annotated[
    Path,
    typer.Option("--data", envvar="EDGE_AAC_DATA", help="Folder with clips.csv and the recordings that it lists."),
]
ThreadsOption = Annotated[
    int | None, typer.Option("--threads", min=1, help="CPU threads of torch; default: all cores.")
]
SentenceEmbedderOption = Annotated[
    Path | None,
    typer.Option(
        "--sentence-embedder",
        help="Folder of a sentence embedder (INSTRUCTOR, or any of sentence-transformers) that the audio embeddings "
        "are drawn to, where the recipe has it given.",
    ),
]
FoldsOption = Annotated[
    str | None,
    typer.Option("--folds", help='Folds to train on in place of the recipe\'s, as "1,2,3,4"; none of these validates.'),
]


class PrecisionChoice(str, Enum):
    """Of :class:`quantize.training.settings.EngineSettings`."""

    AUTO = "auto"
    FP32 = "fp32"
    BF16 = "bf16"


PrecisionOption = Annotated[
    PrecisionChoice | None,
    typer.Option("--precision", help="In place of the recipe's; auto is bf16 on GPUs that have it."),
]
ExamplesOption = Annotated[
    Path | None,
    typer.Option(
        "--examples",
        help="Folder of examples that are made once and learnt from by many runs; what it lacks is made first.",
    ),
]
AbsentOption = Annotated[
    list[str] | None,
    typer.Option("--absent", metavar="CLASS", help="A class to leave out of all recordings; may be repeated."),
]
OutliersOption = Annotated[
    Path | None,
    typer.Option(
        "--outliers",
        envvar="EDGE_AAC_OUTLIERS",
        help='Folder with a clips.csv of sounds of no known class (label "unknown"): what is not to be named.',
    ),
]
LlmUrlOption = Annotated[
    str | None,
    typer.Option("--llm-url", help="OpenAI-compatible endpoint that merges captions of mix-ups, as https://HOST/v1."),
]
LlmModelOption = Annotated[str, typer.Option("--llm-model", help="Its model's name there.")]
OutputOption = Annotated[Path, typer.Option("--output", help="Folder of the bundle; an older one there is replaced.")]


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

    from quantize.bundles.bundle_writer import check_output
    from quantize.training.distributed import World
    from quantize.training.progress import TerminalProgress
    from quantize.training.sources import open_source
    from quantize.training.stored import StoredExamples
    from quantize.training.train import Run

    if output:
        check_output(output)  # before the hours of training, not after them
    if threads:
        torch.set_num_threads(threads)
    chosen = recipe_of(recipe, epochs, seed, folds, absent, precision)
    embedder = sentence_embedder_of(sentence_embedder)
    with World.from_environment() as world, TerminalProgress(quiet=not world.first) as progress:
        progress.say(f"reading the recordings in {data}")
        llm = llm_of(llm_url, llm_model)
        source = world.first_alone(lambda: open_source(chosen, data, cache_folder(), llm, outliers))
        if world.first:
            report_corpus(source, run)
        if examples and world.first:
            store(chosen, source, embedder, examples)
        world.barrier()
        stored = StoredExamples.open(examples) if examples else None
        training = Run(chosen, source, run, world, embedder, stored)
        if training.steps_done:
            progress.say(f"{run} goes on after step {training.steps_done}")
        training.train(progress)
    if output and world.first:
        export_run(run, data, output, None, embedder, outliers=outliers)


@export.command(epilog="Example: edge-aac export --run runs/a --data esc10/ --output my-bundle")
def export_verb(
    run: Annotated[Path, typer.Option(help="Folder of a training run.")],
    data: DataOption,
    output: OutputOption,
    quality: Annotated[Path | None, typer.Option(help="scores.json of `edge-aac evaluate`, for the card.")] = None,
    compared: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=FILE",
            help="A row of the card's table of models: scores.json of a bundle that was measured alike; may be "
            "repeated, and several of one name (seeds) give their mean and range.",
        ),
    ] = None,
    sentence_embedder: SentenceEmbedderOption = None,
    calibrate: Annotated[
        int, typer.Option(min=0, metavar="WINDOWS", help="Calibrate INT8 with so many windows of the recordings.")
    ] = 0,
    outliers: OutliersOption = None,
) -> None:
    """Export a trained run as a bundle; every graph is compared with torch first.

    With --sentence-embedder the bundle reranks with that model itself, in place of the run's own text embedder.
    """
    export_run(run, data, output, quality, sentence_embedder_of(sentence_embedder), compared or [], calibrate, outliers)


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
    from quantize.bundles.convert import convert_published, provenance_of
    from quantize.models.decoder_tokenizer import NUMBERED

    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    chosen = tokenizer if tokenizer in {None, NUMBERED} else Path(tokenizer)
    provenance = provenance_of(path, instructor, name or output.resolve().name)
    convert_published(path, instructor, chosen, output, provenance, lambda line: typer.echo(line, err=True))
    typer.echo(f"bundle written to {output}", err=True)


def sentence_embedder_of(folder: Path | None) -> Any:
    """The embedder of ``--sentence-embedder``."""
    from quantize.models.sentence_embedder import load_sentence_embedder

    return load_sentence_embedder(folder) if folder else None


def cache_folder() -> Path:
    """Where what can be made again is kept, as decoded clips."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "edge-aac"


def llm_of(url: str | None, model: str) -> LlmClient | None:
    """The language model of ``--llm-url``; its answers are kept in the cache folder, so none is paid for twice."""
    if url is None:
        return None
    from quantize.data.answer_cache import AnswerCache
    from quantize.data.llm import LlmClient, LlmEndpoint

    return LlmClient(LlmEndpoint(url, model), AnswerCache(cache_folder() / "answers.sqlite"))


def recipe_of(
    name_or_path: str,
    epochs: int | None,
    seed: int | None,
    folds: str | None,
    absent: Sequence[str] | None,
    precision: PrecisionChoice | None,
) -> Recipe:
    """The recipe of ``--recipe`` with what other options change in it."""
    from quantize.training.recipe import load_recipe

    return load_recipe(name_or_path).changed(
        epochs, seed, folds_of(folds), tuple(absent or ()), precision.value if precision else None
    )


def folds_of(listed: str | None) -> tuple[int, ...] | None:
    """The numbers of ``--folds``.

    Raises:
        UsageError: they are none.
    """
    from edge_aac.errors import UsageError

    if listed is None:
        return None
    try:
        return tuple(int(part) for part in listed.split(","))
    except ValueError as error:
        raise UsageError(f"--folds {listed!r} is not a list of numbers: give it as 1,2,3") from error


def report_corpus(source: ExampleSource, folder: Path | None) -> None:
    """Which clips of a corpus are left out, and what came of its mix-ups: told, and written into the run's folder."""
    from quantize.training.sources import CorpusSource

    if not isinstance(source, CorpusSource):
        return
    for clip in source.report.broken:
        typer.echo(f"left out: {clip.name}: {clip.reason}", err=True)
    typer.echo(f"{len(source.report.ready)} clips can be used, {len(source.report.broken)} cannot", err=True)
    if source.merges:
        typer.echo(f"{source.merges.merged} of {source.merges.pairs} mix-ups have a usable caption", err=True)
    if folder:
        folder.mkdir(parents=True, exist_ok=True)
        source.report.write(folder)
        if source.merges:
            (folder / "mixups.json").write_text(source.merges.to_json() + "\n", encoding="utf-8")


def store(chosen: Recipe, source: ExampleSource, embedder: Any, folder: Path) -> None:
    """Make stored examples, or what is left to make of them."""
    from quantize.training.progress import counting
    from quantize.training.train import store_examples

    with counting("examples", chosen.stored.count) as told:
        outcomes = store_examples(chosen, source, embedder, folder, told)
    if outcomes:
        typer.echo(
            "mix-ups: " + ", ".join(f"{count} {outcome}" for outcome, count in sorted(outcomes.items())), err=True
        )


def export_run(  # noqa: PLR0913, PLR0917
    run: Path,
    data: Path,
    output: Path,
    quality: Path | None,
    sentence_embedder: Any = None,
    compared: Sequence[str] = (),
    calibrate: int = 0,
    outliers: Path | None = None,
) -> None:
    """Export a run, telling of each graph on stderr."""
    from quantize.bundles.export import export_bundle
    from quantize.evaluation.scenes import compared_rows, manifest_quality

    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    scores = manifest_quality(_read_scores(quality, "--quality")) if quality else {}
    if compared:
        named = [
            (name, _read_scores(Path(file), "--compared")) for name, _, file in (x.partition("=") for x in compared)
        ]
        scores["compared"] = compared_rows(named)
    export_bundle(
        run, data, output, scores, lambda line: typer.echo(line, err=True), sentence_embedder, calibrate, outliers
    )
    typer.echo(f"bundle written to {output}", err=True)


def _read_scores(path: Path, option: str) -> dict[str, Any]:
    from edge_aac.errors import DataError, InputMissingError

    if not path.is_file():
        raise InputMissingError(f"no file {path}: correct {option} or leave it out")
    try:
        table = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise DataError(f"{path} is not JSON: {error}") from error
    if not isinstance(table, dict):
        raise DataError(f"{path} holds no table of scores: give the scores.json of `edge-aac evaluate` with {option}")
    return table
