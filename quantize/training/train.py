"""A captioner's run: scenes in, a run folder out that can be resumed, plotted and exported.

A run folder holds ``recipe.json``, ``tokenizer.json``, ``run.json`` (:mod:`quantize.training.identities`) and what the
trainer keeps (:mod:`quantize.training.loop`).
"""

from __future__ import annotations

import copy
import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer
from torch import Tensor
from torch.optim.swa_utils import AveragedModel
from torch.utils.data import Dataset

from edge_aac.errors import ConfigError, DataError, InputMissingError
from edge_aac.models.tokens import load_tokenizer
from quantize.data.tokenizer import train_tokenizer
from quantize.models.beats import Beats
from quantize.models.captioner import Captioner
from quantize.models.sentence_embedder import SentenceEmbedder
from quantize.models.weight_files import read_json
from quantize.progress import OnProgress
from quantize.training.batches import Batch, Example, collate
from quantize.training.distributed import World
from quantize.training.finished import averaged_model
from quantize.training.identities import identities_of, note_identities
from quantize.training.loop import Progress, Trainer, kept_weights
from quantize.training.pretrain import EncoderPretraining
from quantize.training.recipe import Recipe, recipe_from
from quantize.training.sources import ExampleSource, SceneSource
from quantize.training.stored import StoredDataset, StoredExamples, StoredSignals, write_examples
from quantize.training.teacher_texts import teacher_fingerprint
from quantize.training.trainee import CaptionObjective, Trainee, channels_last, new_trainee

OUTLIERS_HEARD = "outliers.json"
"""In a run's folder: the recordings of no known class that it learns from, which its bundle attributes."""

TEACHER_HEARD = "teacher.json"
"""In a student's folder: the folds and the recordings of no known class that its teacher learnt from."""

STORED_EPOCH = 1_000_000
"""Stored examples are drawn as those of an epoch that no run reaches."""


class Run:
    """One training run in its folder.

    Args:
        recipe: the model's sizes and how it is trained.
        source: source of the examples and of the validation.
        folder: folder of the run.
        world: the processes.
        sentence_embedder: model whose embeddings the audio embeddings are drawn to, where the recipe says that it is
            given.
        stored: examples to learn from in place of the source's own.
        taught: weights of the encoder that a tagger taught, under the captioner's names; its stem is trained no more.
    """

    def __init__(  # noqa: PLR0913, PLR0917 - what is trained, on what, where, and from where on
        self,
        recipe: Recipe,
        source: ExampleSource,
        folder: Path,
        world: World | None = None,
        sentence_embedder: SentenceEmbedder | None = None,
        stored: StoredExamples | None = None,
        taught: Mapping[str, Tensor] | None = None,
    ) -> None:
        self.folder = folder
        self.world = world or World()
        if recipe.pretrain and not isinstance(source, SceneSource):
            raise ConfigError("[pretrain] makes mixes of labelled recordings, which a corpus has not: leave it out")
        stored_dim = stored.text_embedding_dim if stored else 0
        objective = CaptionObjective(recipe.train, sentence_embedder, stored_dim, recipe.model.embedding_dim)
        if self.world.first:
            self._tokenizer(recipe, source)
        self.world.barrier()
        self.tokenizer = self._tokenizer(recipe, source)
        self.recipe = recipe.with_vocabulary(self.tokenizer.get_vocab_size())
        if self.world.first:
            note_identities(identities_of(recipe, source, sentence_embedder, stored), folder)
            write_recipe(self.recipe, folder)
            note_outliers(source, folder)
        torch.manual_seed(recipe.train.seed)
        trainee = channels_last(new_trainee(self.recipe))
        if taught:
            _begin_with(trainee.captioner, taught)
        self.validate = validation_of(source, self.tokenizer, self.world)
        self._pretraining = None
        if recipe.pretrain:
            assert isinstance(source, SceneSource)
            encoder = channels_last(Beats(recipe.model.beats))
            self._pretraining = EncoderPretraining(encoder, recipe, source, folder, self.world)
        self.trainer: Trainer[Batch] = Trainer(
            trainee,
            objective,
            lambda epoch: examples_of(self.recipe, source, self.tokenizer, epoch, stored),
            collate,
            self.recipe.train,
            folder,
            self.world,
            self.validate,
        )

    @property
    def averaged(self) -> AveragedModel:
        """The moving average of the weights."""
        return self.trainer.averaged

    @property
    def epochs_done(self) -> int:
        """Whole epochs, their validation included."""
        return self.trainer.epochs_done

    @property
    def steps_done(self) -> int:
        """Steps of all epochs."""
        return self.trainer.steps_done

    def train(self, progress: Progress) -> dict[str, float]:
        """Run what is left; returns the scores of the last validation (empty without one)."""
        if self._pretraining and not self.steps_done:
            assert isinstance(self.trainer.trainee, Trainee)
            self.trainer.trainee.captioner.encoder.load_state_dict(self._pretraining.train(progress))
        return self.trainer.train(progress)

    def _tokenizer(self, recipe: Recipe, source: ExampleSource) -> Tokenizer:
        path = self.folder / "tokenizer.json"
        if path.is_file():
            return load_tokenizer(path)
        tokenizer = train_tokenizer(source.captions(), recipe.model.decoder.vocab_size)
        self.folder.mkdir(parents=True, exist_ok=True)
        tokenizer.save(str(path))
        return tokenizer


