"""Captions that tell of people talking, by language: each has a check, registered by the package that has it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias, cast

from edge_aac.plugins import load, registered

GROUP = "edge_aac.speech"
"""Entry points: language code, lower-case ("en", "pt-br") → a :data:`SpeechCheck`."""

SpeechCheck: TypeAlias = Callable[[str], bool]
"""Caption → whether it tells of people talking. Any string is read as far as it goes; a doubt is a yes."""


def speech_check(language: str) -> SpeechCheck | None:
    """The check of a language, else of the language that its region belongs to; None where neither has one.

    Args:
        language: BCP 47 tag, in any case: "en", "pt-BR".

    Raises:
        ConfigError: a package registers the language, but its code cannot be loaded.
    """
    languages = registered(GROUP)
    code = language.lower()
    point = languages.get(code) or languages.get(code.partition("-")[0])
    return None if point is None else cast(SpeechCheck, load(point, f"the speech check of the language {point.name!r}"))
