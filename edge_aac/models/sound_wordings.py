"""How a listed sound is said: "dog barks", "dogs barking" and "barking" are wordings of one sound."""

from __future__ import annotations

from collections.abc import Iterator

from edge_aac.fluency.sound_names import SoundNames
from edge_aac.models.tokens import plain_text

_ARTICLES = ("a", "an", "the")
"""They are no part of a sound's words, and may stand before them."""


class SoundWordings:
    """The wordings of listed sounds.

    Args:
        names: the sounds, with subjects, verbs and nouns.
    """

    def __init__(self, names: SoundNames) -> None:
        self._names = names
        self._sounds: dict[str, str] = {}
        for name in names.sounds:
            for wording in self._said(name):
                self._sounds.setdefault(wording, name)
        # A name is its sound, whatever else is said in the same words.
        self._sounds |= {_spaced(name): name for name in names.sounds}

    def sound_of(self, label: str) -> str | None:
        """The sound that a label names: by its name in the list ("dog_bark", "dog bark") or by one of its wordings,
        with an article or without; None where it names none."""
        text = _spaced(label)
        first, _, rest = text.partition(" ")
        return self._sounds.get(text) or (self._sounds.get(rest) if first in _ARTICLES else None)

    def of(self, sound: str) -> tuple[str, ...]:
        """All wordings of a sound, at least one: each subject with each form of each verb, and the nouns; as the list
        has them, without articles."""
        return tuple(dict.fromkeys(self._said(sound))) or (_spaced(sound),)

    def _said(self, sound: str) -> Iterator[str]:
        words = self._names.sounds[sound]
        for say in words.says:
            for subject in say.subjects:
                yield from (f"{subject} {verb}" for verb in say.verbs)
        yield from words.nouns


def _spaced(name: str) -> str:
    return plain_text(name.replace("_", " "))
