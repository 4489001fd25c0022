"""Where examples come from: scenes made of labelled recordings, or a corpus of captioned clips."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from tokenizers import Tokenizer
from torch.utils.data import Dataset

from edge_aac.audio.features import filter_bank
from edge_aac.errors import ConfigError, DataError
from quantize.data.caption_corpus import distinct_captions
from quantize.data.captions import corpus
from quantize.data.clips import Clip, Waveform, load_clips, load_outliers
from quantize.data.corpus import at_most_a_window, corpus_captions, split_by_recording, window
from quantize.data.llm import LlmClient
from quantize.data.manifest_tables import BrokenClip
from quantize.data.manifests import CaptionedClip, read_manifest
from quantize.data.merging import LlmMerger, MergeReport, merge_captions
from quantize.data.mixup import draw_pairs, mix, silent
from quantize.data.scenes import SceneBuilder, padded_clip
from quantize.data.waveform_cache import CacheReport, WaveformCache
from quantize.models.captioner import Captioner
from quantize.training.batches import Example, SceneDataset, collate, encoded, shuffled, spec_augment
from quantize.training.objective import caption_cross_entropy
from quantize.training.recipe import Recipe
from quantize.training.settings import TrainSettings
from quantize.training.validation import ValidationSet, validate, validation_set

CORPUS_CAPTIONS_PER_SCENE = 60
VALIDATION_SEED = 20230704
"""Validation scenes are the same whatever seed a run has, so that runs can be compared."""

Validation = Callable[[Captioner, Tokenizer], dict[str, float]]


class ExampleSource(Protocol):
    """What a run asks of its data."""

    def captions(self) -> Iterator[str]:
        """Captions that tokenizers and vocabularies are made from."""

    def texts(self, count: int) -> list[str]:
        """Up to ``count`` captions that a text student learns from."""

    def examples(self, tokenizer: Tokenizer | None, train: TrainSettings, epoch: int, masked: bool) -> Dataset[Example]:
        """``train.scenes_per_epoch`` examples that depend on seed, epoch and index alone.

        Args:
            tokenizer: tokenizer of the captions; None leaves captions as text.
            train: seed, number of examples and captions, and masks.
            epoch: counted from 0.
            masked: True for spectra with masks, as in training; False for whole ones.
        """

    def validation(self) -> Validation | None:
        """Scores of a captioner on recordings that no example is made of; None where there are none."""

    def fingerprint(self) -> dict[str, Any]:
        """What the examples depend on, as a JSON table."""


class SceneSource:
    """Scenes of the recordings of a recipe's training folds.

    Args:
        recipe: the folds, and how scenes are made.
        data: folder of the recordings.
        outliers: folder of recordings of no known class; of those, too, only the training folds' are heard.
    """

    def __init__(self, recipe: Recipe, data: Path, outliers: Path | None = None) -> None:
        self.recipe, self.data = recipe, data
        self.clips: list[Clip] = load_clips(data, recipe.folds.train, recipe.folds.absent)
        self.outliers = load_outliers(outliers, recipe.folds.train) if outliers else []
        self.builder = SceneBuilder(self.clips, recipe.scenes, self.outliers)
        self._held_out: ValidationSet | None = None

    def captions(self) -> Iterator[str]:
        rng = np.random.default_rng(self.recipe.train.seed)
        scenes = (self.builder.scene(rng) for _ in range(self.recipe.train.corpus_scenes))
        return corpus(scenes, rng, CORPUS_CAPTIONS_PER_SCENE)

    def texts(self, count: int) -> list[str]:
        rng = np.random.default_rng(self.recipe.train.seed)
        return distinct_captions(count, rng, list(self.builder.by_label), self.recipe.scenes)

    def examples(self, tokenizer: Tokenizer | None, train: TrainSettings, epoch: int, masked: bool) -> Dataset[Example]:
        return SceneDataset(self.builder, tokenizer, replace(self.recipe, train=train), epoch, masked)

    def held_out(self) -> ValidationSet | None:
        """Clips and scenes of the recipe's validation folds."""
        recipe = self.recipe
        if self._held_out is not None or not recipe.folds.validation:
            return self._held_out
        clips = load_clips(self.data, recipe.folds.validation, recipe.folds.absent)
        builder = SceneBuilder(clips, recipe.scenes)
        self._held_out = validation_set(clips, builder, recipe.train.validation_scenes, VALIDATION_SEED)
        return self._held_out

    def validation(self) -> Validation | None:
        held_out = self.held_out()
        if held_out is None:
            return None
        return lambda model, tokenizer: validate(model, tokenizer, held_out)

    def fingerprint(self) -> dict[str, Any]:
        outliers = {"outliers": [clip.path for clip in self.outliers]} if self.outliers else {}
        return {"clips": [clip.path for clip in self.clips], **outliers}


