"""What a caption says: which sounds, in which order, how often, how far. The inverse of the wording, for any text.

Words that say nothing of sounds are passed over, so a caption that a model made up is read as far as it goes.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from quantize.data.everyday.adverbs import SAYS
from quantize.data.everyday.lexicon import CONNECTIVES, Lexicon

_ADVERBS = {tuple(phrase.split()): says for phrase, says in SAYS.items()}
_LONGEST_ADVERB = max(map(len, _ADVERBS))
_LATER = frozenset({"then", "followed", "before", "afterwards"})
_UNKNOWN = re.compile(
    r"\b(?:a|some|an unfamiliar|an unknown|an odd) (?:sound|noise) "
    r"(?:that (?:is hard|cannot be|nothing)|of (?:some|no))\b"
)


@dataclass(frozen=True)
class Statement:
    """A sound that a caption names, and what it says of it.

    Attributes:
        sound: name in the lexicon.
        group: number of the moment at which it is heard, from 0; sounds of one group are heard together.
        through: whether it is heard through all groups.
        count: number of times; None where it says nothing of that, or "several".
        many: whether it is heard several times.
        again: whether it is heard again.
        far: whether it is far; None where nothing is said.
        behind: whether it is in the background.
        loud: whether it is loud (True) or faint (False); None where nothing is said.
        lasting: whether it goes on all the time (True) or is brief (False); None where nothing is said.
    """

    sound: str
    group: int = 0
    through: bool = False
    count: int | None = None
    many: bool = False
    again: bool = False
    far: bool | None = None
    behind: bool = False
    loud: bool | None = None
    lasting: bool | None = None


@dataclass(frozen=True)
class Reading:
    """What a caption says.

    Attributes:
        statements: in the order of time; within a group in that of the text, what lasts through all at the end.
        unknown: whether it tells of a sound that is none of the known ones.
    """

    statements: tuple[Statement, ...]
    unknown: bool = False

    @property
    def sounds(self) -> tuple[str, ...]:
        """The sounds, each as often as it is told of."""
        return tuple(statement.sound for statement in self.statements)

    @property
    def groups(self) -> tuple[frozenset[str], ...]:
        """The sounds of each moment; those that last through all are in every one."""
        last = max((one.group for one in self.statements), default=-1)
        return tuple(
            frozenset(one.sound for one in self.statements if one.through or one.group == group)
            for group in range(last + 1)
        )


def read(lexicon: Lexicon, text: str) -> Reading:
    """Read a caption.

    Args:
        lexicon: the sounds and their words.
        text: in any case; punctuation is passed over.
    """
    words = re.findall(r"[a-z']+", text.lower())
    unknown = _UNKNOWN.search(" ".join(words)) is not None
    found = lexicon.names.find(words)
    if not found:
        return Reading((), unknown)
    ends = [*(naming.start for naming in found[1:]), len(words)]
    tails = [_tail(words[naming.end : end]) for naming, end in zip(found, ends, strict=True)]
    groups = _groups([said for _, said in tails[:-1]])
    statements = [
        _statement(naming.sound, adverbs, group, len(set(groups)) > 1)
        for naming, (adverbs, _), group in zip(found, tails, groups, strict=True)
    ]
    order = sorted(range(len(statements)), key=lambda index: (statements[index].through, statements[index].group))
    return Reading(tuple(statements[index] for index in order), unknown)


def _tail(words: Sequence[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """What adverbs after a name say, and the connectives before the next one."""
    adverbs: list[str] = []
    connectives: list[str] = []
    position = 0
    while position < len(words):
        length, says = _adverb(words, position)
        if says:
            adverbs.append(says)
        elif words[position] in CONNECTIVES:
            connectives.append(words[position])
        position += length
    return tuple(adverbs), tuple(connectives)


def _adverb(words: Sequence[str], position: int) -> tuple[int, str]:
    for length in range(min(_LONGEST_ADVERB, len(words) - position), 0, -1):
        says = _ADVERBS.get(tuple(words[position : position + length]))
        if says:
            return length, says
    return 1, ""


def _groups(connectives: Sequence[Sequence[str]]) -> list[int]:
    """Number of the moment of each sound, from what joins them."""
    groups = [0]
    for said in connectives:
        step = 1 if _LATER.intersection(said) else -1 if "after" in said else 0
        groups.append(groups[-1] + step)
    first = min(groups)
    return [group - first for group in groups]


def _statement(sound: str, adverbs: Sequence[str], group: int, turns: bool) -> Statement:
    says = set(adverbs)
    count = next((int(one) for one in adverbs if one.isdigit()), None)
    return Statement(
        sound,
        group,
        through=turns and ("through" in says or "behind" in says),
        count=count,
        many="many" in says,
        again="again" in says,
        far=True if "far" in says else False if "near" in says else None,
        behind="behind" in says,
        loud=True if "loud" in says else False if "faint" in says else None,
        lasting=True if "lasting" in says else False if "brief" in says else None,
    )
