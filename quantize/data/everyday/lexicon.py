"""The sounds that captions name, read from a file that people write and review: words, classes, parents.

``english.toml`` says what each key means. What the file must hold is checked when it is read: each class is one of
AudioSet's and belongs to one sound, each parent is above its sound in AudioSet's tree, no two sounds are said alike.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edge_aac.errors import DataError
from edge_aac.fluency.sound_names import Say, SoundNames, SoundWords
from edge_aac.toml_files import TomlError, parse_toml
from quantize.data.everyday.inflection import gerund, plural, singular
from quantize.data.everyday.ontology import Ontology, audioset

ENGLISH = Path(__file__).with_name("english.toml")
CONNECTIVES = ("and", "while", "then", "as", "before", "after", "with", "over", "followed", "afterwards")
"""Words that part the sounds of a caption."""

_ARTICLES = ("a ", "an ", "the ")
_SAYABLE_TOPS = frozenset({"Animal", "Music"})
"""Tops of AudioSet's tree that are classes themselves, and things to say; all others are shelves, not sounds."""


@dataclass(frozen=True)
class Clause:
    """One way to say a sound.

    Attributes:
        subject: with its article, where it has one: "a dog", "rain", "footsteps".
        verb: in its base form: "bark", "be played".
        several: whether the subject is in the plural.
    """

    subject: str
    verb: str
    several: bool

    @property
    def present(self) -> str:
        """What the subject does: "barks", "bark"."""
        return plural(self.verb) if self.several else singular(self.verb)

    @property
    def gerund(self) -> str:
        """What it is heard doing: "barking"."""
        return gerund(self.verb)


@dataclass(frozen=True)
class Sound:
    """A thing to name.

    Attributes:
        name: its key in the file.
        classes: AudioSet's classes that are this sound.
        parents: coarser sounds that it is an example of, by AudioSet's tree.
        also: others that it is an example of, though the tree has no such branch.
        clauses: ways to say it.
        nouns: phrases that name the sound itself, with an article where they have one.
        labels: labels of recordings that are this sound.
        any: how many there are is not heard.
        steady: it may go on and on.
        burst_s: shortest and longest burst of one single sound, in seconds; None where single ones are not counted.
        speech: it tells of a voice that carries words.
    """

    name: str
    classes: tuple[str, ...]
    clauses: tuple[Clause, ...]
    parents: tuple[str, ...] = ()
    also: tuple[str, ...] = ()
    nouns: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()
    any: bool = False
    steady: bool = False
    burst_s: tuple[float, float] | None = None
    speech: bool = False

    @property
    def above(self) -> tuple[str, ...]:
        """The sounds directly above it."""
        return (*self.parents, *self.also)


