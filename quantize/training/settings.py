"""The tables of a recipe that say how models are trained and from what; their sizes are in ``models/config.py``."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal, TypeVar

from edge_aac.audio.features import NUM_MEL_BINS
from edge_aac.errors import ConfigError
from quantize.data.manifests import Format
from quantize.models.config import WINDOW_FRAMES, above_zero, at_least_one, not_negative, within
from quantize.models.familiarity import Stretches

Precision = Literal["auto", "fp32", "bf16"]
Overruled = TypeVar("Overruled", bound="TrainerSettings")


@dataclass(frozen=True)
class TrainerSettings:
    """Settings of the training of any module; a "scene" is one example.

    Attributes:
        epochs: passes of ``scenes_per_epoch`` examples each.
        batch_scenes: examples in a step, of all ranks together.
        ema_decay: decay of the moving average of the weights, which is what is validated and exported.
        checkpoint_steps: steps between two checkpoints.
        precision: "fp32", "bf16" (autocast), or "auto": bf16 on a GPU that has it, else fp32. On a CPU that multiplies
            bf16 (avx512_bf16, amx_bf16) a captioner's step takes two thirds of the time with it; on others it is slow.
        workers: processes that make examples; 0 makes them in the training process.
    """

    seed: int = 1
    epochs: int = 20
    scenes_per_epoch: int = 2400
    batch_scenes: int = 24
    learning_rate: float = 1e-3
    warmup_steps: int = 200
    weight_decay: float = 0.02
    clip_norm: float = 1.0
    ema_decay: float = 0.997
    checkpoint_steps: int = 200
    precision: Precision = "auto"
    workers: int = 1

    def __post_init__(self) -> None:
        at_least_one(self, "epochs", "scenes_per_epoch", "batch_scenes", "checkpoint_steps")
        above_zero(self, "learning_rate", "clip_norm")
        not_negative(self, "seed", "warmup_steps", "weight_decay", "workers")
        if not 0.0 <= self.ema_decay < 1.0:
            raise ConfigError(f"ema_decay is {self.ema_decay}; it must lie in 0 to below 1")

    def overruled(self: Overruled, epochs: int | None, seed: int | None) -> Overruled:
        """The settings with other epochs or another seed; None keeps their own."""
        numbers: dict[str, Any] = {"epochs": epochs, "seed": seed}
        return replace(self, **{name: value for name, value in numbers.items() if value is not None})


@dataclass(frozen=True)
class ListeningSettings(TrainerSettings):
    """Settings of a distillation from an audio tagger; a "scene" is a mixture here.

    Attributes:
        local_weight: the stem's vectors against the tagger's features of the same second.
        overall_weight: the mean of what the student hears against the tagger's features of the whole mixture.
        classes_weight: what the tagger's own classifier makes of the student's features, against its posteriors.
        similarity_weight: cosines within a batch (:func:`quantize.training.objective.similarity_matching`).
        masks, mask_bins: number and greatest width of the stripes of the mel axis that the student does not hear.
    """

    local_weight: float = 1.0
    overall_weight: float = 1.0
    classes_weight: float = 0.3
    similarity_weight: float = 1.0
    masks: int = 2
    mask_bins: int = 14

    def __post_init__(self) -> None:
        super().__post_init__()
        not_negative(self, "local_weight", "overall_weight", "classes_weight", "similarity_weight", "masks")
        within(self, "mask_bins", 0, NUM_MEL_BINS)


@dataclass(frozen=True)
class TaggingSettings(ListeningSettings):
    """Settings of the encoder's distillation from an audio tagger, and of the mixtures that are heard.

    Attributes:
        mixtures: mixtures that are made and heard by the tagger once, before the training; epochs go through them.
        mixture_s: length of one, in seconds.
        mixture_seed: seed that they are drawn with, whatever seed a run has.
        stem_stays: the stem was taught before (the table [stem]) and learns no more.
    """

    mixtures: int = 60_000
    mixture_s: float = 5.0
    mixture_seed: int = 1
    stem_stays: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least_one(self, "mixtures")
        not_negative(self, "mixture_seed")
        within(self, "mixture_s", 1.0, 10.0)


@dataclass(frozen=True)
class TrainSettings(TrainerSettings):
    """Settings of a captioner's training. Scenes are drawn afresh: none is seen twice.

    Attributes:
        captions_per_scene: the decoder learns all of them, the contrastive term the first.
        contrastive_target: the model whose embeddings the audio embeddings are drawn to: a text embedder that is
            trained "together" with them, or a frozen sentence embedder that is "given" on the command line.
        freq_mask_bins, time_mask_frames: greatest widths of SpecAugment's masks (Park et al., 2019). Time masks are
            kept short: one that hides a whole bark makes "twice" untrue.
        corpus_scenes: scenes whose captions, 60 of each, the tokenizer is trained on; of everyday sounds 20 of each.
    """

    captions_per_scene: int = 3
    label_smoothing: float = 0.1
    contrastive_weight: float = 1.0
    contrastive_temperature: float = 0.1
    contrastive_target: Literal["together", "given"] = "together"
    activity_weight: float = 0.0
    freq_masks: int = 2
    freq_mask_bins: int = 20
    time_masks: int = 2
    time_mask_frames: int = 40
    validation_scenes: int = 80
    corpus_scenes: int = 1000

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least_one(self, "captions_per_scene")
        if self.batch_scenes == 1:
            raise ConfigError("batch_scenes is 1; a captioner's batch norm needs at least 2 scenes in a step")
        within(self, "label_smoothing", 0.0, 1.0)
        within(self, "freq_mask_bins", 0, NUM_MEL_BINS)
        within(self, "time_mask_frames", 0, WINDOW_FRAMES)
        if self.contrastive_weight:
            above_zero(self, "contrastive_temperature")


@dataclass(frozen=True)
class MixupRecipe:
    """Examples mixed of two, as published (see :mod:`quantize.data.mixup`).

    Attributes:
        scene_share: share of the scenes that are two mixed into one, with a caption that is true of both.
        pairs: number of pairs of a corpus's clips whose captions a language model merges.
        pair_share: share of a corpus's examples that are such pairs.
        ratio_db: the energy ratio is uniform in ± so much.
    """

    scene_share: float = 0.0
    pairs: int = 0
    pair_share: float = 0.5
    ratio_db: float = 5.0


@dataclass(frozen=True)
class CorpusRecipe:
    """A corpus of captioned clips in place of scenes.

    Attributes:
        format: format of the table, "clotho", "audiocaps" or "folder" (see :mod:`quantize.data.manifests`).
        captions, audio: the table and the folder of the clips, relative to ``--data``.
        held_out_captions, held_out_audio: table and folder of the clips to validate with.
        held_out_share: share of the recordings to validate with, where there is no such table.
    """

    format: Format
    captions: str
    audio: str
    held_out_captions: str = ""
    held_out_audio: str = ""
    held_out_share: float = 0.05


@dataclass(frozen=True)
class StoredRecipe:
    """Examples that are made once and stored (``--examples``), whatever seed the runs have that learn from them.

    Attributes:
        seed: seed that the examples are drawn with.
        count: number of stored examples; epochs go on through them where the one before stopped.
        captions: number of captions stored with each example; a run draws ``captions_per_scene`` of them anew each
            time.
    """

    seed: int = 1
    count: int = 12_000
    captions: int = 6

    def __post_init__(self) -> None:
        not_negative(self, "seed")
        at_least_one(self, "count", "captions")


@dataclass(frozen=True)
class DistillSettings:
    """Settings of distillation from a teacher, beside the terms of ``[train]``; a weight of 0 leaves a term out.

    Attributes:
        initialise: "teacher" takes the teacher's evenly spaced layers and strongest units, "random" none of it.
        prune_vocabulary: whether the teacher's tokenizer is cut to the tokens that the captions use.
        temperature: temperature of the token distributions that are compared.
        top_tokens: number of the teacher's likeliest tokens that are compared; all others count as one.
        token_weight: token-level KL (:func:`quantize.training.objective.token_distillation`).
        hidden_weight: BEATs' hidden state; memory_weight: the Conformer's output (``feature_matching``).
        embedding_weight: the audio embedding (``embedding_matching``).
        similarity_weight: cosines within a batch (``similarity_matching``).
        activity_weight: the teacher's soft activity (``activity_distillation``).
        distil_unknown: whether the student follows the teacher on sounds of no known class, too. A teacher trained
            without such recordings knows them as little as the student. Older recipes call it ``ask_of_unknown``.
    """

    initialise: Literal["teacher", "random"] = "teacher"
    prune_vocabulary: bool = True
    temperature: float = 2.0
    top_tokens: int = 8
    token_weight: float = 1.0
    hidden_weight: float = 1.0
    memory_weight: float = 1.0
    embedding_weight: float = 1.0
    similarity_weight: float = 1.0
    activity_weight: float = 10.0
    distil_unknown: bool = True


@dataclass(frozen=True)
class TextStudentSettings(TrainerSettings):
    """Settings of a text student's training; a "scene" is a text here.

    Attributes:
        cosine_weight, pairwise_weight: weights of the two losses.
        corpus_texts: texts to train on at most.
        held_out_texts: texts never trained on, that the student is scored with.
    """

    epochs: int = 13
    scenes_per_epoch: int = 40_000
    batch_scenes: int = 128
    learning_rate: float = 6e-3
    warmup_steps: int = 150
    weight_decay: float = 0.01
    ema_decay: float = 0.995
    workers: int = 0
    cosine_weight: float = 1.0
    pairwise_weight: float = 10.0
    corpus_texts: int = 40_000
    held_out_texts: int = 1000

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least_one(self, "corpus_texts", "held_out_texts")
        if self.corpus_texts < self.batch_scenes:
            raise ConfigError(
                f"corpus_texts is {self.corpus_texts}, less than a batch of {self.batch_scenes}: raise it"
            )


@dataclass(frozen=True)
class EventRecipe:
    """Facts about the text embedder that a stream needs.

    Attributes:
        same_similarity: least cosine of two captions' embeddings that a stream takes for one event.
    """

    same_similarity: float = 0.88

    def __post_init__(self) -> None:
        if not -1.0 <= self.same_similarity <= 1.0:
            raise ConfigError(f"same_similarity is {self.same_similarity}; it is a cosine, -1 to 1")


@dataclass(frozen=True)
class FamiliarityRecipe:
    """Settings of the score of familiarity, which the encoder's states are fitted with; see
    :mod:`quantize.models.familiarity`.

    Attributes:
        scenes: number of scenes of the training recordings that the score is fitted to.
        stretch_tokens, stretch_hop, loudest_tokens: length, hop and loudest part of a stretch of a window, in tokens.
        rank: directions in which distances are measured.
        shrinkage: share of the mean variance that is added to every direction's.
        threshold: familiarity below which no class is named in a window; ``least`` in older recipes.
    """

    scenes: int = 3000
    stretch_tokens: int = 30
    stretch_hop: int = 10
    loudest_tokens: int = 6
    rank: int = 40
    shrinkage: float = 0.1
    threshold: float = -4.0

    def __post_init__(self) -> None:
        at_least_one(self, "scenes", "stretch_tokens", "stretch_hop", "loudest_tokens", "rank")
        if self.shrinkage <= 0.0:
            raise ConfigError(f"shrinkage is {self.shrinkage}; it must be above 0")
        if self.loudest_tokens > self.stretch_tokens:
            raise ConfigError(f"loudest_tokens is {self.loudest_tokens}; a stretch has {self.stretch_tokens}")

    @property
    def stretches(self) -> Stretches:
        """The same of the model."""
        return Stretches(self.stretch_tokens, self.stretch_hop, self.loudest_tokens)


@dataclass(frozen=True)
class SurenessRecipe:
    """How sure the captioner must be of a sound to name it; see :mod:`quantize.models.sureness`.

    Attributes:
        threshold: confidence below which a sound is not named.
        scale, bias: applied to the classifier's logits, so that its confidences are right as often as they say.
    """

    threshold: float = 0.35
    scale: float = 1.0
    bias: float = 0.0

    def __post_init__(self) -> None:
        within(self, "threshold", 0.0, 1.0)
        above_zero(self, "scale")
        within(self, "scale", 0.0, 100.0)
        within(self, "bias", -100.0, 100.0)


@dataclass(frozen=True)
class Folds:
    """Folds of recordings for training, and those for validation only (none: no validation).

    Classes that are ``absent`` are in neither: what the model says of them shows what it says of the unknown.
    """

    train: tuple[int, ...]
    validation: tuple[int, ...] = ()
    absent: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if shared := set(self.train) & set(self.validation):
            raise ConfigError(f"fold {min(shared)} is both trained on and validated on; take it out of one of the two")
