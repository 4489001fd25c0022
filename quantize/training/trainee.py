"""What is trained, and the sum of terms that it is trained on."""

from __future__ import annotations

from dataclasses import dataclass
from types import EllipsisType
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from edge_aac.errors import ConfigError
from quantize.data.tokenizer import PAD_ID
from quantize.models.captioner import Captioner
from quantize.models.config import CaptionerConfig
from quantize.models.instructor import TextEmbedder
from quantize.models.sentence_embedder import SentenceEmbedder
from quantize.training.batches import Batch
from quantize.training.distributed import gather_with_gradient, share_of_mean
from quantize.training.objective import (
    IGNORED,
    TopTokens,
    activity_distillation,
    activity_loss,
    caption_cross_entropy,
    embedding_matching,
    feature_matching,
    info_nce,
    similarity_matching,
    token_distillation,
)
from quantize.training.precision import in_fp32
from quantize.training.recipe import Recipe
from quantize.training.settings import DistillSettings, TrainSettings
from quantize.training.teacher import Teacher, TeacherSignals

Terms = dict[str, Tensor]
AnyModule = TypeVar("AnyModule", bound=nn.Module)


def channels_last(module: AnyModule) -> AnyModule:
    """Lay the convolutions of a module out with their channels last; the stem takes 0.6 of the time so."""
    layout: dict[str, Any] = {"memory_format": torch.channels_last}  # which torch's types leave out
    return module.to(**layout)


class Projections(nn.Module):
    """Maps from a student's widths to its teacher's, for the terms that compare features; thrown away at export."""

    def __init__(self, student: CaptionerConfig, teacher: CaptionerConfig) -> None:
        super().__init__()
        self.hidden = nn.Linear(student.beats.dim, teacher.beats.dim)
        self.memory = nn.Linear(student.beats.dim, teacher.beats.dim)
        if student.beats.dim == teacher.beats.dim:
            # The student's first guess is to agree: it may be made of its teacher's own layers.
            for projection in (self.hidden, self.memory):
                nn.init.eye_(projection.weight)
                nn.init.zeros_(projection.bias)


class Trainee(nn.Module):
    """A captioner and what is trained beside it.

    Args:
        captioner: the model.
        text_embedder: trained together with it; None where its audio embeddings meet a given sentence embedder.
        projections: projections to a teacher's widths, of a student only.
    """

    def __init__(
        self, captioner: Captioner, text_embedder: TextEmbedder | None = None, projections: Projections | None = None
    ) -> None:
        super().__init__()
        self.captioner = captioner
        self.text_embedder = text_embedder
        self.projections = projections


def new_trainee(recipe: Recipe) -> Trainee:
    """A captioner with random weights, and its text embedder where the recipe trains the two together."""
    together = recipe.train.contrastive_target == "together"
    return Trainee(Captioner(recipe.model), TextEmbedder.from_config(recipe.text) if together else None)


@dataclass(frozen=True)
class Forward:
    """A captioner's outputs for a batch, all that the terms of the loss look at."""

    hidden: Tensor
    memory: Tensor
    audio_embedding: Tensor
    activity_logits: Tensor
    logits: Tensor


def forward(captioner: Captioner, batch: Batch) -> Forward:
    """Run the captioner, teacher-forced with the captions of the batch."""
    if batch.vectors is None:
        hidden, _ = captioner.beats_hidden(batch.fbank)
    else:
        hidden = captioner.encoder.hidden_of_vectors(batch.vectors)
    memory, _ = captioner.memory(hidden)
    # Whose stem stays as it is learns which sounds of the lexicon are heard; all others their recordings' classes.
    by_sound = batch.vectors is not None and captioner.sound_head is not None
    activity = captioner.sound_logits(memory) if by_sound else captioner.encoder.predictor(hidden)
    per_scene = len(batch.token_ids) // len(batch.fbank)
    outputs = (
        hidden,
        memory,
        captioner.audio_embedding(memory),
        activity,
        captioner.logits(batch.decoder_input_ids, memory.repeat_interleave(per_scene, dim=0)),
    )
    # The terms of the loss are computed in fp32 whatever the layers were.
    return Forward(*(output.float() for output in outputs))


