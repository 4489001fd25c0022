"""English verbs in the forms that captions have them in."""

from __future__ import annotations

import re
from collections.abc import Callable

_PRESENT = {"be": ("is", "are"), "have": ("has", "have"), "go": ("goes", "go"), "do": ("does", "do")}
_DOUBLED = re.compile(r"[^aeiou]*(?:qu)?[aeiou][bcdfgklmnprtvz]")
"""A verb of one syllable with one vowel before one consonant doubles it: hum, humming; but roar, bark, toss."""


def singular(verb: str) -> str:
    """The form that goes with one: "barks", "snaps and pops", "is played", "goes by"."""
    return _inflected(verb, _singular_word)


def plural(verb: str) -> str:
    """The form that goes with several: "bark", "snap and pop", "are played"."""
    return _inflected(verb, lambda word: _PRESENT.get(word, ("", word))[1])


def gerund(verb: str) -> str:
    """The participle: "barking", "snapping and popping", "being played"."""
    return _inflected(verb, _gerund_word)


def _inflected(verb: str, form: Callable[[str], str]) -> str:
    words = verb.split()
    return " ".join(form(word) if index == 0 or words[index - 1] == "and" else word for index, word in enumerate(words))


def _singular_word(word: str) -> str:
    if word in _PRESENT:
        return _PRESENT[word][0]
    if re.search(r"(?:s|x|z|ch|sh)$", word):
        return f"{word}es"
    return f"{word[:-1]}ies" if re.search(r"[^aeiou]y$", word) else f"{word}s"


def _gerund_word(word: str) -> str:
    if word == "be":
        return "being"
    if _DOUBLED.fullmatch(word):
        return f"{word}{word[-1]}ing"
    return f"{word[:-1]}ing" if re.search(r"[^eoy]e$", word) else f"{word}ing"