@dataclass(frozen=True)
class Mixup:
    """Two clips and the caption that was made of theirs."""

    first: CaptionedClip
    second: CaptionedClip
    caption: str


class CorpusSource:
    """Captioned clips, decoded once into a cache; broken ones are left out and listed.

    Args:
        recipe: a recipe with a table [corpus].
        data: the folder that its paths are relative to.
        cache: folder of the decoded clips.
        llm: merges the captions of mix-ups; needed where the recipe asks for pairs.

    Attributes:
        report: which clips can be used, those held out among them, and why the others cannot.
        merges: counts of merged and rejected mix-ups; None without mix-ups.
    """

    def __init__(self, recipe: Recipe, data: Path, cache: Path, llm: LlmClient | None = None) -> None:
        assert recipe.corpus is not None
        self.recipe = recipe
        self.cache = WaveformCache(cache)
        corpus = recipe.corpus
        self.report = self._ready(data, corpus.captions, corpus.audio)
        clips: Sequence[CaptionedClip] = self.report.ready
        held_out: Sequence[CaptionedClip] = ()
        if corpus.held_out_captions:
            others = self._ready(data, corpus.held_out_captions, corpus.held_out_audio or corpus.audio)
            held_out = others.ready
            # With its table: a clip of the same name may be learnt from, and an export attributes all but the broken.
            broken = [BrokenClip(f"{corpus.held_out_captions}: {clip.name}", clip.reason) for clip in others.broken]
            self.report = CacheReport((*clips, *held_out), (*self.report.broken, *broken))
        elif corpus.held_out_share:
            clips, held_out = split_by_recording(clips, corpus.held_out_share, recipe.train.seed)
        self.clips, self.held_out = tuple(clips), tuple(held_out)
        self.mixups, self.merges = self._merged(llm)

    def captions(self) -> Iterator[str]:
        yield from corpus_captions(self.clips)
        for mixup in self.mixups:
            yield mixup.caption

    def texts(self, count: int) -> list[str]:
        return list(dict.fromkeys(self.captions()))[:count]

    def examples(self, tokenizer: Tokenizer | None, train: TrainSettings, epoch: int, masked: bool) -> Dataset[Example]:
        return CorpusDataset(self, tokenizer, train, epoch, masked)

    def validation(self) -> Validation | None:
        if not self.held_out:
            return None
        return lambda model, tokenizer: {"held_out_nll": self._held_out_nll(model, tokenizer)}

    def fingerprint(self) -> dict[str, Any]:
        return {
            "clips": [clip.name for clip in self.clips],
            "mixups": [[mixup.first.name, mixup.second.name, mixup.caption] for mixup in self.mixups],
        }

    def _ready(self, data: Path, captions: str, audio: str) -> CacheReport:
        assert self.recipe.corpus is not None
        manifest = read_manifest(self.recipe.corpus.format, data / captions, data / audio)
        report = self.cache.prepare(manifest.clips)
        broken = (*manifest.broken, *report.broken)
        if not report.ready:
            raise DataError(f"no clip of {captions} can be used: {broken[0].reason}")
        return CacheReport(report.ready, broken)

    def _merged(self, llm: LlmClient | None) -> tuple[tuple[Mixup, ...], MergeReport | None]:
        count, rng = self.recipe.mixup.pairs, np.random.default_rng(self.recipe.train.seed)
        if not count:
            return (), None
        if llm is None:
            raise ConfigError(
                f"the recipe mixes {count} pairs of clips, whose captions a language model must merge: "
                "name its address with --llm-url, or set pairs = 0 in [mixup]"
            )
        pairs = draw_pairs(self.clips, count, rng)
        caption_pairs = [(_any(first.captions, rng), _any(second.captions, rng)) for first, second in pairs]
        texts, report = merge_captions(caption_pairs, LlmMerger(llm))
        merged = zip(pairs, texts, strict=True)
        return tuple(Mixup(first, second, text) for (first, second), text in merged if text), report

    @torch.no_grad()
    def _held_out_nll(self, model: Captioner, tokenizer: Tokenizer) -> float:
        """Mean negative log-likelihood of a token of the held-out clips' captions."""
        limit = self.recipe.model.decoder.max_positions
        losses = []
        for clip in self.held_out:
            fbank = torch.from_numpy(filter_bank(window(self.cache.waveform(clip), np.random.default_rng(0))))
            texts = list(clip.captions)
            batch = collate([Example(fbank, None, tuple(texts), encoded(texts, tokenizer, limit), (clip.name,))])
            memory, _, _ = model.encode(batch.fbank)
            logits = model.logits(batch.decoder_input_ids, memory.repeat_interleave(len(texts), dim=0))
            losses.append(float(caption_cross_entropy(logits, batch.labels, 0.0)))
        return sum(losses) / len(losses)


