"""Which teachers a student may have: runs that heard nothing that is held out, and published captioners."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from edge_aac.bundle.store import open_bundle
from edge_aac.errors import ConfigError, UsageError
from edge_aac.models.seq2seq import Captioner as Runtime
from quantize.bundles.export import export_bundle
from quantize.bundles.training_data import outliers_of
from quantize.evaluation.windows import evaluation_windows
from quantize.models.captioner import Captioner
from quantize.models.sentence_embedder import SentenceEmbedder
from quantize.training.distill import Distillation, TeacherModel, check_held_out, load_teacher
from quantize.training.recipe import Recipe
from quantize.training.settings import Folds
from quantize.training.sources import SceneSource
from quantize.training.train import Run, load_run
from quantize.training.trainee import Trainee
from tests.quantize.models.published_layout import SMALL, refused, scramble, write_captioner
from tests.quantize.training.distill_cases import RecordedProgress, epoch_rows, write_bart_tokenizer


def heard(teacher: TeacherModel, recipe: Recipe, folds: Folds, outliers: tuple[str, ...] = ()) -> TeacherModel:
    """The teacher, as if it had been trained on these folds."""
    return replace(teacher, recipe=replace(recipe, folds=folds), outliers=outliers)


@pytest.mark.parametrize(
    ("of_teacher", "of_student", "words"),
    [
        (Folds((1, 2)), Folds((1,), (2,)), ("the teacher heard fold 2", "validat")),
        (Folds((1,)), Folds((1,), (), ("rain",)), ("the class rain", "--absent rain")),
        (Folds((1,), (), ("rain",)), Folds((1,), (), ("rain", "dog_bark")), ("the class dog_bark",)),
    ],
)
def test_a_teacher_that_heard_what_is_held_out_is_refused(
    of_teacher: Folds, of_student: Folds, words: tuple[str, ...], taught_recipe: Recipe, scene_source: SceneSource,
    teacher: TeacherModel, sentence_embedder: SentenceEmbedder, tmp_path: Path,
) -> None:  # fmt: skip
    recipe, taught_by = replace(taught_recipe, folds=of_student), heard(teacher, taught_recipe, of_teacher)
    refused(
        lambda: Distillation(recipe, scene_source, tmp_path / "run", taught_by, sentence_embedder=sentence_embedder),
        ConfigError,
        *words,
    )
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("of_teacher", "of_student"),
    [
        (Folds((1, 2), (3,)), Folds((1, 2))),
        (Folds((1,), (2,)), Folds((1,), (2,))),
        (Folds((1,), (), ("rain", "dog_bark")), Folds((1,), (), ("rain",))),
    ],
)
def test_a_teacher_that_heard_no_more_than_it_may_is_taken(
    of_teacher: Folds, of_student: Folds, taught_recipe: Recipe, teacher: TeacherModel
) -> None:
    check_held_out(replace(taught_recipe, folds=of_student), heard(teacher, taught_recipe, of_teacher))
    check_held_out(replace(taught_recipe, folds=of_student), teacher)


def test_what_the_teacher_heard_is_attributed_and_measured_by_nobody(
    taught_recipe: Recipe, scene_source: SceneSource, teacher: TeacherModel, sentence_embedder: SentenceEmbedder,
    recordings: Path, tmp_path: Path,
) -> None:  # fmt: skip
    run = tmp_path / "run"
    taught_by = heard(teacher, taught_recipe, Folds((2, 1)))
    Distillation(taught_recipe, scene_source, run, taught_by, sentence_embedder=sentence_embedder).train(
        RecordedProgress()
    )
    assert load_teacher(run).recipe.folds.train == (1, 2)  # type: ignore[union-attr]
    folder = export_bundle(run, recordings, tmp_path / "out", {}, lambda line: None, sentence_embedder)
    listed = (folder / "ATTRIBUTIONS.csv").read_text(encoding="utf-8")
    assert (listed.count("\n1-"), listed.count("\n2-")) == (6, 6)
    with pytest.raises(UsageError, match="trained on 6 recordings of fold 2"):
        evaluation_windows(Runtime(open_bundle(str(folder))), recordings, 2, 2)


def test_outliers_that_the_teacher_alone_heard_are_attributed(
    taught_recipe: Recipe, scene_source: SceneSource, teacher: TeacherModel, sentence_embedder: SentenceEmbedder,
    tmp_path: Path,
) -> None:  # fmt: skip
    taught_by = heard(teacher, taught_recipe, Folds((1,)), ("a.flac",))
    for _ in range(2):  # begun, and gone on with
        Distillation(taught_recipe, scene_source, tmp_path, taught_by, sentence_embedder=sentence_embedder)
    refused(lambda: outliers_of(tmp_path, None), ConfigError, "1 recordings of other sounds", "--outliers")


def test_a_trained_run_is_a_teacher(small_recipe: Recipe, recordings: Path, tmp_path: Path) -> None:
    recipe = replace(small_recipe, train=replace(small_recipe.train, corpus_scenes=8, validation_scenes=2))
    run = Run(recipe, SceneSource(recipe, recordings), tmp_path)
    run.train(RecordedProgress())
    loaded = load_teacher(tmp_path)
    assert loaded.weights == tmp_path / "last.pt"
    assert not loaded.captioner.training
    assert loaded.tokenizer.to_str() == run.tokenizer.to_str()
    assert loaded.recipe == run.recipe and not loaded.outliers
    averaged = run.averaged.module.captioner.state_dict()
    assert all(torch.equal(tensor, averaged[name]) for name, tensor in loaded.captioner.state_dict().items())


@pytest.fixture(scope="module")
def published(scene_source: SceneSource, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A captioner in the published layout, with the older pair of tokenizer files beside it."""
    folder = tmp_path_factory.mktemp("published")
    tokens = write_bart_tokenizer(folder, scene_source.captions())
    decoder = replace(SMALL.decoder, vocab_size=tokens, max_positions=48)
    torch.manual_seed(0)
    captioner = Captioner(replace(SMALL, decoder=decoder))
    scramble(captioner)
    return write_captioner(folder, captioner.state_dict(), vocab_size=tokens, max_position_embeddings=48)


