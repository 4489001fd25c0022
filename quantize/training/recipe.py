"""A recipe: everything that decides a model, read from one TOML file."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from importlib import resources
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from edge_aac.captioner.bundle import DecodingRules, RerankWeights
from edge_aac.errors import ConfigError, InputMissingError, first_complaint
from quantize.data.lexicon import LABELS
from quantize.data.scenes import SceneRecipe
from quantize.models.config import CaptionerConfig, TextEmbedderConfig, captioner_config, config_from

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


@dataclass(frozen=True)
class TrainSettings:
    """How the model is fitted.

    Attributes:
        epochs: passes of ``scenes_per_epoch`` fresh scenes each; no scene is ever drawn twice.
        captions_per_scene: the decoder learns all of them, the contrastive term the first.
        ema_decay: of the moving average of the weights, which is what is validated and exported.
        freq_mask_bins, time_mask_frames: greatest widths of SpecAugment's masks (Park et al., 2019). Time masks are
            kept short: one that hides a whole bark makes "twice" untrue.
        corpus_scenes: scenes whose captions, 60 of each, the tokenizer is trained on.
        workers: processes that mix scenes; 0 mixes them in the training process.
    """

    seed: int = 1
    epochs: int = 20
    scenes_per_epoch: int = 2400
    batch_scenes: int = 24
    captions_per_scene: int = 3
    learning_rate: float = 1e-3
    warmup_steps: int = 200
    weight_decay: float = 0.02
    clip_norm: float = 1.0
    label_smoothing: float = 0.1
    contrastive_weight: float = 1.0
    contrastive_temperature: float = 0.1
    activity_weight: float = 0.0
    ema_decay: float = 0.997
    freq_masks: int = 2
    freq_mask_bins: int = 20
    time_masks: int = 2
    time_mask_frames: int = 40
    validation_scenes: int = 80
    corpus_scenes: int = 1000
    workers: int = 1


@dataclass(frozen=True)
class Folds:
    """Which recordings are trained on, and which are only ever validated on (none: no validation)."""

    train: tuple[int, ...]
    validation: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if shared := set(self.train) & set(self.validation):
            raise ConfigError(f"fold {min(shared)} is both trained on and validated on; take it out of one of the two")


@dataclass(frozen=True)
class Recipe:
    """See ``quantize/recipes/esc10-tiny.toml`` for every table.

    Attributes:
        license: under which the weights may be passed on, as the recordings' licences have it.
        source: what the recordings are and who collected them.
    """

    name: str
    version: str
    license: str
    source: str
    folds: Folds
    model: CaptionerConfig
    text: TextEmbedderConfig
    scenes: SceneRecipe
    train: TrainSettings
    decoding: Mapping[str, Any] = field(default_factory=dict)
    rerank: Mapping[str, float] = field(default_factory=dict)

    def with_vocabulary(self, vocab_size: int) -> Recipe:
        """The same recipe for a tokenizer of ``vocab_size`` entries."""
        decoder = replace(self.model.decoder, vocab_size=vocab_size)
        return replace(self, model=replace(self.model, decoder=decoder), text=replace(self.text, vocab_size=vocab_size))


def recipe_names() -> list[str]:
    """Names of the recipes that come with the package."""
    folder = resources.files("quantize") / "recipes"
    return sorted(entry.name.removesuffix(".toml") for entry in folder.iterdir() if entry.name.endswith(".toml"))


def load_recipe(name_or_path: str) -> Recipe:
    """Read a recipe by the name of a shipped one, or from a TOML file.

    Raises:
        InputMissingError: neither exists.
        ConfigError: not TOML, or a table, key or value that no recipe has.
    """
    if name_or_path in recipe_names():
        text = (resources.files("quantize") / "recipes" / f"{name_or_path}.toml").read_text(encoding="utf-8")
    elif Path(name_or_path).is_file():
        text = Path(name_or_path).read_text(encoding="utf-8")
    else:
        raise InputMissingError(
            f"no recipe {name_or_path!r}: give a TOML file or one of {', '.join(recipe_names())} with --recipe"
        )
    try:
        return parse_recipe(tomllib.loads(text))
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"recipe {name_or_path} is not valid TOML: {error}") from error


def parse_recipe(table: Mapping[str, Any]) -> Recipe:
    """Build a recipe from its TOML tables."""
    known = {"bundle", "folds", "model", "text", "scenes", "train", "decoding", "rerank"}
    if unknown := sorted(set(table) - known):
        raise ConfigError(f"unknown table [{unknown[0]}] in the recipe; known are: {', '.join(sorted(known))}")
    try:
        bundle = table["bundle"]
        # One output of the encoder's predictor for each class there is a word for.
        beats = {**table["model"].get("beats", {}), "classes": len(LABELS)}
        for section, kind in (("decoding", DecodingRules), ("rerank", RerankWeights)):
            kind.model_validate(table[section])
        return Recipe(
            name=bundle["name"],
            version=bundle["version"],
            license=bundle["license"],
            source=bundle["source"],
            folds=config_from(Folds, table["folds"]),
            model=captioner_config({**table["model"], "beats": beats}),
            text=config_from(TextEmbedderConfig, table["text"]),
            scenes=config_from(SceneRecipe, table.get("scenes", {})),
            train=config_from(TrainSettings, table["train"]),
            decoding=dict(table["decoding"]),
            rerank=dict(table["rerank"]),
        )
    except KeyError as error:
        raise ConfigError(f"the recipe lacks {error.args[0]!r}; quantize/recipes/ holds a complete one") from error
    except ValidationError as error:
        raise ConfigError(f"the recipe's [{section}] is unusable: {first_complaint(error)}") from error
