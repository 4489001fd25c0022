"""Students: what they begin with, what they learn, how they go on, and what is exported of them."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from edge_aac.bundle.store import open_bundle
from edge_aac.errors import ConfigError, DataError, InputMissingError
from edge_aac.models.seq2seq import Captioner as Runtime
from edge_aac.models.seq2seq import window_rng
from quantize.bundles.export import export_bundle
from quantize.models.sentence_embedder import SentenceEmbedder
from quantize.training.batches import Batch, collate
from quantize.training.distill import Distillation, TeacherModel, load_teacher, store_signals
from quantize.training.recipe import Recipe
from quantize.training.sources import SceneSource
from quantize.training.stored import StoredExamples
from quantize.training.teacher import Teacher
from quantize.training.text_student import TEXT_FOLDER, TextDistillation
from quantize.training.train import load_run, store_examples
from quantize.training.trainee import CaptionObjective, DistillObjective, Projections
from tests.edge_aac.fakes import described
from tests.quantize.models.published_layout import refused
from tests.quantize.training.distill_cases import RecordedProgress, epoch_rows, small_teacher

Distil = Callable[..., Distillation]


@pytest.fixture
def distil(scene_source: SceneSource, teacher: TeacherModel, sentence_embedder: SentenceEmbedder) -> Distil:
    """A student's run of a recipe in a folder."""

    def run(recipe: Recipe, folder: Path, stored: Path | None = None) -> Distillation:
        embedder = None if stored else sentence_embedder
        return Distillation(recipe, scene_source, folder, teacher, stored, sentence_embedder=embedder)

    return run


