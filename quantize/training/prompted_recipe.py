"""The recipe of a prompted student: its sizes and how it is trained, read from one TOML file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from edge_aac.errors import ConfigError
from quantize.models.config import at_least_one, config_from, within
from quantize.models.prompted_student import PromptedConfig
from quantize.training.recipe_files import check_tables, recipe_table
from quantize.training.settings import TrainerSettings


@dataclass(frozen=True)
class PromptedSettings(TrainerSettings):
    """Settings of the training; a "scene" has several prompts.

    Attributes:
        prompts_per_scene: a caption among them.
        label_smoothing: of the cross-entropy with the answers.
        tokenizer_scenes: event lists whose questions the tokenizer is trained on, beside captions.
        validation_scenes: of the folds that the captioner was validated on, which are asked about after each epoch.
    """

    prompts_per_scene: int = 3
    label_smoothing: float = 0.05
    tokenizer_scenes: int = 6000
    validation_scenes: int = 150

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least_one(self, "prompts_per_scene", "tokenizer_scenes")
        within(self, "label_smoothing", 0.0, 1.0)
        within(self, "validation_scenes", 0, 100_000)


@dataclass(frozen=True)
class PromptedRecipe:
    """See ``quantize/recipes/prompted/everyday-ask.toml``."""

    name: str
    version: str
    writer: PromptedConfig
    train: PromptedSettings

    def changed(self, epochs: int | None = None, seed: int | None = None) -> PromptedRecipe:
        """The recipe with other epochs or another seed; None keeps its own."""
        return replace(self, train=self.train.overruled(epochs, seed))


def load_prompted_recipe(name_or_path: str) -> PromptedRecipe:
    """Read a recipe of a prompted student, by the name of a shipped one or from a TOML file.

    Raises:
        InputMissingError: neither exists.
        ConfigError: it is no TOML, or a table, key or value is missing or unusable.
    """
    table = recipe_table(name_or_path, "prompted", "a prompted student")
    check_tables(table, {"bundle", "writer", "train"})
    try:
        return prompted_recipe_from({**table["bundle"], "writer": table["writer"], "train": table["train"]})
    except KeyError as error:
        raise ConfigError(f"the recipe lacks {error.args[0]!r}; see quantize/recipes/prompted/") from error


def prompted_recipe_from(table: Mapping[str, Any]) -> PromptedRecipe:
    """The recipe whose ``asdict`` a table is.

    Raises:
        KeyError: a key is missing.
        ConfigError: a value is unusable.
    """
    writer, train = config_from(PromptedConfig, table["writer"]), config_from(PromptedSettings, table["train"])
    return PromptedRecipe(str(table["name"]), str(table["version"]), writer, train)
