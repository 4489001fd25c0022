"""A light check of the fluency of English captions: no model, about half a millisecond a caption.

It finds the kinds of error of FENSE's detector (https://arxiv.org/abs/2110.04684): a small grammar finds what is
missing or left dangling, comparisons of words find what is said twice.

The grammar reads words from left to right; a state says how far the sentence has come, every fault is a move with a
price, and a caption is at fault where its cheapest reading is. So an ambiguous word, as most are, is given the benefit
of the doubt: "barks" is taken for a noun or a verb, whichever leaves less to complain of. A move depends on nothing but
the state and the reading of the next word, hence the cache: after a few captions a word costs some look-ups.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from typing import NamedTuple

from edge_aac.fluency.english.readings import (
    LONGEST_PHRASE,
    PHRASE_STARTS,
    PHRASES,
    Part,
    Reading,
    Trait,
    is_manner,
    readings,
    stem,
)
from edge_aac.fluency.english.rules import RULES
from edge_aac.fluency.english.states import HOPELESS, UNREADABLE, Move, State, finish
from edge_aac.fluency.english.words import MEASURES
from edge_aac.fluency.errors import FluencyError

__all__ = ["FluencyError", "fluency_errors"]

LONGEST_DOUBLED_TOKENS = 6

_BREAKS = frozenset({Part.AND, Part.THEN, Part.FOLLOWED_BY, Part.WHILE, Part.BEFORE})
_IN_TURN = frozenset({Part.THEN, Part.FOLLOWED_BY})
_CONTENT = frozenset({Part.NOUN, Part.PRONOUN, Part.VERB, Part.GERUND, Part.PARTICIPLE, Part.ADJECTIVE})
_PARTICLES = (Trait.PARTICLE, Trait.LOOSE_PARTICLE)
# Words that tell a second event from the first.
_OTHERS = frozenset({"another", "other", "others", "again", "more", "second", "different", "back"})
# Words that do so where they stand on one side alone.
_COUNTS = frozenset({"one", "two", "three", "both", "each", "several", "many", "few", "once", "twice"})
# Different words for the same source or sound, as far as captions use them for one another.
_SAME = {
    "talk": "speak", "somebody": "someone", "person": "someone", "infant": "baby", "hound": "dog", "canine": "dog",
    "automobile": "car", "chopper": "helicopter", "rainfall": "rain", "raindrop": "rain",
}  # fmt: skip


class _WordClass:
    """All words with the same readings.

    Args:
        found: the readings.
    """

    def __init__(self, found: tuple[Reading, ...]) -> None:
        self.readings = found


# Bounded: a device that captions for months meets ever new combinations.
@lru_cache(maxsize=2048)
def moves(word: _WordClass, state: State) -> tuple[Move, ...]:
    """The cheapest move to each state that a word of a class leads to."""
    best = {state: Move(state, UNREADABLE)}
    for reading in word.readings:
        for found in RULES[reading.part](state, reading):
            move = found._replace(price=found.price + reading.price) if reading.price else found
            if move.state not in best or move.price < best[move.state].price:
                best[move.state] = move
    return tuple(best.values())


@lru_cache(maxsize=4096)
def word_class(found: tuple[Reading, ...]) -> _WordClass:
    """The one class of words with these readings."""
    return _WordClass(found)


def _grammar_faults(words: Iterable[_WordClass]) -> tuple[FluencyError, ...]:
    """Faults of the cheapest reading of a caption."""
    live: dict[State, tuple[float, tuple[FluencyError, ...]]] = {State(): (0.0, ())}
    for word in words:
        limit = min(price for price, _ in live.values()) + HOPELESS
        reached: dict[State, tuple[float, tuple[FluencyError, ...]]] = {}
        for state, (price, faults) in live.items():
            if price > limit:
                continue
            for then, extra, more in moves(word, state):
                total = price + extra
                known = reached.get(then)
                if known is None or total < known[0]:
                    reached[then] = (total, faults + more)
        live = reached
    endings = []
    for state, (price, faults) in live.items():
        end = finish(state)
        endings.append((price + end.price, faults + end.faults))
    return min(endings, key=lambda ending: ending[0])[1]


class Token(NamedTuple):
    """A word, or a fixed phrase that works as one word.

    Attributes:
        text: the word as the caption has it.
        word_class: its class in the grammar.
        parts: the parts of speech it can have.
        manner: whether it is an adverb of manner, of which a verb takes one.
        root: the word without its inflection, one for all synonyms.
    """

    text: str
    word_class: _WordClass
    parts: frozenset[Part]
    manner: bool
    root: str

    @property
    def breaks(self) -> bool:
        """Whether a new part of the caption begins with it."""
        return not _BREAKS.isdisjoint(self.parts)

    @property
    def is_content(self) -> bool:
        """Whether it carries meaning of its own, unlike articles and connectives."""
        return not _CONTENT.isdisjoint(self.parts) or self.text in _OTHERS or self.text in _COUNTS


def fluency_errors(text: str) -> tuple[FluencyError, ...]:
    """Faults of a caption's English; empty for a fluent caption.

    Args:
        text: lower-case without punctuation, as the captioner writes; any other string is read as far as it goes.
    """
    tokens = list(tokens_of(text.lower().split()))
    if not tokens:
        return ()
    found = set(_grammar_faults(token.word_class for token in tokens))
    found.update(_doubled(tokens))
    if _repeats_adverb(tokens):
        found.add(FluencyError.REPEATED_ADVERB)
    if _repeats_event(tokens):
        found.add(FluencyError.REPEATED_EVENT)
    return tuple(error for error in FluencyError if error in found)


def tokens_of(words: Sequence[str]) -> Iterator[Token]:
    """Words of a caption, fixed phrases as one."""
    index = 0
    while index < len(words):
        length = _phrase_length(words, index)
        yield _token(tuple(words[index : index + length]))
        index += length


def _phrase_length(words: Sequence[str], index: int) -> int:
    word = words[index]
    if word in PHRASE_STARTS:
        for length in range(LONGEST_PHRASE, 1, -1):
            if tuple(words[index : index + length]) in PHRASES:
                return length
    if word in MEASURES and words[index + 1 : index + 2] == ["of"]:
        return 2
    if word == "the" and _compares(words[index + 1 : index + 3]):
        return 2
    if word == "as" and words[index + 2 : index + 3] == ["as"]:
        return 3
    # "louder and louder"
    return 3 if word.endswith("er") and words[index + 1 : index + 3] == ["and", word] else 1


def _compares(following: Sequence[str]) -> bool:
    """Whether words after "the" open a comparison: "the louder it rattles", "the more the wheel turns"."""
    if len(following) <= 1 or not (following[0].endswith("er") or following[0] in ("more", "less")):
        return False
    return not {Part.ARTICLE, Part.PRONOUN}.isdisjoint(reading.part for reading in readings(following[1]))


@lru_cache(maxsize=4096)
def _token(words: tuple[str, ...]) -> Token:
    if len(words) == 1:
        found = readings(words[0])
    elif words in PHRASES:
        found = PHRASES[words]
    elif words[0] == "the":
        found = (Reading(Part.COMPARED),)
    elif words[0] == "as":
        found = (Reading(Part.PREPOSITION), Reading(Part.WHILE))
    else:
        found = (Reading(Part.MEASURE if words[1] == "of" else Part.ADVERB),)
    text = " ".join(words)
    root = stem(text)
    parts = frozenset(reading.part for reading in found)
    manner = is_manner(text) if len(words) == 1 else Part.ADVERB in parts
    return Token(text, word_class(found), parts, manner, _SAME.get(root, root))


def _doubled(tokens: Sequence[Token]) -> Iterator[FluencyError]:
    """Words said twice in a row: "barks barks", "the the", "in the distance in the distance"."""
    for start, first in enumerate(tokens):
        for length in range(1, min(LONGEST_DOUBLED_TOKENS, (len(tokens) - start) // 2) + 1):
            if first is not tokens[start + length] and first != tokens[start + length]:
                continue
            if tokens[start : start + length] == tokens[start + length : start + 2 * length]:
                found = _doubled_word(first) if length == 1 else _doubled_phrase(first)
                if found is not None:
                    yield found


def _doubled_word(token: Token) -> FluencyError | None:
    if Part.NOUN in token.parts and not token.text.endswith("s"):
        # "tick tick", "knock knock"
        return None
    if Part.ADVERB in token.parts or not token.parts.isdisjoint({Part.ADJECTIVE, Part.QUANTIFIER}):
        # Adverbs have a test of their own; "very very loud", "a long long time" are English.
        return None
    if token.parts == {Part.PREPOSITION} and any(reading.trait in _PARTICLES for reading in token.word_class.readings):
        # "rolls in in the background"
        return None
    return FluencyError.REPEATED_EVENT if token.is_content else FluencyError.DANGLING_FUNCTION_WORD


def _doubled_phrase(first: Token) -> FluencyError:
    adverbial = Part.PREPOSITION in first.parts or first.manner
    return FluencyError.REPEATED_ADVERB if adverbial else FluencyError.REPEATED_EVENT


def _repeats_adverb(tokens: Sequence[Token]) -> bool:
    """Whether a clause has the same adverb twice: "slowly creaks open slowly", "loudly and loudly"."""
    seen: set[str] = set()
    for index, token in enumerate(tokens):
        if token.breaks:
            if not _joins_adverbs(tokens, index):
                seen.clear()
        elif token.manner:
            if token.text in seen:
                return True
            seen.add(token.text)
    return False


def _joins_adverbs(tokens: Sequence[Token], index: int) -> bool:
    """Whether the connective is an "and" between adverbs, which leaves the clause where it was."""
    following = tokens[index + 1 : index + 3]
    if Part.AND not in tokens[index].parts or not following or not following[0].manner:
        return False
    if index > 0 and tokens[index - 1] == following[0]:
        return True
    return len(following) == 1 or not (following[1].is_content or Part.ARTICLE in following[1].parts)


class _Part(NamedTuple):
    """A stretch of a caption between connectives.

    Attributes:
        event: roots of its words.
        name: whether it is a bare noun, as "rain" in "wind and rain".
        in_turn: whether "then" or "followed by" opens it, or opens a part that "and" joins it to.
        counts: its words for a number of things.
        is_another: whether a word such as "another" makes it a second event.
    """

    event: frozenset[str]
    name: bool
    in_turn: bool
    counts: frozenset[str]
    is_another: bool


def _repeats_event(tokens: Sequence[Token]) -> bool:
    """Whether two parts of a caption describe the same event, or one adds nothing to the other."""
    before: list[_Part] = []
    for part in _parts(tokens):
        if part.is_another:
            continue
        for position, earlier in enumerate(before):
            # After something else has happened, "then" may bring the same thing once more.
            comes_back = part.in_turn and position < len(before) - 1
            within = part.event <= earlier.event or earlier.event <= part.event
            # One word makes an event where it is a name ("rain and rain"), not in "rings and rings".
            enough = (part.name and earlier.name and part.event == earlier.event) or min(
                len(part.event), len(earlier.event)
            ) > 1
            if within and enough and part.counts == earlier.counts and not comes_back:
                return True
        before.append(part)
    return False


def _parts(tokens: Sequence[Token]) -> Iterator[_Part]:
    content: list[Token] = []
    in_turn = adverbial = False
    for token in [*tokens, None]:
        if token is None or token.breaks or token.text in ("with", "over"):
            if content:
                yield _Part(
                    frozenset(word.root for word in content if word.text not in _COUNTS),
                    not adverbial and all(word.parts == {Part.NOUN} for word in content),
                    in_turn,
                    frozenset(word.text for word in content if word.text in _COUNTS),
                    any(word.text in _OTHERS for word in content),
                )
                content = []
            adverbial = token is not None and not token.breaks
            if token is not None and Part.AND not in token.parts:
                in_turn = not _IN_TURN.isdisjoint(token.parts)
        elif token.is_content:
            content.append(token)
