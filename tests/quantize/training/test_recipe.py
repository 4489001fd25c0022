"""Recipes that ask for what cannot be had: told in one sentence, before anything is made."""

from __future__ import annotations

import json
import math
import re
import sys
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from edge_aac.errors import ConfigError
from quantize.data.scenes import SceneRecipe
from quantize.data.sound_bank import MixRecipe
from quantize.models.config import BeatsConfig, CaptionerConfig, ConformerConfig, DecoderConfig, TextEmbedderConfig
from quantize.models.sentence_embedder import SentenceEmbedder
from quantize.training.recipe import Recipe, load_recipe, parse_recipe, recipe_from, recipe_names
from quantize.training.settings import MixupRecipe, StoredRecipe, SurenessRecipe, TrainSettings
from quantize.training.sources import SceneSource
from quantize.training.train import Run
from quantize.training.trainee import CaptionObjective
from tests.quantize.training.distill_cases import RecordedProgress

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

RECIPES = Path("quantize/recipes")


def test_the_shipped_recipes_are_read() -> None:
    assert [load_recipe(name).name for name in recipe_names()] == recipe_names()


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        (r"max_length = \d+", "max_length = 33", r"\[decoding\] is 33, but the decoder has 32 positions"),
        (r"validation_scenes = \d+", "validation_scenes = 0", "validation_scenes is 0"),
        (r"\[train\]", "[mixup]\npairs = 9\n[train]", r"give a table \[corpus\]"),
        (r"conv_pos_groups = \d+", "conv_pos_groups = 3", "128 is not a multiple of its 3 conv_pos_groups"),
    ],
)
def test_a_recipe_that_cannot_be_followed_is_one_sentence(old: str, new: str, words: str) -> None:
    text, count = re.subn(f"(?m)^{old}", new, (RECIPES / "esc10-tiny.toml").read_text(encoding="utf-8"))
    assert count
    with pytest.raises(ConfigError, match=words):
        parse_recipe(tomllib.loads(text))


@pytest.mark.parametrize(
    ("kind", "values", "words"),
    [
        (TrainSettings, {"captions_per_scene": 0}, "captions_per_scene is 0"),
        (TrainSettings, {"freq_mask_bins": 200}, "freq_mask_bins is 200; it must lie in 0 to 128"),
        (TrainSettings, {"time_mask_frames": 2000}, "time_mask_frames is 2000; it must lie in 0 to 998"),
        (TrainSettings, {"label_smoothing": 2.0}, "label_smoothing is 2.0"),
        (TrainSettings, {"learning_rate": -1.0}, "learning_rate is -1.0; it must be above 0"),
        (TrainSettings, {"learning_rate": math.nan}, "learning_rate is nan"),
        (TrainSettings, {"clip_norm": 0.0}, "clip_norm is 0.0"),
        (TrainSettings, {"workers": -1}, "workers is -1; it must not be negative"),
        (TrainSettings, {"seed": -1}, "seed is -1"),
        (TrainSettings, {"batch_scenes": 1}, "batch norm"),
        (TrainSettings, {"contrastive_temperature": 0.0}, "contrastive_temperature is 0.0"),
        (StoredRecipe, {"captions": 0}, "captions is 0"),
        (SceneRecipe, {"event_counts": (0.5, 0.5, 0.5)}, "event_counts is .* the sum 1"),
        (SceneRecipe, {"event_counts": (1.5, -0.5, 0.0)}, "event_counts"),
        (SceneRecipe, {"speed": (0.0, 0.0)}, "speed is .* above 0"),
        (SceneRecipe, {"peak_dbfs": (-1.0, -30.0)}, "peak_dbfs is .* the lesser"),
        (SceneRecipe, {"gain_db": -1.0}, "gain_db is -1.0"),
        (MixRecipe, {"frames": 900}, "frames is 900; it must lie in 1 to 498"),
        (MixRecipe, {"sound_counts": (0.5, 0.6)}, "sound_counts"),
        (MixRecipe, {"variants_per_clip": 0}, "variants_per_clip is 0"),
        (MixRecipe, {"shift_bins": 128}, "shift_bins is 128"),
        (BeatsConfig, {"heads": 0}, "heads is 0; it must be at least 1"),
        (BeatsConfig, {"conv_pos_groups": 5}, "768 is not a multiple of its 5 conv_pos_groups"),
        (BeatsConfig, {"dropout": 1.5}, "dropout is 1.5"),
        (ConformerConfig, {"heads": 0}, "heads is 0"),
        (ConformerConfig, {"depthwise_kernel": 4}, "depthwise_kernel is 4; it must be odd"),
        (CaptionerConfig, {"conformer": ConformerConfig(conv_pos_groups=5)}, "the Conformer's 5 conv_pos_groups"),
        (DecoderConfig, {"heads": 0}, "heads is 0"),
        (TextEmbedderConfig, {"layers": 0}, "layers is 0"),
    ],
)
def test_an_unusable_setting_is_one_sentence(kind: type, values: dict[str, object], words: str) -> None:
    with pytest.raises(ConfigError, match=words) as refused:
        kind(**values)
    assert len(str(refused.value).splitlines()) == 1


def test_older_recipes_are_read_by_their_former_names() -> None:
    table = asdict(load_recipe("esc10-tiny"))
    table["familiarity"]["least"] = table["familiarity"].pop("threshold") + 1.0
    table["distill"]["ask_of_unknown"] = not table["distill"].pop("distil_unknown")
    recipe = recipe_from(table)
    assert recipe.familiarity is not None and recipe.familiarity.threshold == -3.0
    assert recipe.distill.distil_unknown


