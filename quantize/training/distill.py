"""A student's run: built out of its teacher, taught by it, exported as any other run.

Its folder holds what a training run's does, and ``student.json`` (where every tensor came from), ``teacher.json`` (what
its teacher learnt from) and ``text/``, the run of its text embedder (:mod:`quantize.training.text_student`).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, processors
from torch import Tensor, nn

from edge_aac.bundle.hashes import file_sha256
from edge_aac.errors import ConfigError, InputMissingError
from quantize.data.tokenizer import BOS_ID, EOS_ID
from quantize.models.captioner import Captioner
from quantize.models.checkpoint import load_captioner_weights
from quantize.models.config import CaptionerConfig
from quantize.models.decoder_tokenizer import decoder_tokenizer_of
from quantize.models.sentence_embedder import SentenceEmbedder
from quantize.models.student import build_student
from quantize.models.student_report import StudentReport
from quantize.progress import Log, OnProgress
from quantize.training.batches import Batch, collate
from quantize.training.distributed import World
from quantize.training.identities import identities_of, note_identities
from quantize.training.loop import Progress, Trainer
from quantize.training.recipe import Recipe, recipe_from
from quantize.training.settings import DistillSettings
from quantize.training.sources import ExampleSource
from quantize.training.stored import StoredExamples, StoredSignals, write_signals
from quantize.training.teacher import Teacher
from quantize.training.train import (
    examples_of,
    load_run,
    note_outliers,
    note_teacher,
    outliers_heard,
    validation_of,
    write_recipe,
)
from quantize.training.trainee import CaptionObjective, DistillObjective, Projections, Trainee, channels_last
from quantize.training.vocabulary import prune_tokenizer


@dataclass(frozen=True)
class TeacherModel:
    """A teacher on disk, loaded.

    Attributes:
        captioner: the model, in evaluation mode.
        tokenizer: tokenizer of the teacher's captions.
        weights: the file that its weights are from.
        classifies: whether the encoder says which class is heard when; where it does not, a classifier of random
            weights stands there, so that all models are built alike.
        recipe: recipe of the teacher's training, with all folds that it heard; None for a published captioner.
        outliers: the recordings of no known class that it heard.
    """

    captioner: Captioner
    tokenizer: Tokenizer
    weights: Path
    classifies: bool = True
    recipe: Recipe | None = None
    outliers: Sequence[str] = ()


def load_teacher(folder: Path, tokenizer: Path | None = None, log: Log = lambda line: None) -> TeacherModel:
    """A training run's folder, or a captioner of the published layout.

    Args:
        folder: folder of the run or of the captioner.
        tokenizer: file of a published captioner's tokenizer, where it does not lie beside the weights.
        log: called with a line that a person should read.

    Raises:
        InputMissingError: there is neither, or the run is not finished.
        ConfigError, DataError: it cannot be read.
    """
    if (folder / "last.pt").is_file():
        trainee, own, table = load_run(folder)
        learnt, outliers = recipe_from(table), outliers_heard(folder)
        return TeacherModel(trainee.captioner, own, folder / "last.pt", recipe=learnt, outliers=outliers)
    if not (folder / "config.json").is_file():
        raise InputMissingError(f"{folder} holds neither a training run nor a published captioner: correct --teacher")
    captioner = load_captioner_weights(folder)
    weights = sorted((*folder.glob("*.safetensors"), *folder.glob("*.bin")))
    own = decoder_tokenizer_of(tokenizer, folder, captioner.config, log)
    if own.post_processor is None:
        # The older pair of files does not say what a caption begins and ends with; BART's do with these.
        own.post_processor = processors.TemplateProcessing(
            single="<s> $A </s>", special_tokens=[("<s>", BOS_ID), ("</s>", EOS_ID)]
        )
    classifies = hasattr(captioner.encoder, "predictor")
    if not classifies:
        beats = captioner.config.beats
        captioner.encoder.predictor = nn.Linear(beats.dim, beats.classes)
    return TeacherModel(captioner, own, weights[0], classifies)


def check_held_out(recipe: Recipe, teacher: TeacherModel) -> None:
    """Refuse a teacher that heard what the student's scores are to be measured on.

    Raises:
        ConfigError: it heard a fold that validates the student, or a class that the student is to leave out.
    """
    if teacher.recipe is None or teacher.recipe.corpus:
        return
    heard, student = teacher.recipe.folds, recipe.folds
    if shared := {*heard.train} & {*student.validation}:
        raise ConfigError(
            f"the teacher heard fold {min(shared)}, which the student is validated on: take it out of the recipe's "
            "validation, or give a teacher that was trained without it"
        )
    if known := {*student.absent} - {*heard.absent}:
        raise ConfigError(
            f"the teacher heard the class {min(known)}, which the student leaves out: give a teacher that was trained "
            f"with --absent {min(known)}"
        )


@dataclass(frozen=True)
class StudentVocabulary:
    """A student's tokenizer.

    Attributes:
        tokenizer: tokenizer of the student's captions.
        kept_ids: (V,) the teacher's ids of its tokens, None where it is the teacher's own.
    """

    tokenizer: Tokenizer
    kept_ids: Tensor | None


def student_vocabulary(recipe: Recipe, teacher: TeacherModel, source: ExampleSource) -> StudentVocabulary:
    """The teacher's tokenizer, cut to the tokens of the captions where the recipe wants that."""
    if not recipe.distill.prune_vocabulary:
        return StudentVocabulary(teacher.tokenizer, None)
    pruned = prune_tokenizer(teacher.tokenizer, source.captions())
    return StudentVocabulary(pruned.tokenizer, torch.from_numpy(pruned.kept_ids))


