"""States of the fluency grammar, what moves between them cost, and where phrases may begin and clauses end."""

from __future__ import annotations

from collections.abc import Iterator
from enum import auto
from functools import lru_cache
from typing import NamedTuple

from edge_aac.fluency.english.readings import Label, Part, Reading, Trait
from edge_aac.fluency.errors import FluencyError

INCOMPLETE = FluencyError.INCOMPLETE_SENTENCE
NO_CONJUNCTION = FluencyError.MISSING_CONJUNCTION
NO_VERB = FluencyError.MISSING_VERB
DANGLING = FluencyError.DANGLING_FUNCTION_WORD

FAULT = 1.0
ODD = 0.4
"""Price of what good captions rarely hold and no kind of error names."""
UNLIKELY = 1.1
"""Price of what is taken for a fault sooner: "a" before a plural, a plural before a noun ("birds chirp" as one name), a
verb that disagrees with its subject."""
CLOSED, JOINED, MEASURED = "closed", "joined", "measured"
"""In place of a number: after a pronoun; of "a dog and a cat"; of "a swarm of flies", with which either verb goes."""
UNREADABLE = 2.5
"""Price of a word that fits nowhere; dearer than any two faults, lest words be skipped to explain faults away."""
HOPELESS = 1.6
"""A reading this much dearer than another of the same words is given up."""


class At(Label):
    """The part of a caption that was read last."""

    START = auto()  # nothing of this clause yet
    ARTICLE = auto()
    MODIFIER = auto()
    NOUN = auto()
    VERB = auto()
    AUXILIARY = auto()
    PREPOSITION = auto()
    TO = auto()
    ADVERB = auto()


class Role(Label):
    """Roles of the noun phrase under way in its clause."""

    NONE = auto()
    SUBJECT = auto()
    OBJECT = auto()
    COMPLEMENT = auto()  # after "is"
    OF_PREPOSITION = auto()
    OF_WITH = auto()  # a participle after it says what it does, not what the subject does
    OF_BOTH = auto()  # "in the yard and a dog", where the dog is more likely the next subject
    TIME = auto()


class Subject(Label):
    """Kinds of subject of a clause."""

    NONE = auto()
    SOURCE = auto()
    OTHER = auto()


class Predicate(Label):
    """Kinds of predicate of a clause."""

    NONE = auto()
    PARTICIPLE = auto()
    FINITE = auto()


class Opener(Label):
    """Openings of a clause."""

    START = auto()
    AND = auto()
    THEN = auto()
    WHILE = auto()
    BEFORE = auto()
    WHICH = auto()
    FOLLOWED_BY = auto()
    COMPARED = auto()
    MAIN = auto()  # no word, but a clause before it that needs another: "as rain falls" ...


class Listing(Label):
    """Lists of things side by side without a word between, until "and" closes the list."""

    NONE = auto()
    NAMES = auto()  # "pots pans and plates"
    VERBS = auto()  # "coughs sneezes and sighs"
    CLAUSES = auto()  # "a dog barks birds sing and a car passes"


class State(NamedTuple):
    """State of the reading of a caption.

    After a connective the fields still describe the clause before it, until it is known whether that one goes on ("a
    dog barks and growls") or another begins.

    Attributes:
        at: part that was read last.
        role: role of the noun phrase under way, or just read.
        number: number of that noun phrase, as in :class:`Reading`.
        article: the number that its article or quantifier asks for; CLOSED where no further noun can join it.
        subject, predicate, opener: parts of the clause; "a barking" makes its subject one that is heard, whatever
            follows.
        subject_number: "s", "p", "" for either, or joined by "and".
        verb: trait of the verb read last.
        trailing: more than a name follows the subject: "in the background".
        spare: whether one more clause needs no connective, since a subordinate or relative one stands before it.
        main: a clause that is not subordinate has begun.
        listing: a list that no "and" has closed yet.
        alone: nothing but adjectives so far.
    """

    at: At = At.START
    role: Role = Role.NONE
    number: str = ""
    article: str = ""
    subject: Subject = Subject.NONE
    subject_number: str = ""
    predicate: Predicate = Predicate.NONE
    opener: Opener = Opener.START
    verb: Trait = Trait.NONE
    trailing: bool = False
    spare: bool = False
    main: bool = False
    listing: Listing = Listing.NONE
    alone: bool = True


