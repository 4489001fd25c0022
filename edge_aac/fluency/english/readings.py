"""Parts of speech of a word: from the lists, and from its ending where it is on none.

The vocabulary is open, so a word that is not listed gets every part of speech that its ending allows: the check finds
fault only where no reading of a caption is faultless, so a wide guess costs recall at worst.
"""

from __future__ import annotations

from enum import Enum, auto
from functools import lru_cache
from typing import NamedTuple

from edge_aac.fluency.english.words import (
    ACTION_VERBS,
    ADJECTIVES,
    ADVERBS,
    ARTICLES,
    AUXILIARIES,
    CAUSE_VERBS,
    DEFINITE,
    EITHER_NUMBER,
    LOOSE_PARTICLES,
    MANNER_ADVERBS,
    MEASURES,
    NO_NOUNS,
    NOISE_VERBS,
    NOT_ADVERBS,
    NOT_PAST,
    NOUNS_IN_ING,
    OTHER_NOUNS,
    PARTICLES,
    PAST_FORMS,
    PERSONAL_PRONOUNS,
    PLURAL_FORMS,
    PLURAL_PRONOUNS,
    PREPOSITIONS,
    QUANTIFIERS,
    RELATIVES,
    SAY_VERBS,
    SINGULAR_IN_S,
    SINGULAR_PRONOUNS,
    SOUNDS,
    SOURCES,
    STILL_VERBS,
    STRIKE_VERBS,
    SUBORDINATORS,
    TEMPORALS,
    TIMES,
    VOICE_VERBS,
    WHOLE,
)

SHORTEST_INFLECTED = 5
"""Letters of the shortest unlisted word whose ending counts: "king" and "red" are no verb forms."""
SHORTEST_ROOT = 3


class Label(Enum):
    """An enumeration whose members hash by identity: Enum hashes names, in Python code, and that is slow."""

    __hash__ = object.__hash__


class Part(Label):
    """Parts of speech, by what a word can do in a caption."""

    ARTICLE = auto()  # needs a noun: a, the, his
    QUANTIFIER = auto()  # may stand for a noun: several, another, two
    ADJECTIVE = auto()
    NOUN = auto()
    PRONOUN = auto()
    VERB = auto()  # finite
    GERUND = auto()  # barking: a participle, an adjective or a noun
    PARTICIPLE = auto()  # closed
    AUXILIARY = auto()
    BEING = auto()  # being, been, having
    MEASURE = auto()  # "group of" and the like, which say how many
    ADVERB = auto()
    PREPOSITION = auto()
    TO = auto()
    THERE = auto()
    AND = auto()
    THEN = auto()
    FOLLOWED_BY = auto()
    WHILE = auto()
    BEFORE = auto()  # begins a clause, or takes a noun: before, until
    WHICH = auto()
    COMPARED = auto()  # "the louder" in "the louder it rattles"


class Trait(Label):
    """Properties of a word that the grammar needs beside its part of speech."""

    NONE = auto()
    SOURCE = auto()  # noun: a thing that makes sound and is none itself; "a dog" alone says too little
    SOUND = auto()  # noun: a sound, or what is heard as one; "heavy rain" is a caption
    TIME = auto()  # noun: "three times", "all day" are adverbs
    VOICE = auto()  # verb: takes no object, and none of "in", "on", "by" as its particle
    NOISE = auto()  # verb: takes no object
    CAUSE = auto()  # verb: "makes a door slam", "hears a dog bark"
    MANNER = auto()  # adverb: needs what it describes, unlike "nearby"
    PARTICLE = auto()  # preposition that can end a sentence: "turns off"
    LOOSE_PARTICLE = auto()  # the same, but with verbs of motion and handling alone: "walks in"
    OF = auto()
    WITH = auto()
    PASSIVE = auto()  # no word's own: a participle after "is", whose preposition may stay behind
    POSSESSIVE = auto()  # article that may follow another: "a dog's collar"
    PERSONAL = auto()  # pronoun that is a subject: "a tool he uses"
    SAY = auto()  # verb: what is said may follow, as in "asks who is there", "says come in"
    FRONTED = auto()  # connective at the head of a caption alone: "once the kettle boils"
    SO = auto()  # adverb: "so loudly the walls shake"


