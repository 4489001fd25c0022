"""How right captions are about sounds of which some are examples of others: "an animal" is no wrong answer to a dog.

A caption that names a coarser sound than is heard counts half; one that names an example of what is heard, or a
sibling, counts nothing. Each sound that is heard answers for one that is named, as well as can be.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from quantize.data.everyday.lexicon import Lexicon
from quantize.data.everyday.reading import Reading

COARSER = 0.5
"""Credit of a caption that names what is heard by a coarser sound."""


@dataclass(frozen=True)
class SoundScores:
    """Over all captions, a coarser sound counting half.

    Attributes:
        precision: credit of the sounds that are named, of all named.
        recall: credit of the sounds that are heard, of all heard.
        f1: harmonic mean of the two.
        exact: captions that name exactly what is heard, of all captions.
        exact_or_coarser: captions that name nothing but what is heard or coarser sounds of it, and all of it.
        order: captions of sounds that follow each other which name all of them, or coarser ones, in their order; of
            those captions; 0 where there are none.
        ordered: number of these captions.
    """

    precision: float
    recall: float
    f1: float
    exact: float
    exact_or_coarser: float
    order: float
    ordered: int


def credit(lexicon: Lexicon, named: str, heard: str, below_top: bool = False) -> float:
    """Credit of a name for a sound that is heard: 1, :data:`COARSER` or 0.

    Args:
        lexicon: the sounds.
        named: the sound that the caption names.
        heard: the sound that is heard.
        below_top: whether the tops of AudioSet's tree ("an animal", "music") earn nothing for what is below them.
    """
    if named == heard:
        return 1.0
    if named in lexicon.names.ancestors(heard) and not (below_top and lexicon.is_top(named)):
        return COARSER
    return 0.0


def named_right(lexicon: Lexicon, named: Sequence[str], heard: str, below_top: bool = True) -> bool:
    """Whether a caption names a sound, or one that it is an example of."""
    return any(credit(lexicon, one, heard, below_top) > 0.0 for one in named)


def matched(lexicon: Lexicon, named: Sequence[str], heard: Sequence[str]) -> tuple[tuple[int, int, float], ...]:
    """Pairs of what is named and what is heard, each in one pair at most, with the largest credit in all.

    Args:
        lexicon: the sounds.
        named: sounds of the caption.
        heard: sounds of the scene.

    Returns:
        Number of the named one, of the heard one, and the credit of the pair; pairs without credit are left out.
    """
    # Both lists have a few entries, so that all ways can be tried.
    best: tuple[tuple[int, int, float], ...] = ()

    def total(pairs: Sequence[tuple[int, int, float]]) -> float:
        return sum(pair[2] for pair in pairs)

    def extend(number: int, pairs: tuple[tuple[int, int, float], ...], free: frozenset[int]) -> None:
        nonlocal best
        if total(pairs) > total(best):
            best = pairs
        if number == len(named) or total(pairs) + len(named) - number <= total(best):
            return
        for index in sorted(free):
            earned = credit(lexicon, named[number], heard[index])
            if earned:
                extend(number + 1, (*pairs, (number, index, earned)), free - {index})
        extend(number + 1, pairs, free)

    extend(0, (), frozenset(range(len(heard))))
    return best


def sound_scores(
    lexicon: Lexicon, readings: Sequence[Reading], truths: Sequence[Sequence[Sequence[str]]]
) -> SoundScores:
    """Compare captions with what is heard.

    Args:
        lexicon: the sounds.
        readings: what the captions say.
        truths: of each caption: the sounds of each moment, moment after moment; none where nothing is heard.
    """
    earned = named_count = heard_count = 0.0
    exact = coarser = ordered = in_order = 0
    for reading, truth in zip(readings, truths, strict=True):
        named = list(dict.fromkeys(reading.sounds))
        heard = list(dict.fromkeys(sound for moment in truth for sound in moment))
        pairs = matched(lexicon, named, heard)
        earned += sum(pair[2] for pair in pairs)
        named_count += len(named)
        heard_count += len(heard)
        exact += set(named) == set(heard)
        complete = len(pairs) == len(named) == len(heard)
        coarser += complete
        if len(truth) > 1:
            ordered += 1
            in_order += complete and _in_order(reading, truth, named, heard, pairs)
    precision, recall = earned / max(named_count, 1.0), earned / max(heard_count, 1.0)
    return SoundScores(
        precision,
        recall,
        2.0 * precision * recall / max(precision + recall, 1e-12),
        exact / max(len(readings), 1),
        coarser / max(len(readings), 1),
        in_order / max(ordered, 1),
        ordered,
    )


def _in_order(
    reading: Reading,
    truth: Sequence[Sequence[str]],
    named: Sequence[str],
    heard: Sequence[str],
    pairs: Sequence[tuple[int, int, float]],
) -> bool:
    """Whether a caption tells what was heard moment after moment in that order.

    Of two sounds it must tell the order where one had ended when the other began.
    """
    there, told = _moments(truth), _moments(reading.groups)
    places = [(there[heard[index]], told[named[number]]) for number, index, _ in pairs]
    return all(first[1][1] < second[1][0] for first in places for second in places if first[0][1] < second[0][0])


def _moments(groups: Sequence[Iterable[str]]) -> dict[str, tuple[int, int]]:
    """Sound → number of the first and of the last moment at which it is heard."""
    moments: dict[str, tuple[int, int]] = {}
    for number, sounds in enumerate(groups):
        for sound in sounds:
            moments[sound] = (moments.get(sound, (number, number))[0], number)
    return moments