class Move(NamedTuple):
    """A way to go on, with its cost and its faults."""

    state: State
    price: float = 0.0
    faults: tuple[FluencyError, ...] = ()


def faulty(state: State, fault: FluencyError) -> Move:
    return Move(state, FAULT, (fault,))


def after(first: Move, second: Move) -> Move:
    return Move(second.state, first.price + second.price, first.faults + second.faults)


def verdict(state: State, ending: bool) -> Move:
    """The fault of the clause that closes here: a thing was named, and not what it does."""
    if state.subject is Subject.NONE or state.predicate is not Predicate.NONE or state.opener is Opener.COMPARED:
        return Move(state)
    clause_due = state.opener in (Opener.WHILE, Opener.WHICH, Opener.MAIN)
    if not clause_due and (state.subject is not Subject.SOURCE or state.opener is Opener.FOLLOWED_BY):
        return Move(state)
    cut_off = ending and not state.trailing and state.opener is not Opener.START
    return faulty(state, INCOMPLETE if cut_off else NO_VERB)


def new_clause(state: State, opener: Opener, spare: bool) -> State:
    main = state.main or opener not in (Opener.WHILE, Opener.BEFORE)
    return State(opener=opener, spare=spare, main=main, listing=state.listing, alone=state.alone)


def unlisted(state: State) -> Move:
    """The fault of a list that ends without an "and"."""
    if state.listing is Listing.NONE:
        return Move(state)
    return faulty(state._replace(listing=Listing.NONE), NO_CONJUNCTION)


def listed(state: State, listing: Listing) -> Move:
    """The state after one more thing in a list, or a fault where another list is open."""
    then = state._replace(listing=listing)
    return Move(then) if state.listing in (Listing.NONE, listing) else faulty(then, NO_CONJUNCTION)


def closed(state: State, listing: Listing) -> State:
    """The state after the "and" of such a list."""
    return state._replace(listing=Listing.NONE) if state.listing is listing else state


def noun_phrases(state: State) -> Iterator[Move]:
    """The roles in which a noun phrase may begin here."""
    at = state.at
    if at is At.START:
        fresh = new_clause(state, state.opener, state.spare)._replace(role=Role.SUBJECT)
        if state.opener is Opener.AND:
            if state.role is Role.SUBJECT:
                yield Move(closed(state, Listing.NAMES)._replace(subject_number=JOINED))
            elif state.role in (Role.OF_PREPOSITION, Role.OF_WITH) and state.predicate is Predicate.NONE:
                yield Move(closed(state, Listing.NAMES)._replace(role=Role.OF_BOTH))
            elif state.role is not Role.NONE:
                yield Move(closed(state, Listing.NAMES))
            yield after(verdict(state, ending=False), Move(fresh))
        else:
            yield Move(fresh)
    elif at in (At.PREPOSITION, At.TO):
        yield Move(state)
    elif at is At.AUXILIARY:
        yield Move(state._replace(role=Role.COMPLEMENT))
    elif at in (At.NOUN, At.VERB, At.ADVERB):
        if at is At.VERB:
            yield Move(state._replace(role=Role.OBJECT))
        yield Move(state._replace(role=Role.TIME))
        fresh = new_clause(state, Opener.START, spare=False)._replace(role=Role.SUBJECT)
        fronted = state.subject is Subject.NONE and state.predicate is Predicate.NONE
        if state.spare and state.opener is not Opener.WHICH:
            yield Move(fresh._replace(opener=Opener.MAIN))
        elif fronted:
            yield Move(fresh)
        else:
            yield after(verdict(state, ending=False), listed(fresh, Listing.CLAUSES))


def beside(state: State, reading: Reading) -> Iterator[Move]:
    """A second noun phrase with an article of its own."""
    if state.role is Role.SUBJECT and state.subject is Subject.OTHER and state.number != "p":
        # "the sound a zipper makes"
        relative = new_clause(state, Opener.WHICH, spare=True)
        yield Move(relative._replace(at=At.ARTICLE, role=Role.SUBJECT, article=reading.number), ODD)
    if state.role not in (Role.NONE, Role.TIME):
        # "a cough a sneeze and a sigh"
        yield listed(state._replace(at=At.ARTICLE, article=reading.number), Listing.NAMES)


