"""Languages, by code: each has a check of what is wrong with a caption, registered by the package that has it."""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import entry_points
from typing import TypeAlias, cast

from edge_aac.errors import ConfigError
from edge_aac.fluency.errors import FluencyError

GROUP = "edge_aac.languages"
"""Entry points: language code, lower-case ("en", "pt-br") → a :data:`FluencyCheck`."""

FluencyCheck: TypeAlias = Callable[[str], tuple[FluencyError, ...]]
"""Caption → what is wrong with it, nothing for a fluent one. The caption is lower-case without punctuation; any other
string is read as far as it goes."""


def fluency_check(language: str) -> FluencyCheck | None:
    """The check of a language, else of the language that its region belongs to; None where neither has one.

    Args:
        language: BCP 47 tag, in any case: "en", "pt-BR".

    Raises:
        ConfigError: a package registers the language, but its code cannot be loaded.
    """
    registered = {point.name: point for point in entry_points(group=GROUP)}
    code = language.lower()
    point = registered.get(code) or registered.get(code.partition("-")[0])
    if point is None:
        return None
    try:
        return cast(FluencyCheck, point.load())
    except (ImportError, AttributeError) as error:
        raise ConfigError(
            f"the language {point.name!r} is registered as {point.value}, which cannot be loaded ({error}): "
            "install that package again"
        ) from error
