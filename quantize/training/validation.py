"""What a model says of scenes and clips of recordings that it was not trained on."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass

import numpy as np
import torch
from tokenizers import Tokenizer
from torch import Tensor

from edge_aac.audio.features import filter_bank
from quantize.data.clips import Clip
from quantize.data.scenes import Scene, SceneBuilder, padded_clip, two_sound_scenes
from quantize.data.tokenizer import EOS_ID
from quantize.models.captioner import Captioner
from quantize.training.metrics import event_scores, named_share, order_share


@dataclass(frozen=True)
class ValidationSet:
    """Fixed inputs: every clip alone, and two-sound scenes."""

    clips: list[Clip]
    clip_fbanks: Tensor
    scenes: list[Scene]
    scene_fbanks: Tensor


def validation_set(clips: list[Clip], builder: SceneBuilder, count: int, seed: int) -> ValidationSet:
    """Compute the filter banks of a validation set once."""
    scenes = two_sound_scenes(builder, count, seed)
    return ValidationSet(
        clips,
        torch.from_numpy(np.stack([filter_bank(padded_clip(clip.waveform)) for clip in clips])),
        scenes,
        torch.from_numpy(np.stack([filter_bank(scene.waveform) for scene in scenes])),
    )


def validate(model: Captioner, tokenizer: Tokenizer, data: ValidationSet) -> dict[str, float]:
    """Greedy captions of the whole set, scored."""
    single = greedy_captions(model, tokenizer, data.clip_fbanks)
    double = greedy_captions(model, tokenizer, data.scene_fbanks)
    truths = [scene.labels for scene in data.scenes]
    ordered = [i for i, scene in enumerate(data.scenes) if scene.relation == "sequence"]
    return {
        "single_named": named_share(single, [clip.label for clip in data.clips]),
        **{f"scene_{name}": value for name, value in asdict(event_scores(double, truths)).items()},
        "scene_order": order_share([double[i] for i in ordered], [truths[i] for i in ordered]),
    }


@torch.no_grad()
def greedy_captions(
    model: Captioner, tokenizer: Tokenizer, fbanks: Tensor, max_length: int = 30, batch: int = 32
) -> list[str]:
    """The likeliest token at each step, without any rule: a quick look, not what the device says."""
    memories = [model.encode(part)[0] for part in fbanks.split(batch)]
    return greedy_captions_of(model, tokenizer, memories, max_length)


@torch.no_grad()
def greedy_captions_of(
    model: Captioner, tokenizer: Tokenizer, memories: Iterable[Tensor], max_length: int = 30
) -> list[str]:
    """The same of memories, each (B, T', D)."""
    texts: list[str] = []
    for memory in memories:
        ids = torch.full((len(memory), 1), EOS_ID)
        ended = torch.zeros(len(memory), dtype=torch.bool)
        while not ended.all() and ids.shape[1] < max_length:
            chosen = model.logits(ids, memory)[:, -1].argmax(dim=-1).masked_fill(ended, EOS_ID)
            ids = torch.cat([ids, chosen.unsqueeze(1)], dim=1)
            ended |= chosen == EOS_ID
        texts += decode_texts(tokenizer, ids.tolist())
    return texts


def decode_texts(tokenizer: Tokenizer, ids: Sequence[Sequence[int]]) -> list[str]:
    """Token ids → texts without special tokens and outer spaces."""
    return [text.strip() for text in tokenizer.decode_batch([list(row) for row in ids], skip_special_tokens=True)]