def _begin_with(captioner: Captioner, taught: Mapping[str, Tensor]) -> None:
    """Put the weights of a taught encoder into a captioner, and train no more what the examples leave out."""
    taught = {name: tensor for name, tensor in taught.items() if not name.startswith("encoder.predictor.")}
    unknown = captioner.load_state_dict(dict(taught), strict=False).unexpected_keys
    assert not unknown, f"the taught encoder has {unknown}"
    captioner.encoder.patch_embedding.requires_grad_(False)
    captioner.encoder.predictor.requires_grad_(False)


def examples_of(
    recipe: Recipe,
    source: ExampleSource,
    tokenizer: Tokenizer,
    epoch: int,
    stored: StoredExamples | None,
    signals: StoredSignals | None = None,
) -> Dataset[Example]:
    """An epoch's examples: of those that are stored, or fresh from the source."""
    if stored is None:
        return source.examples(tokenizer, recipe.train, epoch, masked=True)
    return StoredDataset(stored, tokenizer, recipe.train, recipe.model.decoder.max_positions, epoch, signals)


def store_examples(
    recipe: Recipe,
    source: ExampleSource,
    sentence_embedder: SentenceEmbedder | None,
    folder: Path,
    on_progress: OnProgress,
) -> Counter[str]:
    """Make the recipe's stored examples, or what is left to make of them.

    Returns:
        What came of the mix-ups among those that this call made.
    """
    # The recipe's demands are met before hours are spent.
    CaptionObjective(recipe.train, sentence_embedder, embedding_dim=recipe.model.embedding_dim)
    stored = recipe.stored
    train = replace(recipe.train, seed=stored.seed, scenes_per_epoch=stored.count, captions_per_scene=stored.captions)
    metadata = {
        "stored": asdict(stored),
        "scenes": asdict(recipe.everyday or recipe.scenes),
        "mixup": asdict(recipe.mixup),
        "source": source.fingerprint(),
        "sentence_embedder": teacher_fingerprint(sentence_embedder) if sentence_embedder else "",
    }
    examples = source.examples(None, train, STORED_EPOCH, masked=False)
    return write_examples(examples, sentence_embedder, folder, metadata, recipe.train.workers, on_progress)


def validation_of(
    source: ExampleSource, tokenizer: Tokenizer, world: World
) -> Callable[[Trainee], dict[str, float]] | None:
    """The source's validation as the trainer calls it: on the CPU, where its inputs are; on rank 0 only."""
    validation = source.validation() if world.first else None
    if validation is None:
        return None

    def validate(averaged: Trainee) -> dict[str, float]:
        model = averaged.captioner
        if world.device.type != "cpu":
            model = copy.deepcopy(model).cpu()
        return validation(model, tokenizer)

    return validate


