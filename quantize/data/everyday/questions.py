"""Questions about events whose answers follow from the events: what a model that is asked about sound learns from.

A question is made only where its answer is certain. Of a sound that may be heard, for something nearly like it is, or
because a sound is there that nobody knows, it is not asked whether it is there. Answers are short and always worded in
the same way, so that they can be compared word by word.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias, get_args

import numpy as np

from quantize.data.captions import pick
from quantize.data.everyday.certain import Scene
from quantize.data.everyday.events import HeardEvent
from quantize.data.everyday.lexicon import Clause, Lexicon

Kind: TypeAlias = Literal[
    "presence", "which", "count", "sounds", "first", "order", "before", "after", "loudness", "duration", "events"
]
KINDS: tuple[Kind, ...] = get_args(Kind)

YES, NO, NOTHING = "yes", "no", "nothing"
APART_S = 0.5
"""One sound begins before another, or lasts longer, where it does so by this much at least."""
LOUDER_DB = 6.0
"""One sound is louder than another from this difference of their mean levels on."""
LONGER = 1.5
"""One sound lasts longer than another from this factor of their lengths on."""
EVENTS, SOUNDS = "what is heard?", "how many different sounds are there?"
PRESENCE, WHICH = "is there {}?", "which of: {}?"
"""Questions that have a task of their own in a bundle."""
NUMBERS = ("zero", "one", "two", "three", "four", "five", "six")

_FROM_ELSEWHERE = 0.8
"""Share of the sounds that are not heard that is drawn from what is heard elsewhere; the others of all alike."""
_CHOICES = 3
_ABSENT_TRIES = 20
_WEIGHTS: dict[Kind, float] = {"presence": 3.0, "which": 2.0}
"""Kinds that come first more often than the others, 1 each: people ask whether, and which, far more than how many."""


@dataclass(frozen=True)
class Question:
    """A question with its answer.

    Attributes:
        kind: what it is about.
        text: the question.
        answer: the answer.
        sounds: names of the sounds that it speaks of, in its order.
    """

    kind: Kind
    text: str
    answer: str
    sounds: tuple[str, ...] = ()


def named(lexicon: Lexicon, sound: str) -> str:
    """How answers, and most questions, call a sound: "a dog barking"; no two are called alike."""
    return _doing(_usual(lexicon, sound))


def sounds_elsewhere(lexicon: Lexicon, scenes: Sequence[Sequence[HeardEvent]]) -> list[str]:
    """Sounds of scenes, each as often as it is in one, for :func:`questions` about another."""
    return [sound for events in scenes for sound in Scene(lexicon, events).sounds]


Maker: TypeAlias = Callable[[Scene, np.random.Generator], Question | None]


def questions(
    lexicon: Lexicon,
    events: Sequence[HeardEvent],
    rng: np.random.Generator,
    count: int,
    elsewhere: Sequence[str] = (),
) -> tuple[Question, ...]:
    """Questions about events, as many of different kinds as there are; the same for the same generator.

    A sound that is heard often is asked for often where it is heard. Were it asked for no more often than any other
    where it is not, its name alone would tell that the answer is "yes"; so what is not heard is mostly drawn from what
    is heard ``elsewhere``.

    Args:
        lexicon: the sounds and their words.
        events: what is heard in a window; none where nothing is.
        rng: draws kinds, sounds and wording.
        count: most questions; a kind comes again only where all others that can be asked were.
        elsewhere: sounds of other scenes, each as often as it is heard there; without them all sounds are drawn alike.
    """
    scene = Scene(lexicon, events, elsewhere)
    weights = np.array([_WEIGHTS.get(kind, 1.0) for kind in KINDS])
    found: list[Question] = []
    for _ in range(count):
        before = len(found)
        for kind in rng.choice(len(KINDS), len(KINDS), replace=False, p=weights / weights.sum()):
            made = MAKERS[KINDS[int(kind)]](scene, rng)
            if made is not None and made not in found:
                found.append(made)
            if len(found) == count:
                return tuple(found)
        if len(found) == before:
            break
    return tuple(found)


def _doing(clause: Clause) -> str:
    return f"{clause.subject} {clause.gerund}"


def _usual(lexicon: Lexicon, sound: str) -> Clause:
    clauses = lexicon[sound].clauses
    return next((one for one in clauses if not one.verb.startswith("be ")), clauses[0])


def _said(lexicon: Lexicon, sound: str, rng: np.random.Generator) -> Clause:
    """A sound within a question: mostly as in answers, else by another of its subjects and verbs."""
    single = [one for one in lexicon[sound].clauses if not one.several and not one.verb.startswith("be ")]
    if not single or rng.random() < 0.5:
        return _usual(lexicon, sound)
    return single[int(rng.integers(len(single)))]


def _whether(clause: Clause, rng: np.random.Generator) -> str:
    """Whether a sound is heard, as people ask: "is there a dog barking?", "is a dog barking?"."""
    plainly = "are {}?" if clause.several else "is {}?"
    wording = pick((PRESENCE, PRESENCE, "can you hear {}?", "do you hear {}?", plainly, plainly), rng)
    return wording.format(_doing(clause))


def _or_coarser(lexicon: Lexicon, sound: str, rng: np.random.Generator) -> str:
    """A sound, or now and then one that it is an example of."""
    above = lexicon.names.ancestors(sound)
    return above[int(rng.integers(len(above)))] if above and rng.random() < 0.25 else sound


def _absent_sounds(scene: Scene, rng: np.random.Generator, count: int, coarser: bool = False) -> list[str]:
    """Sounds that are surely not heard, none an example of another; fewer where few are found.

    ``coarser``: now and then what a sound that is heard elsewhere is an example of.
    """
    names, found = sorted(scene.lexicon.sounds), list[str]()
    for _ in range(_ABSENT_TRIES):
        if scene.elsewhere and rng.random() < _FROM_ELSEWHERE:
            name = scene.elsewhere[int(rng.integers(len(scene.elsewhere)))]
            name = _or_coarser(scene.lexicon, name, rng) if coarser else name
        else:
            name = names[int(rng.integers(len(names)))]
        related = scene.lexicon.names.related
        if scene.absent(name) and not any(related(name, other) for other in found):
            found.append(name)
        if len(found) == count:
            break
    return found


def _pair(scene: Scene, rng: np.random.Generator) -> tuple[str, str] | None:
    """Two sounds that are heard and cannot be one, in any order."""
    single = [sound for sound in scene.sounds if scene.alone(sound)]
    if len(single) < 2:
        return None
    one, other = rng.permutation(len(single))[:2]
    return single[int(one)], single[int(other)]


def _presence(scene: Scene, rng: np.random.Generator) -> Question | None:
    lexicon = scene.lexicon
    if not scene.known:
        return None  # where nothing is surely absent every answer would be "yes"
    if rng.random() < 0.5:
        if not scene.sounds:
            return None
        sound = _or_coarser(lexicon, scene.sounds[int(rng.integers(len(scene.sounds)))], rng)
        answer = YES
    else:
        found = _absent_sounds(scene, rng, 1, coarser=True)
        if not found:
            return None
        sound, answer = found[0], NO
    return Question("presence", _whether(_said(lexicon, sound, rng), rng), answer, (sound,))


def _which(scene: Scene, rng: np.random.Generator) -> Question | None:
    if not scene.sounds:
        return None
    sound = scene.sounds[int(rng.integers(len(scene.sounds)))]
    others = _absent_sounds(scene, rng, _CHOICES - 1)
    if len(others) < _CHOICES - 1:
        return None
    choices = [sound, *others]
    choices = [choices[int(place)] for place in rng.permutation(_CHOICES)]
    listed = ", ".join(named(scene.lexicon, choice) for choice in choices)
    return Question("which", WHICH.format(listed), named(scene.lexicon, sound), tuple(choices))


def _count(scene: Scene, rng: np.random.Generator) -> Question | None:
    counted = [sound for sound in scene.sounds if scene.count(sound) is not None]
    if not counted:
        return None
    sound = counted[int(rng.integers(len(counted)))]
    number = scene.count(sound)
    assert number is not None
    text = f"how many times do you hear {named(scene.lexicon, sound)}?"
    return Question("count", text, NUMBERS[number], (sound,))


def _sounds(scene: Scene, rng: np.random.Generator) -> Question | None:
    del rng
    if not scene.known or not scene.apart:
        return None
    return Question("sounds", SOUNDS, NUMBERS[len(scene.sounds)]) if len(scene.sounds) < len(NUMBERS) else None


def _events(scene: Scene, rng: np.random.Generator) -> Question | None:
    del rng
    if not scene.known or len(scene.sounds) > _CHOICES:
        return None
    return Question("events", EVENTS, ", ".join(named(scene.lexicon, sound) for sound in scene.sounds) or NOTHING)


def _first(scene: Scene, rng: np.random.Generator) -> Question | None:
    del rng
    sounds = scene.sounds
    if not scene.known or not scene.apart or len(sounds) < 2:
        return None
    if scene.start_s(sounds[1]) < scene.start_s(sounds[0]) + APART_S:
        return None
    return Question("first", "what is heard first?", named(scene.lexicon, sounds[0]))


def _order(scene: Scene, rng: np.random.Generator) -> Question | None:
    pair = _pair(scene, rng)
    if pair is None or abs(scene.start_s(pair[0]) - scene.start_s(pair[1])) < APART_S:
        return None
    one, other = (named(scene.lexicon, sound) for sound in pair)
    answer = one if scene.start_s(pair[0]) < scene.start_s(pair[1]) else other
    return Question("order", f"which begins first, {one} or {other}?", answer, pair)


def _before(scene: Scene, rng: np.random.Generator) -> Question | None:
    """Of sounds in turn: one is over before the other begins."""
    pair = _pair(scene, rng)
    if pair is None:
        return None
    one, other = pair
    earlier, later = scene.end_s(one) <= scene.start_s(other), scene.end_s(other) <= scene.start_s(one)
    if not earlier and not later:
        return None
    text = f"is {named(scene.lexicon, one)} heard before {named(scene.lexicon, other)}?"
    return Question("before", text, YES if earlier else NO, pair)


def _after(scene: Scene, rng: np.random.Generator) -> Question | None:
    """What begins after a sound is over, of several, where that is one sound, or nothing."""
    if not scene.known or not scene.apart or len(scene.sounds) < 2:
        return None
    sound = scene.sounds[int(rng.integers(len(scene.sounds)))]
    after = [other for other in scene.sounds if other != sound and scene.start_s(other) >= scene.end_s(sound)]
    # What goes on, or comes again, while and after the sound is heard is neither after it nor not.
    unclear = [
        other
        for other in scene.sounds
        if other != sound and other not in after and scene.end_s(other) > scene.end_s(sound)
    ]
    if len(after) > 1 or unclear:
        return None
    answer = named(scene.lexicon, after[0]) if after else NOTHING
    return Question("after", f"what is heard after {named(scene.lexicon, sound)}?", answer, (sound,))


def _loudness(scene: Scene, rng: np.random.Generator) -> Question | None:
    pair = _pair(scene, rng)
    if pair is None or abs(scene.level_db(pair[0]) - scene.level_db(pair[1])) < LOUDER_DB:
        return None
    one, other = (named(scene.lexicon, sound) for sound in pair)
    answer = one if scene.level_db(pair[0]) > scene.level_db(pair[1]) else other
    return Question("loudness", f"which is louder, {one} or {other}?", answer, pair)


def _duration(scene: Scene, rng: np.random.Generator) -> Question | None:
    pair = _pair(scene, rng)
    if pair is None:
        return None
    first, second = (scene.seconds(sound) for sound in pair)
    if max(first, second) < max(LONGER * min(first, second), min(first, second) + APART_S):
        return None
    one, other = (named(scene.lexicon, sound) for sound in pair)
    text = f"which lasts longer, {one} or {other}?"
    return Question("duration", text, one if first > second else other, pair)


MAKERS: dict[Kind, Maker] = {
    "presence": _presence,
    "which": _which,
    "count": _count,
    "sounds": _sounds,
    "first": _first,
    "order": _order,
    "before": _before,
    "after": _after,
    "loudness": _loudness,
    "duration": _duration,
    "events": _events,
}
"""Makes a question of each kind, or None where none can be asked."""
