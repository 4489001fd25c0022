"""The candidates of a batch of windows: all at once, or a few first and the others where these do not agree."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol, TypeAlias, TypeVar

import numpy as np
import numpy.typing as npt

from edge_aac.bundle.manifest import DecodingRules
from edge_aac.errors import DataError
from edge_aac.models.decoding import Candidate
from edge_aac.models.whole_words import Held

Found: TypeAlias = "list[list[Candidate] | DataError]"
"""Of each window its candidates, or what is wrong with its numbers."""

Unsure: TypeAlias = Callable[[int, str], bool]
"""Whether a text names a sound that may not be named in window ``number``."""

LED_ASTRAY = 0.02
"""A candidate is put aside that holds a word whose rest the model gave less probability than this: it meant another
word, which begins alike and may not be said. In 936 candidates of 468 recordings nonsense ("the sound of a more") had
0.005 at most, and all else 0.17 at least."""


class EncodedMemory(Protocol):
    """W windows that were encoded in whole, as far as drawing asks."""

    @property
    def all_padding(self) -> npt.NDArray[np.bool_]:
        """(W,), whether nothing of a window can be attended to."""


Whole = TypeVar("Whole", bound=EncodedMemory)


class DrawingStages(Protocol[Whole]):
    """What drawing asks of a captioner."""

    @property
    def rules(self) -> DecodingRules:
        """The rules of decoding."""

    @property
    def windows_decoded(self) -> int:
        """The largest number of windows that are decoded side by side."""

    def decode(
        self,
        encoded: Whole,
        part: slice,
        rngs: Sequence[np.random.Generator],
        cancelled: Callable[[], bool],
        held: Sequence[Held],
        rules: DecodingRules,
    ) -> Found:
        """Find the candidates of some of the windows; ``rngs`` and ``held`` are of these alone."""

    def chosen(self, encoded: Whole, numbers: Sequence[int]) -> Whole:
        """Some of the windows, by their numbers in ascending order."""

    def agreed(self, candidates: Sequence[Candidate]) -> list[str]:
        """See :meth:`edge_aac.models.rerank.Reranker.agreed`."""


def candidates_of(
    stages: DrawingStages[Whole],
    encoded: Whole,
    rngs: Sequence[np.random.Generator],
    held: Sequence[Held],
    cancelled: Callable[[], bool],
    unsure: Unsure,
) -> Found:
    """Find the candidates of each window; an error stands in place of those of a faulty one.

    Where the rules say so (``first_candidates``), few are drawn first, of all windows; the others are drawn of those
    windows alone whose first ones do not agree, or agree on what would be ranked behind all others, or were led astray
    (:data:`LED_ASTRAY`). What is found for a window depends on its own generator and on no other window.

    Args:
        stages: the captioner.
        encoded: W windows.
        rngs: generators, one a window.
        held: what holds the candidates of each window; None allows every token.
        cancelled: True ends the work.
        unsure: what :class:`edge_aac.models.sureness.Sureness` says of texts.
    """
    rules = stages.rules
    first = _drawn_first(rules)
    count = rules.candidates if first is None else first
    found = _in_parts(stages, encoded, rngs, held, cancelled, _drawing(rules, count))
    for silent in np.flatnonzero(encoded.all_padding):
        found[silent] = DataError("all of the window is padding: give it some sound")
    if first is None:
        return found

    def settled(number: int, candidates: Sequence[Candidate]) -> bool:
        if any(candidate.own < LED_ASTRAY for candidate in candidates):
            return False
        return any(not unsure(number, text) for text in stages.agreed(candidates))

    drawn = {number: each for number, each in enumerate(found) if not isinstance(each, DataError)}
    numbers = [number for number, candidates in drawn.items() if not settled(number, candidates)]
    if numbers:
        of_these = [rngs[number] for number in numbers], [held[number] for number in numbers]
        others = _drawing(rules, rules.candidates - first)
        more = _in_parts(stages, stages.chosen(encoded, numbers), *of_these, cancelled, others)
        for number, candidates in zip(numbers, more, strict=True):
            found[number] = candidates if isinstance(candidates, DataError) else [*drawn[number], *candidates]
    return found


def straight(candidates: list[Candidate]) -> list[Candidate]:
    """The candidates of a window that were not led astray (:data:`LED_ASTRAY`); all, where all were."""
    return [candidate for candidate in candidates if candidate.own >= LED_ASTRAY] or candidates


def candidates_a_window(rules: DecodingRules) -> int:
    """Candidates that are found for a window, or for most: a search gives its best one, whatever its width, and where
    the first ones agree the others are not drawn."""
    if rules.method != "nucleus":
        return 1
    first = _drawn_first(rules)
    return rules.candidates if first is None else first


def _drawn_first(rules: DecodingRules) -> int | None:
    """Candidates that are drawn before the others; None where all are drawn at once."""
    first = rules.first_candidates
    return first if rules.method == "nucleus" and first is not None and first < rules.candidates else None


def _drawing(rules: DecodingRules, count: int) -> DecodingRules:
    """The same rules for another number of candidates."""
    return rules if count == rules.candidates else rules.model_copy(update={"candidates": count})


def _in_parts(
    stages: DrawingStages[Whole],
    encoded: Whole,
    rngs: Sequence[np.random.Generator],
    held: Sequence[Held],
    cancelled: Callable[[], bool],
    rules: DecodingRules,
) -> Found:
    """Decode as many windows side by side as the captioner takes."""
    found: Found = []
    for start in range(0, len(rngs), stages.windows_decoded):
        part = slice(start, start + stages.windows_decoded)
        found += stages.decode(encoded, part, rngs[part], cancelled, held[part], rules)
    return found
