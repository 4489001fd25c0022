"""Scenes as training batches: mixed, turned into filter banks, masked, captioned and tokenized."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from tokenizers import Tokenizer
from torch import Tensor
from torch.utils.data import Dataset

from edge_aac.errors import ConfigError
from quantize.data.captions import captions
from quantize.data.clips import Waveform
from quantize.data.features import batched_filter_bank
from quantize.data.scenes import Scene, SceneBuilder
from quantize.data.tokenizer import EOS_ID, PAD_ID
from quantize.training.objective import IGNORED
from quantize.training.recipe import Recipe, TrainSettings


@dataclass(frozen=True)
class Example:
    """One scene, ready for a batch."""

    fbank: Tensor
    activity: Tensor
    token_ids: list[list[int]]
    events: tuple[str, ...]


@dataclass(frozen=True)
class Batch:
    """B scenes with K captions each.

    Attributes:
        fbank: (B, 998, 128) f32.
        activity: (B, 1000, classes) bool.
        token_ids: (B · K, S) int64, each caption's tokens with ``</s>``, padded.
        same_events: (B, B) bool, see :func:`quantize.training.objective.info_nce`.
    """

    fbank: Tensor
    activity: Tensor
    token_ids: Tensor
    same_events: Tensor

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
    """

    def __init__(self, builder: SceneBuilder, tokenizer: Tokenizer, recipe: Recipe, epoch: int) -> None:
        self.builder, self.tokenizer, self.settings, self.epoch = builder, tokenizer, recipe.train, epoch
        self.max_tokens = recipe.model.decoder.max_positions

    def __len__(self) -> int:
        return self.settings.scenes_per_epoch

    def __getitem__(self, index: int) -> Example:
        rng = np.random.default_rng([self.settings.seed, self.epoch, index])
        scene = self.builder.scene(rng)
        fbank = spec_augment(batched_filter_bank(scene.waveform[np.newaxis])[0], self.settings, rng)
        texts = captions(scene, rng, self.settings.captions_per_scene)
        return example(scene, fbank, texts, self.tokenizer, self.max_tokens)


def example(scene: Scene, fbank: Waveform, texts: Sequence[str], tokenizer: Tokenizer, max_tokens: int) -> Example:
    """Tensors of one scene.

    Raises:
        ConfigError: a caption is longer than the decoder can say.
    """
    token_ids = [encoding.ids for encoding in tokenizer.encode_batch(list(texts))]
    if (longest := max(len(ids) for ids in token_ids)) > max_tokens:
        raise ConfigError(
            f"a caption of {longest} tokens exceeds the decoder's {max_tokens} positions: "
            "raise max_positions or vocab_size in the recipe's [model.decoder]"
        )
    relation = (scene.relation,) if scene.relation == "sequence" else ()
    labels = tuple(scene.labels) if scene.relation == "sequence" else tuple(sorted(scene.labels))
    return Example(
        torch.from_numpy(fbank),
        torch.from_numpy(scene.activity),
        token_ids,
        relation + labels,
    )


def collate(examples: Sequence[Example]) -> Batch:
    """Stack examples; all hold the same number of captions."""
    ids = [torch.tensor(tokens) for item in examples for tokens in item.token_ids]
    events = [item.events for item in examples]
    return Batch(
        torch.stack([item.fbank for item in examples]),
        torch.stack([item.activity for item in examples]),
        torch.nn.utils.rnn.pad_sequence(ids, batch_first=True, padding_value=PAD_ID),
        torch.tensor([[mine == other for other in events] for mine in events]),
    )


def spec_augment(fbank: Waveform, settings: TrainSettings, rng: np.random.Generator) -> Waveform:
    """Mask stripes of a filter bank (998, 128) with its own mean (SpecAugment, Park et al., 2019). Works in place."""
    mean = fbank.mean()
    frames, bins = fbank.shape
    for _ in range(settings.freq_masks):
        width = int(rng.integers(settings.freq_mask_bins + 1))
        start = int(rng.integers(bins - width + 1))
        fbank[:, start : start + width] = mean
    for _ in range(settings.time_masks):
        width = int(rng.integers(settings.time_mask_frames + 1))
        start = int(rng.integers(frames - width + 1))
        fbank[start : start + width] = mean
    return fbank
