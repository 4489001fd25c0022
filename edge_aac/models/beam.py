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
from edge_aac.models.sampling import Withheld, constrain, log_softmax

# All beams begin alike: at the first step only one of them may be continued.
_NOT_YET = -1e9


@dataclass(frozen=True)
class FinishedBeam:
    """A beam that ended.

    Attributes:
        token_ids: without start and end tokens.
        score: what beams are compared by.
        log_likelihood: mean over the tokens, the end included, under the model's own distribution.
    """

    token_ids: tuple[int, ...]
    score: float
    log_likelihood: float


def beam_search(
    step: Callable[[TokenIds, int], Logits],
    reorder: Callable[[TokenIds, int], None],
    rules: DecodingRules,
    withheld: Withheld | None = None,
) -> FinishedBeam:
    """The best beam of one window.

    Args:
        step: (N, 1) tokens at a position → (N, V) logits of the next.
        reorder: told that row i goes on from row ``parents[i]``, and how many positions are written.
        rules: ``beams``, ``length_penalty``, lengths, n-grams.
        withheld: (V,) tokens that the beam may not hold.
    """
    beams = rules.beams
    ids = np.full((beams, rules.max_length), rules.pad_token_id, dtype=np.int64)
    ids[:, 0] = rules.start_token_id
    scores = np.full(beams, _NOT_YET)
    scores[0] = 0.0
    own = np.zeros(beams)
    finished: list[FinishedBeam] = []
    for length in range(1, rules.max_length):
        logits = step(ids[:, length - 1 : length], length - 1)
        likelihood = log_softmax(logits)
        vocabulary = likelihood.shape[1]
        totals = (constrain(likelihood, ids[:, :length], rules, withheld) + scores[:, np.newaxis]).ravel()
        running: list[tuple[int, int, float]] = []
        for rank, place in enumerate(_largest(totals, 2 * beams)):
            row, token = divmod(int(place), vocabulary)
            if token != rules.eos_token_id:
                running.append((row, token, float(totals[place])))
            elif rank < beams:
                finished.append(
                    FinishedBeam(
                        tuple(ids[row, 1:length].tolist()),
                        float(totals[place]) / length**rules.length_penalty,
                        float(own[row] + likelihood[row, token]) / length,
                    )
                )
            if len(running) == beams:
                break
        if len(finished) >= beams or len(running) < beams:
            break
        parents, tokens = (np.array(column, dtype=np.int64) for column in list(zip(*running, strict=True))[:2])
        scores = np.array([total for _, _, total in running])
        own = own[parents] + likelihood[parents, tokens]
        ids = ids[parents]
        ids[:, length] = tokens
        reorder(parents, length)
    return max(finished, key=lambda beam: beam.score)


def _largest(values: npt.NDArray[np.floating], count: int) -> npt.NDArray[np.int64]:
    """Indices of the ``count`` largest values, largest first."""
    count = min(count, len(values))
    some = np.argpartition(values, -count)[-count:]
    return np.asarray(some[np.argsort(-values[some], kind="stable")], dtype=np.int64)