class Reading(NamedTuple):
    """A part of speech that a word can have.

    Attributes:
        part: part of speech.
        number: "s" for singular words and verbs that go with them, "p" for plural ones, "" for either.
        trait: property that the grammar needs besides.
    """

    part: Part
    number: str = ""
    trait: Trait = Trait.NONE
    price: float = 0.0


_RARE = 0.9
"""Price of a reading that is possible, but taken only where it saves a fault."""
_SELDOM = 0.4

PHRASES: dict[tuple[str, ...], tuple[Reading, ...]] = {
    tuple(words.split()): found
    for found, phrases in {
        (Reading(Part.ADVERB),): (
            "again and again|on and on|back and forth|on and off"
            "|to and fro|here and there|now and then|now and again|more and more|one after another|one after the other"
            "|one by one|side by side|side to side|as well|at first|all at once|at once|at last|at times|in response"
            "|in between|all of a sudden|every now and then|every so often|before long|so far|at least"
            "|once more|far off|far away|so on|out loud|no more|as usual|each other|one another|over time"
            "|in the distance|in the background|in the foreground"
            "|near by|for a while|for a short while|for a little while|after a while"
        ),
        (Reading(Part.ADVERB), Reading(Part.PREPOSITION)): (
            "up and down|in and out|over and over|round and round|all over|close by|out of tune"
        ),
        (Reading(Part.PREPOSITION),): (
            "such as|as well as|along with|because of|next to|close to|in front of|out of|due to"
            "|instead of|rather than|other than|nothing but|same as|together with|far from|ahead of|known as|used as"
        ),
        (Reading(Part.FOLLOWED_BY),): "followed by|accompanied by|followed closely by|followed shortly by|preceded by",
        # Before a noun phrase, with which they name what is heard.
        (Reading(Part.MEASURE, WHOLE),): (
            "what sounds like|what seems to be|what appears to be|what could be|what may be|what might be|what must be"
            "|what looks like|what seems like|what is probably|what is likely"
        ),
        (Reading(Part.PRONOUN, "s", Trait.SOURCE), Reading(Part.PRONOUN, "s", Trait.PERSONAL)): "no one",
        (Reading(Part.NOUN, "s", Trait.SOUND),): "cock a doodle doo",
        (Reading(Part.ARTICLE, "s"),): "what a|what an|such a|such an",
        (Reading(Part.WHILE),): (
            "as soon as|as long as|even though|even as|just as|while also|so that|as if|as though|each time|every time"
            "|the moment|the instant|by the time|now that|the first time|the last time|the next time|in case"
        ),
    }.items()
    for words in phrases.split("|")
}
PHRASE_STARTS = frozenset(words[0] for words in PHRASES)
LONGEST_PHRASE = max(len(words) for words in PHRASES)

_CLOSED: dict[str, tuple[Reading, ...]] = {
    "and": (Reading(Part.AND),),
    "or": (Reading(Part.AND),),
    "but": (Reading(Part.AND),),
    "nor": (Reading(Part.AND),),
    "yet": (Reading(Part.AND), Reading(Part.ADVERB)),
    "so": (Reading(Part.ADVERB, "", Trait.SO), Reading(Part.AND)),
    "then": (Reading(Part.THEN),),
    "to": (Reading(Part.TO),),
    "of": (Reading(Part.PREPOSITION, "", Trait.OF),),
    "with": (Reading(Part.PREPOSITION, "", Trait.WITH),),
    **dict.fromkeys(("be", "being", "been", "having"), (Reading(Part.BEING),)),
    "there": (Reading(Part.THERE), Reading(Part.ADVERB)),
}
_ADVERB_ENDINGS = ("ly", "wards", "wise", "where")
_ADJECTIVE_ENDINGS = ("ous", "ful", "less", "able", "ible", "ish", "ic", "ive", "al", "y", "ant", "ent", "er", "est")
_VERBS: dict[str, Trait] = {
    **dict.fromkeys(ACTION_VERBS, Trait.NONE),
    **dict.fromkeys(STRIKE_VERBS, Trait.NONE),
    **dict.fromkeys(SAY_VERBS, Trait.SAY),
    **dict.fromkeys(CAUSE_VERBS, Trait.CAUSE),
    **dict.fromkeys(STILL_VERBS, Trait.NOISE),
    **dict.fromkeys(NOISE_VERBS, Trait.NOISE),
    **dict.fromkeys(VOICE_VERBS, Trait.VOICE),
}
_NOUN_VERBS = (VOICE_VERBS | NOISE_VERBS | STRIKE_VERBS) - NO_NOUNS


