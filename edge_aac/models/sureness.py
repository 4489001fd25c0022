"""Which sounds a captioner is sure enough of, and so which tokens a window's captions may hold.

The encoder tells how likely each sound is in a window. A sound may be named from a threshold on; a token is withheld
where it is a word of sounds' names, and none of these sounds may be named. A coarser sound is at least as sure as the
surest of its examples: who hears a dog hears an animal. Words that the bundle declares free (articles, counts, adverbs,
the captions that name nothing) are never withheld. A token that is part of neither is a piece that words were joined
of: where others are withheld it is, too, or captions hold "mo" in place of "motor".
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
from edge_aac.models.tokens import spoken_as

Array = npt.NDArray[np.float32]
Mask = npt.NDArray[np.bool_]
Numbers = npt.NDArray[np.intp]


@dataclass(frozen=True, eq=False)
class Sureness:
    """The rule of a bundle, with what its tokens and sounds have to do with each other.

    Attributes:
        rule: the threshold, and the S sounds in the order of the encoder's output.
        names: the words of these sounds; finds them in texts.
        tokens: (K,) ids of the tokens that name something.
        told: (K, S), whether a token is part of a sound's name.
        pieces: (P,) ids of the tokens that are part of no word at all.
        covers: (S, S), whether a sound (row) is another one (column), or coarser than it.
        vocabulary_size: number of the decoder's tokens, V.
    """

    rule: SurenessRule
    names: SoundNames
    tokens: npt.NDArray[np.int64]
    told: Mask
    pieces: npt.NDArray[np.int64]
    covers: Mask
    vocabulary_size: int

    @classmethod
    def of(cls, rule: SurenessRule, names: SoundNames, tokenizer: Tokenizer, vocabulary_size: int) -> Sureness:
        """Find what each token of a decoder's tokenizer names.

        A word that is several tokens gives its sounds to each of them, unless a free word is made of it, too.

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
        free = {token for word in {*rule.words, *names.connectives} for token in spoken_as(tokenizer, word)}
        if not any(spoken_as(tokenizer, word) for word in rule.words):
            raise DataError("none of sureness.words can be said with the bundle's tokens: export it again")
        named_by: dict[str, set[int]] = {}
        for number, name in enumerate(rule.names):
            for word in words_of(names.sounds[name]):
                named_by.setdefault(word, set()).add(number)
        sounds_of: dict[int, set[int]] = {}
        for word, numbers in named_by.items():
            for token in spoken_as(tokenizer, word) - free:
                sounds_of.setdefault(token, set()).update(numbers)
        tokens = sorted(sounds_of)
        told = np.zeros((len(tokens), len(rule.names)), bool)
        for row, token in enumerate(tokens):
            told[row, list(sounds_of[token])] = True
        kept = {*tokens, *free, *tokenizer.get_added_tokens_decoder()}
        pieces = [token for token in range(vocabulary_size) if token not in kept and tokenizer.decode([token]).strip()]
        return cls(
            rule,
            names,
            np.array(tokens, np.int64),
            told,
            np.array(pieces, np.int64),
            _covers(rule, names),
            vocabulary_size,
        )

    @cached_property
    def _covered(self) -> tuple[Numbers, Numbers]:
        """Of each sound in turn the sounds that it covers; of everyday 269 × 269 hardly one in a hundred is set."""
        return _chosen(self.covers)

    @cached_property
    def _sounds_of_tokens(self) -> tuple[Numbers, Numbers]:
        """Of each token in turn the sounds that it is part of."""
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

    def withheld(self, raised: Array) -> Withheld | None:
        """(V,) tokens that the captions of a window may not hold, by its confidences (S,) of :meth:`raised`; None
        where they may hold all."""
        sounds, starts = self._sounds_of_tokens
        silent = ~np.logical_or.reduceat(self.sure(raised)[sounds], starts) if len(starts) else np.zeros(0, bool)
        if not silent.any():
            return None
        withheld = np.zeros(self.vocabulary_size, bool)
        withheld[self.tokens[silent]] = True
        withheld[self.pieces] = True
        return withheld

    def leaves_words(self, withheld: Withheld, end: int) -> bool:
        """Whether captions that may not hold these tokens (V,) have a word left, besides their end, where no sound is
        sure."""
        left = ~withheld
        left[[*self.tokens, end]] = False
        return bool(left.any())

    def named(self, text: str, raised: Array) -> dict[str, float]:
        """The sounds that a text names, in its order, with their confidences out of those (S,) of :meth:`raised`."""
        return {name: float(raised[self.rule.names.index(name)]) for name in self.names.named(text)}

    def same_sounds(self, other: Sureness) -> bool:
        """Whether another bundle's rule is of the same sounds, said in the same words."""
        return (
            self.rule.names == other.rule.names
            and self.names.sounds == other.names.sounds
            and np.array_equal(self.tokens, other.tokens)
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
