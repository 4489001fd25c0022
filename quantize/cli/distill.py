"""`edge-aac distill`."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from quantize.cli.dual import distil_dual, dual_plan
from quantize.cli.examples import report_corpus, store
from quantize.cli.export import export_run
from quantize.cli.options import (
    AbsentOption,
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
from quantize.cli.prompted import distil_prompted, prompted_plan
from quantize.cli.tagged import TaggedPlan, distil_from_tagger, distil_text

if TYPE_CHECKING:
    from quantize.training.distill import TeacherModel
    from quantize.training.distributed import World
    from quantize.training.recipe import Recipe
    from quantize.training.sources import ExampleSource

distill = typer.Typer(add_completion=False, rich_markup_mode=None)

EXAMPLES = """Examples:

  edge-aac distill --recipe esc10-tiny --teacher runs/teacher --dry-run

  edge-aac distill --recipe esc10-tiny --teacher runs/teacher --data esc10/ --sentence-embedder minilm/
  --examples examples/ --precompute

  edge-aac distill --recipe esc10-tiny --teacher runs/teacher --data esc10/ --sentence-embedder minilm/
  --examples examples/ --run runs/student --output my-bundle

  edge-aac distill --recipe everyday --tagger mn04_as_mAP_432.pt --data sounds/ --sentence-embedder minilm/
  --examples heard/ --run runs/everyday --output my-bundle

  edge-aac distill --kind prompted --recipe everyday-ask --teacher runs/everyday --data sounds/ --examples heard/
  --run runs/ask --output my-asking-bundle

  edge-aac distill --kind dual_encoder --recipe clap-small --teacher CLAP_weights_2023.pth --data sounds/
  --run runs/clap --output my-clap
