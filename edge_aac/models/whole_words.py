"""Captions of whole words: which token may follow, where a window may not say all words.

A word is one token or several, and tokens are shared: "more" is "mo" and "re", and "mo" begins "mouse" as well. Where
some words may not be said, it is therefore not enough to withhold their tokens: a caption could begin one and stop in
its middle. The known words stand in a trie of their tokens; decoding goes along it row by row. Behind a whole word
come those tokens alone that lead to a word that may be said, or the end; within a word those that finish one; and where
a word could be longer ("dog", "dogs"), both. A word that would not be finished within a caption's greatest length is
not begun.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
from tokenizers import Tokenizer

from edge_aac.engines.contract import TokenIds
from edge_aac.models.sampling import Withheld
from edge_aac.models.tokens import Ways

Mask: TypeAlias = "npt.NDArray[np.bool_]"
Numbers: TypeAlias = "npt.NDArray[np.intp]"

Held: TypeAlias = "Sayable | Withheld | None"
"""What holds a window's captions: the words that they may have, tokens (V,) that they may not have, or nothing."""

BETWEEN, START = 0, 1
"""Nodes of the trie that no token leads to: behind a whole word, and where no word has come before."""


class WholeWords:
    """A trie of the tokens of words.

    Attributes:
        forms: number of a word, and its tokens, for each form: at the beginning of a text and behind a space.
        start: the node that captions begin at; ``BETWEEN`` where words have the same forms everywhere.
        longest: tokens of the longest form.

    Args:
        at_start: forms at the beginning of a text, as in ``forms``.
        within: forms behind a space.
        loose: ids of tokens that are part of no word and say nothing, which are never withheld between words.
        vocabulary_size: number of the decoder's tokens, V.
    """

    def __init__(
        self,
        at_start: Sequence[tuple[int, tuple[int, ...]]],
        within: Sequence[tuple[int, tuple[int, ...]]],
        loose: Sequence[int],
        vocabulary_size: int,
    ) -> None:
        alike = set(at_start) == set(within)
        self.start = BETWEEN if alike else START
        rooted = [(BETWEEN, form) for form in sorted(set(within))]
        # What stands behind a space may begin a text as well: it is read without that space.
        rooted += [] if alike else [(START, form) for form in sorted({*at_start, *within})]
        self.forms = tuple(form for _, form in rooted)
        self.longest = max((len(tokens) for _, tokens in self.forms), default=0)
        self._between = np.ones(vocabulary_size, bool)
        self._between[list(loose)] = False
        self._words = np.array([word for word, _ in self.forms], np.intp)
        self._tokens = np.array([token for _, tokens in self.forms for token in tokens], np.intp)
        lengths = [len(tokens) for _, tokens in self.forms]
        self._starts = np.cumsum([0, *lengths[:-1]], dtype=np.intp)[: len(lengths)]
        children: list[dict[int, int]] = [{}, {}]
        self._ends: dict[int, int] = {}
        passed: list[tuple[int, int, int]] = []
        for number, (root, (_, tokens)) in enumerate(rooted):
            node = root
            for left, token in zip(range(len(tokens) - 1, -1, -1), tokens, strict=True):
                if token not in children[node]:
                    children[node][token] = len(children)
                    children.append({})
                node = children[node][token]
                passed.append((node, number, left))
            self._ends[node] = number
        # Of each node in turn the forms that go through it, and how many of their tokens come after it.
        nodes, self._through, self._left = np.array(sorted(passed), np.intp).reshape(-1, 3).T
        self._firsts = np.searchsorted(nodes, np.arange(START + 1, len(children)))
        self._children = children
        self._next = [(np.array(list(after), np.intp), np.array(list(after.values()), np.intp)) for after in children]
        self._begun = np.zeros(vocabulary_size, np.intp)
        for token in children[BETWEEN]:
            self._begun[token] = self._child(BETWEEN, token)

    @classmethod
    def of(cls, ways: Sequence[Ways], tokenizer: Tokenizer, vocabulary_size: int) -> WholeWords:
        """The trie of words as a tokenizer says them; those that it cannot say have no form.

        Args:
            ways: of each word how ``tokenizer`` says it.
            tokenizer: tokenizer of the decoder.
            vocabulary_size: number of the decoder's tokens.
        """
        at_start: list[tuple[int, tuple[int, ...]]] = []
        within: list[tuple[int, tuple[int, ...]]] = []
        for number, of_word in enumerate(ways):
            for forms, ids in zip((at_start, within), of_word, strict=True):
                if ids:
                    forms.append((number, ids))
        known = {token for _, ids in (*at_start, *within) for token in ids}
        added = set(tokenizer.get_added_tokens_decoder())
        others = [token for token in range(vocabulary_size) if token not in known]
        texts = tokenizer.decode_batch([[token] for token in others])
        loose = [token for token, text in zip(others, texts, strict=True) if token in added or not text.strip()]
        return cls(at_start, within, loose, vocabulary_size)

    def sayable(self, words: Mask, withheld: Withheld | None = None) -> Sayable:
        """What a window may say.

        Args:
            words: which of the words, by their numbers.
            withheld: (V,) tokens that it may not say, whatever they are part of; None: all others.
        """
        said = words[self._words]
        if withheld is not None and len(self.forms):
            said &= ~np.logical_or.reduceat(withheld[self._tokens], self._starts)
        leads = np.ones(len(self._children), bool)
        if len(self.forms):
            leads[START + 1 :] = np.logical_or.reduceat(said[self._through], self._firsts)
        between = self._between.copy() if withheld is None else self._between | withheld
        tokens, nodes = self._next[BETWEEN]
        between[tokens] = ~leads[nodes]
        return Sayable(self, said, leads, between)

    def after(self, node: int, token: int) -> int:
        """The node behind a token; ``BETWEEN`` where a new word must begin."""
        return self._child(node, token) if token in self._children[node] else int(self._begun[token])

    def begun(self, tokens: TokenIds) -> Numbers:
        """The nodes behind tokens (N,) that follow whole words."""
        return np.asarray(self._begun[tokens])

    def continuations(self, node: int) -> tuple[Numbers, Numbers]:
        """The tokens that a node goes on with, and the nodes that they lead to."""
        return self._next[node]

    def ended(self, node: int) -> int | None:
        """The form that ends at a node, by its number in ``forms``."""
        return self._ends.get(node)

    def fewest_left(self, said: Mask) -> Numbers:
        """Of each node how many tokens it takes at least to finish one of the forms that are ``said``."""
        never = self.longest + 1
        left = np.full(len(self._children), never, np.intp)
        if len(self.forms):
            of_said = np.where(said[self._through], self._left, never)
            left[START + 1 :] = np.minimum.reduceat(of_said, self._firsts)
        return left

    def _child(self, node: int, token: int) -> int:
        """The node that a token leads to; ``BETWEEN`` where no word goes on behind it."""
        child = self._children[node][token]
        return child if self._children[child] else BETWEEN