def stem(word: str) -> str:
    """The stem of a noun or verb, the same for all its forms: barks, barking and barked give "bark".

    Only ever compared with other stems, so it need not be a word.
    """
    word = PLURAL_FORMS.get(word, word)
    for ending, shortest in (("ing", 5), ("ied", 5), ("ies", 5), ("ed", 5), ("es", 5), ("s", 3)):
        if word.endswith(ending) and len(word) >= shortest and not word.endswith("ss"):
            root = word[: -len(ending)]
            word = root + "y" if ending in ("ied", "ies") else root
            break
    if len(word) > SHORTEST_ROOT and word[-1] == word[-2]:
        word = word[:-1]
    return word[:-1] if len(word) > SHORTEST_ROOT and word.endswith("e") else word


@lru_cache(maxsize=4096)
def readings(word: str) -> tuple[Reading, ...]:
    """Every part of speech that a lower-case word can have, never empty."""
    if word in _CLOSED:
        return _CLOSED[word]
    if word.endswith(("'s", "s'")):
        return (Reading(Part.ARTICLE, DEFINITE, Trait.POSSESSIVE),)
    nouns, verbs = _noun_readings(word), _verb_readings(word)
    agent = word.endswith(("ers", "ors", "ists")) and all(noun.trait is Trait.SOURCE for noun in nouns)
    if nouns and not verbs and word.endswith("s") and not agent:
        # "thunders", "taxis"
        verbs = [Reading(Part.VERB, "s", Trait.NONE, _RARE)]
    if word.endswith("n't"):
        return (Reading(Part.AUXILIARY),)
    known = [*_function_readings(word), *nouns, *verbs]
    return tuple(dict.fromkeys(known or _guessed_readings(word)))


def is_manner(word: str) -> bool:
    """Whether a word is an adverb of which a clause needs no second copy: "loudly", "nearby", not "very", "up"."""
    first = readings(word)[0]
    return first.part is Part.ADVERB and (first.trait is Trait.NONE or word.endswith("ly"))


def _function_readings(word: str) -> list[Reading]:
    found: list[Reading] = []
    for numbers, part in ((ARTICLES, Part.ARTICLE), (QUANTIFIERS, Part.QUANTIFIER), (AUXILIARIES, Part.AUXILIARY)):
        if word in numbers:
            found.append(Reading(part, numbers[word]))
    for words, reading in (
        (SINGULAR_PRONOUNS, Reading(Part.PRONOUN, "s", Trait.SOURCE)),
        (PLURAL_PRONOUNS, Reading(Part.PRONOUN, "p", Trait.SOURCE)),
        (PERSONAL_PRONOUNS, Reading(Part.PRONOUN, "", Trait.PERSONAL)),
        (SUBORDINATORS, Reading(Part.WHILE)),
        (TEMPORALS, Reading(Part.BEFORE)),
        (RELATIVES, Reading(Part.WHICH)),
        (PREPOSITIONS, Reading(Part.PREPOSITION)),
        (PARTICLES, Reading(Part.PREPOSITION, "", Trait.PARTICLE)),
        (LOOSE_PARTICLES, Reading(Part.PREPOSITION, "", Trait.LOOSE_PARTICLE)),
        (ADVERBS, Reading(Part.ADVERB)),
        (MANNER_ADVERBS, Reading(Part.ADVERB, "", Trait.MANNER)),
        (ADJECTIVES, Reading(Part.ADJECTIVE)),
    ):
        if word in words:
            found.append(reading)
    return found