"""


class Kind(str, Enum):
    """Kinds of student."""

    CAPTIONER = "captioner"
    PROMPTED = "prompted"
    DUAL_ENCODER = "dual_encoder"


@distill.command(epilog=EXAMPLES)
def distill_verb(
    recipe: Annotated[
        str, typer.Option(help="Name of a shipped recipe or a TOML file: the student and how it is taught.")
    ],
    kind: Annotated[
        Kind,
        typer.Option(
            help="captioner; prompted: a student that answers questions, over the encoder of --teacher, which is a "
            "run of a recipe with [everyday]; or dual_encoder: sounds and texts in one space, taught by CLAP."
        ),
    ] = Kind.CAPTIONER,
    teacher: Annotated[
        Path | None, typer.Option(help="Folder of a training run, or of a captioner or a CLAP as published.")
    ] = None,
    tagger: Annotated[
        Path | None,
        typer.Option(help="File of an audio tagger, in place of --teacher: it teaches the encoder of everyday sounds."),
    ] = None,
    encoder: Annotated[
        Path | None,
        typer.Option(help="With --tagger: file of an encoder that was taught before, to learn captions over as it is."),
    ] = None,
    data: Annotated[
        Path | None, typer.Option("--data", envvar="EDGE_AAC_DATA", help="Folder of the recordings, or of the corpus.")
    ] = None,
    run: Annotated[
        Path | None, typer.Option(help="Folder of the student's run; one that was broken off goes on where it was.")
    ] = None,
    output: Annotated[Path | None, typer.Option(help="Export a bundle here at the end.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show what teacher and student cost.")] = False,
    examples: ExamplesOption = None,
    precompute: Annotated[
        bool, typer.Option("--precompute", help="Only fill the folder of --examples with the teacher's outputs.")
    ] = False,
    sentence_embedder: SentenceEmbedderOption = None,
    tokenizer: Annotated[
        Path | None, typer.Option(help="Of a published teacher, where it does not lie beside its weights.")
    ] = None,
    text_student: Annotated[
        bool, typer.Option("--text-student/--no-text-student", help="Distil the sentence embedder, too.")
    ] = True,
    texts: Annotated[
        Path | None,
        typer.Option(help="For dual_encoder: file of labels and captions, one a line; the lexicon's without it."),
    ] = None,
    epochs: Annotated[int | None, typer.Option(min=1, help="In place of the recipe's.")] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="In place of the recipe's.")] = None,
    precision: PrecisionOption = None,
    folds: FoldsOption = None,
    absent: AbsentOption = None,
    outliers: OutliersOption = None,
    threads: ThreadsOption = None,
    llm_url: LlmUrlOption = None,
    llm_model: LlmModelOption = "",
) -> None:
    """Distil a student from a teacher: a captioner, with a text student of a sentence embedder, or another kind."""
    from edge_aac.errors import UsageError

    _prepare(threads, output)
    if kind is not Kind.CAPTIONER:
        given = {
            **{"--teacher": teacher, "--data": data, "--examples": examples, "--run": run, "--texts": texts},
            **{"--tagger": tagger, "--encoder": encoder, "--dry-run": dry_run, "--precompute": precompute},
            **{"--sentence-embedder": sentence_embedder, "--tokenizer": tokenizer, "--precision": precision},
            **{"--folds": folds, "--absent": absent, "--outliers": outliers, "--llm-url": llm_url},
        }
        _distil_other(kind, recipe, output, (epochs, seed), given)
        return
    if output and sentence_embedder is None:
        raise UsageError(
            "the bundle of --output needs a text embedder: give --sentence-embedder FOLDER, or export later"
        )
    chosen = recipe_of(recipe, epochs, seed, folds, absent, precision)
    _check_teacher(chosen, teacher, tagger, examples, dry_run)
    _check_unused(tagger, encoder, texts, {"--tokenizer": tokenizer, "--llm-url": llm_url, "--llm-model": llm_model})
    if not dry_run and (data is None or (run is None) != precompute):
        raise UsageError("give --data, and either --run FOLDER (train the student) or --precompute (run the teacher)")
    if precompute and examples is None:
        raise UsageError("--precompute needs a folder for the teacher's outputs: give --examples")
    if tagger is not None:
        assert data is not None and examples is not None
        embedder = sentence_embedder_of(sentence_embedder)
        distil_from_tagger(TaggedPlan(chosen, tagger, data, examples, run, output, embedder, text_student, encoder))
        return
    # What these import takes seconds, and a mistake on the command line is told before.
    from quantize.training.distill import check_held_out, load_teacher
    from quantize.training.distributed import World
    from quantize.training.sources import open_example_source
    from quantize.training.text_student import check_text_distillation

    assert teacher is not None
    taught_by = load_teacher(teacher, tokenizer, _print_line)
    llm = llm_of(llm_url, llm_model)
    if dry_run:
        _show_costs(
            chosen, taught_by, open_example_source(chosen, data, cache_folder(), llm, outliers) if data else None
        )
        return
    assert data is not None
    check_held_out(chosen, taught_by)
    embedder = sentence_embedder_of(sentence_embedder)
    learnt: list[str] = []
    with World.from_environment() as world:
        source = world.first_alone(lambda: open_example_source(chosen, data, cache_folder(), llm, outliers))
        if world.first:
            report_corpus(source, run or examples)
            if text_student and embedder is not None and run:
                # What would end it is told before the student is trained, which takes longer.
                learnt = _texts_of(chosen, source)
                check_text_distillation(embedder, learnt, chosen.text, chosen.text_student)
            if examples:
                store(chosen, source, embedder, examples)
                _run_teacher(chosen, source, taught_by, examples)
        world.barrier()
        if precompute:
            return
        assert run is not None
        student_recipe, student_tokenizer = _train(chosen, source, run, taught_by, examples, world, embedder)
    # Outside of the group: the other ranks need not wait for what may take longer than they would.
    if not world.first:
        return
    if text_student and embedder is not None:
        distil_text(student_recipe, learnt, student_tokenizer, embedder, run)
    if output:
        export_run(run, data, output, None, None if text_student else embedder, outliers=outliers)


def _prepare(threads: int | None, output: Path | None) -> None:
    """Set the number of threads, and refuse a place for the bundle that holds something else."""
    from quantize.bundles.staging import check_output

    if threads:
        import torch

        torch.set_num_threads(threads)
    if output:
        check_output(output)


def _check_teacher(
    chosen: Recipe, teacher: Path | None, tagger: Path | None, examples: Path | None, dry_run: bool
) -> None:
    """Refuse a teacher of the other kind than the recipe's, before anything is loaded."""
    from edge_aac.errors import UsageError

    if (chosen.tagging is None) != (tagger is None):
        raise UsageError(
            f"the recipe {chosen.name} is taught by an audio tagger: give --tagger FILE"
            if tagger is None
            else f"the recipe {chosen.name} has no table [tagging]: leave --tagger out, or take one that has"
        )
    if (teacher is None) == (tagger is None):
        raise UsageError("give one teacher: --teacher FOLDER, or --tagger FILE for a recipe with [tagging]")
    if tagger is not None and (dry_run or examples is None):
        raise UsageError("--tagger goes with --examples FOLDER, for what it hears, and without --dry-run")


