"""Captions that are true of a scene: made from its event list, worded as people vary their wording."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from quantize.data.lexicon import LEXICON, Phrase
from quantize.data.scenes import Event, Scene

COUNT_WORDS = {1: ("once",), 2: ("twice", "two times"), 3: ("three times",)}
MANY_WORDS = ("several times", "repeatedly", "again and again", "over and over")
FAR_WORDS = ("in the distance", "far away", "faintly in the distance", "some way off", "from afar")
NEAR_WORDS = ("nearby", "close by", "loudly")
LASTING_WORDS = ("continuously", "the whole time", "without a break", "throughout", "on and on")
BRIEF_WORDS = ("briefly", "for a moment", "for a short while")
NOTHING = (
    "nothing but faint background noise",
    "a faint hiss and nothing else",
    "only a quiet background hiss",
    "quiet noise with nothing happening",
    "soft static and no distinct sound",
    "an almost silent room",
)
UNKNOWN = tuple(
    " ".join(f"{sound} {kind} {verb}".split())
    for sound in (
        "a sound",
        "some sound",
        "a noise",
        "some noise",
        "an unfamiliar sound",
        "an unknown sound",
        "an odd noise",
    )
    for kind in (
        "that is hard to tell",
        "that cannot be told",
        "that is hard to name",
        "of some unknown kind",
        "of no known kind",
        "that nothing here explains",
    )
    for verb in ("", "", "is heard", "can be heard", "goes on")
)
"""As many wordings as a known sound has: a sentence that is always said alike is likelier than any that varies, and
would win whenever it is among the candidates."""
BEHIND = ("in the background", "in the background", "behind it")
MIN_WORDS = 4
"""The published decoding forbids captions of fewer than four tokens; whole words are tokens here."""

LASTING_COVERS, BRIEF_COVERS = 0.85, 0.3
"""Fractions of the scene that a lasting sound covers at least, and a brief one at most."""

LASTING_GAP_S = 0.5
"""A lasting sound has no longer gap."""

FOREGROUND_DB = 2.0
"""An event this much louder than its partner counts as near, one this much weaker as the background."""


def words_that_name_nothing() -> list[str]:
    """All words of the captions in which no class is named."""
    return sorted({word for text in (*NOTHING, *UNKNOWN) for word in text.split()})


def captions(scene: Scene, rng: np.random.Generator, count: int) -> list[str]:
    """``count`` captions of a scene, lower-case without punctuation, drawn independently."""
    return [caption(scene, rng) for _ in range(count)]


def caption(scene: Scene, rng: np.random.Generator) -> str:
    """One caption; every statement in it (what, how often, how far, in what order) follows from the event list."""
    while True:
        text = " ".join(_sentence(scene, rng).split())
        if len(text.split()) >= MIN_WORDS:
            return text


def corpus(scenes: Iterator[Scene], rng: np.random.Generator, per_scene: int) -> Iterator[str]:
    """Captions of many scenes, for training a tokenizer."""
    for scene in scenes:
        yield from captions(scene, rng, per_scene)


def _sentence(scene: Scene, rng: np.random.Generator) -> str:
    if not scene.events:
        return pick(UNKNOWN if scene.relation == "unknown" else NOTHING, rng)
    if len(scene.events) == 1:
        return _single(scene.events[0], rng)
    first, second = scene.events
    if scene.relation == "sequence":
        return _sequence(first, second, rng)
    return _overlap(first, second, rng)


def _single(event: Event, rng: np.random.Generator) -> str:
    shape = rng.random()
    if shape < 0.65:
        return clause(event, rng)
    if shape < 0.75:
        return f"the sound of {noun(event, rng)}"
    if shape < 0.85:
        phrase = _phrase(event, rng)
        return f"there {'is' if phrase.singular else 'are'} {phrase.subject} {phrase.gerund} {_count(event, 0.4, rng)}"
    return f"{noun(event, rng)} {_distance(event, 0.5, rng)}"


def _sequence(first: Event, second: Event, rng: np.random.Generator) -> str:
    shape = rng.random()
    if shape < 0.35:
        return f"{clause(first, rng)} then {clause(second, rng)}"
    if shape < 0.6:
        return f"{clause(first, rng)} and then {clause(second, rng)}"
    if shape < 0.8:
        return f"{clause(first, rng)} followed by {noun(second, rng)}"
    if shape < 0.9:
        return f"{clause(first, rng)} and afterwards {clause(second, rng)}"
    return f"first {clause(first, rng)} then {clause(second, rng)}"


def _overlap(first: Event, second: Event, rng: np.random.Generator) -> str:
    steady = [event for event in (first, second) if not LEXICON[event.label].countable]
    behind = min(steady, key=lambda event: event.gain_db, default=None)
    if behind is not None and behind.covers > 0.4:
        front = second if behind is first else first
        shape = rng.random()
        if behind.gain_db < front.gain_db - FOREGROUND_DB and shape < 0.35:
            return f"{clause(front, rng)} with {noun(behind, rng)} {pick(BEHIND, rng)}"
        if shape < 0.7:
            return f"{clause(front, rng)} {pick(('while', 'while', 'as'), rng)} {clause(behind, rng)}"
        if shape < 0.8:
            return f"{clause(front, rng)} over the sound of {noun(behind, rng)}"
        return f"{clause(front, rng)} and {clause(behind, rng)}"
    return f"{clause(first, rng)} {pick(('and', 'and', 'while'), rng)} {clause(second, rng)}"


def clause(event: Event, rng: np.random.Generator) -> str:
    """Subject and verb: "a dog barks twice in the distance"."""
    phrase = _phrase(event, rng)
    adverbs = f"{_count(event, 0.65, rng)} {_distance(event, 0.5, rng)} {_duration(event, 0.12, rng)}"
    if not phrase.present.startswith("is ") and rng.random() < 0.08:
        return f"{phrase.subject} can be heard {phrase.gerund} {adverbs}"
    return f"{phrase.subject} {phrase.present} {adverbs}"


def noun(event: Event, rng: np.random.Generator) -> str:
    """The sound as a thing: "a dog barking twice"."""
    phrase = _phrase(event, rng)
    return f"{phrase.subject} {phrase.gerund} {_count(event, 0.4, rng)}"


def _phrase(event: Event, rng: np.random.Generator) -> Phrase:
    phrases = LEXICON[event.label].phrases
    # Plain words first: the first phrases of a class are drawn more often than its last ones.
    return phrases[int(len(phrases) * rng.random() ** 1.6)]


def _count(event: Event, probability: float, rng: np.random.Generator) -> str:
    if event.count is None or rng.random() >= probability:
        return ""
    return pick(COUNT_WORDS.get(event.count, MANY_WORDS), rng)


def _distance(event: Event, probability: float, rng: np.random.Generator) -> str:
    if event.far:
        return pick(FAR_WORDS, rng) if rng.random() < probability else ""
    if event.gain_db >= FOREGROUND_DB and rng.random() < probability * 0.3:
        return pick(NEAR_WORDS, rng)
    return ""


def _duration(event: Event, probability: float, rng: np.random.Generator) -> str:
    if LEXICON[event.label].countable or rng.random() >= probability:
        return ""
    if event.covers > LASTING_COVERS and event.longest_gap_s < LASTING_GAP_S:
        return pick(LASTING_WORDS, rng)
    return pick(BRIEF_WORDS, rng) if event.covers < BRIEF_COVERS else ""


def pick(choices: tuple[str, ...], rng: np.random.Generator) -> str:
    """One of them, each as likely."""
    return choices[int(rng.integers(len(choices)))]
