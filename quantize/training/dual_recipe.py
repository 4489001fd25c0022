"""The recipe of a student of CLAP: its sizes and how it is trained, read from one TOML file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from edge_aac.audio.features import NUM_MEL_BINS
from edge_aac.errors import ConfigError
from quantize.models.config import TextEmbedderConfig, at_least_one, config_from, not_negative, within
from quantize.models.dual_student import SoundTowerConfig
from quantize.training.recipe_files import check_tables, recipe_table
from quantize.training.settings import TrainerSettings

FOLDER = "dual_encoder"
"""Of the shipped recipes."""


@dataclass(frozen=True)
class DualSettings(TrainerSettings):
    """Settings of the training; a "scene" is a window of one recording.

    Attributes:
        windows: that are drawn and heard by the teacher once, before the training; epochs go through them.
        contrastive_weight, feature_weight, similarity_weight: of the terms of
            :class:`quantize.training.dual_objective.DualObjective`.
        masks, mask_bins: number and greatest width of the stripes of the mel axis that the student does not hear.
        held_out: folds whose recordings are not learnt from.
        validation_windows: of these, which the student is scored with after each epoch.
        teacher_prompt: what the teacher reads of a text, which takes the place of ``{}``; the student reads the bare
            text.
    """

    windows: int = 40_000
    contrastive_weight: float = 0.5
    feature_weight: float = 5.0
    similarity_weight: float = 1.0
    masks: int = 2
    mask_bins: int = 14
    held_out: tuple[int, ...] = ()
    validation_windows: int = 500
    teacher_prompt: str = "{}"

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least_one(self, "windows")
        not_negative(self, "contrastive_weight", "feature_weight", "similarity_weight", "masks", "validation_windows")
        within(self, "mask_bins", 0, NUM_MEL_BINS)
        if self.teacher_prompt.count("{}") != 1:
            raise ConfigError(f"teacher_prompt is {self.teacher_prompt!r}; it must hold {{}} once, for the text")
        if self.batch_scenes < 2:  # noqa: PLR2004 - one alone has nothing to be compared with
            raise ConfigError("batch_scenes is 1; texts and sounds of a batch are compared: it must be at least 2")


@dataclass(frozen=True)
class DualRecipe:
    """See ``quantize/recipes/dual_encoder/clap-small.toml``.

    Attributes:
        license: of the bundle; what its teacher and its recordings ask for is for whoever passes it on to know.
        sound, text: sizes of the towers; ``text.vocab_size`` is that of the pruned vocabulary, whatever is said.
    """

    name: str
    version: str
    license: str
    sound: SoundTowerConfig
    text: TextEmbedderConfig
    train: DualSettings

    def changed(self, epochs: int | None = None, seed: int | None = None) -> DualRecipe:
        """The recipe with other epochs or another seed; None keeps its own."""
        return replace(self, train=self.train.overruled(epochs, seed))


def load_dual_recipe(name_or_path: str) -> DualRecipe:
    """Read a recipe of a student of CLAP, by the name of a shipped one or from a TOML file.

    Raises:
        InputMissingError: neither exists.
        ConfigError: it is no TOML, or a table, key or value is missing or unusable.
    """
    table = recipe_table(name_or_path, FOLDER, "a dual encoder")
    check_tables(table, {"bundle", "sound", "text", "train"})
    try:
        parts = {name: table[name] for name in ("sound", "text", "train")}
        return dual_recipe_from({**table["bundle"], **parts})
    except KeyError as error:
        raise ConfigError(f"the recipe lacks {error.args[0]!r}; see quantize/recipes/{FOLDER}/") from error


def dual_recipe_from(table: Mapping[str, Any]) -> DualRecipe:
    """The recipe whose ``asdict`` a table is.

    Raises:
        KeyError: a key is missing.
        ConfigError: a value is unusable.
    """
    kinds = {"sound": SoundTowerConfig, "text": TextEmbedderConfig, "train": DualSettings}
    parts = {name: config_from(kind, table[name]) for name, kind in kinds.items()}
    return DualRecipe(str(table["name"]), str(table["version"]), str(table["license"]), **parts)
