"""TOML files that hold recipes: those that come with the package, and a user's own."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any

from edge_aac.errors import ConfigError, InputMissingError
from edge_aac.toml_files import TomlError, parse_toml


def shipped_names(folder: str = "") -> list[str]:
    """Names of the recipes in a folder of ``quantize/recipes``; by itself: of captioners."""
    return sorted(
        entry.name.removesuffix(".toml") for entry in _shipped(folder).iterdir() if entry.name.endswith(".toml")
    )


def recipe_table(name_or_path: str, folder: str = "", of_what: str = "") -> Mapping[str, Any]:
    """The tables of a recipe, by the name of a shipped one or from a TOML file.

    Args:
        name_or_path: as ``--recipe`` has it.
        folder: of ``quantize/recipes``, that holds the shipped ones.
        of_what: what it is a recipe of, for messages: "a prompted student"; nothing for a captioner.

    Raises:
        InputMissingError: neither exists, or the file cannot be read.
        ConfigError: it is no TOML.
    """
    names = shipped_names(folder)
    path: Any = _shipped(folder) / f"{name_or_path}.toml" if name_or_path in names else Path(name_or_path)
    try:
        if not path.is_file():
            kind = f" of {of_what}" if of_what else ""
            raise InputMissingError(
                f"no recipe {name_or_path!r}{kind}: give a TOML file or one of {', '.join(names)} with --recipe"
            )
        _, table = parse_toml(path.read_bytes())
    except OSError as error:
        raise InputMissingError(f"the recipe {name_or_path} cannot be read ({error.strerror})") from error
    except TomlError as error:
        raise ConfigError(f"recipe {name_or_path} is not valid TOML: {error}") from error
    return table


def check_tables(table: Mapping[str, Any], known: set[str]) -> None:
    """Refuse a table that no such recipe has.

    Raises:
        ConfigError: there is one.
    """
    if unknown := sorted(table.keys() - known):
        raise ConfigError(f"unknown table [{unknown[0]}] in the recipe; known are: {', '.join(sorted(known))}")


def _shipped(folder: str) -> Any:
    recipes = resources.files("quantize") / "recipes"
    return recipes / folder if folder else recipes
