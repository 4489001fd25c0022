"""Examples made once and kept in shards, and a teacher's outputs for them: learnt from by as many runs as there are.

A folder holds ``examples/`` (filter bank, captions, activity, the sentence embedder's view of the first caption), which
teachers and students of any tokenizer read, and ``teacher/``, one teacher's outputs in the tokens of one student, whose
tokenizer lies beside them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from tokenizers import Tokenizer
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Subset

from edge_aac.bundle.hashes import file_sha256
from edge_aac.errors import ConfigError, DataError
from edge_aac.models.tokens import load_tokenizer
from quantize.data.shards import Sample, ShardReader, ShardWriter
from quantize.models.sentence_embedder import SentenceEmbedder
from quantize.progress import OnProgress
from quantize.training.batches import Example, collate, encoded, shuffled, spec_augment
from quantize.training.objective import TopTokens
from quantize.training.settings import DistillSettings, TrainSettings
from quantize.training.teacher import Teacher, TeacherSignals

EXAMPLES, TEACHER = "examples", "teacher"
TOKENIZER, KEPT_IDS = "tokenizer.json", "kept_ids.npy"
_BATCH = 16
_HALF = ("hidden", "memory", "audio_embedding", "activity_logits")

Array = npt.NDArray[Any]


def write_examples(
    examples: Dataset[Example],
    sentence_embedder: SentenceEmbedder | None,
    folder: Path,
    metadata: Mapping[str, Any],
    workers: int,
    on_progress: OnProgress,
) -> Counter[str]:
    """Keep examples; goes on behind the last whole shard when called again.

    Args:
        examples: without masks, which are put on when an example is read; of a stem's vectors with them.
        sentence_embedder: embedder of the captions, where the recipe's contrastive term needs one.
        folder: folder that the stored examples go to.
        metadata: everything that the examples depend on; a folder begun with another is refused.
        workers: processes that make examples.
        on_progress: called with the number of examples that are done.

    Returns:
        What came of the mix-ups among the examples that this call wrote.
    """
    outcomes: Counter[str] = Counter()
    with ShardWriter(folder / EXAMPLES, metadata=metadata, resume=True) as writer:
        rest = Subset(examples, range(writer.written, len(examples)))  # type: ignore[arg-type]
        for group in DataLoader(rest, _BATCH, collate_fn=list, num_workers=workers):
            embeddings = sentence_embedder.embed([item.texts[0] for item in group]) if sentence_embedder else None
            for place, item in enumerate(group):
                arrays = {"fbank": item.fbank.half().numpy()}
                if item.vectors is not None:
                    arrays["vectors"] = item.vectors.half().numpy()
                if item.activity is not None:
                    known = item.activity.dtype == torch.bool
                    arrays["activity"] = (
                        np.packbits(item.activity.numpy(), axis=0) if known else item.activity.half().numpy()
                    )
                if embeddings is not None:
                    arrays["text_embedding"] = embeddings[place].astype(np.float16)
                writer.write(_key(writer.written), arrays, {"texts": list(item.texts), "events": list(item.events)})
                outcomes.update([item.mixup] if item.mixup else [])
            on_progress(writer.written)
    return outcomes


@dataclass(frozen=True)
class StoredExamples:
    """Examples that :func:`write_examples` wrote."""

    reader: ShardReader

    @classmethod
    def open(cls, folder: Path) -> StoredExamples:
        """Open the examples of a folder.

        Raises:
            InputMissingError, DataError: see :class:`quantize.data.shards.ShardReader`.
        """
        return cls(ShardReader(folder / EXAMPLES))

    def __len__(self) -> int:
        return len(self.reader)

    @property
    def has_text_embeddings(self) -> bool:
        """Whether they bring what the contrastive term compares audio embeddings with."""
        return bool(self.text_embedding_dim)

    @property
    def text_embedding_dim(self) -> int:
        """Dimensions of these embeddings; 0 where there are none."""
        embedding = self.reader[0].arrays.get("text_embedding")
        return 0 if embedding is None else len(embedding)


@dataclass(frozen=True)
class StoredSignals:
    """A teacher's outputs for stored examples.

    Attributes:
        reader: sample i belongs to example i.
        folder: holds the student's tokenizer, too.
    """

    reader: ShardReader
    folder: Path

    @classmethod
    def open(cls, folder: Path, examples: StoredExamples, settings: DistillSettings, teacher: Path) -> StoredSignals:
        """Open a teacher's outputs, and refuse those that the recipe does not mean.

        Args:
            folder: folder of the stored examples.
            examples: the examples that the outputs belong to.
            settings: the recipe's settings of distillation.
            teacher: file of the teacher's weights.

        Raises:
            InputMissingError, DataError: see :class:`quantize.data.shards.ShardReader`.
            ConfigError: they are another teacher's, or were computed with other settings.
        """
        reader = ShardReader(folder / TEACHER)
        made = reader.metadata
        if made.get("temperature") != settings.temperature or made.get("top_tokens", 0) < settings.top_tokens:
            raise ConfigError(
                f"the teacher's outputs in {folder} were computed with temperature {made.get('temperature')} and "
                f"{made.get('top_tokens')} tokens, the recipe wants {settings.temperature} and {settings.top_tokens}: "
                "precompute them anew, into another folder"
            )
        if made.get("teacher") != file_sha256(teacher):
            raise ConfigError(
                f"the outputs in {folder} are not those of {teacher}: give the teacher they were computed with, "
                "or precompute them anew into another folder"
            )
        if len(reader) != len(examples):
            raise DataError(
                f"{folder} holds {len(examples)} examples and outputs for {len(reader)}: precompute them anew"
            )
        return cls(reader, folder / TEACHER)

    @property
    def tokenizer(self) -> Tokenizer:
        """The student's."""
        return load_tokenizer(self.folder / TOKENIZER)

    @property
    def kept_ids(self) -> Tensor:
        """(V,) the teacher's ids of the student's tokens."""
        return torch.from_numpy(np.load(self.folder / KEPT_IDS, allow_pickle=False))


