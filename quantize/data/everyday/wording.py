"""Captions of everyday sounds: what is true of events, worded as people vary their wording.

Every statement follows from the events: which sounds, as exactly as they are known; in which order; how often; near or
far; in front or behind. Where something is not known, nothing is said of it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from quantize.data.captions import NOTHING, UNKNOWN, pick
from quantize.data.everyday.adverbs import (
    AGAIN,
    BEHIND,
    BRIEF,
    FAINT,
    FAR,
    LASTING,
    LOUD,
    MANY_TIMES,
    NEAR,
    ONCE,
    THREE_TIMES,
    THROUGH,
    TWICE,
)
from quantize.data.everyday.events import SURE, HeardEvent
from quantize.data.everyday.lexicon import Clause, Lexicon, bare
from quantize.data.everyday.story import Story, Told, story

MAX_WORDS = 24
"""A caption is at most this long, where a shorter wording can be found."""
MIN_WORDS = 4
"""The published decoding forbids captions of fewer than four tokens."""

_TRIES = 12
_COUNTS = {1: ONCE, 2: TWICE, 3: THREE_TIMES}
_FAINT_DB = -48.0
"""Level in dBFS below which a sound is faint."""
_LASTING_SHARE, _LASTING_GAP_S, _BRIEF_SHARE = 0.85, 0.5, 0.2
_PLURAL_NOUNS = ("children", "people", "geese", "mice")


def caption(
    lexicon: Lexicon,
    events: Sequence[HeardEvent],
    rng: np.random.Generator,
    seconds: float = 10.0,
    sure: float = SURE,
) -> str:
    """A caption of events, lower-case without punctuation; the same for the same generator.

    Args:
        lexicon: the sounds and their words.
        events: what is heard; none where nothing is.
        rng: draws the wording.
        seconds: length of the window.
        sure: confidence from which a sound is named; a coarser one is named where no other is sure enough.
    """
    return tell(lexicon, story(lexicon, events, sure), rng, seconds)


def tell(lexicon: Lexicon, told: Story, rng: np.random.Generator, seconds: float = 10.0) -> str:
    """Word a story; see :func:`caption`."""
    if not told.told:
        return pick(NOTHING, rng)
    if told.told[0].sound is None:
        return pick(UNKNOWN, rng)
    shortest = ""
    for _ in range(_TRIES):
        text = " ".join(_Wording(lexicon, rng, seconds).sentence(told).split())
        length = len(text.split())
        if MIN_WORDS <= length <= MAX_WORDS:
            return text
        if length >= MIN_WORDS and (not shortest or length < len(shortest.split())):
            shortest = text
    return shortest or f"{text} can be heard"


class _Wording:
    def __init__(self, lexicon: Lexicon, rng: np.random.Generator, seconds: float) -> None:
        self.lexicon, self.rng, self.seconds = lexicon, rng, seconds

    def sentence(self, told: Story) -> str:
        groups = told.groups
        if len(groups) == 1:
            return self._single(groups[0][0], told.whole) if len(groups[0]) == 1 else self._group(groups[0], only=True)
        through = told.through is not None
        text = self._pair_in_turn(groups, through) if len(groups) == 2 else self._chain(groups, through)
        if told.through is None:
            return text
        if self._chance(0.6):
            return f"{text} with {self._noun(told.through)} {pick(THROUGH, self.rng)}"
        return f"{text} while {self._plain(told.through)} {pick(THROUGH[1:], self.rng)}"

    def _single(self, one: Told, whole: bool) -> str:
        shape = self.rng.random()
        if shape < 0.48:
            return self._clause(one)
        if shape < 0.54:
            return f"you can hear {self._noun(one)} {self._adverbs(one, 0.4)}"
        if shape < 0.6 and whole:
            return f"{self._clause(one)} and nothing else is heard"
        if shape < 0.72:
            return f"{self._of(self._noun(one))} {self._adverbs(one, 0.4)}"
        clause = self._way(one)
        if shape < 0.82 and not clause.subject.startswith("the ") and not one.again:
            return f"there {'are' if clause.several else 'is'} {clause.subject} {clause.gerund} {self._adverbs(one)}"
        nouns = self.lexicon[one.sound or ""].nouns
        if shape < 0.92 and nouns:
            noun = self._heard(pick(nouns, self.rng))
            return f"{noun} {pick((_be(noun), 'can be'), self.rng)} heard {self._adverbs(one, 0.5)}"
        return f"{self._noun(one)} {self._adverbs(one, 1.0)}"

    def _pair_in_turn(self, groups: Sequence[Sequence[Told]], through: bool) -> str:
        if any(len(group) > 1 for group in groups):
            return self._chain(groups, through)
        (first,), (second,) = groups
        shape = self.rng.random()
        if shape < 0.12:
            return f"{self._clause(first)} before {self._plain(second, simple=True)}"
        if shape < 0.22:
            return f"{self._clause(second)} after {self._plain(first, simple=True)}"
        if shape < 0.3:
            return f"first {self._clause(first)} then {self._clause(second)}"
        return self._chain(groups, through)

    def _chain(self, groups: Sequence[Sequence[Told]], through: bool = False) -> str:
        text = self._group(groups[0])
        for index, group in enumerate(groups[1:], 1):
            if index == len(groups) - 1 and len(group) == 1 and not through and self._chance(0.3):
                # After "followed by" nothing else is told of the group: a noun takes no "while".
                text = f"{text} followed by {self._noun(group[0], alone=True)} {self._adverbs(group[0], 0.3)}"
            else:
                text = f"{text} {pick(('then', 'and then', 'and afterwards'), self.rng)} {self._group(group)}"
        return text

    def _group(self, group: Sequence[Told], only: bool = False) -> str:
        """Sounds that are heard together; ``only``: nothing comes before or after them."""
        if len(group) == 1:
            return self._clause(group[0])
        # "A then B with C in the background" tells that C is heard behind A as well.
        behind = next((one for one in group if one.behind and only), None)
        if len(group) == 2:
            return self._overlap(group[0], group[1], behind)
        if behind is None:
            return " and ".join(self._plain(one) for one in group)
        front = " and ".join(self._plain(one) for one in group if one is not behind)
        if self._chance(0.6):
            return f"{front} with {self._noun(behind)} in the background"
        return f"{front} while {self._plain(behind)}"

    def _overlap(self, first: Told, second: Told, behind: Told | None) -> str:
        shape = self.rng.random()
        if behind is not None and shape < 0.45:
            front = second if behind is first else first
            if shape < 0.3:
                return f"{self._clause(front)} with {self._noun(behind)} {pick(BEHIND, self.rng)}"
            return f"{self._clause(front)} over {self._of(self._noun(behind))}"
        shared = first.event.shared_s(second.event)
        if 2 * shared >= min(first.event.seconds, second.event.seconds) and shape < 0.8:
            one, other = (first, second) if self._chance(0.5) else (second, first)
            return f"{self._clause(one)} {pick(('while', 'while', 'as'), self.rng)} {self._clause(other)}"
        return f"{self._clause(first)} and {self._clause(second)}"

    def _clause(self, one: Told) -> str:
        """Subject and verb with adverbs: "a dog barks twice in the distance"."""
        return f"{self._plain(one)} {self._adverbs(one)}"

    def _plain(self, one: Told, simple: bool = False) -> str:
        """Subject and verb; ``simple``: in the simple present, as after "before"."""
        clause = self._way(one)
        subject = _same_one(clause.subject) if one.again else clause.subject
        shape = 1.0 if simple else self.rng.random()
        if shape < 0.25 and not clause.verb.startswith("be ") and one.event.count is None:
            text = f"{subject} {'are' if clause.several else 'is'} {clause.gerund}"
        elif shape < 0.32 and not clause.verb.startswith("be "):
            text = f"{subject} can be heard {clause.gerund}"
        else:
            text = f"{subject} {clause.present}"
        return f"{text} {pick(AGAIN, self.rng)}" if one.again else text

    def _noun(self, one: Told, alone: bool = False) -> str:
        """The sound as a thing: "a dog barking", "the sound of barking"; ``alone``: nothing but an adverb follows."""
        nouns = self.lexicon[one.sound or ""].nouns
        if nouns and not one.again and self._chance(0.35):
            noun = pick(nouns, self.rng)
            return self._heard(noun) if alone else self._of(noun)
        clause = self._way(one, active=True)
        subject = _same_one(clause.subject) if one.again else clause.subject
        return f"{subject} {clause.gerund} {pick(AGAIN, self.rng) if one.again else ''}"

    def _heard(self, noun: str) -> str:
        """A noun as what is heard: "a scream", but "the sound of a fan", "the sound of rain"."""
        thing = bare(noun) in self.lexicon.subjects
        return noun if noun.startswith(("a ", "an ", "the ")) and not thing else self._of(noun)

    def _of(self, noun: str) -> str:
        return noun if noun.startswith("the sound of ") else f"the sound of {noun}"

    def _way(self, one: Told, active: bool = False) -> Clause:
        """A subject and a verb, in a number that is true; ``active``: no passive, where there is another way."""
        sound = self.lexicon[one.sound or ""]
        several = one.event.several
        fits = [clause for clause in sound.clauses if several is None or clause.several == several]
        if several is None and not sound.any:
            fits = [clause for clause in fits if not clause.several]
        fits = fits or list(sound.clauses)
        if active:
            fits = [clause for clause in fits if not clause.verb.startswith("be ")] or fits
        # A verb that several subjects share must not be said the more often for that.
        verb = pick(tuple(dict.fromkeys(clause.verb for clause in fits)), self.rng)
        choices = [clause for clause in fits if clause.verb == verb]
        return choices[int(self.rng.integers(len(choices)))]

    def _adverbs(self, one: Told, probability: float = 0.55) -> str:
        """At most two things more, each true."""
        event, sound = one.event, self.lexicon[one.sound or ""]
        said: list[str] = []
        if event.count is not None and not one.again and sound.burst_s is not None and not event.several:
            said.append(pick(_COUNTS.get(event.count, MANY_TIMES), self.rng))
        if event.far is not None:
            said.append(pick(FAR if event.far else NEAR, self.rng))
        elif event.level_db <= _FAINT_DB:
            said.append(pick(FAINT, self.rng))
        elif one.loud:
            said.append(pick(LOUD, self.rng))
        if sound.steady and not said:
            share = event.seconds / self.seconds
            if share > _LASTING_SHARE and event.longest_gap_s < _LASTING_GAP_S and self._chance(0.3):
                said.append(pick(LASTING, self.rng))
            elif share < _BRIEF_SHARE and self._chance(0.3):
                said.append(pick(BRIEF, self.rng))
        kept = [adverb for adverb in said if self._chance(probability)]
        return " ".join(kept[:2])

    def _chance(self, probability: float) -> bool:
        return bool(self.rng.random() < probability)


def _same_one(subject: str) -> str:
    """The subject, as of one that was told of before."""
    for article in ("a ", "an "):
        if subject.startswith(article):
            return f"the {subject.removeprefix(article)}"
    return subject


def _be(noun: str) -> str:
    words = noun.split()
    counted = words[0] not in {"a", "an", "the"} and not words[0].endswith("'s")
    several = words[-1] in _PLURAL_NOUNS or (words[-1].endswith("s") and not words[-1].endswith("ss"))
    return "are" if counted and several else "is"
