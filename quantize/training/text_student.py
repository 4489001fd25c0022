"""A published sentence embedder distilled into a small text embedder that reads our own tokens.

A run folder holds ``run.json`` (what it is a run of), ``teacher/`` (the teacher's embeddings, computed once), and what
the trainer keeps there.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import torch
from tokenizers import Tokenizer
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel
from torch.utils.data import Dataset

from edge_aac.errors import ConfigError, DataError, InputMissingError
from quantize.models.config import TextEmbedderConfig, config_from
from quantize.models.instructor import TextEmbedder
from quantize.models.sentence_embedder import SentenceEmbedder
from quantize.models.weight_files import read_json
from quantize.training.loop import Progress, Terms, Trainer, kept_weights
from quantize.training.precision import in_fp32
from quantize.training.settings import TextStudentSettings
from quantize.training.teacher_texts import teacher_embeddings, teacher_fingerprint
from quantize.training.tensor_batch import TensorBatch
from quantize.training.text_scores import text_student_scores

TEXT_FOLDER = "text"
"""Of a text student's run within its captioner's."""

_POOL_BATCHES = 16


@dataclass(frozen=True)
class TextBatch(TensorBatch):
    """Texts and what the teacher makes of them.

    Attributes:
        token_ids, attention_mask: (B, L) int64, of the student's tokenizer.
        targets: (B, E), of unit length.
    """

    token_ids: Tensor
    attention_mask: Tensor
    targets: Tensor


@dataclass(frozen=True)
class TextSplit:
    """Distinct texts.

    Attributes:
        trained: texts that the student learns from.
        held_out: texts that the student is scored with.
        repeated: number of texts left out as duplicates.
        beyond: number of texts left out because there are more than the settings ask for.
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
    if len(distinct) < settings.held_out_texts + settings.batch_scenes:
        raise DataError(
            f"{len(distinct)} distinct texts are too few for {settings.held_out_texts} held out and a batch of "
            f"{settings.batch_scenes}: give more, or lower held_out_texts or batch_scenes"
        )
    order = np.random.default_rng(settings.seed).permutation(len(distinct))
    shuffled = [distinct[index] for index in order]
    trained = shuffled[settings.held_out_texts :]
    kept = trained[: settings.corpus_texts]
    held_out = shuffled[: settings.held_out_texts]
    return TextSplit(kept, held_out, len(texts) - len(distinct), len(trained) - len(kept))


def check_text_distillation(
    teacher: SentenceEmbedder, texts: Sequence[str], config: TextEmbedderConfig, settings: TextStudentSettings
) -> TextSplit:
    """What of a run can be checked before there is a tokenizer, as before the captioner's training; gives the texts.

    Raises:
        ConfigError: teacher and student embed in different numbers of dimensions.
        DataError: too few texts.
    """
    if config.embedding_dim != teacher.dim:
        raise ConfigError(
            f"the sentence embedder embeds in {teacher.dim} dimensions, the text student in {config.embedding_dim}: "
            f"set embedding_dim = {teacher.dim} in [text]"
        )
    return split_texts(texts, settings)


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


def averaged_embedder(averaged: AveragedModel) -> TextEmbedder:
    """Return the averaged weights of a text embedder, in evaluation mode."""
    assert isinstance(averaged.module, TextEmbedder)
    return averaged.module.eval()


def student_embedder(model: TextEmbedder, tokenizer: Tokenizer) -> SentenceEmbedder:
    """A text embedder of our own under the interface of the published ones; it has no instruction."""
    assert isinstance(model.dense, nn.Linear)
    return SentenceEmbedder(model.dense.out_features, tokenizer, "", lambda instruction: model)


