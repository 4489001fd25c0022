"""The training loop: scenes in, a run folder out that can be resumed, plotted and exported.

A run folder holds ``recipe.json``, ``tokenizer.json``, ``last.pt`` (everything needed to go on) and ``log.jsonl``
(one row every 20 steps and one an epoch).
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from tokenizers import Tokenizer
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torch.utils.data import DataLoader

from edge_aac.errors import ConfigError, DataError, InputMissingError
from quantize.data.captions import corpus
from quantize.data.clips import load_clips
from quantize.data.scenes import SceneBuilder, SceneRecipe
from quantize.data.tokenizer import PAD_ID, train_tokenizer
from quantize.models.captioner import Captioner
from quantize.models.config import TextEmbedderConfig, captioner_config, config_from
from quantize.models.instructor import TextEmbedder
from quantize.training.batches import Batch, SceneDataset, collate
from quantize.training.objective import activity_loss, caption_cross_entropy, info_nce
from quantize.training.recipe import Folds, Recipe, TrainSettings
from quantize.training.validation import ValidationSet, validate, validation_set

LOG_EVERY_STEPS = 20
FEWEST_STEPS = 4
"""A rise and a fall of the learning rate."""
CORPUS_CAPTIONS_PER_SCENE = 60
VALIDATION_SEED = 20230704
"""Validation scenes are the same whatever seed a run has, so that runs can be compared."""


class Progress(Protocol):
    """What the loop tells a person; the command line shows a progress bar."""

    def epoch(self, number: int, total: int, steps: int) -> None: ...
    def step(self, loss: float, scenes_per_s: float) -> None: ...
    def validated(self, scores: dict[str, float]) -> None: ...


class Trainee(nn.Module):
    """Captioner and text embedder, trained together."""

    def __init__(self, recipe: Recipe) -> None:
        super().__init__()
        self.captioner = Captioner(recipe.model)
        self.text_embedder = TextEmbedder.from_config(recipe.text)


class Run:
    """One training run in its folder."""

    def __init__(self, recipe: Recipe, data: Path, folder: Path) -> None:
        self.folder = folder
        clips = load_clips(data, recipe.folds.train)
        self.builder = SceneBuilder(clips, recipe.scenes)
        self.tokenizer = self._tokenizer(recipe)
        self.recipe = recipe.with_vocabulary(self.tokenizer.get_vocab_size())
        self._write_recipe()
        torch.set_flush_denormal(True)  # Adam's square roots of vanishing gradients are many times slower without
        torch.manual_seed(recipe.train.seed)
        self.trainee = Trainee(self.recipe).to(memory_format=torch.channels_last)  # the stem takes 0.6 of the time so
        self.averaged = AveragedModel(
            self.trainee, multi_avg_fn=get_ema_multi_avg_fn(recipe.train.ema_decay), use_buffers=True
        )
        settings = self.recipe.train
        self.optimizer = torch.optim.AdamW(
            # OneCycleLR moves the first of the betas between 0.95 and 0.85, against the learning rate.
            parameter_groups(self.trainee, settings.weight_decay),
            lr=settings.learning_rate,
            betas=(0.95, 0.98),
        )
        self.steps_per_epoch = settings.scenes_per_epoch // settings.batch_scenes
        total = self.steps_per_epoch * settings.epochs
        if total < FEWEST_STEPS:
            raise ConfigError(
                f"the recipe makes {total} training steps, fewer than {FEWEST_STEPS}: raise epochs or scenes_per_epoch"
            )
        warmup = max(2, settings.warmup_steps)
        self.schedule = torch.optim.lr_scheduler.OneCycleLR(
            self.optimizer, settings.learning_rate, total, pct_start=min(0.5, warmup / total)
        )
        self.epochs_done = 0
        self.validation = self._validation(data)
        self._resume()

    def train(self, progress: Progress) -> dict[str, float]:
        """Run the epochs that are left; returns the scores of the last validation (empty without one)."""
        settings = self.recipe.train
        scores: dict[str, float] = {}
        for epoch in range(self.epochs_done, settings.epochs):
            progress.epoch(epoch + 1, settings.epochs, self.steps_per_epoch)
            # Dropout of an epoch depends on its number alone, so a resumed run is the run that was not broken.
            torch.manual_seed(settings.seed * 100_003 + epoch)
            losses = self._epoch(epoch, progress)
            self.epochs_done = epoch + 1
            if self.validation:
                scores = self._validate()
                progress.validated(scores)
            self._log({"epoch": epoch + 1, **losses, **scores})
            self._save()
        return scores

    def _epoch(self, epoch: int, progress: Progress) -> dict[str, float]:
        settings = self.recipe.train
        dataset = SceneDataset(self.builder, self.tokenizer, self.recipe, epoch)
        loader = DataLoader(
            dataset,
            settings.batch_scenes,
            collate_fn=collate,
            num_workers=settings.workers,
            drop_last=True,
            prefetch_factor=4 if settings.workers else None,
        )
        self.trainee.train()
        sums: dict[str, float] = {}
        started = time.perf_counter()
        for step, batch in enumerate(loader, start=1):
            terms = self._step(batch)
            for name, value in terms.items():
                sums[name] = sums.get(name, 0.0) + value
            rate = step * settings.batch_scenes / (time.perf_counter() - started)
            progress.step(terms["loss"], rate)
            if step % LOG_EVERY_STEPS == 0:
                row = {"step": epoch * self.steps_per_epoch + step, "scenes_per_s": round(rate, 2), **terms}
                self._log({**row, "learning_rate": self.schedule.get_last_lr()[0]})
        return {name: value / self.steps_per_epoch for name, value in sums.items()}

    def _step(self, batch: Batch) -> dict[str, float]:
        terms = losses(self.trainee, batch, self.recipe.train)
        self.optimizer.zero_grad(set_to_none=True)
        terms["loss"].backward()
        nn.utils.clip_grad_norm_(self.trainee.parameters(), self.recipe.train.clip_norm)
        self.optimizer.step()
        self.schedule.step()
        self.averaged.update_parameters(self.trainee)
        return {name: float(value.detach()) for name, value in terms.items()}

    def _validate(self) -> dict[str, float]:
        if self.validation is None:
            return {}
        model = self.averaged.module.captioner.eval()
        return validate(model, self.tokenizer, self.validation)

    def _validation(self, data: Path) -> ValidationSet | None:
        recipe = self.recipe
        if not recipe.folds.validation:
            return None
        clips = load_clips(data, recipe.folds.validation)
        builder = SceneBuilder(clips, recipe.scenes)
        return validation_set(clips, builder, recipe.train.validation_scenes, VALIDATION_SEED)

    def _tokenizer(self, recipe: Recipe) -> Tokenizer:
        path = self.folder / "tokenizer.json"
        if path.is_file():
            return Tokenizer.from_file(str(path))
        rng = np.random.default_rng(recipe.train.seed)
        scenes = (self.builder.scene(rng) for _ in range(recipe.train.corpus_scenes))
        tokenizer = train_tokenizer(corpus(scenes, rng, CORPUS_CAPTIONS_PER_SCENE), recipe.model.decoder.vocab_size)
        self.folder.mkdir(parents=True, exist_ok=True)
        tokenizer.save(str(path))
        return tokenizer

    def _write_recipe(self) -> None:
        path = self.folder / "recipe.json"
        text = json.dumps(asdict(self.recipe), indent=1)
        if path.is_file() and path.read_text(encoding="utf-8") != text:
            raise ConfigError(f"{self.folder} holds a run of another recipe; give a new folder with --run")
        path.write_text(text, encoding="utf-8")

    def _resume(self) -> None:
        path = self.folder / "last.pt"
        if not path.is_file():
            return
        state = torch.load(path, weights_only=True)
        self.trainee.load_state_dict(state["trainee"])
        self.averaged.load_state_dict(state["averaged"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.schedule.load_state_dict(state["schedule"])
        self.epochs_done = state["epochs_done"]
        self._forget_unfinished_epoch()

    def _forget_unfinished_epoch(self) -> None:
        """Take the rows of an epoch that was broken off out of the log: it is run again."""
        log = self.folder / "log.jsonl"
        rows = log.read_text(encoding="utf-8").splitlines(keepends=True) if log.is_file() else []
        last_step = self.epochs_done * self.steps_per_epoch
        kept = [row for row in rows if json.loads(row).get("step", 0) <= last_step]
        log.write_text("".join(kept), encoding="utf-8")

    def _save(self) -> None:
        state = {
            "trainee": self.trainee.state_dict(),
            "averaged": self.averaged.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "schedule": self.schedule.state_dict(),
            "epochs_done": self.epochs_done,
        }
        # Written beside and renamed: a run killed while saving still resumes from the epoch before.
        beside = self.folder / "last.pt.new"
        torch.save(state, beside)
        os.replace(beside, self.folder / "last.pt")

    def _log(self, row: dict[str, Any]) -> None:
        with (self.folder / "log.jsonl").open("a", encoding="utf-8") as log:
            log.write(json.dumps(row) + "\n")


def losses(trainee: Trainee, batch: Batch, settings: TrainSettings) -> dict[str, Tensor]:
    """All terms of the loss for one batch; ``loss`` is their weighted sum."""
    model = trainee.captioner
    hidden, _ = model.beats_hidden(batch.fbank)
    memory, _ = model.memory(hidden)
    audio = model.audio_embedding(memory)
    per_scene = settings.captions_per_scene
    logits = model.logits(batch.decoder_input_ids, memory.repeat_interleave(per_scene, dim=0))
    first_captions = batch.token_ids[::per_scene]
    text = trainee.text_embedder(first_captions, (first_captions != PAD_ID).long())
    terms = {
        "caption": caption_cross_entropy(logits, batch.labels, settings.label_smoothing),
        "contrastive": info_nce(audio, text, batch.same_events, settings.contrastive_temperature),
        "activity": activity_loss(model.encoder.predictor(hidden), batch.activity),
    }
    total = (
        terms["caption"]
        + settings.contrastive_weight * terms["contrastive"]
        + settings.activity_weight * terms["activity"]
    )
    return {"loss": total, **terms}


def parameter_groups(module: nn.Module, weight_decay: float) -> Iterator[dict[str, Any]]:
    """Weight decay for matrices only; biases, norms and gains are left free."""
    parameters = [p for p in module.parameters() if p.requires_grad]
    yield {"params": [p for p in parameters if p.ndim > 1], "weight_decay": weight_decay}
    yield {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0}


def load_run(folder: Path) -> tuple[Trainee, Tokenizer, dict[str, Any]]:
    """The averaged model of a run, in evaluation mode, its tokenizer and its recipe as a table.

    Raises:
        InputMissingError: the folder holds no finished epoch.
        DataError: its checkpoint does not fit its recipe.
    """
    if not (folder / "last.pt").is_file():
        raise InputMissingError(f"{folder} holds no checkpoint: run `edge-aac train --run {folder}` first")
    table = json.loads((folder / "recipe.json").read_text(encoding="utf-8"))
    recipe = Recipe(
        name=table["name"],
        version=table["version"],
        license=table["license"],
        source=table["source"],
        folds=config_from(Folds, table["folds"]),
        model=captioner_config(table["model"]),
        text=config_from(TextEmbedderConfig, table["text"]),
        scenes=config_from(SceneRecipe, table["scenes"]),
        train=config_from(TrainSettings, table["train"]),
    )
    trainee = Trainee(recipe)
    averaged = AveragedModel(trainee)
    try:
        averaged.load_state_dict(torch.load(folder / "last.pt", weights_only=True)["averaged"])
    except RuntimeError as error:
        raise DataError(f"the checkpoint in {folder} does not fit its recipe.json: {error}") from error
    return averaged.module.eval(), Tokenizer.from_file(str(folder / "tokenizer.json")), table
