"""The sounds that an English caption names, each in the words that it has for it.

    a clock ticks while rain falls in the distance → "a clock ticks", "rain falls in the distance"

The grammar of :mod:`edge_aac.fluency.english.sentences` reads the caption, and a sound begins where its cheapest
reading has a clause with a subject of its own: "a dog barks and a cat meows" are two, "a fire snaps and pops" is one.
So is "a man and a woman talk"; "wind and rain", of which nothing is said together, are two. A sound may also stand
behind a preposition: "with a fire crackling in the background", "over the sound of a clock".
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import NamedTuple

from edge_aac.fluency.english.readings import Part, Trait
from edge_aac.fluency.english.sentences import Token, moves, tokens_of
from edge_aac.fluency.english.states import HOPELESS, JOINED, At, Opener, Predicate, Role, State, finish

_CONNECTIVES = frozenset({Part.AND, Part.THEN, Part.FOLLOWED_BY, Part.WHILE, Part.BEFORE})
_SUBJECT_PARTS = (At.ARTICLE, At.MODIFIER, At.NOUN)
_IN_TURN = frozenset({"first", "afterwards", "afterward", "later", "finally", "next", "also", "meanwhile"})
"""Adverbs that say when a sound comes, and nothing of it, at the head of its clause."""
_NOTHING = frozenset({"no", "nothing", "nobody", "none"})
"""Heads of what is no sound: "soft static and no distinct sound"."""
_OVER = frozenset(
    {"along with", "together with", "over", "to", "amid", "amidst", "against", "with", "under", "beneath", "above"}
)
_SOUND = ("sound", "sounds")
_BEHIND = (("behind", "it"), ("behind", "them"), ("behind", "this"))
_VERBS = frozenset({Part.VERB, Part.GERUND, Part.PARTICIPLE})


class _Course(NamedTuple):
    """A way to read the caption so far.

    Attributes:
        price: of the reading, as the grammar has it.
        begun: positions at which a clause with a subject and a verb of its own began.
        named: positions at which a name began of which no verb is known yet.
        abrupt: how many clauses began without a connective.
    """

    price: float = 0.0
    begun: tuple[int, ...] = ()
    named: tuple[int, ...] = ()
    abrupt: int = 0

    @property
    def cost(self) -> tuple[float, int, int, int]:
        """What ways are compared by: among equally good English, the one with the most clauses that are whole."""
        return self.price, len(self.named), -len(self.begun), self.abrupt


@lru_cache(maxsize=256)
def sound_phrases(text: str) -> tuple[str, ...]:
    """The phrases of a caption that each name a sound, in its order and its words; the caption itself where it has one.

    Args:
        text: lower-case without punctuation, as the captioner writes; any other string is read as far as it goes.
    """
    tokens = list(tokens_of(text.split()))
    starts = (0, *_clause_starts(tokens), len(tokens))
    clauses = [tokens[start:end] for start, end in zip(starts, starts[1:], strict=False)]
    phrases = [_worded(part) for clause in clauses for part in _behind_prepositions(clause)]
    return tuple(dict.fromkeys(phrase for phrase in phrases if phrase)) or (text,)


def _clause_starts(tokens: Sequence[Token]) -> list[int]:
    """Positions of the tokens at which the cheapest reading begins a clause of another subject; never 0."""
    live: dict[State, _Course] = {State(): _Course()}
    for position, token in enumerate(tokens):
        limit = min(course.price for course in live.values()) + HOPELESS
        reached: dict[State, _Course] = {}
        for state, course in live.items():
            if course.price > limit:
                continue
            for then, extra, _ in moves(token.word_class, state):
                found = _followed(course._replace(price=course.price + extra), state, then, position)
                known = reached.get(then)
                if known is None or found.cost < known.cost:
                    reached[then] = found
        live = reached
    course = min((one._replace(price=one.price + finish(state).price) for state, one in live.items()), key=_cost)
    # "hisses", "crackles": a last word that may be a verb is one more verb of the subject before it.
    names = [position for position in course.named if position == 0 or tokens[position].parts.isdisjoint(_VERBS)]
    return sorted(start for start in {*course.begun, *names} if start and tokens[start].text not in _NOTHING)


def _cost(course: _Course) -> tuple[float, int, int, int]:
    return course.cost


def _followed(course: _Course, state: State, then: State, position: int) -> _Course:
    """The course after a move from one state to another, by the token at a position."""
    begins = then.role is Role.SUBJECT and then.at in _SUBJECT_PARTS and then.predicate is Predicate.NONE
    connected = state.at is At.START and state.opener is not Opener.START
    if begins and connected and then.subject_number == JOINED:
        return course._replace(named=(*course.named, position))
    whole = state.predicate is not Predicate.NONE
    if begins and then.opener is not Opener.WHICH and then.subject_number != JOINED and (connected or whole):
        return course._replace(named=(*course.named, position), abrupt=course.abrupt + (not connected))
    if then.predicate is not Predicate.NONE and course.named:
        # "a man and a woman talk": the verb is that of all names since the last clause.
        first = course.named[:1] if then.subject_number != JOINED else ()
        return course._replace(begun=(*course.begun, *first), named=())
    return course


def _behind_prepositions(clause: Sequence[Token]) -> Iterator[Sequence[Token]]:
    """The clause, and a sound that a preposition adds to it."""
    said = False
    for position, token in enumerate(clause):
        if said and token.text in _OVER and _names_a_sound(clause[position:]):
            yield clause[:position]
            yield from _behind_prepositions(clause[position + 1 :])
            return
        noun = token.text in _SOUND and (position == 0 or Part.ARTICLE in clause[position - 1].parts)
        verb = position > 0 and not noun and not token.parts.isdisjoint(_VERBS)
        said = said or verb
    yield clause


def _names_a_sound(phrase: Sequence[Token]) -> bool:
    """Whether what a preposition opens is heard by itself: "over the sound of a clock", "with a fire crackling"."""
    words = [token.text for token in phrase]
    if words[1:4] in (["the", "sound", "of"], ["the", "sounds", "of"]):
        return True
    if not words[0].endswith("with"):
        return False
    ends = next((index for index, word in enumerate(words) if index and word in _OVER), len(words))
    named = [token for token in phrase[1:ends] if Part.ARTICLE not in token.parts]
    if not named:
        return False
    gerund = any(not token.parts.isdisjoint((Part.GERUND, Part.BEING)) for token in named[1:])
    sound = any(
        reading.trait in (Trait.SOUND, Trait.SOURCE) for token in named for reading in token.word_class.readings
    )
    return gerund or (sound and "in the background" in words[:ends])


def _worded(part: Sequence[Token]) -> str:
    """The words of a phrase, without connectives around it and without what points to another phrase."""
    kept = list(part)
    while kept and (not kept[-1].parts.isdisjoint(_CONNECTIVES) and kept[-1].parts <= _CONNECTIVES):
        kept.pop()
    while kept and (kept[0].parts <= _CONNECTIVES or kept[0].text in _IN_TURN):
        kept.pop(0)
    while len(kept) > 1 and kept[-1].text in _IN_TURN or (kept and kept[-1].parts <= _CONNECTIVES):
        kept.pop()
    words = " ".join(token.text for token in kept).split()
    if tuple(words[-2:]) in _BEHIND:
        words = words[:-2]
    return " ".join(words)
