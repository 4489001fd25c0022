"""Examples with their teacher's outputs, written once and learnt from by as many students as there are."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from tokenizers import Tokenizer
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from edge_aac.captioner.bundle import file_sha256
from edge_aac.errors import ConfigError
from quantize.data.shards import Sample, ShardReader, ShardWriter
from quantize.data.tokenizer import PAD_ID
from quantize.models.sentence_embedder import SentenceEmbedder
from quantize.training.batches import Example, collate, spec_augment
from quantize.training.objective import TopTokens
from quantize.training.recipe import DistillSettings, TrainSettings
from quantize.training.teacher import Teacher, TeacherSignals

TOKENIZER, KEPT_IDS = "tokenizer.json", "kept_ids.npy"
_BATCH = 16
_HALF = ("hidden", "memory", "audio_embedding", "activity_logits")

Array = npt.NDArray[Any]


def write_shards(
    examples: Dataset[Example],
    teacher: Teacher,
    sentence_embedder: SentenceEmbedder | None,
    folder: Path,
    metadata: Mapping[str, Any],
    workers: int = 1,
    told: Callable[[int], None] = lambda done: None,
) -> Counter[str]:
    """Run the teacher over all examples; goes on behind the last whole shard when called again.

    Args:
        examples: without masks: what a student hears is masked when it is read.
        teacher: gives the signals.
        sentence_embedder: of the contrastive term, where it has one.
        folder: of the shards.
        metadata: what the examples depend on; a folder begun with another is refused.
        workers: processes that make examples.
        told: given the number of examples done.

    Returns:
        What came of the mix-ups among the examples that this call wrote.
    """
    outcomes: Counter[str] = Counter()
    with ShardWriter(folder, metadata=metadata, resume=True) as writer:
        count = len(examples)  # type: ignore[arg-type]
        rest = torch.utils.data.Subset(examples, range(writer.written, count))
        loader = DataLoader(rest, _BATCH, collate_fn=list, num_workers=workers)
        number = writer.written
        for group in loader:
            for arrays, record in _samples(group, teacher, sentence_embedder):
                writer.write(f"{number:07d}", arrays, record)
                number += 1
            outcomes.update(item.mixup for item in group if item.mixup)
            told(number)
    return outcomes


def _samples(
    group: list[Example], teacher: Teacher, sentence_embedder: SentenceEmbedder | None
) -> Iterator[tuple[dict[str, Array], dict[str, Any]]]:
    batch = collate(group)
    signals = teacher.signals(batch.fbank, batch.decoder_input_ids)
    embeddings = sentence_embedder.embed(batch.texts) if sentence_embedder else None
    per_scene = len(batch.token_ids) // len(group)
    for index, item in enumerate(group):
        rows = slice(index * per_scene, (index + 1) * per_scene)
        arrays = {
            "fbank": item.fbank.half().numpy(),
            "token_ids": batch.token_ids[rows].to(torch.int32).numpy(),
            **{name: getattr(signals, name)[index].half().numpy() for name in _HALF},
            "top_log_probs": signals.tokens.log_probs[rows].half().numpy(),
            "top_ids": signals.tokens.token_ids[rows].to(torch.int32).numpy(),
        }
        if item.activity is not None:
            arrays["activity"] = np.packbits(item.activity.numpy(), axis=0)
        if embeddings is not None:
            arrays["text_embedding"] = embeddings[index].astype(np.float16)
        yield arrays, {"texts": list(item.texts), "events": list(item.events)}


@dataclass(frozen=True)
class TeacherShards:
    """Precomputed examples, checked to be what a recipe asks for.

    Attributes:
        reader: of the samples.
        folder: holds the student's tokenizer, too.
    """

    reader: ShardReader
    folder: Path

    @classmethod
    def open(cls, folder: Path, settings: DistillSettings) -> TeacherShards:
        """Open a folder that ``edge-aac distill --precompute`` wrote.

        Raises:
            InputMissingError, DataError: see :class:`quantize.data.shards.ShardReader`.
            ConfigError: it was made with another temperature, or holds fewer of the likeliest tokens.
        """
        reader = ShardReader(folder)
        made = reader.metadata.get("distill", {})
        if made.get("temperature") != settings.temperature or made.get("top_tokens", 0) < settings.top_tokens:
            raise ConfigError(
                f"the teacher's outputs in {folder} were computed with temperature {made.get('temperature')} and "
                f"{made.get('top_tokens')} tokens, the recipe wants {settings.temperature} and {settings.top_tokens}: "
                "precompute them anew, into another folder"
            )
        return cls(reader, folder)

    @property
    def tokenizer(self) -> Tokenizer:
        """The student's."""
        return Tokenizer.from_file(str(self.folder / TOKENIZER))

    def check_teacher(self, weights: Path) -> None:
        """Refuse another teacher than the one whose outputs these are.

        Raises:
            ConfigError: it is another.
        """
        if self.reader.metadata.get("teacher") != file_sha256(weights):
            raise ConfigError(
                f"the outputs in {self.folder} are not those of {weights}: give the teacher they were computed with, "
                "or precompute them anew into another folder"
            )

    @property
    def has_text_embeddings(self) -> bool:
        """Whether the examples bring what the contrastive term compares audio embeddings with."""
        return "text_embedding" in self.reader[0].arrays

    @property
    def kept_ids(self) -> Tensor:
        """(V,) the teacher's ids of the student's tokens."""
        return torch.from_numpy(np.load(self.folder / KEPT_IDS, allow_pickle=False))


class ShardDataset(Dataset[Example]):
    """An epoch of precomputed examples; all are gone through, in an order of its own, before one comes again."""

    def __init__(self, shards: TeacherShards, settings: TrainSettings, epoch: int) -> None:
        self.shards, self.settings, self.epoch = shards, settings, epoch

    def __len__(self) -> int:
        return self.settings.scenes_per_epoch

    def __getitem__(self, index: int) -> Example:
        round_, place = divmod(self.epoch * len(self) + index, len(self.shards.reader))
        order = np.random.default_rng([self.settings.seed, round_]).permutation(len(self.shards.reader))
        rng = np.random.default_rng([self.settings.seed, self.epoch, index])
        made = precomputed(self.shards.reader[int(order[place])])
        return replace(made, fbank=torch.from_numpy(spec_augment(made.fbank.numpy(), self.settings, rng)))


def precomputed(sample: Sample) -> Example:
    """One sample of a shard as an example."""
    arrays = sample.arrays
    fbank = torch.from_numpy(arrays["fbank"]).float()
    token_ids = [row[row != PAD_ID].tolist() for row in arrays["token_ids"]]
    signals = TeacherSignals(
        *(torch.from_numpy(arrays[name]).float().unsqueeze(0) for name in _HALF),
        TopTokens(torch.from_numpy(arrays["top_log_probs"]).float(), torch.from_numpy(arrays["top_ids"]).long()),
    )
    activity = None
    if "activity" in arrays:
        activity = torch.from_numpy(np.unpackbits(arrays["activity"], axis=0).astype(bool))
    text = torch.from_numpy(arrays["text_embedding"]).float() if "text_embedding" in arrays else None
    record = sample.record
    return Example(fbank, activity, tuple(record["texts"]), token_ids, tuple(record["events"]), text, signals)
