"""Patterns of words in captions, as a user writes them in the configuration."""

from __future__ import annotations

import re
from collections.abc import Sequence


class WordPatterns:
    """Finds words in captions.

    A pattern is one word or several that follow each other; ``*`` stands for any letters of a word: ``dog bark*`` is
    found in "a dog barks", ``*phone`` in "a telephone rings". Upper and lower case are one.

    Args:
        patterns: see :func:`checked_patterns`.
    """

    def __init__(self, patterns: Sequence[str] = ()) -> None:
        self._patterns = tuple(patterns)
        self._found = [_compiled(pattern) for pattern in patterns]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, WordPatterns) and self._patterns == other._patterns

    def __hash__(self) -> int:
        return hash(self._patterns)

    def __bool__(self) -> bool:
        """Whether there is any pattern."""
        return bool(self._found)

    def matches(self, caption: str) -> bool:
        """Whether any pattern is found in a caption."""
        text = caption.casefold()
        return any(found.search(text) for found in self._found)


def checked_patterns(patterns: tuple[str, ...]) -> tuple[str, ...]:
    """Patterns of a setting as they are.

    Raises:
        ValueError: one of them holds no word, and would match everything or nothing.
    """
    for pattern in patterns:
        if not re.search(r"\w", pattern):
            raise ValueError(f"the pattern {pattern!r} holds no word")
    return patterns


def _compiled(pattern: str) -> re.Pattern[str]:
    words = [re.escape(word).replace(r"\*", r"\w*") for word in pattern.casefold().split()]
    return re.compile(r"(?<!\w)" + r"\W+".join(words) + r"(?!\w)")
