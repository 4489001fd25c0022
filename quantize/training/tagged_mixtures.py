"""Mixtures of sounds and what a tagger hears in them, made once and kept in shards for every run that learns from them.

Teacher and student hear the same mixture, and long schedules go through many of them: Beyer et al., *Knowledge
distillation: A good teacher is patient and consistent* (CVPR 2022).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from edge_aac.audio.features import FRAME_SHIFT_SAMPLES, filter_bank
from edge_aac.timebase import SAMPLE_RATE
from quantize.data.clips import Waveform
from quantize.data.everyday.heard_sounds import block_overlap
from quantize.data.shards import ShardReader, ShardWriter
from quantize.models.config import BeatsConfig
from quantize.models.taggers import Tagger
from quantize.progress import OnProgress
from quantize.training.batches import shuffled
from quantize.training.settings import ListeningSettings
from quantize.training.tensor_batch import TensorBatch

APART = 2
"""Hops from a patch to the next that does not overlap with it: patches overlap by half."""

_BATCH = 16
FRAME_S = FRAME_SHIFT_SAMPLES / SAMPLE_RATE


class Mixtures(Protocol):
    """Mixtures by number, each the same whenever it is made."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> Waveform:
        """Mixture ``index``: (samples,) float32 in ±1 at 16 kHz, all of one length."""


@dataclass(frozen=True)
class TaggedBatch(TensorBatch):
    """B mixtures of P patches.

    Attributes:
        fbank: (B, frames, 128).
        local: (B, P, F), the tagger's features of each patch.
        overall: (B, F), its features of the whole mixture.
        local_logits: (B, P, C), what its classifier makes of the patches' features.
        logits: (B, C), what it hears in the whole mixture.
    """

    fbank: Tensor
    local: Tensor
    overall: Tensor
    local_logits: Tensor
    logits: Tensor


def write_tagged(
    mixtures: Mixtures,
    tagger: Tagger,
    beats: BeatsConfig,
    folder: Path,
    metadata: Mapping[str, Any],
    on_progress: OnProgress,
) -> None:
    """Have a tagger hear all mixtures; goes on behind the last whole shard when called again.

    Args:
        mixtures: what is heard.
        tagger: the teacher.
        beats: frames and hop of the student's patches.
        folder: folder of the shards.
        metadata: everything that the content depends on; a folder begun with another is refused.
        on_progress: called with the number of mixtures that are done.
    """
    with ShardWriter(folder, metadata=metadata, resume=True) as writer:
        for start in range(writer.written, len(mixtures), _BATCH):
            sound = np.stack([mixtures[index] for index in range(start, min(start + _BATCH, len(mixtures)))])
            tags = tagger.tag(torch.from_numpy(sound))
            fbanks = np.stack([filter_bank(one) for one in sound])
            weights = patch_weights(fbanks.shape[1], tags.features.shape[1], tags.step_s, beats)
            local = weights @ tags.features
            with torch.no_grad():
                local_logits = tagger.classify(local)
            for place in range(len(sound)):
                arrays = {
                    "fbank": fbanks[place],
                    "local": local[place].numpy(),
                    "overall": tags.features[place].mean(0).numpy(),
                    "local_logits": local_logits[place].numpy(),
                    "logits": tags.logits[place].numpy(),
                }
                halves = {name: array.astype(np.float16) for name, array in arrays.items()}
                writer.write(f"{writer.written:08d}", halves, {})
            on_progress(writer.written)


def patch_weights(frames: int, steps: int, step_s: float, beats: BeatsConfig) -> Tensor:
    """How much each of a tagger's steps counts for each patch: the share of the patch that it covers.

    Returns:
        (patches, steps), rows with the sum 1.
    """
    starts = torch.arange(0, frames - beats.stem_frames + 1, beats.stem_hop_frames) * FRAME_S
    ends = starts + beats.stem_frames * FRAME_S
    covered = block_overlap(starts, ends, steps, step_s)
    # A tagger that drops a remainder ends before the last patch does: its last step stands for what is left.
    covered[:, -1] += (ends - torch.maximum(starts, torch.tensor(steps * step_s))).clamp(min=0.0)
    return covered / covered.sum(dim=1, keepdim=True)


class TaggedMixtures(Dataset[TaggedBatch]):
    """Stored mixtures, as an epoch goes through them: each once before one comes again, with stripes of the mel axis
    masked.

    Args:
        folder: folder of :func:`write_tagged`.
        settings: seed, masks and number of mixtures of an epoch.
        epoch: counted from 0.
        hop: frames between two patches, where of patches that overlap only every second one is heard: those that
            begin an even number of hops after the start in one epoch, the others in the next. None keeps all.
    """

    def __init__(self, folder: Path, settings: ListeningSettings, epoch: int, hop: int | None = None) -> None:
        self.reader, self.settings, self.epoch, self.hop = ShardReader(folder), settings, epoch, hop

    def __len__(self) -> int:
        return self.settings.scenes_per_epoch

    def __getitem__(self, index: int) -> TaggedBatch:
        """A batch of one."""
        settings = self.settings
        round_, place = divmod(self.epoch * len(self) + index, len(self.reader))
        sample = self.reader[int(shuffled(settings.seed, round_, len(self.reader))[place])]
        tensors = {name: torch.from_numpy(array).float()[None] for name, array in sample.arrays.items()}
        rng = np.random.default_rng([settings.seed, self.epoch, index])
        fbank = tensors["fbank"]
        silence = fbank.min()
        for _ in range(settings.masks):
            width = int(rng.integers(settings.mask_bins + 1))
            start = int(rng.integers(fbank.shape[2] - width + 1))
            fbank[:, :, start : start + width] = silence
        if self.hop is not None:
            first = self.epoch % APART
            tensors["fbank"] = fbank[:, first * self.hop :]
            tensors |= {name: tensors[name][:, first::APART] for name in ("local", "local_logits")}
        return TaggedBatch(**tensors)


def collate_tagged(batches: Sequence[TaggedBatch]) -> TaggedBatch:
    """Put batches together."""
    names = ("fbank", "local", "overall", "local_logits", "logits")
    return TaggedBatch(**{name: torch.cat([getattr(batch, name) for batch in batches]) for name in names})