def write_recipe(recipe: Recipe, folder: Path) -> None:
    """Keep the recipe in the folder of its run.

    Raises:
        ConfigError: a run of another recipe lies there.
    """
    path = folder / "recipe.json"
    text = json.dumps(asdict(recipe), indent=1)
    if path.is_file() and path.read_text(encoding="utf-8") != text:
        raise ConfigError(f"{folder} holds a run of another recipe; give a new folder with --run")
    path.write_text(text, encoding="utf-8")


def note_outliers(source: ExampleSource, folder: Path) -> None:
    """Keep, in the folder of a run, which recordings of no known class it learns from.

    Raises:
        ConfigError: it learnt from others so far.
    """
    path = folder / OUTLIERS_HEARD
    now = [clip.path for clip in source.outliers] if isinstance(source, SceneSource) else []
    if (folder / "last.pt").is_file() and read_json(path, optional=True, kind=list) != now:
        raise ConfigError(
            f"{folder} holds a run with other outliers; give the same --outliers, or a new folder with --run"
        )
    if now:
        path.write_text(json.dumps(now, indent=0), encoding="utf-8")


def outliers_heard(folder: Path) -> list[str]:
    """Paths of the recordings of no known class that a run, or its teacher, learns from, within the folder of these.

    Raises:
        DataError: what the run noted is damaged.
    """
    own: list[str] = read_json(folder / OUTLIERS_HEARD, optional=True, kind=list)
    return list(dict.fromkeys([*own, *_teacher_heard(folder, "outliers")]))


def note_teacher(folds: Sequence[int], outliers: Sequence[str], folder: Path) -> None:
    """Keep, in the folder of a student, what its teacher learnt from: its bundle attributes that, too."""
    table = {"folds": list(folds), "outliers": list(outliers)}
    (folder / TEACHER_HEARD).write_text(json.dumps(table, indent=0), encoding="utf-8")


def _teacher_heard(folder: Path, kind: str) -> list[Any]:
    heard: list[Any] = read_json(folder / TEACHER_HEARD, optional=True).get(kind, [])
    return heard


def load_run(folder: Path) -> tuple[Trainee, Tokenizer, dict[str, Any]]:
    """The averaged model of a finished run, in evaluation mode, its tokenizer and its recipe as a table.

    Of a student the table's training folds are also those that its teacher heard, and may have passed on.

    Raises:
        InputMissingError: a file is missing, or epochs are left to do.
        DataError: a file is damaged, or the checkpoint does not fit the recipe.
    """
    if not (folder / "last.pt").is_file():
        raise InputMissingError(f"{folder} holds no checkpoint: run `edge-aac train --run {folder}` first")
    if missing := [name for name in ("recipe.json", "tokenizer.json") if not (folder / name).is_file()]:
        raise InputMissingError(f"{folder} lacks {missing[0]} of its run: copy the whole folder here again")
    table: dict[str, Any] = read_json(folder / "recipe.json")
    try:
        recipe = recipe_from(table)
    except (KeyError, TypeError, AttributeError) as error:
        raise DataError(f"{folder / 'recipe.json'} is no recipe of a run: copy the run's folder here again") from error
    state, done = kept_weights(folder)
    if done < recipe.train.epochs:
        as_it_is = f", or set epochs to {done} in its recipe.json to take it as it is" if done else ""
        raise InputMissingError(
            f"{folder} has done {done} of its {recipe.train.epochs} epochs: "
            f"run the same `edge-aac train` or `edge-aac distill` again, which goes on there{as_it_is}"
        )
    # A student's projections to its teacher's widths have done their work.
    state = {name: tensor for name, tensor in state.items() if not name.startswith("module.projections.")}
    trainee = averaged_model(new_trainee(recipe), state, folder, "recipe.json")
    if more := sorted({*_teacher_heard(folder, "folds")} - {*recipe.folds.train}):
        table["folds"]["train"] = [*recipe.folds.train, *more]
    return trainee, load_tokenizer(folder / "tokenizer.json"), table
