"""Scenes as training batches: mixed, turned into filter banks, masked, captioned and tokenized."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
import numpy.typing as npt
import torch
from tokenizers import Tokenizer
from torch import Tensor
from torch.utils.data import Dataset

from edge_aac.audio.features import filter_bank
from edge_aac.errors import ConfigError
from quantize.data.captions import captions
from quantize.data.clips import Waveform
from quantize.data.merging import EventMerger, merge_captions
from quantize.data.mixed_scenes import MixedScenes, mixed_scene
from quantize.data.mixup import mix, silent
from quantize.data.scenes import Relation, Scene, SceneBuilder
from quantize.data.tokenizer import EOS_ID, PAD_ID
from quantize.training.objective import IGNORED
from quantize.training.recipe import Recipe
from quantize.training.settings import TrainSettings
from quantize.training.teacher import TeacherSignals, joined
from quantize.training.tensor_batch import TensorBatch

UNKNOWN_SOUND: Relation = "unknown"
"""All that is heard in an example with a sound of no known class."""


@dataclass(frozen=True)
class Example:
    """One scene or clip, ready for a batch.

    Attributes:
        fbank: (998, 128) f32; empty where there are vectors.
        activity: (1000, classes) bool, or how surely each sound is heard at each step of the memory, (T', sounds) f32;
            None where it is not known what is heard when.
        texts: its captions.
        token_ids: each caption's tokens with ``</s>``.
        events: what is heard in which relation, or the clip's name: examples that share it are no negatives of each
            other in the contrastive term.
        text_embedding: (E,) of the first caption, by the given sentence embedder, where it was precomputed.
        signals: of the teacher, where they were precomputed.
        mixup: what came of mixing two examples into one; empty where it was not tried.
        vectors: (P, patch_embed_dim) of a stem that was trained before and stays as it is; None where it is trained.
    """

    fbank: Tensor
    activity: Tensor | None
    texts: tuple[str, ...]
    token_ids: list[list[int]]
    events: tuple[str, ...]
    text_embedding: Tensor | None = None
    signals: TeacherSignals | None = None
    mixup: str = ""
    vectors: Tensor | None = None

    @property
    def unknown(self) -> bool:
        """Whether it holds a sound of no known class."""
        return self.events == (UNKNOWN_SOUND,)


@dataclass(frozen=True)
class Batch(TensorBatch):
    """B scenes with K captions each.

    Attributes:
        fbank: (B, 998, 128) f32; (B, 0) where there are vectors.
        activity: (B, 1000, classes) bool or (B, T', sounds) f32, or None.
        texts: the B first captions.
        token_ids: (B · K, S) int64, each caption's tokens with ``</s>``, padded.
        event_keys: (B,) int64, equal where the examples' ``events`` are.
        text_embeddings: (B, E) of the first captions, or None.
        signals: of the teacher, or None.
        unknown: (B,) bool, the examples with a sound of no known class; None stands for no such.
        vectors: (B, P, patch_embed_dim) of the stem, or None.
    """

    fbank: Tensor
    activity: Tensor | None
    texts: tuple[str, ...]
    token_ids: Tensor
    event_keys: Tensor
    text_embeddings: Tensor | None = None
    signals: TeacherSignals | None = None
    unknown: Tensor | None = None
    vectors: Tensor | None = None

    @property
    def labels(self) -> Tensor:
        """Targets of the decoder: its tokens, padding ignored."""
        return self.token_ids.masked_fill(self.token_ids == PAD_ID, IGNORED)

    @property
    def decoder_input_ids(self) -> Tensor:
        """The targets shifted right behind the start token, which is ``</s>`` as in BART."""
        start = torch.full_like(self.token_ids[:, :1], EOS_ID)
        return torch.cat([start, self.token_ids[:, :-1]], dim=1)


class SceneDataset(Dataset[Example]):
    """Scene ``i`` of epoch ``e`` is drawn from a generator seeded with (seed, e, i).

    So it is the same in whatever process and order it is made, and a resumed run sees what an unbroken one sees.

    Args:
        builder: mixes the scenes.
        tokenizer: of the captions; None leaves them words.
        recipe: of seed, captions and masks; with a ``scene_share`` in [mixup], so many scenes are two mixed into one.
        epoch: counted from 0.
        masked: as training hears them; False leaves the filter bank whole.
    """

    def __init__(
        self,
        builder: SceneBuilder,
        tokenizer: Tokenizer | None,
        recipe: Recipe,
        epoch: int,
        masked: bool = True,
    ) -> None:
        self.builder, self.tokenizer, self.recipe, self.epoch, self.masked = builder, tokenizer, recipe, epoch, masked
        self.max_tokens = recipe.model.decoder.max_positions

    def __len__(self) -> int:
        return self.recipe.train.scenes_per_epoch

    def __getitem__(self, index: int) -> Example:
        settings = self.recipe.train
        rng = np.random.default_rng([settings.seed, self.epoch, index])
        scene = self.builder.scene(rng)
        texts = captions(scene, rng, settings.captions_per_scene)
        outcome = ""
        if self.recipe.mixup.scene_share and rng.random() < self.recipe.mixup.scene_share:
            scene, texts, outcome = self._mixed_up(scene, texts, rng)
        fbank = filter_bank(scene.waveform)
        if self.masked:
            fbank = spec_augment(fbank, settings, rng)
        return replace(example(scene, fbank, texts, self.tokenizer, self.max_tokens), mixup=outcome)

    def _mixed_up(self, scene: Scene, texts: list[str], rng: np.random.Generator) -> tuple[Scene, list[str], str]:
        """The scene mixed with another one, what is true of both, and "merged"; or the scene itself, and why."""
        other = self.builder.scene(rng)
        if silent(scene.waveform) or silent(other.waveform):
            return scene, texts, "rejected"
        mixed = MixedScenes(scene, other, mix(scene.waveform, other.waveform, rng, self.recipe.mixup.ratio_db))
        kept, report = merge_captions([mixed] * len(texts), EventMerger(rng))
        both, merged = mixed_scene(mixed), [text for text in kept if text]
        if both is None or not merged:
            return scene, texts, "rejected" if report.empty < len(texts) else "drowned"
        return both, [merged[place % len(merged)] for place in range(len(texts))], "merged"


def example(
    scene: Scene, fbank: Waveform, texts: Sequence[str], tokenizer: Tokenizer | None, max_tokens: int
) -> Example:
    """Tensors of one scene.

    Raises:
        ConfigError: a caption is longer than the decoder can say.
    """
    relation = (scene.relation,) if scene.relation in {"sequence", UNKNOWN_SOUND} else ()
    labels = tuple(scene.labels) if scene.relation == "sequence" else tuple(sorted(scene.labels))
    return Example(
        torch.from_numpy(fbank),
        torch.from_numpy(scene.activity),
        tuple(texts),
        encoded(texts, tokenizer, max_tokens),
        relation + labels,
    )


def encoded(texts: Sequence[str], tokenizer: Tokenizer | None, max_tokens: int) -> list[list[int]]:
    """Token ids of captions, ``</s>`` included; none without a tokenizer.

    Raises:
        ConfigError: a caption is longer than the decoder can say.
    """
    if tokenizer is None:
        return []
    token_ids = [encoding.ids for encoding in tokenizer.encode_batch(list(texts))]
    if (longest := max(len(ids) for ids in token_ids)) > max_tokens:
        raise ConfigError(
            f"a caption of {longest} tokens exceeds the decoder's {max_tokens} positions: "
            "raise max_positions or vocab_size in the recipe's [model.decoder]"
        )
    return token_ids


def collate(examples: Sequence[Example]) -> Batch:
    """Stack examples; all hold the same number of captions."""
    ids = [torch.tensor(tokens) for item in examples for tokens in item.token_ids]
    signals = [item.signals for item in examples if item.signals is not None]
    token_ids = torch.nn.utils.rnn.pad_sequence(ids, batch_first=True, padding_value=PAD_ID)
    return Batch(
        torch.stack([item.fbank for item in examples]),
        _stacked([item.activity for item in examples]),
        tuple(item.texts[0] for item in examples),
        token_ids,
        torch.tensor([_key(item.events) for item in examples]),
        _stacked([item.text_embedding for item in examples]),
        joined(signals, token_ids.shape[1]) if signals else None,
        torch.tensor([item.unknown for item in examples]),
        _stacked([item.vectors for item in examples]),
    )


def _key(events: Sequence[str]) -> int:
    """The same number for the same events in every process, which Python's own hash is not."""
    digest = hashlib.blake2b("\0".join(events).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big", signed=True)


def _stacked(tensors: Sequence[Tensor | None]) -> Tensor | None:
    given = [tensor for tensor in tensors if tensor is not None]
    return torch.stack(given) if len(given) == len(tensors) else None


def spec_augment(fbank: Waveform, settings: TrainSettings, rng: np.random.Generator) -> Waveform:
    """Mask stripes of a filter bank (998, 128) with its own mean (SpecAugment, Park et al., 2019). Works in place."""
    mean, frames = fbank.mean(), len(fbank)
    mask_bins(fbank, settings.freq_masks, settings.freq_mask_bins, mean, rng)
    for _ in range(settings.time_masks):
        width = int(rng.integers(settings.time_mask_frames + 1))
        start = int(rng.integers(frames - width + 1))
        fbank[start : start + width] = mean
    return fbank


def mask_bins(fbank: Waveform, stripes: int, widest: int, value: float, rng: np.random.Generator) -> None:
    """Give stripes of the mel axis of a filter bank (frames, bins), up to ``widest`` bins each, one value. In place."""
    for _ in range(stripes):
        width = int(rng.integers(widest + 1))
        start = int(rng.integers(fbank.shape[1] - width + 1))
        fbank[:, start : start + width] = value


@lru_cache(maxsize=2)
def shuffled(seed: int, round_: int, count: int) -> npt.NDArray[np.int64]:
    """The order of a round over ``count`` examples, (count,); made once a round, not for each of its examples."""
    order = np.random.default_rng([seed, round_]).permutation(count)
    order.flags.writeable = False  # all callers share it
    return order
