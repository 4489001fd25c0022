"""Languages, by code: what a package registers for each, to check captions and to split them into sounds."""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import EntryPoint
from typing import TypeAlias, cast

from edge_aac.fluency.errors import FluencyError
from edge_aac.plugins import load, registered

PHRASES_GROUP = "edge_aac.sound_phrases"
"""Entry points: language code, lower-case → a :data:`PhraseSplitter`."""

PhraseSplitter: TypeAlias = Callable[[str], tuple[str, ...]]
"""Caption → the phrases that each name a sound in it, at least one: "a dog barks while rain falls" → "a dog barks",
"rain falls". The caption is lower-case without punctuation; any other string is read as far as it goes."""

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
    point = _registered(GROUP, language)
    return None if point is None else cast(FluencyCheck, load(point, f"the language {point.name!r}"))


def phrase_splitter(language: str) -> PhraseSplitter | None:
    """What splits a language's captions into sounds, chosen as by :func:`fluency_check`; None where nothing does.

    Args:
        language: BCP 47 tag, in any case: "en", "pt-BR".

    Raises:
        ConfigError: a package registers it, but its code cannot be loaded.
    """
    point = _registered(PHRASES_GROUP, language)
    return None if point is None else cast(PhraseSplitter, load(point, f"the phrases of {point.name!r}"))


def _registered(group: str, language: str) -> EntryPoint | None:
    points = registered(group)
    code = language.lower()
    return points.get(code) or points.get(code.partition("-")[0])