def _distil_other(
    kind: Kind, recipe: str, output: Path | None, numbers: tuple[int | None, int | None], given: dict[str, Any]
) -> None:
    """Distil a student of another kind than a captioner, with all options that were given."""
    if kind is Kind.PROMPTED:
        folders = {name: given.pop(name) for name in ("--teacher", "--data", "--examples", "--run")}
        distil_prompted(prompted_plan(recipe, folders, output, numbers, given))
    else:
        folders = {name: given.pop(name) for name in ("--teacher", "--data", "--run")}
        texts = given.pop("--texts")
        distil_dual(dual_plan(recipe, folders, texts, output, numbers, given))


def _check_unused(tagger: Path | None, encoder: Path | None, texts: Path | None, options: Mapping[str, object]) -> None:
    """Refuse what a tagger has no use for, what only a tagger has, and what no captioner has."""
    from edge_aac.errors import UsageError

    if texts is not None:
        raise UsageError("--texts goes with --kind dual_encoder: leave it out")
    if tagger is None and encoder is not None:
        raise UsageError("--encoder goes with --tagger: leave it out")
    if tagger is not None and (given := [name for name, value in options.items() if value]):
        raise UsageError(f"{given[0]} is not for --tagger: leave it out")


def _run_teacher(chosen: Recipe, source: ExampleSource, taught_by: TeacherModel, folder: Path) -> None:
    from quantize.training.distill import store_signals
    from quantize.training.progress import counting
    from quantize.training.stored import StoredExamples

    examples = StoredExamples.open(folder)
    with counting("the teacher's outputs", len(examples)) as on_progress:
        store_signals(chosen, source, taught_by, examples, folder, on_progress)


def _train(  # noqa: PLR0913, PLR0917
    chosen: Recipe,
    source: ExampleSource,
    run: Path,
    taught_by: TeacherModel,
    examples: Path | None,
    world: World,
    embedder: Any,
) -> tuple[Recipe, Any]:
    """The student's recipe and its tokenizer, both as its run has them."""
    from quantize.training.distill import Distillation
    from quantize.training.progress import TerminalProgress

    with TerminalProgress(quiet=not world.first) as progress:
        student = Distillation(chosen, source, run, taught_by, examples, world, embedder)
        if student.report:
            for line in student.report.totals():
                progress.print_line(line)
        progress.resumed(run, student.steps_done)
        student.train(progress)
    return student.recipe, student.tokenizer


def _texts_of(recipe: Recipe, source: ExampleSource) -> list[str]:
    """What the text student learns from, and is measured on."""
    return source.texts(recipe.text_student.corpus_texts + recipe.text_student.held_out_texts)


def _show_costs(chosen: Recipe, taught_by: TeacherModel, source: ExampleSource | None) -> None:
    """What teacher and student cost; without data the student is counted with all of the teacher's tokens."""
    from rich.console import Console

    from quantize.models.footprint import comparison, footprint
    from quantize.training.distill import student_vocabulary

    tokenizer = student_vocabulary(chosen, taught_by, source).tokenizer if source else taught_by.tokenizer
    chosen = chosen.with_vocabulary(tokenizer.get_vocab_size())
    text = chosen.text if chosen.text.embedding_dim == chosen.model.embedding_dim else None
    candidates, tokens = chosen.decoding.get("candidates", 6), chosen.decoding.get("max_length", 30)
    teacher = footprint(taught_by.captioner.config, None, candidates, tokens)
    Console().print(comparison(teacher, footprint(chosen.model, text, candidates, tokens)).table())


def _print_line(line: str) -> None:
    typer.echo(line, err=True)
