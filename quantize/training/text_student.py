"""A published sentence embedder distilled into a small text embedder that reads our own tokens.

A run folder holds ``run.json`` (what it is a run of), ``teacher/`` (the teacher's embeddings, computed once),
``last.pt`` (everything needed to go on) and ``log.jsonl``.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tokenizers import Tokenizer
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from edge_aac.errors import ConfigError, DataError, InputMissingError
from quantize.models.config import TextEmbedderConfig, config_from
from quantize.models.instructor import TextEmbedder
from quantize.models.sentence_embedder import SentenceEmbedder
from quantize.models.weight_files import load_pickle, read_json
from quantize.training.engine import parameter_groups
from quantize.training.settings import TextStudentSettings
from quantize.training.teacher_texts import teacher_embeddings, teacher_fingerprint
from quantize.training.text_scores import text_student_scores

TEXT_FOLDER = "text"
"""Of a text student's run within its captioner's."""

LOG_EVERY_STEPS = 50
_POOL_BATCHES = 16

TextProgress = Callable[[int, int, float], None]
"""Told after each step: steps done, steps in all, loss."""


@dataclass(frozen=True)
class TextSplit:
    """Distinct texts.

    Attributes:
        trained: what the student learns from.
        held_out: what it is scored with.
        repeated: how many texts were left out because they stood there already.
        beyond: how many were left out because there are more than the settings ask for.
    """

    trained: list[str]
    held_out: list[str]
    repeated: int
    beyond: int


def split_texts(texts: Sequence[str], settings: TextStudentSettings) -> TextSplit:
    """Held-out texts drawn by the settings' seed; no string is in both parts.

    Raises:
        DataError: too few distinct texts for one batch beside those held out.
    """
    distinct = list(dict.fromkeys(texts))
    if len(distinct) < settings.held_out_texts + settings.batch_texts:
        raise DataError(
            f"{len(distinct)} distinct texts are too few for {settings.held_out_texts} held out and a batch of "
            f"{settings.batch_texts}: give more, or lower held_out_texts or batch_texts"
        )
    order = np.random.default_rng(settings.seed).permutation(len(distinct))
    shuffled = [distinct[index] for index in order]
    trained = shuffled[settings.held_out_texts :]
    kept = trained[: settings.corpus_texts]
    held_out = shuffled[: settings.held_out_texts]
    return TextSplit(kept, held_out, len(texts) - len(distinct), len(trained) - len(kept))


def distillation_losses(student: Tensor, teacher: Tensor, settings: TextStudentSettings) -> dict[str, Tensor]:
    """Terms of the loss of one batch; ``loss`` is their weighted sum.

    ``cosine`` is 1 - the mean cosine of a text's two embeddings. ``pairwise`` is the mean squared difference of the
    batch's two matrices of similarities, (1/b²)·‖Gₜ - Gₛ‖² (Tung & Mori, Similarity-Preserving Knowledge Distillation,
    2019, eq. 4, of cosines and so without their normalisation of rows).

    Args:
        student: (B, E), of unit length.
        teacher: (B, E), of unit length.
        settings: the weights.
    """
    cosine = 1.0 - (student * teacher).sum(dim=-1).mean()
    pairwise = (student @ student.T - teacher @ teacher.T).square().mean()
    total = settings.cosine_weight * cosine + settings.pairwise_weight * pairwise
    return {"loss": total, "cosine": cosine, "pairwise": pairwise}


def scheduled_rate(step: int, settings: TextStudentSettings) -> float:
    """Learning rate of a step, counted from 0: linear warm-up, then half a cosine."""
    if step < settings.warmup_steps:
        return settings.learning_rate * (step + 1) / settings.warmup_steps
    left = (step - settings.warmup_steps) / max(1, settings.steps - settings.warmup_steps)
    return settings.learning_rate * 0.5 * (1.0 + math.cos(math.pi * left))


def student_embedder(model: TextEmbedder, tokenizer: Tokenizer) -> SentenceEmbedder:
    """A text embedder of our own under the interface of the published ones; it has no instruction."""
    return SentenceEmbedder(model.dense.out_features, tokenizer, "", lambda instruction: model)


class TextDistillation:
    """One run in its folder; see :func:`distil_text`."""

    def __init__(
        self,
        teacher: SentenceEmbedder,
        texts: Sequence[str],
        tokenizer: Tokenizer,
        config: TextEmbedderConfig,
        settings: TextStudentSettings,
        folder: Path,
    ) -> None:
        if config.embedding_dim != teacher.dim:
            raise ConfigError(
                f"the teacher embeds in {teacher.dim} dimensions, the student in {config.embedding_dim}: "
                f"set embedding_dim to {teacher.dim}"
            )
        if tokenizer.get_vocab_size() > config.vocab_size:
            raise ConfigError(
                f"the tokenizer has {tokenizer.get_vocab_size()} tokens, the student {config.vocab_size}: "
                f"set vocab_size to {tokenizer.get_vocab_size()}"
            )
        self.settings, self.folder, self.tokenizer = settings, folder, tokenizer
        self.split = split_texts(texts, settings)
        fingerprint = teacher_fingerprint(teacher)
        self._write_run(fingerprint, config)
        started = time.perf_counter()
        of_trained, self.held_out = (
            teacher_embeddings(teacher, part, folder / "teacher", fingerprint)
            for part in (self.split.trained, self.split.held_out)
        )
        self.targets = torch.from_numpy(of_trained)
        self.teacher_s = time.perf_counter() - started
        self.token_ids = [torch.tensor(entry.ids) for entry in tokenizer.encode_batch(self.split.trained)]
        torch.set_flush_denormal(True)  # Adam's square roots of vanishing gradients are many times slower without
        torch.manual_seed(settings.seed)
        self.model = TextEmbedder.from_config(config)
        self.averaged = AveragedModel(self.model, multi_avg_fn=get_ema_multi_avg_fn(settings.ema_decay))
        groups = parameter_groups(self.model, settings.weight_decay)
        self.optimizer = torch.optim.AdamW(groups, lr=settings.learning_rate, betas=(0.9, 0.98))
        self.steps_done = 0
        self._resume()

    @property
    def student(self) -> TextEmbedder:
        """The averaged weights, in evaluation mode."""
        student: TextEmbedder = self.averaged.module
        return student.eval()

    def train(self, progress: TextProgress | None = None) -> dict[str, float]:
        """Run the steps that are left; returns the scores on the held-out texts."""
        settings = self.settings
        if self.steps_done == 0:
            split = self.split
            self._log(
                {
                    "step": 0,
                    "trained_texts": len(split.trained),
                    "held_out_texts": len(split.held_out),
                    "left_out_repeated": split.repeated,
                    "left_out_beyond": split.beyond,
                    "teacher_s": round(self.teacher_s, 2),
                }
            )
        scores: dict[str, float] = {}
        started, first = time.perf_counter(), self.steps_done
        batches: list[list[int]] = []
        per_epoch = len(self.split.trained) // settings.batch_texts
        for step in range(first, settings.steps):
            epoch, place = divmod(step, per_epoch)
            if not batches or place == 0:
                batches = self._batches(epoch)
            # Dropout of a step depends on its number alone, so a resumed run is the run that was not broken.
            torch.manual_seed(settings.seed * 1_000_003 + step)
            terms = self._step(batches[place], step)
            self.steps_done = step + 1
            if self.steps_done % LOG_EVERY_STEPS == 0:
                rate = (self.steps_done - first) / (time.perf_counter() - started)
                self._log({"step": self.steps_done, "steps_per_s": round(rate, 2), **terms})
            if self.steps_done % settings.checkpoint_steps == 0 or self.steps_done == settings.steps:
                scores = self.scores()
                self._log({"step": self.steps_done, **scores})
                self._save()
            if progress is not None:
                progress(self.steps_done, settings.steps, terms["loss"])
        return scores or self.scores()

    def scores(self) -> dict[str, float]:
        """How near the averaged student comes to the teacher on the held-out texts."""
        embedder = student_embedder(self.student, self.tokenizer)
        return text_student_scores(self.held_out, embedder.embed(self.split.held_out))

    def _batches(self, epoch: int) -> list[list[int]]:
        """Batches of texts of like length, for little padding: sorted in pools, so that pairs of batches still vary."""
        size = self.settings.batch_texts
        rng = np.random.default_rng([self.settings.seed, epoch])
        order = rng.permutation(len(self.token_ids))
        whole = len(order) // size * size
        batches: list[list[int]] = []
        for start in range(0, whole, size * _POOL_BATCHES):
            pool = sorted(order[start : min(start + size * _POOL_BATCHES, whole)], key=lambda i: len(self.token_ids[i]))
            batches += [[int(i) for i in pool[at : at + size]] for at in range(0, len(pool), size)]
        return [batches[index] for index in rng.permutation(len(batches))]

    def _step(self, batch: list[int], step: int) -> dict[str, float]:
        self.model.train()
        rows = [self.token_ids[index] for index in batch]
        token_ids = nn.utils.rnn.pad_sequence(rows, batch_first=True)
        lengths = torch.tensor([len(row) for row in rows])
        mask = (torch.arange(token_ids.shape[1]) < lengths[:, None]).long()
        terms = distillation_losses(self.model(token_ids, mask), self.targets[batch], self.settings)
        for group in self.optimizer.param_groups:
            group["lr"] = scheduled_rate(step, self.settings)
        self.optimizer.zero_grad(set_to_none=True)
        terms["loss"].backward()
        nn.utils.clip_grad_norm_(self.model.parameters(), self.settings.clip_norm)
        self.optimizer.step()
        self.averaged.update_parameters(self.model)
        return {name: float(value.detach()) for name, value in terms.items()}

    def _write_run(self, fingerprint: str, config: TextEmbedderConfig) -> None:
        texts = hashlib.sha256(json.dumps([self.split.trained, self.split.held_out]).encode()).hexdigest()
        table = {
            "settings": asdict(self.settings),
            "config": asdict(config),
            "texts_sha256": texts,
            "tokenizer_sha256": hashlib.sha256(self.tokenizer.to_str().encode()).hexdigest(),
            "teacher_sha256": fingerprint,
        }
        path = self.folder / "run.json"
        if path.is_file():
            stored = read_json(path)
            if other := [name for name, value in table.items() if stored.get(name) != value]:
                raise ConfigError(f"{self.folder} holds a run with other {', '.join(other)}; give a new folder")
        self.folder.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(table, indent=1), encoding="utf-8")

    def _save(self) -> None:
        state = {
            "model": self.model.state_dict(),
            "averaged": self.averaged.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "steps_done": self.steps_done,
        }
        # Written beside and renamed: a run killed while saving still resumes from the checkpoint before.
        beside = self.folder / "last.pt.new"
        torch.save(state, beside)
        os.replace(beside, self.folder / "last.pt")

    def _resume(self) -> None:
        path = self.folder / "last.pt"
        if path.is_file():
            state = load_pickle(path)
            self.model.load_state_dict(state["model"])
            self.averaged.load_state_dict(state["averaged"])
            self.optimizer.load_state_dict(state["optimizer"])
            self.steps_done = state["steps_done"]
        log = self.folder / "log.jsonl"
        if log.is_file():
            # Steps behind the checkpoint are run again.
            rows = log.read_text(encoding="utf-8").splitlines(keepends=True)
            kept = [row for row in rows if self.steps_done and json.loads(row)["step"] <= self.steps_done]
            log.write_text("".join(kept), encoding="utf-8")

    def _log(self, row: dict[str, Any]) -> None:
        with (self.folder / "log.jsonl").open("a", encoding="utf-8") as log:
            log.write(json.dumps(row) + "\n")


def distil_text(
    teacher: SentenceEmbedder,
    texts: Sequence[str],
    tokenizer: Tokenizer,
    config: TextEmbedderConfig,
    settings: TextStudentSettings,
    folder: Path,
    progress: TextProgress | None = None,
) -> TextEmbedder:
    """A small text embedder that gives the teacher's embeddings of such texts.

    Killed and started again with the same arguments it goes on, and ends with the weights of a run that was not.

    Args:
        teacher: embeds the texts under its own instruction.
        texts: captions; repeated ones count once, and ``settings.held_out_texts`` of them are not trained on.
        tokenizer: of the student: the captioner's own.
        config: of the student; ``embedding_dim`` must be the teacher's.
        settings: how it is trained.
        folder: of the run.
        progress: told each step.

    Returns:
        The averaged student, in evaluation mode. How near it comes stands in the last row of ``log.jsonl``.

    Raises:
        ConfigError: sizes do not fit each other, or the folder holds another run.
        DataError: too few texts, or a damaged file in the folder.
    """
    run = TextDistillation(teacher, texts, tokenizer, config, settings, folder)
    run.train(progress)
    return run.student


def load_text_student(folder: Path) -> TextEmbedder:
    """The averaged student of a finished run, in evaluation mode.

    Raises:
        InputMissingError: the folder holds no finished run.
    """
    path = folder / "last.pt"
    table = read_json(folder / "run.json")
    state = torch.load(path, weights_only=True) if path.is_file() else {"steps_done": 0}
    if state["steps_done"] < table["settings"]["steps"]:
        raise InputMissingError(f"the text student in {folder} is not finished: run the same `edge-aac distill` again")
    averaged = AveragedModel(TextEmbedder.from_config(config_from(TextEmbedderConfig, table["config"])))
    averaged.load_state_dict(state["averaged"])
    student: TextEmbedder = averaged.module
    return student.eval()