class Lexicon:
    """All sounds of a language.

    Args:
        sounds: name → sound.
        background: AudioSet's classes that are no sound of a thing: noise, hum, silence, rooms.
        vague: classes that say too little of what is heard to name anything.
        ontology: AudioSet's tree.

    Attributes:
        names: finds them in texts.
    """

    def __init__(
        self,
        sounds: Mapping[str, Sound],
        background: tuple[str, ...] = (),
        vague: tuple[str, ...] = (),
        ontology: Ontology | None = None,
    ) -> None:
        self.sounds = dict(sounds)
        self.background, self.vague = background, vague
        self.ontology = ontology or audioset()
        self.names = SoundNames(self.words(), CONNECTIVES)

    def __getitem__(self, name: str) -> Sound:
        return self.sounds[name]

    @cached_property
    def by_label(self) -> dict[str, str]:
        """Label of a recording → sound."""
        return {label: sound.name for sound in self.sounds.values() for label in sound.labels}

    @cached_property
    def unrelated(self) -> dict[str, npt.NDArray[np.intp]]:
        """Sound → places, in the order of :attr:`sounds`, of those that are neither it, nor above nor below it."""
        names = list(self.sounds)
        return {
            name: np.array([i for i, other in enumerate(names) if not self.names.related(name, other)], np.intp)
            for name in names
        }

    @cached_property
    def subjects(self) -> frozenset[str]:
        """Everything that does something, without articles: "dog", "rain"."""
        return frozenset(bare(clause.subject) for sound in self.sounds.values() for clause in sound.clauses)

    @cached_property
    def alphabetical(self) -> tuple[str, ...]:
        """All sounds by their names."""
        return tuple(sorted(self.sounds))

    @cached_property
    def order(self) -> tuple[str, ...]:
        """All sounds, each before those that it is an example of."""
        return tuple(sorted(self.sounds, key=lambda name: -len(self._longest_chain(name))))

    @cached_property
    def class_sounds(self) -> dict[str, str | None]:
        """Class of AudioSet → the sound that it is, or the nearest that it is an example of; None for no sound.

        A class below several sounds of which none is an example of another is one of what these have in common.
        """
        listed = {name: sound.name for sound in self.sounds.values() for name in sound.classes}
        silent = {*self.background, *self.vague}

        def owner(name: str) -> str | None:
            if name in listed or name in silent:
                return listed.get(name)
            above = [found for parent in self.ontology.nodes[name].parents if (found := owner(parent))]
            return self.names.common(above) if above else None

        return {node.name: owner(node.name) for node in self.ontology.classes}

    def is_top(self, name: str) -> bool:
        """Whether a sound is the top of AudioSet's tree, "an animal" or "music"."""
        return any(self.ontology.is_top(found) for found in self.sounds[name].classes)

    def words(self) -> dict[str, SoundWords]:
        """What a text is searched for, of each sound."""
        return {name: _words(sound) for name, sound in self.sounds.items()}

    def _longest_chain(self, name: str) -> tuple[str, ...]:
        chains = [self._longest_chain(parent) for parent in self.sounds[name].above]
        return (name, *max(chains, key=len, default=()))


def sound_of(lexicon: Lexicon, label: str) -> str | None:
    """The sound that a label of a stored sound means: a label of the lexicon, or a class of AudioSet; else None."""
    return lexicon.by_label.get(label) or lexicon.class_sounds.get(label)


@lru_cache(maxsize=1)
def english() -> Lexicon:
    """The lexicon that comes with the package."""
    return load_lexicon(ENGLISH)


def load_lexicon(path: Path) -> Lexicon:
    """Read a lexicon and check it.

    Raises:
        DataError: it is no TOML, a sound lacks words or has unknown keys, or it breaks a rule of the module.
    """
    try:
        _, tables = parse_toml(path.read_bytes())
    except (OSError, TomlError) as error:
        raise DataError(f"{path.name} cannot be read: {error}") from error
    background, vague = (_strings(tables.pop(key, [])) for key in ("background", "vague"))
    sounds = {name: _sound(name, table) for name, table in tables.items()}
    faults = _faults(sounds, background + vague)
    if faults:
        raise DataError(f"{path.name}: {'; '.join(faults[:5])}")
    return Lexicon(sounds, background, vague)


_KEYS = {field.name for field in fields(Sound)} - {"name", "clauses", "nouns"} | {"say", "noise"}


def _sound(name: str, table: Any) -> Sound:
    if not isinstance(table, dict) or (unknown := sorted(set(table) - _KEYS)):
        raise DataError(f"the sound {name!r} has a key that no sound has: {table if table is None else unknown}")
    try:
        clauses = tuple(clause for line in _strings(table["say"]) for clause in _clauses(line))
        burst = table.get("burst_s")
        return Sound(
            name,
            _strings(table["classes"]),
            clauses,
            parents=_strings(table.get("parents", [])),
            also=_strings(table.get("also", [])),
            nouns=_strings(table.get("noise", [])),
            labels=_strings(table.get("labels", [])),
            any=bool(table.get("any", False)),
            steady=bool(table.get("steady", False)),
            burst_s=None if burst is None else (float(burst[0]), float(burst[1])),
            speech=bool(table.get("speech", False)),
        )
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise DataError(
            f"the sound {name!r} cannot be read ({error!r}): it needs classes and say, as the head of the file tells"
        ) from error