class CorpusDataset(Dataset[Example]):
    """Example ``i`` of epoch ``e``: a window of a clip with some of its captions, or of two that are mixed up.

    Every clip comes once before one comes again.
    """

    def __init__(
        self, source: CorpusSource, tokenizer: Tokenizer | None, train: TrainSettings, epoch: int, masked: bool
    ) -> None:
        self.source, self.tokenizer, self.train, self.epoch, self.masked = source, tokenizer, train, epoch, masked

    def __len__(self) -> int:
        return self.train.scenes_per_epoch

    def __getitem__(self, index: int) -> Example:
        source, settings = self.source, self.train
        rng = np.random.default_rng([settings.seed, self.epoch, index])
        outcome = ""
        if source.mixups and rng.random() < source.recipe.mixup.pair_share:
            mixup = source.mixups[int(rng.integers(len(source.mixups)))]
            waveform, texts, key, outcome = self._mixed_up(mixup, rng)
        else:
            round_, place = divmod(self.epoch * len(self) + index, len(source.clips))
            clip = source.clips[int(shuffled(settings.seed, round_, len(source.clips))[place])]
            waveform, texts, key = window(source.cache.waveform(clip), rng), list(clip.captions), (clip.name,)
        # Fewer captions than are asked for are said again: every example of a batch has as many.
        drawn = rng.permutation(len(texts)).tolist()
        chosen = [texts[drawn[place % len(drawn)]] for place in range(settings.captions_per_scene)]
        fbank: Waveform = filter_bank(waveform)
        if self.masked:
            fbank = spec_augment(fbank, settings, rng)
        limit = source.recipe.model.decoder.max_positions
        token_ids = encoded(chosen, self.tokenizer, limit)
        return Example(torch.from_numpy(fbank), None, tuple(chosen), token_ids, key, mixup=outcome)

    def _mixed_up(self, mixup: Mixup, rng: np.random.Generator) -> tuple[Waveform, list[str], tuple[str, ...], str]:
        """Waveform, captions and names of both clips, and "merged"; where one is silent, the first alone."""
        # Silence that only fills up the 10 s has no part in the means, nor in where the shorter clip may lie.
        first, second = (
            at_most_a_window(self.source.cache.waveform(clip), rng) for clip in (mixup.first, mixup.second)
        )
        if silent(first) or silent(second):
            return padded_clip(first), list(mixup.first.captions), (mixup.first.name,), "silent"
        mixed = mix(first, second, rng, self.source.recipe.mixup.ratio_db).waveform
        return padded_clip(mixed), [mixup.caption], (mixup.first.name, mixup.second.name), "merged"


def open_example_source(
    recipe: Recipe, data: Path, cache: Path, llm: LlmClient | None = None, outliers: Path | None = None
) -> ExampleSource:
    """The recipe's corpus, or scenes of its recordings.

    Raises:
        ConfigError: outliers are given for a corpus, whose captions say what is heard; or the recipe is one of
            everyday sounds, which needs a tagger.
    """
    if recipe.everyday:
        raise ConfigError(
            f"the recipe {recipe.name} is taught by an audio tagger: run `edge-aac distill --tagger FILE`"
        )
    if recipe.corpus and outliers:
        raise ConfigError("a corpus has captions for all that is heard: leave --outliers out (and EDGE_AAC_OUTLIERS)")
    return CorpusSource(recipe, data, cache, llm) if recipe.corpus else SceneSource(recipe, data, outliers)


def _any(texts: Sequence[str], rng: np.random.Generator) -> str:
    return texts[int(rng.integers(len(texts)))]