class CaptionObjective:
    """Label-smoothed cross-entropy, InfoNCE, and which class is heard when where that is known.

    Args:
        settings: weights of the terms.
        sentence_embedder: model whose embeddings the audio embeddings are drawn to, where it is not trained together
            with them.
        precomputed: numbers of the embeddings of their texts that the batches bring; 0: they bring none.
        embedding_dim: size of the captioner's audio embedding; None where it is not known before the first batch.

    Raises:
        ConfigError: the sentence embedder is missing, or its embeddings are not as long as the captioner's.
    """

    def __init__(
        self,
        settings: TrainSettings,
        sentence_embedder: SentenceEmbedder | None = None,
        precomputed: int = 0,
        embedding_dim: int | None = None,
    ) -> None:
        if settings.contrastive_target == "given" and settings.contrastive_weight:
            given = precomputed or (sentence_embedder.dim if sentence_embedder else 0)
            if not given:
                raise ConfigError(
                    "the recipe's contrastive term needs a sentence embedder: name its folder with --sentence-embedder"
                )
            if embedding_dim is not None:
                _check_width(given, embedding_dim)
        self.settings = settings
        self.sentence_embedder = sentence_embedder

    def __call__(self, trainee: Trainee, batch: Batch) -> Terms:
        """All terms for one batch; ``loss`` is their weighted sum."""
        return self.of_forward(trainee, batch, forward(trainee.captioner, batch))

    def of_forward(self, trainee: Trainee, batch: Batch, outputs: Forward) -> Terms:
        """The same for outputs that are there already."""
        settings = self.settings
        labels = batch.labels
        texts = self._text_embeddings(trainee, batch).float() if settings.contrastive_weight else None
        with in_fp32(outputs.logits):
            terms = {
                "caption": caption_cross_entropy(outputs.logits, labels, settings.label_smoothing)
                * share_of_mean((labels != IGNORED).sum())
            }
            total = terms["caption"]
            if texts is not None:
                _check_width(texts.shape[1], outputs.audio_embedding.shape[1])
                keys = gather_with_gradient(batch.event_keys)
                terms["contrastive"] = info_nce(
                    gather_with_gradient(outputs.audio_embedding),
                    gather_with_gradient(texts),
                    keys[:, None] == keys,
                    settings.contrastive_temperature,
                )
                total = total + settings.contrastive_weight * terms["contrastive"]
            if settings.activity_weight and batch.activity is not None:
                terms["activity"] = activity_loss(outputs.activity_logits, batch.activity)
                total = total + settings.activity_weight * terms["activity"]
        return {"loss": total, **terms}

    def _text_embeddings(self, trainee: Trainee, batch: Batch) -> Tensor:
        if trainee.text_embedder is not None:
            first_captions = batch.token_ids[:: len(batch.token_ids) // len(batch.fbank)]
            return trainee.text_embedder(first_captions, (first_captions != PAD_ID).long())
        if batch.text_embeddings is not None:
            return batch.text_embeddings
        assert self.sentence_embedder is not None
        return torch.from_numpy(self.sentence_embedder.embed(batch.texts)).to(batch.fbank.device)


def _check_width(texts: int, audio: int) -> None:
    if texts != audio:
        raise ConfigError(
            f"the texts' embeddings have {texts} dimensions, the captioner's audio embedding {audio}: "
            f"set embedding_dim = {texts} in [model], or give another sentence embedder"
        )


class DistillObjective:
    """The captions' own terms, and those that compare the student with its teacher.

    Args:
        captions: the terms that need no teacher.
        settings: weights of those that do.
        teacher: run beside the student, on what the student hears; None where every batch brings its signals.
    """

    def __init__(self, captions: CaptionObjective, settings: DistillSettings, teacher: Teacher | None = None) -> None:
        self.captions, self.settings, self.teacher = captions, settings, teacher

    def __call__(self, trainee: Trainee, batch: Batch) -> Terms:
        """All terms for one batch; ``loss`` is their weighted sum."""
        outputs = forward(trainee.captioner, batch)
        terms = self.captions.of_forward(trainee, batch, outputs)
        signals = batch.signals
        if signals is None:
            assert self.teacher is not None
            signals = self.teacher.signals(batch.fbank, batch.decoder_input_ids)
        with in_fp32(outputs.logits):
            compared = self._compared(trainee.projections, batch, outputs, signals)
        total = terms.pop("loss")
        for name, (weight, term) in compared.items():
            terms[name] = term
            total = total + weight * term
        return {"loss": total, **terms}

    def _compared(
        self, projections: Any, batch: Batch, outputs: Forward, signals: TeacherSignals
    ) -> dict[str, tuple[float, Tensor]]:
        settings, compared = self.settings, self._rows_compared(batch)
        rows, captions, share = compared.windows, compared.captions, compared.share
        labels = batch.labels[captions]
        tokens = TopTokens(signals.tokens.log_probs[captions], signals.tokens.token_ids[captions])
        makers = {
            "teacher_tokens": (
                settings.token_weight,
                lambda: (
                    token_distillation(outputs.logits[captions], tokens, labels, settings.temperature)
                    * share_of_mean((labels != IGNORED).sum() * compared.any)
                    * compared.any
                ),
            ),
            "teacher_hidden": (
                settings.hidden_weight,
                lambda: share * feature_matching(projections.hidden(outputs.hidden[rows]), signals.hidden[rows]),
            ),
            "teacher_memory": (
                settings.memory_weight,
                lambda: share * feature_matching(projections.memory(outputs.memory[rows]), signals.memory[rows]),
            ),
            "teacher_embedding": (
                settings.embedding_weight,
                lambda: share * embedding_matching(outputs.audio_embedding[rows], signals.audio_embedding[rows]),
            ),
            "teacher_similarity": (
                settings.similarity_weight,
                # Embeddings of length 0 are equally unlike all others on both sides.
                lambda: similarity_matching(
                    gather_with_gradient(outputs.audio_embedding * compared.each),
                    gather_with_gradient(signals.audio_embedding * compared.each),
                ),
            ),
            "teacher_activity": (
                settings.activity_weight,
                lambda: share * activity_distillation(outputs.activity_logits[rows], signals.activity_logits[rows]),
            ),
        }
        return {name: (weight, make()) for name, (weight, make) in makers.items() if weight}

    def _rows_compared(self, batch: Batch) -> _Compared:
        if self.settings.distil_unknown or batch.unknown is None:
            return _Compared()
        known = ~batch.unknown
        # A rank without a single such window takes part with a weight of 0: the others wait for it.
        windows = known if known.any() else torch.ones_like(known)
        captions = windows.repeat_interleave(len(batch.token_ids) // len(windows))
        return _Compared(windows, captions, known.any(), known[:, None], share_of_mean(known.sum()) * known.any())


@dataclass(frozen=True)
class _Compared:
    """The windows on which a student is compared with its teacher; all, as whole tensors, where nothing is said.

    Attributes:
        windows, captions: pick them, and their captions, out of a batch.
        any: whether the batch has such windows.
        each: (B, 1), 1 for each of them and 0 for the others.
        share: weight of a mean over these windows; see :func:`quantize.training.distributed.share_of_mean`.
    """

    windows: Tensor | EllipsisType = ...
    captions: Tensor | EllipsisType = ...
    any: Tensor | bool = True
    each: Tensor | float = 1.0
    share: Tensor | float = 1.0