def test_how_sure_a_captioner_must_be_stands_in_a_table_of_its_own() -> None:
    table = asdict(load_recipe("esc10-tiny"))
    assert recipe_from(table).sureness is None
    assert recipe_from({**table, "sureness": {}}).sureness == SurenessRecipe()
    given = recipe_from({**table, "sureness": {"threshold": 0.5, "scale": 0.8, "bias": -0.3}}).sureness
    assert given == SurenessRecipe(0.5, 0.8, -0.3)
    for key, value in (("threshold", 1.5), ("scale", 0.0), ("bias", float("nan"))):
        with pytest.raises(ConfigError, match=key):
            recipe_from({**table, "sureness": {key: value}})


def test_what_is_not_used_may_be_anything() -> None:
    TrainSettings(contrastive_weight=0.0, contrastive_temperature=0.0)
    recipe = load_recipe("clotho-small")
    assert replace(recipe, train=replace(recipe.train, validation_scenes=0)).folds.validation == ()


@pytest.mark.parametrize(
    ("tables", "words"),
    [
        ({"mixup": {"scene_share": 0.5}}, r"scene_share in \[mixup\]"),
        ({"folds": {"train": [1]}}, r"\[folds\] are of labelled recordings"),
    ],
)
def test_what_a_corpus_has_no_use_for_is_refused(tables: dict[str, object], words: str) -> None:
    table = tomllib.loads((RECIPES / "clotho-small.toml").read_text(encoding="utf-8"))
    assert parse_recipe(table).corpus
    with pytest.raises(ConfigError, match=words):
        parse_recipe({**table, **tables})
    for changes in ({"folds": (1,)}, {"absent": ("rain",)}):
        with pytest.raises(ConfigError, match="--folds and --absent"):
            parse_recipe(table).changed(**changes)  # type: ignore[arg-type]


def test_a_run_that_asked_for_what_it_did_not_get_is_still_read() -> None:
    recipe = load_recipe("esc10-tiny")
    odd = replace(recipe, mixup=MixupRecipe(pairs=9), decoding={**recipe.decoding, "max_length": 99})
    assert recipe_from(json.loads(json.dumps(asdict(odd)))).mixup.pairs == 9


def test_seed_and_precision_are_those_of_every_stage() -> None:
    recipe = load_recipe("esc10-tiny")
    changed = recipe.changed(epochs=3, seed=7, precision="bf16")
    for stage in (changed.train, changed.pretrain, changed.text_student):
        assert stage is not None and (stage.seed, stage.precision) == (7, "bf16")
    assert changed.text_student.epochs == recipe.text_student.epochs and changed.train.epochs == 3
    assert changed.stored == recipe.stored, "the same examples for all seeds"
    assert recipe.changed() == recipe


def test_embeddings_of_another_width_are_refused(
    small_recipe: Recipe, recordings: Path, sentence_embedder: SentenceEmbedder, tmp_path: Path
) -> None:
    """Before anything is made where the width is known, else with the first batch."""
    with pytest.raises(ConfigError, match=r"\[text\] embeds in 8 dimensions, \[model\] in 6"):
        replace(small_recipe, model=replace(small_recipe.model, embedding_dim=6))
    train = replace(small_recipe.train, contrastive_target="given")
    recipe = replace(small_recipe, train=train, model=replace(small_recipe.model, embedding_dim=6))
    words = r"8 dimensions, .* audio embedding 6: set embedding_dim = 8 in \[model\]"
    for given in ({"sentence_embedder": sentence_embedder}, {"precomputed": 8}):
        CaptionObjective(train, **given, embedding_dim=8)  # type: ignore[arg-type]
        with pytest.raises(ConfigError, match=words):
            CaptionObjective(train, **given, embedding_dim=6)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=words):
        Run(recipe, SceneSource(recipe, recordings), tmp_path, sentence_embedder=sentence_embedder).train(
            RecordedProgress()
        )


def test_a_recipe_as_editors_save_it(tmp_path: Path) -> None:
    text = (RECIPES / "esc10-tiny.toml").read_text(encoding="utf-8")
    path = tmp_path / "recipe.toml"
    path.write_bytes(text.replace("\n", "\r\n").encode("utf-8-sig"))
    assert load_recipe(str(path)) == load_recipe("esc10-tiny")
    for encoding in ("utf-16", "latin-1"):
        path.write_bytes(f"# f\u00fcr alle\n{text}".encode(encoding, "replace"))
        with pytest.raises(ConfigError, match=r"not UTF-8.*; save it as UTF-8 \(line 1\)"):
            load_recipe(str(path))


def test_a_stem_that_is_taught_alone_needs_what_it_is_taught_with() -> None:
    recipe = load_recipe("everyday")
    assert recipe.stem is not None and recipe.tagging is not None and recipe.tagging.stem_stays
    with pytest.raises(ConfigError, match="stem_stays needs the table"):
        replace(recipe, stem=None)
    with pytest.raises(ConfigError, match=r"mixture_s in \[tagging\] to 1.495 or more"):
        replace(recipe, tagging=replace(recipe.tagging, mixture_s=1.49))
    replace(recipe, tagging=replace(recipe.tagging, mixture_s=1.495))
    rarer = replace(recipe.model, beats=replace(recipe.model.beats, stem_frames=148, stem_hop_frames=50))
    with pytest.raises(ConfigError, match="at most twice stem_hop_frames"):
        replace(recipe, model=rarer)
    with pytest.raises(ConfigError, match="go together|needs the table"):
        replace(recipe, tagging=None)
