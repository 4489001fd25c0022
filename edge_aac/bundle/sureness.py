"""How sure a captioner must be of a sound to name it, as the manifest of its bundle states it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pydantic import Field, field_validator

from edge_aac.bundle import limits
from edge_aac.bundle.json_text import shown
from edge_aac.bundle.section import Axis, Name, Number, Section

SOUNDS = "sounds"
"""Output of an encoder that has it: the confidence (0 to 1) of each sound in a window, (windows, sounds)."""


class SurenessRule(Section):
    """Rule for naming sounds, for bundles whose encoder tells how sure it is of each.

    Attributes:
        threshold: confidence below which a sound is not named.
        names: the sounds of the encoder's output, in its order: all those that the bundle lists, each once.
        words: words that every caption may hold, whatever is heard: those of the captions that name nothing, articles,
            counts, adverbs. They are free where they stand within the name of a sound, too.
    """

    threshold: Number = Field(ge=0.0, le=1.0)
    names: list[Name] = Field(min_length=1, max_length=limits.MAX_LABELS)
    words: list[Name] = Field(min_length=1, max_length=limits.MAX_LABELS)

    @field_validator("names")
    @classmethod
    def _each_once(cls, names: list[str]) -> list[str]:
        if len(set(names)) < len(names):
            twice = next(name for number, name in enumerate(names) if name in names[:number])
            raise ValueError(f"the sound {shown(twice)} stands twice")
        return names


def check_sureness(
    rule: SurenessRule | None, lists_sounds: bool, encoders: Sequence[Mapping[str, Sequence[Axis]]]
) -> None:
    """Refuse a rule for naming sounds in a manifest that has not what it is a rule of.

    Args:
        rule: the manifest's rule; None is no rule.
        lists_sounds: whether the bundle lists its sounds and their words.
        encoders: inputs and outputs of each form of its encoder, with their shapes.

    Raises:
        ValueError: no words of the sounds are listed, or an encoder does not tell how sure it is.
    """
    if rule is None:
        return
    if not lists_sounds:
        raise ValueError("there is a rule for sureness, but no list of the sounds with their words")
    if any(SOUNDS not in shapes for shapes in encoders):
        raise ValueError("there is a rule for sureness, but an encoder that does not tell how sure it is of each sound")


def check_listed(names: Sequence[str], listed: Sequence[str]) -> None:
    """Refuse sounds of an encoder that are not those whose words a bundle lists.

    Args:
        names: the sounds of the encoder's output.
        listed: the sounds of the list.

    Raises:
        ValueError: one has a sound that the other has not.
    """
    if missing := [name for name in names if name not in set(listed)]:
        raise ValueError(f"sureness.names has {shown(missing[0])}, for which no words are listed")
    if unheard := [name for name in listed if name not in set(names)]:
        raise ValueError(
            f"{len(listed)} sounds are listed, {len(names)} are in sureness.names: {shown(unheard[0])} is not among "
            "them"
        )