def heads(state: State, reading: Reading) -> Iterator[Move]:
    """A noun that completes the phrase which ``state`` is in, whatever its role."""
    number = reading.number
    price = UNLIKELY if state.article == CLOSED or (state.article == "s" and number == "p") else 0.0
    role = state.role
    if role is Role.TIME:
        if reading.trait is Trait.TIME:
            yield Move(state._replace(at=At.ADVERB, role=Role.NONE, number="", article="", trailing=True), price)
        return
    faults: tuple[FluencyError, ...] = ()
    measured = state.article == MEASURED
    heard = state.at is At.MODIFIER and state.subject is Subject.OTHER and not state.subject_number
    article = CLOSED if reading.part is Part.PRONOUN else state.article
    state = state._replace(at=At.NOUN, number=number, article=article, alone=False)
    if role is Role.SUBJECT:
        joined = state.subject_number == JOINED
        source = (reading.trait is Trait.SOURCE and not heard) or (joined and state.subject is Subject.SOURCE)
        state = state._replace(
            subject=Subject.SOURCE if source else Subject.OTHER,
            subject_number=JOINED if joined else "" if measured else number,
        )
    elif role is Role.OF_BOTH and (state.subject is not Subject.SOURCE or reading.trait is not Trait.SOURCE):
        state = state._replace(role=Role.OF_PREPOSITION)
    elif role is Role.OF_WITH and reading.trait is not Trait.SOUND:
        # "a man with a hat speaking", but "a man with music playing"
        state = state._replace(role=Role.OF_PREPOSITION)
    elif (
        role is Role.OBJECT
        and state.subject is not Subject.NONE
        and state.verb in (Trait.VOICE, Trait.NOISE)
        and reading.part is Part.NOUN
        and reading.trait in (Trait.SOURCE, Trait.SOUND)
    ):
        # "birds chirp dog barks"
        price, faults = price + FAULT, (NO_CONJUNCTION,)
    yield Move(state, price, faults)


def described(state: State, reading: Reading) -> State:
    """A participle before its noun: "a crying baby" says what is heard, "a muffled radio" does not."""
    heard = reading.part is Part.GERUND and state.role is Role.SUBJECT and state.subject is Subject.NONE
    return state._replace(at=At.MODIFIER, subject=Subject.OTHER if heard else state.subject)


def connected(state: State, opener: Opener) -> Iterator[Move]:
    """A connective right after another, or at the head of the caption."""
    then = state._replace(opener=opener)
    if state.opener is Opener.START:
        subordinate = opener in (Opener.WHILE, Opener.BEFORE)
        yield Move(then._replace(spare=subordinate or opener is Opener.WHICH), 0.0 if subordinate else ODD)
    elif opener is Opener.AND:
        yield faulty(then, DANGLING)
    elif state.opener is Opener.AND:
        yield after(verdict(state, ending=False), Move(then))
    else:
        yield Move(then, 0.0 if state.opener is Opener.THEN else ODD)


def there(state: State, reading: Reading) -> Iterator[Move]:
    """The word itself, as in "there is a dog"."""
    if state.at is At.START:
        fresh = new_clause(state, state.opener, state.spare)
        named = fresh._replace(at=At.NOUN, role=Role.SUBJECT, subject=Subject.OTHER)
        yield after(verdict(state, ending=False), Move(named)) if state.opener is Opener.AND else Move(named)


@lru_cache(maxsize=4096)
def finish(state: State) -> Move:
    """The faults of a caption that ends here."""
    return after(unlisted(state), _ended(state))


def _ended(state: State) -> Move:
    if state.at is At.START:
        if state.opener is Opener.START:
            return Move(state)
        return faulty(state, INCOMPLETE if state.opener in (Opener.THEN, Opener.WHICH) else DANGLING)
    if state.at in (At.ARTICLE, At.PREPOSITION, At.TO):
        return faulty(state, DANGLING)
    if state.at is At.AUXILIARY and state.opener is not Opener.COMPARED:
        return faulty(state, INCOMPLETE)
    if state.at is At.MODIFIER:
        if state.role is Role.SUBJECT and not state.article and state.alone:
            # "loud then quiet"
            return Move(state)
        short_of_noun = faulty(state, INCOMPLETE if state.role is Role.COMPLEMENT else DANGLING)
        return short_of_noun._replace(price=UNLIKELY)
    found = verdict(state, ending=True)
    if not found.faults and not state.main and state.opener in (Opener.WHILE, Opener.BEFORE):
        return faulty(state, INCOMPLETE)
    return found
