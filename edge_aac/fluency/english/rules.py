"""Rules of the fluency grammar: what a word of each part of speech may follow, and what it then does to the clause."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from edge_aac.fluency.english.readings import Part, Reading, Trait
from edge_aac.fluency.english.states import (
    CLOSED,
    DANGLING,
    FAULT,
    INCOMPLETE,
    JOINED,
    MEASURED,
    NO_CONJUNCTION,
    NO_VERB,
    ODD,
    UNLIKELY,
    At,
    Listing,
    Move,
    Opener,
    Predicate,
    Role,
    State,
    Subject,
    after,
    beside,
    closed,
    connected,
    described,
    faulty,
    heads,
    listed,
    new_clause,
    noun_phrases,
    there,
    unlisted,
    verdict,
)
from edge_aac.fluency.english.words import WHOLE


def _noun(state: State, reading: Reading) -> Iterator[Move]:
    if state.at in (At.ARTICLE, At.MODIFIER):
        yield from heads(state, reading)
        if reading.part is Part.NOUN and reading.number == "p" and state.article == "s":
            # "a clothes line"
            yield Move(state._replace(at=At.MODIFIER), ODD)
        return
    if state.at is At.NOUN and not state.article and state.role not in (Role.NONE, Role.TIME):
        # "pots pans and plates"
        yield after(listed(state, Listing.NAMES), next(heads(listed(state, Listing.NAMES).state, reading)))
    if state.at is At.NOUN and state.role is not Role.TIME and reading.part is Part.NOUN and reading.price <= ODD:
        compound = next(heads(state, reading))
        yield compound if state.number != "p" else compound._replace(price=compound.price + UNLIKELY)
    if state.at is At.NOUN and state.role is not Role.TIME and reading.trait is Trait.PERSONAL:
        # "a tool he uses"
        relative = new_clause(state, Opener.WHICH, spare=state.role is Role.SUBJECT)
        yield Move(next(heads(relative._replace(role=Role.SUBJECT), reading)).state, ODD)
    for begun in noun_phrases(state):
        for head in heads(begun.state._replace(article=""), reading):
            yield after(begun, head)


def _article(state: State, reading: Reading) -> Iterator[Move]:
    if reading.trait is Trait.POSSESSIVE and state.at in (At.ARTICLE, At.MODIFIER, At.NOUN):
        yield Move(state._replace(at=At.ARTICLE, article=reading.number))
    if state.at is At.ARTICLE:
        yield faulty(state, DANGLING)
    elif state.at is At.MODIFIER:
        then = state._replace(at=At.ARTICLE, article=reading.number)
        yield Move(then) if state.article == WHOLE else faulty(then, DANGLING)
    if state.at is At.NOUN and state.role is Role.OBJECT and state.verb not in (Trait.VOICE, Trait.NOISE):
        # "gives the dog a bone"
        yield Move(state._replace(at=At.ARTICLE, article=reading.number), ODD)
    if state.at is At.NOUN and state.article not in ("", CLOSED):
        yield from beside(state, reading)
    for begun in noun_phrases(state):
        yield begun._replace(state=begun.state._replace(at=At.ARTICLE, article=reading.number))


def _quantifier(state: State, reading: Reading) -> Iterator[Move]:
    complement = state.at is At.AUXILIARY
    yield from _adjective(state, reading)
    if not complement:
        number = "" if reading.number == WHOLE else reading.number
        named = state.at in (At.ARTICLE, At.MODIFIER)
        source = number != "" and not named
        yield from _noun(state, Reading(Part.PRONOUN, number, Trait.SOURCE if source else Trait.NONE))


def _adjective(state: State, reading: Reading) -> Iterator[Move]:
    number = reading.number or (MEASURED if reading.part is Part.MEASURE else "")
    if state.at in (At.ARTICLE, At.MODIFIER):
        yield Move(state._replace(at=At.MODIFIER, article=number or state.article))
        return
    for begun in noun_phrases(state):
        yield begun._replace(state=begun.state._replace(at=At.MODIFIER, article=number))
    if reading.part is not Part.ADJECTIVE:
        return
    if state.at in (At.PREPOSITION, At.TO) and state.role is not Role.OF_WITH:
        # "from low to high"
        yield Move(state._replace(at=At.ADVERB, role=Role.NONE), ODD)
    if state.at in (At.VERB, At.AUXILIARY, At.ADVERB) or (state.at is At.NOUN and state.role is not Role.SUBJECT):
        yield Move(state._replace(at=At.ADVERB, role=Role.NONE))
    elif state.at is At.NOUN:
        # "something metallic"
        yield Move(state)
    elif state.at is At.START and (
        state.opener is Opener.WHILE or (state.opener is Opener.AND and state.predicate is not Predicate.NONE)
    ):
        # "though faint a siren is heard"
        yield Move(state._replace(at=At.ADVERB, role=Role.NONE))


def _finite(state: State, reading: Reading) -> Iterator[Move]:
    """A verb, or an auxiliary, that has a subject of its own."""
    auxiliary = reading.part is Part.AUXILIARY
    then = state._replace(
        at=At.AUXILIARY if auxiliary else At.VERB,
        role=Role.NONE,
        number="",
        article="",
        predicate=Predicate.FINITE,
        verb=reading.trait,
        spare=state.spare or reading.trait is Trait.SAY,
        alone=False,
    )
    if state.opener is Opener.AND:
        then = closed(then, Listing.VERBS if state.at is At.START else Listing.CLAUSES)
    if state.at is At.START:
        if state.opener is Opener.WHICH:
            yield Move(then._replace(main=True))
        elif state.opener is not Opener.START and state.subject is not Subject.NONE:
            subordinate = state.opener in (Opener.WHILE, Opener.BEFORE)
            yield Move(then, UNLIKELY if subordinate else 0.0 if state.predicate is not Predicate.NONE else ODD)
        else:
            yield Move(then._replace(main=True), ODD)
    elif state.at in (At.NOUN, At.ADVERB, At.VERB):
        if state.predicate is not Predicate.FINITE:
            yield from _agreeing(state, then, reading)
        elif state.spare:
            yield Move(then._replace(spare=False, main=True))
        elif state.verb is Trait.CAUSE and reading.number != "s":
            yield Move(then)
        else:
            # "cries a bonfire sizzles": no verb for what cries
            aside = state.role is Role.OBJECT and state.verb in (Trait.VOICE, Trait.NOISE)
            yield faulty(then, NO_CONJUNCTION) if aside else listed(then, Listing.VERBS)
    elif state.at is At.AUXILIARY:
        yield Move(then, ODD if reading.number == "s" else 0.0)
    elif state.at in (At.ARTICLE, At.PREPOSITION):
        # A little more than a missing conjunction, which is likelier: "weeps a cock crows".
        yield faulty(then, DANGLING)._replace(price=FAULT + 0.05)
    elif state.at is At.TO and reading.number != "s":
        yield Move(then._replace(predicate=state.predicate))


def _agreeing(state: State, then: State, reading: Reading) -> Iterator[Move]:
    if state.subject is Subject.NONE:
        yield Move(then, ODD)
    elif state.role is Role.OF_BOTH:
        yield Move(then, UNLIKELY)
    elif (
        state.subject_number == JOINED
        and reading.number == "s"
        and state.subject is Subject.SOURCE
        and state.predicate is Predicate.NONE
    ):
        # "a truck and then a car passes by": the verb is the second one's alone
        yield faulty(then, NO_VERB)
    else:
        wanted = "p" if state.subject_number == JOINED else state.subject_number
        yield Move(then, 0.0 if wanted == "" or reading.number in ("", wanted) else UNLIKELY)


def _being(state: State, reading: Reading) -> Iterator[Move]:
    if state.at is At.TO:
        yield Move(state._replace(at=At.AUXILIARY, role=Role.NONE))
    else:
        for move in _participle(state, reading):
            if move.state.at is At.VERB:
                yield move._replace(state=move.state._replace(at=At.AUXILIARY))


def _participle(state: State, reading: Reading) -> Iterator[Move]:
    gerund = reading.part is not Part.PARTICIPLE
    passive = state.at is At.AUXILIARY and not gerund
    then = state._replace(at=At.VERB, verb=Trait.PASSIVE if passive else reading.trait)
    if state.at in (At.ARTICLE, At.MODIFIER):
        yield Move(described(state, reading))
        if reading.part is Part.GERUND:
            yield from _noun(state, Reading(Part.NOUN, "s"))
        return
    if state.at in (At.NOUN, At.VERB, At.ADVERB, At.AUXILIARY):
        own = state.predicate is Predicate.NONE and state.role is not Role.OF_WITH
        if own:
            then = then._replace(role=Role.NONE, predicate=Predicate.PARTICIPLE)
        yield Move(closed(then, Listing.CLAUSES) if own and state.opener is Opener.AND else then)
        return
    if state.at is At.START and not gerund:
        # "heard in the distance is a bell"
        yield Move(new_clause(state, state.opener, state.spare)._replace(at=At.VERB, verb=Trait.PASSIVE), ODD)
    for begun in noun_phrases(state):
        yield begun._replace(state=described(begun.state._replace(article=""), reading))
        if gerund:
            clause = begun.state
            if clause.role is Role.SUBJECT:
                clause = clause._replace(
                    subject=Subject.OTHER, subject_number="", predicate=Predicate.PARTICIPLE, main=True
                )
            yield begun._replace(state=clause._replace(at=At.VERB, role=Role.NONE, verb=reading.trait))
    if state.at is At.START:
        if reading.part is Part.GERUND:
            # "talking and laughter"
            yield from _noun(state, Reading(Part.NOUN, "s"))
        if state.predicate is not Predicate.NONE:
            yield Move(then._replace(role=Role.NONE))


def _adverb(state: State, reading: Reading) -> Iterator[Move]:
    manner = reading.trait is not Trait.NONE
    if reading.trait is Trait.SO:
        state = state._replace(spare=True)
    if state.at in (At.START, At.ARTICLE, At.MODIFIER):
        yield Move(state)
        if state.at is At.START and state.opener in (Opener.AND, Opener.THEN) and state.predicate is not Predicate.NONE:
            yield Move(state._replace(at=At.ADVERB, role=Role.NONE))
    elif state.at is At.AUXILIARY:
        yield Move(state)
        if not manner:
            yield Move(state._replace(at=At.ADVERB, role=Role.NONE))
    elif state.at in (At.PREPOSITION, At.TO):
        yield Move(state)
        if not manner:
            yield Move(state._replace(at=At.ADVERB))
    else:
        trailing = state.trailing or state.role is Role.SUBJECT
        yield Move(state._replace(at=At.ADVERB, trailing=trailing))


def _preposition(state: State, reading: Reading) -> Iterator[Move]:
    yield from _particle(state, reading)
    role = Role.OF_WITH if reading.trait is Trait.WITH else Role.OF_PREPOSITION
    then = state._replace(at=At.TO if reading.part is Part.TO else At.PREPOSITION, role=role)
    if state.at is At.START:
        if reading.trait is Trait.OF:
            yield faulty(then, DANGLING)
            return
        if state.opener is Opener.AND:
            yield Move(then)
            fresh = new_clause(state, state.opener, state.spare)
            yield after(verdict(state, ending=False), Move(fresh._replace(at=then.at, role=role)))
        else:
            yield Move(new_clause(state, state.opener, state.spare)._replace(at=then.at, role=role))
    elif state.at is At.ARTICLE:
        yield faulty(then, DANGLING)
    elif state.at is At.MODIFIER:
        yield Move(then, UNLIKELY)
    elif state.at is At.PREPOSITION:
        nested = reading.trait in (Trait.PARTICLE, Trait.LOOSE_PARTICLE) or reading.trait is Trait.NONE
        yield Move(then) if nested else faulty(then, DANGLING)
    elif state.at is not At.TO:
        trailing = state.trailing or state.role is Role.SUBJECT
        yield Move(then._replace(trailing=trailing))


def _particle(state: State, reading: Reading) -> Iterator[Move]:
    """A preposition without a noun: "drives by", "turns it off"; more may follow, as after the verb itself."""
    if state.at is At.VERB or (state.at in (At.NOUN, At.ADVERB) and state.predicate is not Predicate.NONE):
        loose = reading.trait is Trait.LOOSE_PARTICLE and state.verb is not Trait.VOICE
        # "music that he listens to", "a toy is played with"
        stays_behind = state.opener is Opener.WHICH or (state.at is At.VERB and state.verb is Trait.PASSIVE)
        stranded = stays_behind and reading.trait in (Trait.NONE, Trait.WITH)
        if loose or stranded or reading.trait is Trait.PARTICLE:
            yield Move(state._replace(at=At.VERB, role=Role.NONE))
    elif state.at in (At.AUXILIARY, At.NOUN, At.PREPOSITION) and reading.trait is Trait.PARTICLE:
        yield Move(state._replace(at=At.ADVERB, trailing=True))
    elif state.at is At.AUXILIARY and reading.trait is Trait.LOOSE_PARTICLE:
        yield Move(state._replace(at=At.ADVERB, role=Role.NONE))
    elif state.at is At.START and reading.trait in (Trait.PARTICLE, Trait.LOOSE_PARTICLE):
        # "outside a dog barks", "in walks a man"
        yield Move(state, 0.0 if reading.trait is Trait.PARTICLE else ODD)
        if state.opener is Opener.AND and state.predicate is not Predicate.NONE:
            yield Move(state._replace(at=At.ADVERB, role=Role.NONE))


def _connective(opener: Opener) -> Callable[[State, Reading], Iterator[Move]]:
    def rule(state: State, reading: Reading) -> Iterator[Move]:
        if reading.trait is Trait.FRONTED and (state.at is not At.START or state.opener is not Opener.START):
            return
        if state.at is At.START:
            yield from connected(state, opener)
        elif state.at is At.MODIFIER and opener is Opener.AND:
            yield Move(state)
        elif state.at is At.MODIFIER:
            # "loud then quiet"
            yield Move(state._replace(at=At.START, opener=opener), ODD if opener is Opener.THEN else UNLIKELY)
        elif state.at is At.PREPOSITION and opener is Opener.BEFORE:
            # "than before"
            yield Move(state._replace(at=At.ADVERB, role=Role.NONE))
        elif state.at in (At.ARTICLE, At.PREPOSITION, At.TO):
            yield faulty(state._replace(at=At.START, opener=opener), DANGLING)
        elif state.at is At.AUXILIARY and opener is Opener.FOLLOWED_BY:
            # "is followed by"
            yield Move(state._replace(at=At.PREPOSITION, role=Role.OF_PREPOSITION))
        elif state.at is At.AUXILIARY:
            yield faulty(state._replace(at=At.START, opener=opener), INCOMPLETE)
        else:
            role = state.role if state.at is At.NOUN else Role.NONE
            then = state._replace(at=At.START, opener=opener, role=role)
            if opener is Opener.AND:
                yield Move(then)
            elif opener is Opener.WHICH:
                yield Move(then._replace(spare=True))
            else:
                yield after(verdict(state, ending=False), unlisted(then))
            if opener is Opener.THEN and role is Role.SUBJECT and state.predicate is Predicate.NONE:
                # "a dog then barks"
                yield Move(state._replace(at=At.ADVERB))

    return rule


RULES: dict[Part, Callable[[State, Reading], Iterator[Move]]] = {
    Part.ARTICLE: _article,
    Part.QUANTIFIER: _quantifier,
    Part.ADJECTIVE: _adjective,
    Part.NOUN: _noun,
    Part.PRONOUN: _noun,
    Part.VERB: _finite,
    Part.AUXILIARY: _finite,
    Part.BEING: _being,
    Part.MEASURE: _adjective,
    Part.GERUND: _participle,
    Part.PARTICIPLE: _participle,
    Part.ADVERB: _adverb,
    Part.PREPOSITION: _preposition,
    Part.TO: _preposition,
    Part.THERE: there,
    Part.AND: _connective(Opener.AND),
    Part.THEN: _connective(Opener.THEN),
    Part.FOLLOWED_BY: _connective(Opener.FOLLOWED_BY),
    Part.WHILE: _connective(Opener.WHILE),
    Part.BEFORE: _connective(Opener.BEFORE),
    Part.WHICH: _connective(Opener.WHICH),
    Part.COMPARED: _connective(Opener.COMPARED),
}