@dataclass(frozen=True, eq=False)
class Sayable:
    """What the captions of a window may say.

    Attributes:
        tree: all known words.
        said: (F,) which of its forms.
        leads: (nodes,) whether a form that may be said goes through a node.
        between: (V,) tokens that may not follow a whole word.
    """

    tree: WholeWords
    said: Mask
    leads: Mask
    between: Withheld

    @property
    def anything(self) -> bool:
        """Whether there is a word that may be said."""
        return bool(self.said.any())

    @cached_property
    def _left(self) -> Numbers:
        return self.tree.fewest_left(self.said)

    def whole(self, node: int) -> bool:
        """Whether no word that was begun lacks its end at a node."""
        ended = self.tree.ended(node)
        return node in (BETWEEN, START) or (ended is not None and bool(self.said[ended]))

    def withheld(self, node: int, between: Withheld, room: int | None = None) -> Withheld:
        """(V,) tokens that may not follow at a node.

        Args:
            node: of the trie.
            between: (V,) those that may not follow a whole word.
            room: tokens that a caption has room for before its end; None: for every word.
        """
        tokens, nodes = self.tree.continuations(node)
        withheld = between.copy() if self.whole(node) else np.ones_like(between)
        may = self.leads[nodes]
        withheld[tokens] = ~may if room is None else ~(may & (self._left[nodes] < room))
        return withheld