def _strings(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise TypeError(f"{value!r} is no list of strings")
    return tuple(value)


def _clauses(line: str) -> list[Clause]:
    """Ways to say a sound, of a line "singular subjects | plural subjects | verbs"."""
    one, several, verbs = ([part.strip() for part in cell.split(",") if part.strip()] for cell in line.split("|"))
    return [
        Clause(subject, verb, number)
        for subjects, number in ((one, False), (several, True))
        for subject in subjects
        for verb in verbs
    ]


def bare(phrase: str) -> str:
    """A phrase without its article."""
    return next((phrase[len(article) :] for article in _ARTICLES if phrase.startswith(article)), phrase)


def _words(sound: Sound) -> SoundWords:
    verbs: dict[str, list[str]] = {}
    for clause in sound.clauses:
        verbs.setdefault(bare(clause.subject), []).append(clause.verb)
    groups: dict[tuple[str, ...], list[str]] = {}
    for subject, found in verbs.items():
        groups.setdefault(tuple(dict.fromkeys(found)), []).append(subject)
    says = tuple(
        Say(tuple(subjects), tuple(dict.fromkeys(form for verb in found for form in _forms(verb))))
        for found, subjects in groups.items()
    )
    return SoundWords(sound.above, says, tuple(bare(noun) for noun in sound.nouns))


def _forms(verb: str) -> tuple[str, ...]:
    if verb.startswith("be "):
        return (verb.removeprefix("be "),)
    return tuple(dict.fromkeys((singular(verb), plural(verb), gerund(verb))))


def _faults(sounds: Mapping[str, Sound], silent: tuple[str, ...]) -> list[str]:
    nodes = audioset().nodes
    faults = [f"{name!r} is no class of AudioSet" for name in silent if name not in nodes]
    listed = Counter([*silent, *(name for sound in sounds.values() for name in sound.classes)])
    faults += [f"the class {name!r} stands twice" for name, count in listed.items() if count > 1]
    labels = Counter(label for sound in sounds.values() for label in sound.labels)
    faults += [f"the label {label!r} stands twice" for label, count in labels.items() if count > 1]
    for sound in sounds.values():
        faults += _tree_faults(sound, sounds)
    said: dict[tuple[str, ...], str] = {}
    for sound in sounds.values():
        words = _words(sound)
        keys = {(subject, verb) for say in words.says for subject in say.subjects for verb in say.verbs}
        for key in {*keys, *((noun,) for noun in words.nouns)}:
            other = said.setdefault(key, sound.name)
            if other != sound.name:
                faults.append(f"{' '.join(key)!r} is said of {other} and of {sound.name}")
    return faults


def _tree_faults(sound: Sound, sounds: Mapping[str, Sound]) -> list[str]:
    tree = audioset()
    if unknown := [name for name in sound.classes if name not in tree.nodes]:
        return [f"{sound.name} has the class {unknown[0]!r}, which AudioSet has not"]
    faults = [] if sound.classes and sound.clauses else [f"{sound.name} has no class, or no words"]
    faults += [
        f"{sound.name} is the top {name!r} of AudioSet's tree, which is no sound"
        for name in sound.classes
        if tree.is_top(name) and name not in _SAYABLE_TOPS
    ]
    above = {over for name in sound.classes for over in tree.ancestors(name)}
    for parent in sound.above:
        if parent not in sounds:
            faults.append(f"{sound.name} has the parent {parent!r}, which is no sound")
        elif parent in sound.parents and not above & set(sounds[parent].classes):
            faults.append(f"{parent} is not above {sound.name} in AudioSet's tree: list it under also, or not at all")
        elif parent in sound.also and above & set(sounds[parent].classes):
            faults.append(f"{parent} is above {sound.name} in AudioSet's tree: list it under parents")
    return faults