def write_signals(
    examples: StoredExamples,
    teacher: Teacher,
    tokenizer: Tokenizer,
    max_tokens: int,
    folder: Path,
    metadata: Mapping[str, Any],
    on_progress: OnProgress,
) -> None:
    """Run the teacher over all stored examples; goes on behind the last whole shard when called again.

    Args:
        examples: the stored examples that the teacher is run over.
        teacher: gives the signals.
        tokenizer, max_tokens: the student's, and the longest caption that its decoder can say.
        folder: folder of the stored examples.
        metadata: everything that the signals depend on besides the examples.
        on_progress: called with the number of examples that are done.
    """
    place = folder / TEACHER
    with ShardWriter(place, metadata=metadata, resume=True) as writer:
        for start in range(writer.written, len(examples), _BATCH):
            group = [
                _example(examples.reader[index], tokenizer, max_tokens)
                for index in range(start, min(start + _BATCH, len(examples)))
            ]
            for arrays in _signals(group, teacher):
                writer.write(_key(writer.written), arrays, {})
            on_progress(writer.written)
    # Behind the shards: a folder of another teacher or tokenizer has been refused by now, and keeps its own.
    tokenizer.save(str(place / TOKENIZER))
    kept = torch.arange(tokenizer.get_vocab_size()) if teacher.kept_ids is None else teacher.kept_ids
    np.save(place / KEPT_IDS, kept.numpy())