def store_signals(
    recipe: Recipe,
    source: ExampleSource,
    teacher: TeacherModel,
    examples: StoredExamples,
    folder: Path,
    on_progress: OnProgress,
) -> None:
    """Run the teacher over stored examples, or over what is left of them."""
    vocabulary, settings = student_vocabulary(recipe, teacher, source), recipe.distill
    guide = Teacher(teacher.captioner, vocabulary.kept_ids, settings.top_tokens, settings.temperature)
    metadata = {
        "temperature": settings.temperature,
        "top_tokens": settings.top_tokens,
        "teacher": file_sha256(teacher.weights),
        "tokenizer": _tokenizer_sha256(vocabulary.tokenizer),
        "examples": examples.reader.metadata,
    }
    write_signals(
        examples, guide, vocabulary.tokenizer, recipe.model.decoder.max_positions, folder, metadata, on_progress
    )


class Distillation:
    """A student's run in its folder.

    Args:
        recipe: the student's sizes in [model], how it is taught in [train] and [distill].
        source: source of the examples, where none are stored, and of the validation.
        folder: folder of the student's run.
        teacher: the model that the student is built out of, and that teaches it where no outputs are stored.
        stored: the folder of stored examples and of the teacher's outputs for them.
        world: the processes.
        sentence_embedder: needed without stored examples, where the recipe's contrastive term has it given.

    Attributes:
        report: origin of each of the student's tensors; None where the recipe starts it from random weights.
    """

    def __init__(  # noqa: PLR0913, PLR0917 - what is taught, by what, on what, and where
        self,
        recipe: Recipe,
        source: ExampleSource,
        folder: Path,
        teacher: TeacherModel,
        stored: Path | None = None,
        world: World | None = None,
        sentence_embedder: SentenceEmbedder | None = None,
    ) -> None:
        self.folder, self.world = folder, world or World()
        check_held_out(recipe, teacher)
        examples = StoredExamples.open(stored) if stored else None
        signals = None
        if stored and examples:
            signals = StoredSignals.open(stored, examples, recipe.distill, teacher.weights)
            vocabulary = StudentVocabulary(signals.tokenizer, signals.kept_ids)
        else:
            vocabulary = student_vocabulary(recipe, teacher, source)
        self.tokenizer = vocabulary.tokenizer
        self.recipe = recipe.with_vocabulary(self.tokenizer.get_vocab_size())
        settings = self.recipe.distill
        _check_comparable(self.recipe.model, teacher, settings)
        captions = self._captions(sentence_embedder, examples)
        identities: dict[str, str] = {}
        if self.world.first:  # before the seed: an embedder that is built for it draws random numbers
            identities = identities_of(recipe, source, sentence_embedder, examples)
            identities["teacher"] = file_sha256(teacher.weights)
            identities["tokenizer"] = _tokenizer_sha256(self.tokenizer)
        torch.manual_seed(recipe.train.seed)
        self.report: StudentReport | None = None
        if settings.initialise == "teacher":
            student = build_student(teacher.captioner, self.recipe.model, vocabulary.kept_ids)
            captioner, self.report = student.captioner, student.report
        else:
            captioner = Captioner(self.recipe.model)
        if self.world.first:
            self._write_folder(identities, teacher)
            note_outliers(source, folder)
        self.world.barrier()
        trainee = Trainee(captioner, projections=Projections(self.recipe.model, teacher.captioner.config))
        guide = None
        if signals is None:
            guide = Teacher(teacher.captioner, vocabulary.kept_ids, settings.top_tokens, settings.temperature)
            guide.to(self.world.device)
        objective = DistillObjective(captions, settings, guide)
        train = self.recipe.train
        self.trainer: Trainer[Batch] = Trainer(
            channels_last(trainee),
            objective,
            lambda epoch: examples_of(self.recipe, source, self.tokenizer, epoch, examples, signals),
            collate,
            train,
            folder,
            self.world,
            validation_of(source, self.tokenizer, self.world),
        )

    @property
    def steps_done(self) -> int:
        """Steps of all epochs."""
        return self.trainer.steps_done

    def train(self, progress: Progress) -> dict[str, float]:
        """Run what is left; returns the scores of the last validation (empty without one)."""
        return self.trainer.train(progress)

    def _captions(
        self, sentence_embedder: SentenceEmbedder | None, examples: StoredExamples | None
    ) -> CaptionObjective:
        train = self.recipe.train
        if train.contrastive_target == "together":
            raise ConfigError(
                'a student meets the embeddings of a frozen sentence embedder: set contrastive_target = "given"'
            )
        stored_dim = examples.text_embedding_dim if examples else 0
        return CaptionObjective(train, sentence_embedder, stored_dim, self.recipe.model.embedding_dim)

    def _write_folder(self, identities: Mapping[str, str], teacher: TeacherModel) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        note_identities(identities, self.folder)
        write_recipe(self.recipe, self.folder)
        if teacher.recipe:
            note_teacher(teacher.recipe.folds.train, teacher.outliers, self.folder)
        self.tokenizer.save(str(self.folder / "tokenizer.json"))
        table: list[Any] = [asdict(tensor) for tensor in self.report.tensors] if self.report else []
        (self.folder / "student.json").write_text(json.dumps(table, indent=1), encoding="utf-8")


def _tokenizer_sha256(tokenizer: Tokenizer) -> str:
    return hashlib.sha256(tokenizer.to_str().encode()).hexdigest()


def _check_comparable(student: CaptionerConfig, taught_by: TeacherModel, settings: DistillSettings) -> None:
    """Refuse terms whose two sides cannot be compared, before a run is begun.

    Raises:
        ConfigError: there is such a term.
    """
    teacher = taught_by.captioner.config
    if settings.activity_weight and not taught_by.classifies:
        raise ConfigError("the teacher does not say which class is heard when: set activity_weight = 0 in [distill]")
    if settings.activity_weight and student.beats.classes != teacher.beats.classes:
        raise ConfigError(
            f"the teacher tells {teacher.beats.classes} classes of sound apart, the student {student.beats.classes}: "
            "set activity_weight = 0 in [distill]"
        )
    if settings.embedding_weight and student.embedding_dim != teacher.embedding_dim:
        raise ConfigError(
            f"the teacher's audio embedding has {teacher.embedding_dim} dimensions, the student's "
            f"{student.embedding_dim}: set embedding_dim = {teacher.embedding_dim} in [model], "
            "or embedding_weight = 0 in [distill]"
        )
