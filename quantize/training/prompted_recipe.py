"""The recipe of a prompted student: its sizes and how it is trained, read from one TOML file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from importlib import resources
from pathlib import Path
from typing import Any

from edge_aac.errors import ConfigError, InputMissingError
from edge_aac.toml_files import TomlError, parse_toml
from quantize.models.config import at_least_one, config_from, within
from quantize.models.prompted_student import PromptedConfig
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
        numbers: dict[str, Any] = {"epochs": epochs, "seed": seed}
        given = {name: value for name, value in numbers.items() if value is not None}
        return replace(self, train=replace(self.train, **given))


def load_prompted_recipe(name_or_path: str) -> PromptedRecipe:
    """Read a recipe of a prompted student, by the name of a shipped one or from a TOML file.

    Raises:
        InputMissingError: neither exists.
        ConfigError: it is no TOML, or a table, key or value is missing or unusable.
    """
    folder = resources.files("quantize") / "recipes" / "prompted"
    names = sorted(entry.name.removesuffix(".toml") for entry in folder.iterdir() if entry.name.endswith(".toml"))
    path: Any = folder / f"{name_or_path}.toml" if name_or_path in names else Path(name_or_path)
    if not path.is_file():
        raise InputMissingError(
            f"no recipe {name_or_path!r} of a prompted student: give a TOML file or one of {', '.join(names)} with "
            "--recipe"
        )
    try:
        _, table = parse_toml(path.read_bytes())
    except TomlError as error:
        raise ConfigError(f"recipe {name_or_path} is not valid TOML: {error}") from error
    if unknown := sorted(table.keys() - {"bundle", "writer", "train"}):
        raise ConfigError(f"unknown table [{unknown[0]}] in the recipe; known are: bundle, train, writer")
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
