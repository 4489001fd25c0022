"""Everyday scenes as examples: their captions, the sounds in each second, and what a distilled stem makes of them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any

import numpy as np
import torch
from tokenizers import Tokenizer
from torch import Tensor
from torch.utils.data import Dataset

from edge_aac.audio.features import filter_bank
from edge_aac.bundle.hashes import file_sha256
from quantize.data.everyday.drawn_events import distinct_captions, drawn_captions
from quantize.data.everyday.events import HeardEvent
from quantize.data.everyday.lexicon import ENGLISH, Lexicon
from quantize.data.everyday.named_sounds import named_right, sound_scores
from quantize.data.everyday.reading import read
from quantize.data.everyday.scenes import EverydayScenes, without
from quantize.data.everyday.story import Story, story
from quantize.data.everyday.wording import tell
from quantize.data.scenes import padded_clip
from quantize.data.sounds.store import SoundStore
from quantize.models.captioner import Captioner
from quantize.models.patch_stem import PatchStem
from quantize.training.batches import UNKNOWN_SOUND, Example, encoded, spec_augment
from quantize.training.recipe import Recipe
from quantize.training.settings import TrainSettings
from quantize.training.sources import VALIDATION_SEED, Validation
from quantize.training.tagged_mixtures import FRAME_S
from quantize.training.validation import greedy_captions_of

_MASKED_SHARE = 0.5
CORPUS_CAPTIONS_PER_SCENE = 20
_BATCH = 32


class EverydaySource:
    """Scenes of a store's sounds, as a run with a stem that stays as it is learns from them.

    Args:
        recipe: a recipe with a table [everyday].
        store: holds the sounds.
        heard: what a tagger heard in each of them, in the store's order.
        lexicon: the sounds that there are words for.
        stem: trained before, in evaluation mode.
    """

    def __init__(
        self,
        recipe: Recipe,
        store: SoundStore,
        heard: Sequence[tuple[HeardEvent, ...]],
        lexicon: Lexicon,
        stem: PatchStem,
    ) -> None:
        assert recipe.everyday is not None
        self.recipe, self.store, self.lexicon, self.stem = recipe, store, lexicon, stem
        self._heard = heard
        self.scenes = self.scenes_of(recipe.stored.seed, store.folds_but(recipe.folds.train))

    def captions(self) -> Iterator[str]:
        """See :class:`quantize.training.sources.ExampleSource`."""
        train = self.recipe.train
        count = train.corpus_scenes * CORPUS_CAPTIONS_PER_SCENE
        return islice(drawn_captions(self.lexicon, np.random.default_rng(train.seed)), count)

    def texts(self, count: int) -> list[str]:
        """See :class:`quantize.training.sources.ExampleSource`."""
        return distinct_captions(self.lexicon, count, np.random.default_rng(self.recipe.train.seed))

    def examples(self, tokenizer: Tokenizer | None, train: TrainSettings, epoch: int, masked: bool) -> Dataset[Example]:
        """See :class:`quantize.training.sources.ExampleSource`. Half of them are masked before the stem hears them,
        for afterwards nothing can be masked."""
        del masked
        return _Scenes(self, self.scenes, tokenizer, train, epoch)

    def validation(self) -> Validation | None:
        """See :class:`quantize.training.sources.ExampleSource`."""
        recipe = self.recipe
        if not recipe.folds.validation:
            return None
        kept = without(self.store, self._heard, self.lexicon, recipe.folds.absent)
        rows = [
            (row, sound)
            for row in kept.rows
            if row.fold in recipe.folds.validation and (sound := self.lexicon.by_label.get(row.label))
        ]
        if not rows:
            return None
        clips = [self.vectors(padded_clip(self.store.waveform(row))) for row, _ in rows]
        maker = self.scenes_of(VALIDATION_SEED, self.store.folds_but(recipe.folds.validation))
        scenes = [maker.scene(0, index) for index in range(recipe.train.validation_scenes)]
        stories = [story(self.lexicon, scene.events) for scene in scenes]
        truths = [_moments(one) for one in stories]
        of_scenes = [self.vectors(scene.waveform) for scene in scenes]

        def scores(model: Captioner, tokenizer: Tokenizer) -> dict[str, float]:
            said = [read(self.lexicon, text) for text in _greedy(model, tokenizer, [*clips, *of_scenes])]
            single, many = said[: len(rows)], said[len(rows) :]
            hits: dict[str, list[bool]] = {}
            for (row, sound), one in zip(rows, single, strict=True):
                hits.setdefault(f"{row.source}_named", []).append(sound in one.sounds)
                hits.setdefault(f"{row.source}_right", []).append(named_right(self.lexicon, one.sounds, sound))
            of_many = sound_scores(self.lexicon, many, truths)
            shares = {name: sum(of_kind) / len(of_kind) for name, of_kind in sorted(hits.items())}
            return {**shares, "scene_f1": of_many.f1, "scene_order": of_many.order}

        return scores

    def fingerprint(self) -> dict[str, Any]:
        """See :class:`quantize.training.sources.ExampleSource`."""
        stem = hashlib.sha256()
        for name, tensor in sorted(self.stem.state_dict().items()):
            stem.update(f"{name} {tuple(tensor.shape)}".encode())
            stem.update(tensor.contiguous().numpy().data)
        train = self.recipe.train
        return {
            "clips": [f"{row.source}/{row.title}" for row in self.scenes.rows],
            "stem": stem.hexdigest(),
            "heard": hashlib.sha256(repr([self.scenes.heard_in(row) for row in self.scenes.rows]).encode()).hexdigest(),
            "lexicon": file_sha256(ENGLISH),
            "masks": [train.freq_masks, train.freq_mask_bins, train.time_masks, train.time_mask_frames],
        }

    @torch.no_grad()
    def vectors(self, waveform: Any, masks: TrainSettings | None = None, rng: Any = None) -> Tensor:
        """What the stem makes of 10 s, (P, patch_embed_dim); of a masked filter bank where masks are given."""
        fbank = filter_bank(waveform)
        if masks is not None:
            fbank = spec_augment(fbank, masks, rng)
        return self.stem(torch.from_numpy(fbank)[None, None])[0, :, :, 0].T.contiguous()

    def scenes_of(self, seed: int, held_out: Sequence[int]) -> EverydayScenes:
        """Scenes of other draws and folds, by the recipe's rules."""
        recipe = self.recipe
        assert recipe.everyday is not None
        return EverydayScenes(
            self.store, self._heard, self.lexicon, recipe.everyday, seed, held_out, recipe.folds.absent
        )


