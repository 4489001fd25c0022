"""What every part of a manifest is made of: types with bounds, and the base of its classes."""

from __future__ import annotations

import unicodedata
from typing import Annotated, TypeAlias

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, Strict, StringConstraints

from edge_aac.bundle import limits


def _on_one_line(text: str) -> str:
    """Refuse what would break a log or a terminal: control characters, line ends."""
    if any(unicodedata.category(character) in {"Cc", "Cs", "Zl", "Zp"} for character in text):
        raise ValueError("a name has no control characters and no line ends")
    return text


# A boolean or a string of digits is no number, though pydantic would take it for one.
Count: TypeAlias = Annotated[int, Strict()]
Number: TypeAlias = Annotated[float, Strict()]
Name: TypeAlias = Annotated[str, StringConstraints(max_length=limits.MAX_NAME), AfterValidator(_on_one_line)]
Text: TypeAlias = Annotated[str, StringConstraints(max_length=limits.MAX_TEXT)]
Axis: TypeAlias = Annotated[int, Strict(), Field(ge=0)] | Name
"""Size of an axis of a graph, or the name of one whose size it leaves open; 0 is open and has no name."""


class Section(BaseModel):
    """A part of a manifest: immutable, and no key is passed over."""

    model_config = ConfigDict(frozen=True, defer_build=True, extra="forbid")
