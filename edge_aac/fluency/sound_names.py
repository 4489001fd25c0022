"""Which sounds a text names, where the sounds that there are words for are known: a bundle may list them.

A sound is named by a subject with a verb of it ("a dog … barks"), or by a noun ("barking"). A subject by itself names
the sound that all sounds with that subject are examples of: "a dog" is a dog, whatever it does; "a glass" may ring or
be filled, and names nothing. So a text that says less names a coarser sound.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

Words: TypeAlias = tuple[str, ...]


@dataclass(frozen=True)
class Say:
    """Subjects and verbs that go together.

    Attributes:
        subjects: without articles, in every number: "dog", "dogs".
        verbs: in every form: "bark", "barks", "barking". Of a passive also the participle alone.
    """

    subjects: tuple[str, ...]
    verbs: tuple[str, ...]


@dataclass(frozen=True)
class SoundWords:
    """The words of one sound.

    Attributes:
        parents: names of the coarser sounds that it is an example of.
        says: who does what.
        nouns: phrases that name the sound itself, without articles.
    """

    parents: tuple[str, ...] = ()
    says: tuple[Say, ...] = ()
    nouns: tuple[str, ...] = ()


class Naming(NamedTuple):
    """A sound that is named in a text.

    Attributes:
        sound: name of the sound.
        start: number of the first word of its name.
        end: number of the word after the last one of its name.
    """

    sound: str
    start: int
    end: int


class SoundNames:
    """Finds the sounds that a text names.

    Args:
        sounds: name of each sound → its words; every parent is among them.
        connectives: words that no verb of a subject before them follows.

    Attributes:
        sounds, connectives: as given.

    Raises:
        ValueError: the parents of a sound lead back to it, or are not listed.
    """

    def __init__(self, sounds: Mapping[str, SoundWords], connectives: Iterable[str]) -> None:
        self.sounds = dict(sounds)
        self.connectives = frozenset(connectives)
        self._above: dict[str, tuple[str, ...]] = {}
        for name in self.sounds:
            self._note_ancestors(name, ())
        self._verbs: dict[Words, dict[Words, str]] = {}
        self._nouns: dict[Words, str] = {}
        owners: dict[Words, list[str]] = {}
        for name, words in self.sounds.items():
            for say in words.says:
                verbs = {tuple(verb.split()): name for verb in say.verbs}
                for subject in say.subjects:
                    key = tuple(subject.split())
                    self._verbs.setdefault(key, {}).update(verbs)
                    owners.setdefault(key, []).append(name)
            self._nouns.update({tuple(noun.split()): name for noun in words.nouns})
        self._bare = {subject: self.common(names) for subject, names in owners.items()}
        self._longest = max((len(key) for key in (*self._verbs, *self._nouns)), default=0)
        self._longest_verb = {subject: max(map(len, verbs), default=0) for subject, verbs in self._verbs.items()}

    def ancestors(self, sound: str) -> tuple[str, ...]:
        """All sounds that it is an example of, the nearest first."""
        return self._above[sound]

    def related(self, one: str, other: str) -> bool:
        """Whether two names may be of one sound: they are the same, or one is an example of the other."""
        return one == other or one in self._above[other] or other in self._above[one]

    def common(self, sounds: Iterable[str]) -> str | None:
        """The least coarse sound that all of them are, or are examples of; None where there is none."""
        chains = [(name, *self._above[name]) for name in sounds]
        return next((name for name in (chains or [()])[0] if all(name in chain for chain in chains)), None)

    def find(self, words: Sequence[str]) -> tuple[Naming, ...]:
        """The sounds that words name, in their order; an article is no part of a name.

        Args:
            words: of a text, lower-case without punctuation.
        """
        found: list[Naming] = []
        for naming in self._scan(words):
            last = found[-1] if found else None
            if last is not None and last.end == naming.start and self.related(last.sound, naming.sound):
                # "a barking dog": the more exact of the two.
                exact = max((last.sound, naming.sound), key=lambda name: len(self._above[name]))
                found[-1] = Naming(exact, last.start, naming.end)
            else:
                found.append(naming)
        return tuple(found)

    def named(self, text: str) -> tuple[str, ...]:
        """Names of the sounds that a text names, each once, in the order of their first naming."""
        return tuple(dict.fromkeys(naming.sound for naming in self.find(text.split())))

    def _scan(self, words: Sequence[str]) -> Iterator[Naming]:
        position = 0
        while position < len(words):
            naming, after = self._at(words, position)
            if naming is not None:
                yield naming
            position = after

    def _at(self, words: Sequence[str], position: int) -> tuple[Naming | None, int]:
        """The name that begins at a word, and where to go on."""
        for length in range(min(self._longest, len(words) - position), 0, -1):
            key = tuple(words[position : position + length])
            end = position + length
            if key in self._verbs:
                verb = self._verb(key, words, end)
                if verb is not None:
                    return Naming(verb.sound, position, verb.end), verb.end
                sound = self._nouns.get(key) or self._bare[key]
                return (None if sound is None else Naming(sound, position, end)), end
            if key in self._nouns:
                return Naming(self._nouns[key], position, end), end
        return None, position + 1

    def _verb(self, subject: Words, words: Sequence[str], start: int) -> Naming | None:
        """The first verb of a subject in its clause."""
        verbs = self._verbs[subject]
        for position in range(start, len(words)):
            for length in range(min(self._longest_verb[subject], len(words) - position), 0, -1):
                sound = verbs.get(tuple(words[position : position + length]))
                if sound is not None:
                    return Naming(sound, position, position + length)
            if words[position] in self.connectives:
                return None
        return None

    def _note_ancestors(self, name: str, below: tuple[str, ...]) -> None:
        """Find what is above a sound, once for each."""
        if name in below:
            raise ValueError(f"the parents of {name} lead back to it")
        if name not in self.sounds:
            raise ValueError(f"{below[-1]} has the parent {name}, which is not listed")
        if name in self._above:
            return
        parents = self.sounds[name].parents
        for parent in parents:
            self._note_ancestors(parent, (*below, name))
        above = dict.fromkeys(parents)
        for parent in parents:
            above.update(dict.fromkeys(self._above[parent]))
        # Nearest first: what is above another in the list has fewer above itself, and comes after it.
        self._above[name] = tuple(sorted(above, key=lambda one: -len(self._above[one])))
