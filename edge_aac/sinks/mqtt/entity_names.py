"""Names of the entities that Home Assistant shows, and how the configuration gives others."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

Key = Literal[
    "caption",
    "event",
    "problem",
    "state",
    "level",
    "latency",
    "lost",
    "listening",
    "threshold",
    "hop",
    "temperature",
    "update",
]

NAMES: dict[Key, str] = {
    "caption": "caption",
    "event": "event",
    "problem": "problem",
    "state": "state",
    "level": "level",
    "latency": "latency",
    "lost": "lost sound",
    "listening": "listening",
    "threshold": "threshold",
    "hop": "hop",
    "temperature": "Temperature",
    "update": "Version",
}
_LONGEST_NAME = 100


def parse_names(texts: Iterable[str]) -> dict[str, str]:
    """Names as a configuration gives them, each as ``KEY=NAME``, such as ``caption=Gehört``.

    Raises:
        ValueError: one is of another form, or names no entity that there is.
    """
    names: dict[str, str] = {}
    for text in texts:
        key, equals, name = text.partition("=")
        key, name = key.strip(), name.strip()
        if not equals or not name:
            raise ValueError(f"{text!r} gives no name: write KEY=NAME, such as caption=Gehört")
        if key not in NAMES:
            raise ValueError(f"there is no entity {key!r}: use {', '.join(NAMES)}")
        if len(name) > _LONGEST_NAME or not name.isprintable():
            raise ValueError(f"the name of {key} has more than {_LONGEST_NAME} characters, or control characters")
        names[key] = name
    return names
