"""Beam search with early stopping, by the rules that the published system was compared with.

They are those of ``transformers`` 4.30: each step looks at the best 2 × ``beams`` continuations; an end among the
first ``beams`` of them finishes a beam, whose score is its summed log-likelihood over its length (start counted, end
not) to the power of the length penalty; the search ends when ``beams`` have finished.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from edge_aac.bundle.manifest import DecodingRules
from edge_aac.engines.contract import Logits, TokenIds
from edge_aac.models.sampling import constrain, finite_windows, log_softmax, rows_of
from edge_aac.models.whole_words import RowWords

# All beams begin alike: at the first step only one of them may be continued.
_NOT_YET = -1e9


@dataclass(frozen=True)
class FinishedBeam:
    """A beam that ended.

    Attributes:
        token_ids: without start and end tokens.
        score: score that beams are compared by.
        log_likelihood: mean over the tokens, the end included, under the model's own distribution.
    """

    token_ids: tuple[int, ...]
    score: float
    log_likelihood: float


class WindowBeams:
    """The beams of one window, as they stand before a step.

    Args:
        rules: ``beams``, ``length_penalty``, ``eos_token_id``.

    Attributes:
        finished: beams that ended.
        running: whether the search goes on.
    """

    def __init__(self, rules: DecodingRules) -> None:
        self._rules = rules
        self._scores = np.full(rules.beams, _NOT_YET)
        self._scores[0] = 0.0
        self._own = np.zeros(rules.beams)
        self.finished: list[FinishedBeam] = []
        self.running = True

    def advance(self, ids: TokenIds, likelihood: Logits, allowed: Logits) -> tuple[TokenIds, TokenIds]:
        """Choose the continuations.

        Args:
            ids: (beams, length) tokens so far.
            likelihood: (beams, V) log-probabilities of the next token.
            allowed: the same, with -inf for what the rules forbid.

        Returns:
            (beams,) which beam each goes on from, and with which token; without meaning where the search has ended.
        """
        rules, length, vocabulary = self._rules, ids.shape[1], likelihood.shape[1]
        totals = (allowed + self._scores[:, np.newaxis]).ravel()
        going_on: list[tuple[int, int, float]] = []
        for rank, place in enumerate(_largest(totals, 2 * rules.beams)):
            if np.isneginf(totals[place]):
                break  # it is forbidden, as is all that comes after it
            row, token = divmod(int(place), vocabulary)
            if token != rules.eos_token_id:
                going_on.append((row, token, float(totals[place])))
            elif rank < rules.beams:
                self.finished.append(
                    FinishedBeam(
                        tuple(ids[row, 1:].tolist()),
                        float(totals[place]) / length**rules.length_penalty,
                        float(self._own[row] + likelihood[row, token]) / length,
                    )
                )
            if len(going_on) == rules.beams:
                break
        if len(self.finished) >= rules.beams or not going_on:
            self.running = False
            return np.arange(rules.beams), np.full(rules.beams, rules.pad_token_id)
        # Where less is allowed than there are beams, the others are kept as what never wins.
        going_on += [(*going_on[-1][:2], -np.inf)] * (rules.beams - len(going_on))
        parents, tokens = (np.array(column, dtype=np.int64) for column in list(zip(*going_on, strict=True))[:2])
        self._scores = np.array([total for _, _, total in going_on])
        self._own = self._own[parents] + likelihood[parents, tokens]
        return parents, tokens

    @property
    def best(self) -> FinishedBeam:
        """The one with the highest score."""
        return max(self.finished, key=lambda beam: beam.score)


def beam_search(
    step: Callable[[TokenIds, int], Logits],
    reorder: Callable[[TokenIds, int], None],
    rules: DecodingRules,
    windows: int = 1,
    words: RowWords | None = None,
) -> list[FinishedBeam | None]:
    """The best beam of each of W windows, which are searched side by side and know nothing of each other.

    Args:
        step: (W × beams, 1) tokens at a position → (W × beams, V) logits of the next; NaN where there are none.
        reorder: called with ``parents`` and the number of written positions; row i then goes on from row
            ``parents[i]``.
        rules: ``beams``, ``length_penalty``, lengths, n-grams.
        windows: W.
        words: what holds the beams; None allows every token.

    Returns:
        One entry a window; None where the logits were no numbers.
    """
    rows = np.arange(windows * rules.beams)
    ids = np.full((len(rows), rules.max_length), rules.pad_token_id, dtype=np.int64)
    ids[:, 0] = rules.start_token_id
    searches = [WindowBeams(rules) for _ in range(windows)]
    broken: set[int] = set()
    for length in range(1, rules.max_length):
        logits = step(ids[:, length - 1 : length], length - 1)
        for number, finite in enumerate(finite_windows(logits, windows)):
            if searches[number].running and not finite:
                searches[number].running = False
                broken.add(number)
        active = rows_of(np.array([search.running for search in searches]), rules.beams)
        if not len(active):
            break
        likelihood = log_softmax(logits[active])
        withheld = None if words is None else words.withheld(length)[active]
        allowed = constrain(likelihood, ids[active, :length], rules, withheld)
        parents, tokens = rows.copy(), np.full(len(rows), rules.pad_token_id)
        for place in range(0, len(active), rules.beams):
            own, part = active[place : place + rules.beams], slice(place, place + rules.beams)
            chosen, tokens[own] = searches[own[0] // rules.beams].advance(
                ids[own, :length], likelihood[part], allowed[part]
            )
            parents[own] = own[chosen]
        if not any(search.running for search in searches):
            break
        ids = ids[parents]
        ids[:, length] = tokens
        reorder(parents, length)
        if words is not None:
            words.follow(tokens, parents)
    return [None if number in broken else search.best for number, search in enumerate(searches)]


def _largest(values: npt.NDArray[np.floating], count: int) -> npt.NDArray[np.int64]:
    """Indices of the ``count`` largest values, largest first."""
    count = min(count, len(values))
    some = np.argpartition(values, -count)[-count:]
    return np.asarray(some[np.argsort(-values[some], kind="stable")], dtype=np.int64)