def published_recipe(recipe: Recipe) -> Recipe:
    """A student of the published layout's small model, whose classes of activity are others."""
    train = replace(recipe.train, contrastive_weight=0.0, epochs=2, scenes_per_epoch=4, batch_scenes=2)
    return replace(
        recipe,
        model=replace(recipe.model, embedding_dim=6),
        train=train,
        distill=replace(recipe.distill, activity_weight=0.0),
    )


def test_a_published_captioner_teaches(
    published: Path, taught_recipe: Recipe, scene_source: SceneSource, tmp_path: Path
) -> None:
    taught_by = load_teacher(published)
    assert taught_by.weights == published / "pytorch_model.bin"
    ids = taught_by.tokenizer.encode("a dog barks").ids
    assert (ids[0], ids[-1]) == (0, 2), "as BART's captions begin and end"
    student = Distillation(published_recipe(taught_recipe), scene_source, tmp_path, taught_by)
    assert student.tokenizer.get_vocab_size() < taught_by.tokenizer.get_vocab_size()
    student.train(RecordedProgress())
    assert all(np.isfinite(list(row.values())).all() for row in epoch_rows(tmp_path))
    trainee, tokenizer, _ = load_run(tmp_path)
    assert isinstance(trainee, Trainee)
    assert tokenizer.decode(tokenizer.encode("a dog barks").ids) == "a dog barks"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda recipe: replace(recipe, distill=replace(recipe.distill, activity_weight=1.0)), "activity_weight"),
        (lambda recipe: replace(recipe, model=replace(recipe.model, embedding_dim=8)), "embedding_dim"),
    ],
)
def test_terms_that_cannot_be_compared_are_refused_at_the_start(
    change: Callable[[Recipe], Recipe], words: str, published: Path, taught_recipe: Recipe, scene_source: SceneSource,
    tmp_path: Path,
) -> None:  # fmt: skip
    recipe = change(published_recipe(taught_recipe))
    refused(lambda: Distillation(recipe, scene_source, tmp_path / "run", load_teacher(published)), ConfigError, words)
    assert not (tmp_path / "run").exists()
