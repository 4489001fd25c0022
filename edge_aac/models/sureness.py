"""Which sounds a captioner is sure enough of, and so which words a window's captions may hold.

The encoder tells how likely each sound is in a window. A sound may be named from a threshold on; a word is withheld
where it stands in sounds' names, and none of these sounds may be named. A coarser sound is at least as sure as the
surest of its examples: who hears a dog hears an animal. Words that the bundle declares free (articles, counts, adverbs,
the captions that name nothing) are never withheld. Where a word is withheld, captions hold whole words of those that
are left and nothing else (:mod:`edge_aac.models.whole_words`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import numpy.typing as npt
from tokenizers import Tokenizer

from edge_aac.bundle.sureness import SurenessRule, check_listed
from edge_aac.errors import DataError
from edge_aac.fluency.sound_names import SoundNames, SoundWords
from edge_aac.models.sampling import Withheld
from edge_aac.models.tokens import ways_to_say
from edge_aac.models.whole_words import Held, WholeWords

Array = npt.NDArray[np.float32]
Mask = npt.NDArray[np.bool_]
Numbers = npt.NDArray[np.intp]


@dataclass(frozen=True, eq=False)
class Sureness:
    """The rule of a bundle, with what its words and sounds have to do with each other.

    Attributes:
        rule: the threshold, and the S sounds in the order of the encoder's output.
        names: the words of these sounds; finds them in texts.
        words: W words that captions may be made of: the free ones, and those of sounds' names that can be said.
        free: how many of them, the first ones, may be said whatever is heard.
        told: (W - free, S), whether a word stands in a sound's name.
        tree: the tokens of all words.
        covers: (S, S), whether a sound (row) is another one (column), or coarser than it.
    """

    rule: SurenessRule
    names: SoundNames
    words: tuple[str, ...]
    free: int
    told: Mask
    tree: WholeWords
    covers: Mask

    @classmethod
    def of(cls, rule: SurenessRule, names: SoundNames, tokenizer: Tokenizer, vocabulary_size: int) -> Sureness:
        """Find the words of a bundle and how its decoder's tokenizer says them.

        Args:
            rule: the bundle's rule.
            names: the sounds that the bundle lists, with their words.
            tokenizer: tokenizer of the decoder.
            vocabulary_size: number of the decoder's tokens.

        Raises:
            DataError: the listed sounds are not those of the rule, or no free word can be said.
        """
        try:
            check_listed(rule.names, list(names.sounds))
        except ValueError as error:
            raise DataError(f"the bundle's encoder and its list of sounds differ ({error}): export it again") from error
        free = sorted({*rule.words, *names.connectives})
        named_by: dict[str, set[int]] = {}
        for number, name in enumerate(rule.names):
            for word in words_of(names.sounds[name]):
                named_by.setdefault(word, set()).add(number)
        ways = {word: ways_to_say(tokenizer, word) for word in {*free, *named_by}}
        if not any(any(ways[word]) for word in rule.words):
            raise DataError("none of sureness.words can be said with the bundle's tokens: export it again")
        named = [word for word in sorted(named_by.keys() - set(free)) if any(ways[word])]
        told = np.zeros((len(named), len(rule.names)), bool)
        for row, word in enumerate(named):
            told[row, list(named_by[word])] = True
        words = (*free, *named)
        tree = WholeWords.of([ways[word] for word in words], tokenizer, vocabulary_size)
        return cls(rule, names, words, len(free), told, tree, _covers(rule, names))

    @cached_property
    def _covered(self) -> tuple[Numbers, Numbers]:
        """Of each sound in turn the sounds that it covers; of everyday 269 × 269 hardly one in a hundred is set."""
        return _chosen(self.covers)

    @cached_property
    def _sounds_of_words(self) -> tuple[Numbers, Numbers]:
        """Of each word that is not free in turn the sounds in whose names it stands."""
        return _chosen(self.told)

    def with_threshold(self, threshold: float) -> Sureness:
        """The same with another threshold."""
        return replace(self, rule=self.rule.model_copy(update={"threshold": threshold}))

    def raised(self, confidences: Array) -> Array:
        """Confidences (W, S), those of coarser sounds at least as high as those of their examples; NaN becomes 0."""
        known = np.maximum(np.nan_to_num(confidences, nan=0.0), np.float32(0.0))
        covered, starts = self._covered
        return np.asarray(np.maximum.reduceat(known[:, covered], starts, axis=1))

    def sure(self, raised: Array) -> Mask:
        """Which sounds may be named: (W, S) of :meth:`raised`, or (S,) of one window."""
        return np.asarray(raised >= self.rule.threshold)

    def sayable(self, raised: Array, withheld: Withheld | None = None) -> Held:
        """What the captions of a window may hold.

        Args:
            raised: confidences (S,) of :meth:`raised`.
            withheld: (V,) tokens that are withheld for another reason.

        Returns:
            The words, or where none is withheld for being unsure, ``withheld``.
        """
        sounds, starts = self._sounds_of_words
        may = np.ones(len(self.words), bool)
        if len(starts):
            may[self.free :] = np.logical_or.reduceat(self.sure(raised)[sounds], starts)
        return withheld if may.all() else self.tree.sayable(may, withheld)

    def leaves_words(self, withheld: Withheld) -> bool:
        """Whether captions that may not hold these tokens (V,) have a word left where no sound is sure."""
        return self.tree.sayable(np.arange(len(self.words)) < self.free, withheld).anything

    def named(self, text: str, raised: Array) -> dict[str, float]:
        """The sounds that a text names, in its order, with their confidences out of those (S,) of :meth:`raised`."""
        return {name: float(raised[self.rule.names.index(name)]) for name in self.names.named(text)}

    def same_sounds(self, other: Sureness) -> bool:
        """Whether another bundle's rule is of the same sounds, said in the same words."""
        return (
            self.rule.names == other.rule.names
            and self.names.sounds == other.names.sounds
            and (self.words, self.free, self.tree.forms) == (other.words, other.free, other.tree.forms)
        )


def _chosen(table: Mask) -> tuple[Numbers, Numbers]:
    """Columns that are set in each row of a table, row after row, and where each row's begin; none has no column."""
    rows, columns = np.nonzero(table)
    return columns, np.searchsorted(rows, np.arange(len(table)))


def words_of(sound: SoundWords) -> Iterator[str]:
    """All words that stand in a sound's names, some of them several times."""
    phrases: Iterable[str] = (
        *(phrase for say in sound.says for phrase in (*say.subjects, *say.verbs)),
        *sound.nouns,
    )
    return (word for phrase in phrases for word in phrase.split())


def _covers(rule: SurenessRule, names: SoundNames) -> Mask:
    number = {name: place for place, name in enumerate(rule.names)}
    covers = np.eye(len(number), dtype=bool)
    for name, place in number.items():
        covers[[number[above] for above in names.ancestors(name)], place] = True
    return covers
