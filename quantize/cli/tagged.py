"""`edge-aac distill --tagger`: an encoder taught by an audio tagger, and a captioner of everyday sounds over it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from quantize.cli.export import export_run

if TYPE_CHECKING:
    from quantize.training.everyday import EverydayTraining
    from quantize.training.recipe import Recipe


@dataclass(frozen=True)
class TaggedPlan:
    """What the options of the verb ask for.

    Attributes:
        recipe: with the tables [tagging] and [everyday].
        tagger: file of the tagger.
        data: folder of the store of sound.
        examples: folder of what the tagger hears.
        run: folder of the run; None to have the tagger hear and no more.
        output: folder of the bundle; None for none.
        embedder: the sentence embedder; None for none.
        text_student: whether it is distilled, too.
        encoder: file of an encoder that was taught before; None to teach one.
    """

    recipe: Recipe
    tagger: Path
    data: Path
    examples: Path
    run: Path | None
    output: Path | None
    embedder: Any
    text_student: bool
    encoder: Path | None = None


def distil_from_tagger(plan: TaggedPlan) -> None:
    """Do what is left to do of a plan."""
    from quantize.training.distributed import World
    from quantize.training.everyday import EverydayTraining
    from quantize.training.taught import read_taught
    from quantize.training.text_student import check_text_distillation
    from quantize.training.trainee import CaptionObjective

    recipe, run = plan.recipe, plan.run
    texts: list[str] = []
    with World.from_environment() as world:
        training = EverydayTraining(
            recipe, plan.data, plan.tagger, plan.examples, run or plan.examples, world, plan.encoder
        )
        if world.first:
            if run:
                # What would end it is told before hours of hearing and training.
                CaptionObjective(recipe.train, plan.embedder, embedding_dim=recipe.model.embedding_dim)
            if plan.encoder is not None:
                read_taught(plan.encoder, recipe.model)
            if run and plan.text_student and plan.embedder is not None:
                texts = _texts(recipe)
                check_text_distillation(plan.embedder, texts, recipe.text, recipe.text_student)
            _hear(training)
        world.barrier()
        if run is None:
            return
        tokenizer = _train(training, plan.embedder)
    # Outside of the group: the other ranks need not wait for what may take longer than they would.
    if not world.first:
        return
    if texts:
        distil_text(recipe.with_vocabulary(tokenizer.get_vocab_size()), texts, tokenizer, plan.embedder, run)
    if plan.output:
        export_run(run, plan.data, plan.output, None, None if plan.text_student else plan.embedder)


def _texts(recipe: Recipe) -> list[str]:
    """What the text student learns from, and is measured on."""
    import numpy as np

    from quantize.data.everyday.drawn_events import distinct_captions
    from quantize.data.everyday.lexicon import english

    count = recipe.text_student.corpus_texts + recipe.text_student.held_out_texts
    return distinct_captions(english(), count, np.random.default_rng(recipe.train.seed))


def _hear(training: EverydayTraining) -> None:
    from quantize.training.progress import counting

    assert training.recipe.tagging is not None
    with counting("sounds, heard by the tagger", len(training.store.rows)) as on_progress:
        training.hear_sounds(on_progress)
    with counting("mixtures, heard by the tagger", training.recipe.tagging.mixtures) as on_progress:
        training.hear_mixtures(on_progress)


def _train(training: EverydayTraining, embedder: Any) -> Any:
    """Train the encoder and the captioner; gives the captions' tokenizer."""
    from quantize.training.progress import TerminalProgress, counting

    world = training.world
    with TerminalProgress(quiet=not world.first) as progress:
        taught = training.teach(progress, progress.print_line)
    source = training.source(taught)
    if world.first:
        with counting("scenes", training.recipe.stored.count) as on_progress:
            training.store_scenes(source, embedder, on_progress)
    world.barrier()
    with TerminalProgress(quiet=not world.first) as progress:
        captioner = training.captioner(source, taught, embedder)
        progress.resumed(training.run, captioner.steps_done)
        captioner.train(progress)
    return captioner.tokenizer


def distil_text(recipe: Recipe, texts: list[str], tokenizer: Any, embedder: Any, run: Path) -> None:
    """Distil the sentence embedder into a text embedder that reads the captions' tokens."""
    from quantize.training.progress import TerminalProgress
    from quantize.training.text_student import TEXT_FOLDER, TextDistillation

    settings = recipe.text_student
    with TerminalProgress() as progress:
        progress.print_line(f"the text student, on {settings.corpus_texts} captions")
        TextDistillation(embedder, texts, tokenizer, recipe.text, settings, run / TEXT_FOLDER).train(progress)
