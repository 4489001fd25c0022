"""Whether a caption is right about a window: about one sound, several, none, a voice, or a sound never trained on."""

from __future__ import annotations

from quantize.data.everyday.lexicon import Lexicon
from quantize.data.everyday.named_sounds import credit, matched
from quantize.data.everyday.ontology import Ontology
from quantize.evaluation.everyday.truth import QUIET_KINDS, JudgedWindow
from quantize.evaluation.everyday.voices import SPEECH

VOICE = "voice"


def family(lexicon: Lexicon, sound: str) -> set[str]:
    """A sound and all coarser ones."""
    return {sound, *lexicon.names.ancestors(sound)}


def wrongly_named(lexicon: Lexicon, window: JudgedWindow) -> list[str]:
    """Sounds that a caption names, and that are neither heard nor coarser names of what is heard."""
    true = {name for sound in window.heard for name in family(lexicon, sound)}
    return [name for name in window.named if name not in true]


def strictly_named(lexicon: Lexicon, window: JudgedWindow) -> list[str]:
    """The sounds that a caption names, but for coarser names beside the exact one of what is heard."""
    exact = set(window.heard) & set(window.named)
    beside = {coarser for sound in exact for coarser in lexicon.names.ancestors(sound)} - set(window.heard)
    return [name for name in window.named if name not in beside]


def names_speaker(lexicon: Lexicon, window: JudgedWindow) -> bool:
    """Whether a caption says that somebody speaks: speech, an example of it, or a human voice."""
    return any(lexicon.names.related(name, SPEECH) for name in window.named)


def names_thing(lexicon: Lexicon, window: JudgedWindow) -> bool:
    """Whether a caption names anything that is neither a human voice nor people talking."""
    return any(VOICE not in family(lexicon, name) and not lexicon[name].speech for name in window.named)


def right(lexicon: Lexicon, window: JudgedWindow) -> bool:
    """Whether a caption is right: it names all that is heard, exactly or by a coarser name, and nothing else.

    Of a sound that the bundle was never trained on it is right unless it names another one.
    """
    if window.kind in QUIET_KINDS:
        return not window.named
    if window.kind == "absent":
        return not wrongly_named(lexicon, window)
    if window.kind == "speech":
        return names_speaker(lexicon, window) and not names_thing(lexicon, window)
    named = strictly_named(lexicon, window)
    return len(matched(lexicon, named, window.heard)) == len(named) == len(window.heard)


def right_names(lexicon: Lexicon, window: JudgedWindow) -> dict[str, bool]:
    """Each named sound, and whether it is right: heard, or a coarser name of what is heard.

    Where somebody speaks, an example of speech may be right, too: that it is a woman is no part of the truth.
    """
    wrong = set(wrongly_named(lexicon, window))
    if window.kind == "speech":
        wrong = {name for name in wrong if SPEECH not in lexicon.names.ancestors(name)}
    return {name: name not in wrong for name in window.named}


def best_credit(lexicon: Lexicon, window: JudgedWindow, sound: str) -> float:
    """Largest credit that a caption's names have for one sound, 0..1."""
    return max((credit(lexicon, name, sound) for name in window.named), default=0.0)


def branch(lexicon: Lexicon, sound: str) -> str:
    """The top of AudioSet's tree that a sound lies below, by the first of its classes and of their parents."""
    return _top(lexicon.ontology, lexicon[sound].classes[0])


def _top(ontology: Ontology, name: str) -> str:
    parents = ontology.nodes[name].parents
    return _top(ontology, parents[0]) if parents else name


def by_branch(lexicon: Lexicon, sounds: set[str]) -> list[str]:
    """Sounds in the order of the tree: branch after branch, each before its examples."""

    def chain(sound: str) -> tuple[str, ...]:
        above = lexicon[sound].above
        return (*(chain(above[0]) if above else ()), sound)

    return sorted(sounds, key=lambda sound: (branch(lexicon, sound), chain(sound)))
