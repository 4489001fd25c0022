"""Examples of scenes: single ones, and two mixed into one."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from quantize.data.captions import UNKNOWN
from quantize.data.lexicon import named_events
from quantize.data.scenes import Scene, SceneBuilder, SceneRecipe
from quantize.data.tokenizer import train_tokenizer
from quantize.training.batches import Example
from quantize.training.recipe import Recipe
from quantize.training.settings import MixupRecipe, TrainSettings
from quantize.training.sources import CorpusSource, SceneSource, open_example_source


def taking(source: SceneSource | CorpusSource, count: int) -> TrainSettings:
    """The settings of a source's recipe, for so many examples an epoch."""
    return replace(source.recipe.train, scenes_per_epoch=count)


@pytest.mark.parametrize("silent", ["first", "second"])
def test_a_silent_scene_is_not_mixed(small_recipe: Recipe, recordings: Path, silent: str) -> None:
    source = SceneSource(scene_recipe(small_recipe), recordings)
    source.builder = HalfSilent(source.builder, 0 if silent == "first" else 1)  # type: ignore[assignment]
    examples = source.examples(None, taking(source, 6), 0, masked=False)
    assert {examples[index].mixup for index in range(6)} == {"rejected"}


class HalfSilent:
    """Scenes of which every second one, or every one between, is silent."""

    def __init__(self, builder: SceneBuilder, silent: int) -> None:
        self.builder, self.silent, self.made = builder, silent, 0

    def scene(self, rng: np.random.Generator) -> Scene:
        scene = self.builder.scene(rng)
        self.made += 1
        return replace(scene, waveform=0.0 * scene.waveform) if (self.made - 1) % 2 == self.silent else scene


def scene_recipe(recipe: Recipe, **changes: object) -> Recipe:
    scenes = SceneRecipe(event_counts=(0.0, 1.0, 0.0), far_probability=0.0)
    return replace(recipe, scenes=scenes, mixup=MixupRecipe(scene_share=1.0), **changes)  # type: ignore[arg-type]


def test_two_scenes_in_one_are_captioned_with_the_events_of_both(small_recipe: Recipe, recordings: Path) -> None:
    recipe = scene_recipe(small_recipe)
    source = SceneSource(recipe, recordings)
    tokenizer = train_tokenizer(source.captions(), 900)
    examples = source.examples(tokenizer, taking(source, 20), 0, masked=False)
    made: list[Example] = [examples[index] for index in range(20)]
    outcomes = [example.mixup for example in made]
    assert set(outcomes) <= {"merged", "drowned", "rejected"} and outcomes.count("merged") > 5
    both = 0
    for example in made:
        assert example.activity is not None and example.activity.shape == (1000, 10)
        events = set(example.events) - {"sequence"}
        assert len(example.texts) == recipe.train.captions_per_scene
        for text in example.texts:
            assert set(named_events(text)) == events, text
        assert int(example.activity.any(dim=0).sum()) == len(events)
        if example.mixup == "merged":
            both += int(len(events) == 2)
        else:
            assert len(events) == 1
    assert both > 3
    again = source.examples(tokenizer, taking(source, 20), 0, masked=False)[7]
    assert again.texts == made[7].texts and torch.equal(again.fbank, made[7].fbank)


def test_without_a_tokenizer_captions_stay_words(scene_source: SceneSource) -> None:
    made = scene_source.examples(None, taking(scene_source, 2), 0, masked=False)[1]
    assert made.token_ids == [] and len(made.texts) == scene_source.recipe.train.captions_per_scene


def test_without_mixups_none_is_tried(scene_source: SceneSource) -> None:
    tokenizer = train_tokenizer(scene_source.captions(), 900)
    examples = scene_source.examples(tokenizer, taking(scene_source, 5), 0, masked=True)
    assert len(examples) == 5  # type: ignore[arg-type]
    assert {examples[index].mixup for index in range(5)} == {""}


def test_scenes_give_texts_for_a_text_student(scene_source: SceneSource) -> None:
    texts = scene_source.texts(50)
    assert len(set(texts)) == len(texts) == 50 and texts == scene_source.texts(50)
    known = {"rain", "dog_bark", "clock_tick"}
    assert all(set(named_events(text)) <= known for text in texts), "classes that there are no recordings of"
    assert set(texts) & set(UNKNOWN)


def test_no_fold_to_validate_with_no_validation(small_recipe: Recipe, recordings: Path) -> None:
    alone = replace(small_recipe, folds=replace(small_recipe.folds, validation=()))
    assert SceneSource(alone, recordings).validation() is None
    source = open_example_source(small_recipe, recordings, recordings / "unused")
    assert isinstance(source, SceneSource)
    held_out = source.held_out()
    assert held_out is source.held_out() and held_out is not None
    assert {clip.fold for clip in held_out.clips} == {2}
    assert {clip.fold for clip in source.clips} == {1}