@pytest.fixture(scope="module")
def stored(
    taught_recipe: Recipe,
    scene_source: SceneSource,
    teacher: TeacherModel,
    sentence_embedder: SentenceEmbedder,
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    """Examples and the teacher's outputs for them."""
    folder = tmp_path_factory.mktemp("stored")
    store_examples(taught_recipe, scene_source, sentence_embedder, folder, lambda done: None)
    examples = StoredExamples.open(folder)
    store_signals(taught_recipe, scene_source, teacher, examples, folder, lambda done: None)
    return folder


def batch_of(source: SceneSource, student: Distillation) -> Batch:
    examples = source.examples(student.tokenizer, student.recipe.train, 0, masked=False)
    return collate([examples[index] for index in range(4)])


def terms_of(student: Distillation, source: SceneSource, teacher: TeacherModel) -> dict[str, float]:
    """All terms of a batch, in evaluation mode."""
    settings = student.recipe.distill
    kept = None
    if settings.prune_vocabulary:
        ids = teacher.tokenizer.get_vocab()
        own = sorted(student.tokenizer.get_vocab().items(), key=lambda entry: entry[1])
        kept = torch.tensor([ids[token] for token, _ in own])
    guide = Teacher(teacher.captioner, kept, settings.top_tokens, settings.temperature)
    captions = CaptionObjective(replace(student.recipe.train, contrastive_weight=0.0))
    trainee = student.trainer.trainee.eval()
    with torch.no_grad():
        terms = DistillObjective(captions, settings, guide)(trainee, batch_of(source, student))
    return {name: float(term) for name, term in terms.items()}


@pytest.mark.parametrize("prune", [True, False])
def test_a_student_of_its_teachers_size_begins_as_its_teacher(
    prune: bool, taught_recipe: Recipe, distil: Distil, scene_source: SceneSource, teacher: TeacherModel, tmp_path: Path
) -> None:
    """The pruned one, too: the teacher's distribution is then that over the kept tokens."""
    recipe = replace(taught_recipe, distill=replace(taught_recipe.distill, prune_vocabulary=prune))
    student = distil(recipe, tmp_path)
    tokens = student.recipe.model.decoder.vocab_size
    assert tokens == student.tokenizer.get_vocab_size()
    assert (tokens < teacher.tokenizer.get_vocab_size()) is prune
    terms = terms_of(student, scene_source, teacher)
    for name in ("teacher_tokens", "teacher_hidden", "teacher_memory", "teacher_embedding", "teacher_similarity"):
        assert terms[name] == pytest.approx(0.0, abs=2e-5), name
    weights = recipe.distill
    parts = terms["caption"] + recipe.train.activity_weight * terms["activity"]
    assert terms["loss"] == pytest.approx(parts + weights.activity_weight * terms["teacher_activity"], rel=1e-4)


def test_a_random_student_begins_far_from_it_and_owes_it_nothing(
    taught_recipe: Recipe, distil: Distil, scene_source: SceneSource, teacher: TeacherModel, tmp_path: Path
) -> None:
    recipe = replace(taught_recipe, distill=replace(taught_recipe.distill, initialise="random"))
    student = distil(recipe, tmp_path)
    assert student.report is None
    assert json.loads((tmp_path / "student.json").read_text(encoding="utf-8")) == []
    assert terms_of(student, scene_source, teacher)["teacher_tokens"] > 0.1


def test_the_folder_says_where_every_tensor_came_from(taught_recipe: Recipe, distil: Distil, tmp_path: Path) -> None:
    beats = replace(taught_recipe.model.beats, layers=1, run_layers=1)
    student = distil(replace(taught_recipe, model=replace(taught_recipe.model, beats=beats)), tmp_path)
    table = json.loads((tmp_path / "student.json").read_text(encoding="utf-8"))
    parameters = [tensor["name"] for tensor in table]
    assert student.report is not None and len(parameters) == len(student.report.tensors)
    assert {name for name, _ in student.trainer.trainee.captioner.named_parameters()} <= set(parameters)


def test_a_term_of_weight_0_is_left_out(taught_recipe: Recipe, distil: Distil, scene_source: SceneSource,
                                        teacher: TeacherModel, tmp_path: Path) -> None:  # fmt: skip
    settings = replace(taught_recipe.distill, hidden_weight=0.0, similarity_weight=0.0, activity_weight=0.0)
    terms = terms_of(distil(replace(taught_recipe, distill=settings), tmp_path), scene_source, teacher)
    assert {name for name in terms if name.startswith("teacher_")} == {
        "teacher_tokens",
        "teacher_memory",
        "teacher_embedding",
    }


@pytest.mark.parametrize("from_stored", [False, True])
def test_a_student_learns_from_its_teacher(
    from_stored: bool, taught_recipe: Recipe, distil: Distil, stored: Path, teacher: TeacherModel,
    tmp_path: Path,
) -> None:  # fmt: skip
    settings = replace(taught_recipe.distill, initialise="random")
    train = replace(taught_recipe.train, epochs=5, learning_rate=5e-3)
    recipe = replace(taught_recipe, train=train, distill=settings)
    before = {name: tensor.clone() for name, tensor in teacher.captioner.state_dict().items()}
    student = distil(recipe, tmp_path, stored if from_stored else None)
    student.train(RecordedProgress())
    first, *_, last = epoch_rows(tmp_path)
    assert {"loss", "caption", "contrastive", "activity", "teacher_tokens", "teacher_hidden", "teacher_memory",
            "teacher_embedding", "teacher_similarity", "teacher_activity"} <= set(first)  # fmt: skip
    for name in ("loss", "caption", "teacher_tokens"):
        assert last[name] < first[name], name
    for name, tensor in teacher.captioner.state_dict().items():
        assert torch.equal(tensor, before[name]), "the teacher learns along"


def test_stored_signals_teach_what_the_teacher_beside_the_student_teaches(
    taught_recipe: Recipe, distil: Distil, stored: Path, tmp_path: Path
) -> None:
    """The same batch without masks, once with what half precision keeps of the teacher."""
    recipe = replace(taught_recipe, train=replace(taught_recipe.train, freq_masks=0, time_masks=0))
    reading, beside = distil(recipe, tmp_path / "reading", stored), distil(recipe, tmp_path / "beside")
    batch = collate([reading.trainer.dataset(0)[index] for index in range(4)])
    assert batch.signals is not None and batch.text_embeddings is not None
    losses = []
    for run, given in ((reading, batch), (beside, replace(batch, signals=None, text_embeddings=None))):
        run.trainer.trainee.eval()
        with torch.no_grad():
            losses.append(float(run.trainer._terms(given)["loss"]))
    assert losses[0] == pytest.approx(losses[1], rel=5e-3)


def test_a_student_broken_off_goes_on_to_the_same_weights(
    taught_recipe: Recipe, distil: Distil, stored: Path, tmp_path: Path
) -> None:
    recipe = replace(taught_recipe, train=replace(taught_recipe.train, checkpoint_steps=2))
    whole = distil(recipe, tmp_path / "whole", stored)
    whole.train(RecordedProgress())
    with pytest.raises(KeyboardInterrupt):
        distil(recipe, tmp_path / "broken", stored).train(RecordedProgress(steps_left=3))
    resumed = distil(recipe, tmp_path / "broken", stored)
    assert resumed.steps_done == 2
    progress = RecordedProgress()
    resumed.train(progress)
    assert len(progress.losses) == 4
    states = [run.trainer.averaged.state_dict() for run in (whole, resumed)]
    assert all(torch.equal(tensor, states[1][name]) for name, tensor in states[0].items())


def test_a_student_goes_on_with_what_it_began_with(
    taught_recipe: Recipe, distil: Distil, stored: Path, scene_source: SceneSource, teacher: TeacherModel,
    sentence_embedder: SentenceEmbedder, tmp_path: Path,
) -> None:  # fmt: skip
    beside, reading = tmp_path / "beside", tmp_path / "reading"
    distil(taught_recipe, beside)
    distil(taught_recipe, reading, stored)
    written = [{path.name: path.read_bytes() for path in run.iterdir()} for run in (beside, reading)]
    other = small_teacher(taught_recipe.model, [*scene_source.captions(), "a gong"], tmp_path, seed=4)
    instructed = replace(sentence_embedder, default_instruction="Represent the sound: ")

    def again(folder: Path, taught_by: TeacherModel, embedder: SentenceEmbedder | None) -> Distillation:
        return Distillation(taught_recipe, scene_source, folder, taught_by, sentence_embedder=embedder)

    refused(lambda: again(beside, other, sentence_embedder), ConfigError, "teacher (--teacher)", "--run")
    refused(lambda: again(beside, teacher, instructed), ConfigError, "other sentence embedder (--sentence-embedder): ")
    refused(lambda: distil(taught_recipe, beside, stored), ConfigError, "examples (--examples)")
    refused(lambda: distil(taught_recipe, reading), ConfigError, "examples (--examples)")
    faster = replace(taught_recipe, train=replace(taught_recipe.train, learning_rate=0.5))
    refused(lambda: distil(faster, beside), ConfigError, "another recipe")
    assert written == [{path.name: path.read_bytes() for path in run.iterdir()} for run in (beside, reading)]
    distil(taught_recipe, beside)
    # One that began before there was such a table.
    (beside / "run.json").unlink()
    (beside / "last.pt").touch()
    with pytest.raises(DataError, match="no checkpoint of this run"):
        again(beside, replace(other, tokenizer=teacher.tokenizer), sentence_embedder)


def test_projections_begin_as_identity_where_widths_agree(taught_recipe: Recipe) -> None:
    model = taught_recipe.model
    same = Projections(model, model)
    x = torch.randn(2, 3, 16)
    assert torch.equal(same.hidden(x), x) and torch.equal(same.memory(x), x)
    wider = replace(model, beats=replace(model.beats, dim=32))
    assert Projections(model, wider).hidden(x).shape == (2, 3, 32)


def test_what_has_no_answer_is_one_sentence(
    taught_recipe: Recipe, distil: Distil, scene_source: SceneSource, teacher: TeacherModel, tmp_path: Path
) -> None:
    together = replace(taught_recipe, train=replace(taught_recipe.train, contrastive_target="together"))
    refused(lambda: distil(together, tmp_path / "a"), ConfigError, "contrastive_target")
    refused(
        lambda: Distillation(taught_recipe, scene_source, tmp_path / "b", teacher), ConfigError, "--sentence-embedder"
    )
    (tmp_path / "c").mkdir()
    refused(lambda: load_teacher(tmp_path / "c"), InputMissingError, "--teacher")


@pytest.fixture(scope="module")
def finished(
    taught_recipe: Recipe, scene_source: SceneSource, teacher: TeacherModel, stored: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:  # fmt: skip
    """A student's run."""
    folder = tmp_path_factory.mktemp("student")
    Distillation(taught_recipe, scene_source, folder, teacher, stored).train(RecordedProgress())
    return folder


def test_a_finished_student_is_loaded_without_what_it_was_taught_with(finished: Path) -> None:
    trainee, tokenizer, table = load_run(finished)
    kept = torch.load(finished / "last.pt", weights_only=True)["averaged"]
    assert any(name.startswith("module.projections.") for name in kept)
    assert trainee.projections is None and trainee.text_embedder is None
    assert not trainee.training
    assert table["model"]["decoder"]["vocab_size"] == tokenizer.get_vocab_size()
    for name, tensor in trainee.captioner.state_dict().items():
        assert torch.equal(tensor, kept[f"module.captioner.{name}"])


def test_a_student_without_a_text_embedder_says_what_to_do(finished: Path, recordings: Path, tmp_path: Path) -> None:
    refused(
        lambda: export_bundle(finished, recordings, tmp_path / "out", {}, lambda line: None),
        ConfigError,
        "edge-aac distill",
        "--sentence-embedder",
    )


def runs(bundle: Path) -> Runtime:
    captioner = Runtime(open_bundle(str(bundle)))
    assert described(captioner, np.zeros((998, 128), np.float32), window_rng(0, 0)).ranked
    return captioner


def test_exported_with_the_whole_sentence_embedder(
    finished: Path, recordings: Path, sentence_embedder: SentenceEmbedder, tmp_path: Path
) -> None:
    folder = export_bundle(finished, recordings, tmp_path / "out", {}, lambda line: None, sentence_embedder)
    runs(folder)
    manifest = open_bundle(str(folder)).manifest
    assert manifest.embedding_size == sentence_embedder.dim
    own = (folder / manifest.tokenizers.text.file).read_text(encoding="utf-8")
    assert json.loads(own)["model"]["type"] == "WordLevel", "texts are cut as the sentence embedder was taught"


def test_exported_with_its_text_student(
    finished: Path, taught_recipe: Recipe, recordings: Path, scene_source: SceneSource,
    sentence_embedder: SentenceEmbedder, tmp_path: Path,
) -> None:  # fmt: skip
    _, tokenizer, _ = load_run(finished)
    settings = taught_recipe.text_student
    config = taught_recipe.with_vocabulary(tokenizer.get_vocab_size()).text
    texts = scene_source.texts(settings.corpus_texts + settings.held_out_texts)
    TextDistillation(sentence_embedder, texts, tokenizer, config, settings, finished / TEXT_FOLDER).train(
        RecordedProgress()
    )
    lines: list[str] = []
    runs(export_bundle(finished, recordings, tmp_path / "out", {}, lines.append))
    assert {line.split(":")[0] for line in lines} == {"encoder", "decoder", "text_embedder"}