class RowWords:
    """The words that the rows of a batch are in, and what may follow in each; row r is of window r // count.

    Args:
        held: what holds the captions of each window; all tries are the same.
        count: rows a window.
        end: id of the token that ends a caption; it is withheld in the middle of words, and nowhere else.
        max_length: tokens of a caption, start and end counted.

    Raises:
        ValueError: no window is held.
    """

    def __init__(self, held: Sequence[Held], count: int, end: int, max_length: int) -> None:
        some = next((_mask(one) for one in held if one is not None), None)
        if some is None:
            raise ValueError("no window is held")
        self._count, self._max_length = count, max_length
        self._words = [one if isinstance(one, Sayable) else None for one in held]
        self._tree = next((one.tree for one in self._words if one is not None), None)
        self._between = np.array([np.zeros_like(some) if one is None else _mask(one) for one in held])
        in_words = np.array([one is not None for one in self._words])
        self._between[in_words, end] = False
        self._in_words = np.repeat(in_words, count)
        self._masks = np.repeat(self._between, count, axis=0)
        self._nodes = np.where(self._in_words, self._tree.start if self._tree else BETWEEN, BETWEEN)
        self._own = np.zeros(len(self._nodes), bool)
        self._unfinished = np.zeros(len(self._nodes), bool)
        self._renew()

    def withheld(self, length: int) -> Withheld:
        """(R, V) tokens that may not follow ``length`` tokens, the start counted; good until the rows go on."""
        room = self._max_length - 1 - length
        if self._tree is None or room < 1 or room >= self._tree.longest:
            return self._masks
        masks = self._masks.copy()
        for window, sayable in enumerate(self._words):
            if sayable is None:
                continue
            between = sayable.withheld(BETWEEN, self._between[window], room)
            for row in range(window * self._count, (window + 1) * self._count):
                masks[row] = sayable.withheld(int(self._nodes[row]), between, room)
        return masks

    @property
    def unfinished(self) -> Mask:
        """(R,) whether each row is in the middle of a word, which nothing but a rest of it may follow."""
        return self._unfinished

    def follow(self, tokens: TokenIds, parents: TokenIds | None = None) -> None:
        """Go on.

        Args:
            tokens: (R,) the token that each row was given; of those that have ended, any that is part of no word.
            parents: (R,) the row that each goes on from, of the same window; None: from itself.
        """
        if self._tree is None:
            return
        before = self._nodes if parents is None else self._nodes[parents]
        nodes = np.where(self._in_words, self._tree.begun(tokens), BETWEEN)
        for row in np.flatnonzero(before):
            nodes[row] = self._tree.after(int(before[row]), int(tokens[row]))
        self._nodes = nodes
        self._renew()

    def _renew(self) -> None:
        """Masks of the rows that are not between words, or were not."""
        now = self._nodes != BETWEEN
        self._unfinished[:] = False
        for row in np.flatnonzero(now | self._own):
            window = row // self._count
            sayable, between = self._words[window], self._between[window]
            if sayable and now[row]:
                self._unfinished[row] = not sayable.whole(int(self._nodes[row]))
                self._masks[row] = sayable.withheld(int(self._nodes[row]), between)
            else:
                self._masks[row] = between
        self._own = now


def _mask(held: Sayable | Withheld) -> Withheld:
    return held.between if isinstance(held, Sayable) else held