def _signals(group: list[Example], teacher: Teacher) -> Iterator[dict[str, Array]]:
    batch = collate(group)
    signals = teacher.signals(batch.fbank, batch.decoder_input_ids)
    per_scene = len(batch.token_ids) // len(group)
    for index in range(len(group)):
        rows = slice(index * per_scene, (index + 1) * per_scene)
        yield {
            **{name: getattr(signals, name)[index].half().numpy() for name in _HALF},
            "top_log_probs": signals.tokens.log_probs[rows].half().numpy(),
            "top_ids": signals.tokens.token_ids[rows].to(torch.int32).numpy(),
        }


class StoredDataset(Dataset[Example]):
    """An epoch of stored examples: all are gone through, in an order of its own, before one comes again.

    Of the captions that are stored with an example some are drawn anew each time; the first, whose embedding is stored,
    stays the first text of the example.

    Args:
        examples: the stored examples to read.
        tokenizer: tokenizer of the captions.
        settings: seed, number of captions and masks.
        max_tokens: the longest caption that the decoder can say.
        epoch: counted from 0.
        signals: a teacher's outputs for the same examples; None where none are needed.
    """

    def __init__(  # noqa: PLR0913, PLR0917
        self,
        examples: StoredExamples,
        tokenizer: Tokenizer,
        settings: TrainSettings,
        max_tokens: int,
        epoch: int,
        signals: StoredSignals | None = None,
    ) -> None:
        self.examples, self.signals, self.tokenizer = examples, signals, tokenizer
        self.settings, self.max_tokens, self.epoch = settings, max_tokens, epoch

    def __len__(self) -> int:
        return self.settings.scenes_per_epoch

    def __getitem__(self, index: int) -> Example:
        settings = self.settings
        round_, place = divmod(self.epoch * len(self) + index, len(self.examples))
        number = int(shuffled(settings.seed, round_, len(self.examples))[place])
        rng = np.random.default_rng([settings.seed, self.epoch, index])
        sample = self.examples.reader[number]
        stored = len(sample.record["texts"])
        drawn = rng.permutation(stored).tolist()
        # Fewer captions than are asked for are said again: every example of a batch has as many.
        chosen = [drawn[place % stored] for place in range(settings.captions_per_scene)]
        signals = None if self.signals is None else _stored_signals(self.signals.reader[number], chosen)
        made = _example(sample, self.tokenizer, self.max_tokens, chosen, signals)
        if made.vectors is None:
            spec_augment(made.fbank.numpy(), settings, rng)
        return made


def _example(
    sample: Sample,
    tokenizer: Tokenizer,
    max_tokens: int,
    chosen: Iterable[int] | None = None,
    signals: TeacherSignals | None = None,
) -> Example:
    """One stored sample as an example, with all of its captions or with some."""
    arrays, texts = sample.arrays, tuple(sample.record["texts"])
    chosen_texts = texts if chosen is None else tuple(texts[index] for index in chosen)
    activity = None
    if "activity" in arrays:
        kept = arrays["activity"]
        packed = kept.dtype == np.uint8
        activity = torch.from_numpy(np.unpackbits(kept, axis=0).astype(bool) if packed else kept.astype(np.float32))
    text = torch.from_numpy(arrays["text_embedding"]).float() if "text_embedding" in arrays else None
    return Example(
        torch.from_numpy(arrays["fbank"]).float(),
        activity,
        texts[:1] if text is not None else chosen_texts,
        encoded(chosen_texts, tokenizer, max_tokens),
        tuple(sample.record["events"]),
        text,
        signals,
        vectors=torch.from_numpy(arrays["vectors"]).float() if "vectors" in arrays else None,
    )


def _stored_signals(sample: Sample, chosen: list[int]) -> TeacherSignals:
    arrays = sample.arrays
    return TeacherSignals(
        **{name: torch.from_numpy(arrays[name]).float().unsqueeze(0) for name in _HALF},
        tokens=TopTokens(
            torch.from_numpy(arrays["top_log_probs"][chosen]).float(),
            torch.from_numpy(arrays["top_ids"][chosen]).long(),
        ),
    )


def _key(number: int) -> str:
    return f"{number:07d}"