class TextDistillation:
    """One run in its folder.

    Killed and started again with the same arguments it goes on, and ends with the weights of a run that was not.

    Args:
        teacher: embeds the texts under its own instruction.
        texts: captions; repeated ones count once, and ``settings.held_out_texts`` of them are not trained on.
        tokenizer: tokenizer of the student, which is the captioner's own.
        config: sizes of the student; ``embedding_dim`` must be the teacher's.
        settings: settings of the training; an epoch ends with the texts where there are fewer than it has scenes.
        folder: folder of the run.

    Raises:
        ConfigError: sizes do not fit each other, or the folder holds another run.
        DataError: too few texts, or a damaged file in the folder.
    """

    def __init__(
        self,
        teacher: SentenceEmbedder,
        texts: Sequence[str],
        tokenizer: Tokenizer,
        config: TextEmbedderConfig,
        settings: TextStudentSettings,
        folder: Path,
    ) -> None:
        self.split = check_text_distillation(teacher, texts, config, settings)
        if tokenizer.get_vocab_size() > config.vocab_size:
            raise ConfigError(
                f"the tokenizer has {tokenizer.get_vocab_size()} tokens, the student {config.vocab_size}: "
                f"set vocab_size to {tokenizer.get_vocab_size()}"
            )
        settings = replace(settings, scenes_per_epoch=min(settings.scenes_per_epoch, len(self.split.trained)))
        self.settings, self.folder, self.tokenizer = settings, folder, tokenizer
        fingerprint = teacher_fingerprint(teacher)
        self._write_run(fingerprint, config)
        of_trained, self._of_held_out = (
            teacher_embeddings(teacher, part, folder / "teacher", fingerprint)
            for part in (self.split.trained, self.split.held_out)
        )
        self._targets = torch.from_numpy(of_trained)
        self._token_ids = [torch.tensor(entry.ids) for entry in tokenizer.encode_batch(self.split.trained)]
        torch.manual_seed(settings.seed)
        self.trainer: Trainer[TextBatch] = Trainer(
            TextEmbedder.from_config(config),
            self._terms,
            lambda epoch: _Texts(self._token_ids, self._targets, self._order(epoch)),
            collate_texts,
            settings,
            folder,
            validate=self._scores,
        )

    @property
    def student(self) -> TextEmbedder:
        """The averaged weights, in evaluation mode."""
        return averaged_embedder(self.trainer.averaged)

    def train(self, progress: Progress) -> dict[str, float]:
        """Run what is left; returns how near the averaged student comes to the teacher on the held-out texts."""
        return self.trainer.train(progress) or self._scores(self.student)

    def _terms(self, model: TextEmbedder, batch: TextBatch) -> Terms:
        embeddings = model(batch.token_ids, batch.attention_mask)
        with in_fp32(embeddings):
            return distillation_losses(embeddings.float(), batch.targets, self.settings)

    def _scores(self, model: TextEmbedder) -> dict[str, float]:
        embedder = student_embedder(model, self.tokenizer)
        return text_student_scores(self._of_held_out, embedder.embed(self.split.held_out))

    def _order(self, epoch: int) -> list[int]:
        """All texts, those of like length in one batch, for little padding; sorted in pools, so that pairs vary."""
        size = self.settings.batch_scenes
        rng = np.random.default_rng([self.settings.seed, epoch])
        order = rng.permutation(len(self._token_ids))
        whole = len(order) // size * size
        batches: list[list[int]] = []
        for start in range(0, whole, size * _POOL_BATCHES):
            pool = sorted(
                order[start : min(start + size * _POOL_BATCHES, whole)], key=lambda i: len(self._token_ids[i])
            )
            batches += [[int(i) for i in pool[at : at + size]] for at in range(0, len(pool), size)]
        return [text for index in rng.permutation(len(batches)) for text in batches[index]]

    def _write_run(self, fingerprint: str, config: TextEmbedderConfig) -> None:
        texts = hashlib.sha256(json.dumps([self.split.trained, self.split.held_out]).encode()).hexdigest()
        table = {
            "settings": asdict(self.settings),
            "config": asdict(config),
            "texts": {
                "trained": len(self.split.trained),
                "held_out": len(self.split.held_out),
                "left_out_repeated": self.split.repeated,
                "left_out_beyond": self.split.beyond,
                "sha256": texts,
            },
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


@dataclass(frozen=True)
class _Texts(Dataset[tuple[Tensor, Tensor]]):
    """An epoch's texts: token ids (L,) and target (E,)."""

    token_ids: list[Tensor]
    targets: Tensor
    order: list[int]

    def __len__(self) -> int:
        return len(self.order)

    def __getitem__(self, place: int) -> tuple[Tensor, Tensor]:
        return self.token_ids[self.order[place]], self.targets[self.order[place]]


def collate_texts(examples: Sequence[tuple[Tensor, Tensor]]) -> TextBatch:
    """Pad texts to the longest."""
    rows, targets = zip(*examples, strict=True)
    token_ids = nn.utils.rnn.pad_sequence(list(rows), batch_first=True)
    lengths = torch.tensor([len(row) for row in rows])
    mask = (torch.arange(token_ids.shape[1]) < lengths[:, None]).long()
    return TextBatch(token_ids, mask, torch.stack(targets))


def load_text_student(folder: Path) -> TextEmbedder:
    """The averaged student of a finished run, in evaluation mode.

    Raises:
        InputMissingError: the folder holds no finished run.
        DataError: its checkpoint is damaged.
    """
    table = read_json(folder / "run.json")
    weights, done = kept_weights(folder) if (folder / "last.pt").is_file() else ({}, 0)
    if done < table["settings"]["epochs"]:
        raise InputMissingError(f"the text student in {folder} is not finished: run the same `edge-aac distill` again")
    averaged = AveragedModel(TextEmbedder.from_config(config_from(TextEmbedderConfig, table["config"])))
    averaged.load_state_dict(weights)
    return averaged_embedder(averaged)
