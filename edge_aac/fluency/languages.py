"""Languages, by code: each has a check of what is wrong with a caption, registered by the package that has it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias, cast

from edge_aac.fluency.errors import FluencyError
from edge_aac.plugins import load, registered

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
    languages = registered(GROUP)
    code = language.lower()
    point = languages.get(code) or languages.get(code.partition("-")[0])
    return None if point is None else cast(FluencyCheck, load(point, f"the language {point.name!r}"))