def _noun_readings(word: str) -> list[Reading]:
    singular = PLURAL_FORMS.get(word)
    candidates = [singular] if singular else [*_without_s(word), *([word] if word not in PLURAL_FORMS else [])]
    found = []
    for nouns, trait in (
        (SOURCES, Trait.SOURCE),
        (SOUNDS, Trait.SOUND),
        (TIMES, Trait.TIME),
        (OTHER_NOUNS, Trait.NONE),
        (MEASURES, Trait.NONE),
    ):
        for candidate in candidates:
            if candidate in nouns:
                number = "" if word in EITHER_NUMBER else "s" if candidate == word and not singular else "p"
                found.append(Reading(Part.NOUN, number, trait))
    if word in SINGULAR_IN_S:
        found.append(Reading(Part.NOUN, "s"))
    if word in ("can", "will", "till"):
        found.append(Reading(Part.NOUN, "s", Trait.NONE, _RARE))
    if word in ("once", "like"):
        found.append(Reading(Part.WHILE, "", Trait.FRONTED if word == "once" else Trait.NONE, _SELDOM))
    return found


def _verb_readings(word: str) -> list[Reading]:
    found: list[Reading] = []
    for candidate, number in ((word, "p"), *((base, "s") for base in _without_s(word))):
        trait = _VERBS.get(candidate)
        if trait is None:
            continue
        found.append(Reading(Part.VERB, number, trait))
        if candidate in _NOUN_VERBS:
            found.append(Reading(Part.NOUN, "s" if number == "p" else "p", Trait.SOUND))
        elif candidate not in NO_NOUNS:
            found.append(Reading(Part.NOUN, "s") if number == "p" else Reading(Part.NOUN, "p", Trait.NONE, _SELDOM))
    for base in _without_ing(word):
        if base in _VERBS:
            found.append(Reading(Part.GERUND, "", _VERBS[base]))
    if word in PAST_FORMS or any(base in _VERBS for base in _without_ed(word)):
        found += [Reading(Part.VERB), Reading(Part.PARTICIPLE)]
    return found


def _guessed_readings(word: str) -> list[Reading]:
    noun, adjective = Reading(Part.NOUN, ""), Reading(Part.ADJECTIVE)
    if word.isdigit():
        return [Reading(Part.QUANTIFIER), noun]
    if word.endswith(_ADVERB_ENDINGS) and word not in NOT_ADVERBS:
        return [Reading(Part.ADVERB, "", Trait.MANNER if word.endswith("ly") else Trait.NONE)]
    if word.endswith("ing") and len(word) >= SHORTEST_INFLECTED and word not in NOUNS_IN_ING:
        return [Reading(Part.GERUND)]
    if word.endswith("ed") and len(word) >= SHORTEST_INFLECTED and word not in NOT_PAST:
        return [Reading(Part.VERB), Reading(Part.PARTICIPLE)]
    if word.endswith("s") and not word.endswith(("ss", "us", "is")):
        return [Reading(Part.NOUN, "p"), Reading(Part.VERB, "s")]
    if len(word) >= SHORTEST_INFLECTED and word.endswith(_ADJECTIVE_ENDINGS):
        return [adjective, noun]
    return [noun, adjective, Reading(Part.VERB, "p")]


def _without_s(word: str) -> list[str]:
    if not word.endswith("s") or word.endswith("ss"):
        return []
    return [
        word[:-1],
        *([word[:-2]] if word.endswith("es") else []),
        *([word[:-3] + "y"] if word.endswith("ies") else []),
    ]


def _without_ing(word: str) -> list[str]:
    return _roots(word[:-3]) if word.endswith("ing") and len(word) >= SHORTEST_INFLECTED else []


def _without_ed(word: str) -> list[str]:
    if word.endswith("ied"):
        return [word[:-3] + "y"]
    return _roots(word[:-2]) if word.endswith("ed") and len(word) > SHORTEST_ROOT else []


def _roots(root: str) -> list[str]:
    """The words whose forms begin with "idl", "runn" or "bark"."""
    return [root, root + "e", *([root[:-1]] if root[-1:] == root[-2:-1] else [])]