class _Scenes(Dataset[Example]):
    """Scene ``i`` of epoch ``e`` as an example."""

    def __init__(
        self,
        source: EverydaySource,
        scenes: EverydayScenes,
        tokenizer: Tokenizer | None,
        train: TrainSettings,
        epoch: int,
    ) -> None:
        self.source, self.scenes, self.tokenizer, self.train, self.epoch = source, scenes, tokenizer, train, epoch

    def __len__(self) -> int:
        return self.train.scenes_per_epoch

    def __getitem__(self, index: int) -> Example:
        source, lexicon = self.source, self.source.lexicon
        scene = self.scenes.scene(self.epoch, index)
        rng = np.random.default_rng([self.train.seed, self.epoch, index, 1])
        told = story(lexicon, scene.events)
        texts = tuple(tell(lexicon, told, rng) for _ in range(self.train.captions_per_scene))
        masked = rng.random() < _MASKED_SHARE
        vectors = source.vectors(scene.waveform, self.train if masked else None, rng)
        limit = source.recipe.model.decoder.max_positions
        return Example(
            torch.zeros(0),
            torch.from_numpy(heard_by_patch(lexicon, scene.events, len(vectors), source.stem)),
            texts,
            encoded(texts, self.tokenizer, limit),
            _events_told(told),
            vectors=vectors,
        )


def events_of(lexicon: Lexicon, events: Sequence[HeardEvent]) -> tuple[str, ...]:
    """What :attr:`quantize.training.batches.Example.events` is of these events."""
    return _events_told(story(lexicon, events))


def _events_told(told: Story) -> tuple[str, ...]:
    sounds = [one.sound for one in told.told]
    if len(told.groups) > 1:
        return ("sequence", *map(str, sounds))
    return (UNKNOWN_SOUND,) if sounds and sounds[0] is None else tuple(sorted(map(str, sounds)))


def heard_by_patch(lexicon: Lexicon, events: Sequence[HeardEvent], patches: int, stem: PatchStem) -> Any:
    """How surely each sound of the lexicon, in its order, is heard in each patch of time: (patches, sounds) float32.

    A sound is in a patch that holds a third of the patch's length of it, or half of the whole event.
    """
    number = {name: place for place, name in enumerate(lexicon.order)}
    heard = np.zeros((patches, len(number)), np.float32)
    starts = np.arange(patches) * stem.hop * FRAME_S
    length_s = stem.frames * FRAME_S
    for event in events:
        shared = np.minimum(starts + length_s, event.end_s) - np.maximum(starts, event.start_s)
        inside = shared >= min(length_s / 3.0, event.seconds / 2.0)
        for belief in event.beliefs:
            column = heard[:, number[belief.sound]]
            column[inside] = np.maximum(column[inside], belief.confidence)
    return heard


def _moments(told: Story) -> list[list[str]]:
    """The sounds of each moment of a story; one that lasts through all is in each."""
    through = () if told.through is None else (told.through,)
    return [[one.sound for one in (*group, *through) if one.sound is not None] for group in told.groups]


@torch.no_grad()
def _greedy(model: Captioner, tokenizer: Tokenizer, vectors: Sequence[Tensor]) -> list[str]:
    parts = [torch.stack(list(vectors[start : start + _BATCH])) for start in range(0, len(vectors), _BATCH)]
    memories = [model.memory(model.encoder.hidden_of_vectors(part))[0] for part in parts]
    return greedy_captions_of(model, tokenizer, memories)
