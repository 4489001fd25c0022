"""Beam search: by hand on distributions that can be followed, and against the same search spelled out."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import pytest

from edge_aac.bundle.manifest import DecodingRules
from edge_aac.models.beam import FinishedBeam, beam_search
from edge_aac.models.decoding import Candidate, CandidateDecoder
from tests.edge_aac.fake_engines import END, FakeDecoderEngine, prefix_logits

_VOCABULARY = 10
_RULES = DecodingRules(method="beam", beams=2, length_penalty=0.0, min_length=0, max_length=8, no_repeat_ngram=0)
Prefix = tuple[int, ...]


class _Tree:
    """A model that is a table: the probabilities of what follows a prefix (without its start token).

    What a table leaves over is shared by the tokens it does not name. Its rows go where ``reorder`` sends them, as
    those of a cache do.
    """

    def __init__(self, tables: Mapping[Prefix, Mapping[int, float]]) -> None:
        self._tables = tables
        self._rows: list[Prefix] = []
        self.steps = 0

    def step(self, token_ids: np.ndarray, position: int) -> np.ndarray:
        assert position == self.steps
        rows = self._rows or [()] * len(token_ids)
        self._rows = [(*row, int(token)) for row, (token,) in zip(rows, token_ids, strict=True)]
        self.steps += 1
        # A constant on all logits changes nothing.
        return np.log([self._after(row[1:]) for row in self._rows]).astype(np.float32) + np.float32(3.0)

    def reorder(self, parents: np.ndarray, length: int) -> None:
        assert length == self.steps
        assert len(parents) == len(self._rows)
        self._rows = [self._rows[parent] for parent in parents]

    def _after(self, prefix: Prefix) -> np.ndarray:
        table = self._tables.get(prefix, {})
        probabilities = np.full(_VOCABULARY, (1.0 - sum(table.values())) / (_VOCABULARY - len(table)))
        probabilities[list(table)] = list(table.values())
        return probabilities


def _search(tables: Mapping[Prefix, Mapping[int, float]], **changes: object) -> tuple[FinishedBeam, int]:
    """The best beam, and after how many steps."""
    tree = _Tree(tables)
    (beam,) = beam_search(tree.step, tree.reorder, _RULES.model_copy(update=changes))
    assert beam is not None
    return beam, tree.steps


_GARDEN_PATH: dict[Prefix, dict[int, float]] = {
    (): {3: 0.5, 4: 0.4},
    (3,): {5: 0.4, 6: 0.3, END: 0.2},
    (4,): {END: 0.9},
    (3, 5): {END: 0.9},
    (3, 6): {END: 0.9},
}


def test_a_likelier_caption_behind_a_less_likely_word() -> None:
    beam, _ = _search(_GARDEN_PATH)
    assert beam.token_ids == (4,)
    assert beam.score == pytest.approx(np.log(0.4 * 0.9), abs=1e-6)
    assert beam.log_likelihood == pytest.approx(np.log([0.4, 0.9]).mean(), abs=1e-6)
    alone, _ = _search(_GARDEN_PATH, beams=1)
    assert alone.token_ids == (3, 5)


@pytest.mark.parametrize(
    ("penalty", "token_ids", "score"),
    [
        (-1.0, (4,), np.log(0.36) * 2),
        (0.0, (4,), np.log(0.36)),
        (1.0, (4,), np.log(0.36) / 2),
        (2.0, (3, 5), np.log(0.18) / 9),
    ],
)
def test_length_counts_the_start_and_not_the_end(penalty: float, token_ids: Prefix, score: float) -> None:
    beam, _ = _search(_GARDEN_PATH, length_penalty=penalty)
    assert beam.token_ids == token_ids
    assert beam.score == pytest.approx(score, abs=1e-6)


@pytest.mark.parametrize(("power", "token_ids"), [(1.4, (4, 5)), (1.6, (3,))])
def test_which_of_two_lengths_wins(power: float, token_ids: Prefix) -> None:
    # Lengths 2 and 3: the longer wins below a ratio of log-likelihoods of 3/2, where 3 and 4 would ask for 4/3 and
    # 1 and 2 for 2.
    tables = {(): {3: 0.5, 4: 0.5**power}, (3,): {END: 0.999}, (4,): {5: 0.999}, (4, 5): {END: 0.999}}
    assert _search(tables, length_penalty=1.0)[0].token_ids == token_ids


@pytest.mark.parametrize(("beams", "token_ids"), [(2, (3,)), (3, ())])
def test_an_end_counts_only_among_the_first(beams: int, token_ids: Prefix) -> None:
    tables = {(): {3: 0.4, 4: 0.3, END: 0.25}, (3,): {END: 0.5}, (4,): {END: 0.5}}
    # With two beams the end in third place is lost, though no other caption is as likely.
    assert _search(tables, beams=beams)[0].token_ids == token_ids


def test_an_end_behind_the_first_ends_nothing() -> None:
    tables = {
        (): {3: 0.5, 4: 0.4},
        (3,): {END: 0.5, 5: 0.45},
        (4,): {END: 0.5, 6: 0.3},
        (3, 5): {END: 0.9},
        (4, 6): {END: 0.9},
    }
    # The end of (4,) is in third place, behind that of (3,): one beam has ended, and the search goes on.
    beam, steps = _search(tables, length_penalty=1.0)
    assert (beam.token_ids, steps) == ((3, 5), 3)


@pytest.mark.parametrize(("beams", "token_ids", "steps"), [(2, (), 2), (3, (3, 5), 3)])
def test_it_stops_when_as_many_have_ended(beams: int, token_ids: Prefix, steps: int) -> None:
    tables = {(): {3: 0.6, END: 0.3, 4: 0.05}, (3,): {5: 0.6, END: 0.39}, (4,): {6: 0.9}, (3, 5): {END: 0.99}}
    # (3, 5) is likelier than () but ends later: two beams do not wait for it.
    beam, taken = _search(tables, beams=beams)
    assert (beam.token_ids, taken) == (token_ids, steps)


def test_a_forced_end_costs_no_score_and_has_its_own_likelihood() -> None:
    tables = {(): {3: 0.6, 4: 0.3}, (3,): {5: 0.9}, (4,): {6: 0.5}, (3, 5): {6: 0.8, END: 0.1}}
    beam, steps = _search(tables, max_length=4)
    assert (beam.token_ids, steps) == ((3, 5), 3)
    assert beam.score == pytest.approx(np.log(0.6 * 0.9), abs=1e-6)
    assert beam.log_likelihood == pytest.approx(np.log([0.6, 0.9, 0.1]).mean(), abs=1e-6)


def test_the_shortest_maximum() -> None:
    beam, steps = _search({(): {3: 0.6, END: 0.1}}, max_length=2)
    assert (beam.token_ids, steps) == ((), 1)
    assert beam.log_likelihood == pytest.approx(np.log(0.1), abs=1e-6)


def test_minimum_length() -> None:
    tables = {(): {END: 0.9, 3: 0.05, 4: 0.03}, (3,): {END: 0.9}, (4,): {END: 0.8}}
    assert _search(tables)[0].token_ids == ()
    beam, _ = _search(tables, min_length=2)
    assert beam.token_ids == (3,)
    # What is left after a rule keeps its own probability.
    assert beam.score == pytest.approx(np.log(0.05 * 0.9), abs=1e-6)


def test_no_ngram_twice() -> None:
    tables = {(3,) * length: {3: 0.9, END: 0.05} for length in range(8)}
    assert _search(tables, beams=1)[0].token_ids == (3,) * 6
    beam, _ = _search(tables, beams=1, no_repeat_ngram=2)
    assert beam.token_ids == (3, 3)
    assert beam.log_likelihood == pytest.approx(np.log([0.9, 0.9, 0.05]).mean(), abs=1e-6)


def _own_likelihood(logits: Callable[[np.ndarray], np.ndarray], tokens: Prefix) -> list[float]:
    """Log-probability of each token behind the start."""
    likelihood = []
    for position, token in enumerate(tokens[1:], 1):
        scores = logits(np.array([tokens[:position]])).astype(np.float64)[0]
        likelihood.append(float(scores[token] - np.logaddexp.reduce(scores)))
    return likelihood


def _spelled_out(logits: Callable[[np.ndarray], np.ndarray], rules: DecodingRules) -> Prefix:
    """The rules of transformers 4.30, with neither cache nor arrays."""

    def allowed(prefix: Prefix, token: int) -> bool:
        size = rules.no_repeat_ngram
        ngrams = {prefix[start : start + size] for start in range(len(prefix) - size + 1)}
        return (token != END or len(prefix) >= rules.min_length) and (*prefix, token)[-size:] not in ngrams

    running: list[tuple[float, Prefix]] = [(0.0, (rules.start_token_id,))]
    finished: list[tuple[float, Prefix]] = []
    while len(finished) < rules.beams:
        going_on = []
        for score, prefix in running:
            row = logits(np.array([prefix]))[0].astype(np.float64)
            likelihood = row - np.logaddexp.reduce(row)
            if len(prefix) == rules.max_length - 1:
                going_on.append((score, (*prefix, END)))
            else:
                tokens = [token for token in range(len(row)) if allowed(prefix, token)]
                going_on += [(score + likelihood[token], (*prefix, token)) for token in tokens]
        best = sorted(going_on, reverse=True)[: 2 * rules.beams]
        finished += [(score, prefix) for score, prefix in best[: rules.beams] if prefix[-1] == END]
        running = [(score, prefix) for score, prefix in best if prefix[-1] != END][: rules.beams]
    return max(finished, key=lambda beam: beam[0] / (len(beam[1]) - 1) ** rules.length_penalty)[1]


def _decode(engine: FakeDecoderEngine, rules: DecodingRules) -> Candidate:
    decoder = CandidateDecoder(engine)
    (found,) = decoder.decode(engine.memory, rules, [np.random.default_rng(0)])
    assert isinstance(found, list)
    (candidate,) = found
    return candidate


@pytest.mark.parametrize("capacity", [None, 16])
@pytest.mark.parametrize(("beams", "penalty"), [(1, 1.0), (2, 0.0), (3, 1.0), (4, 1.0), (4, 2.0)])
@pytest.mark.parametrize("seed", range(12))
def test_as_spelled_out(seed: int, beams: int, penalty: float, capacity: int | None) -> None:
    logits = prefix_logits(12, seed, end_bias=(-1.0, 1.0, 2.0)[seed % 3])
    rules = DecodingRules(
        method="beam", beams=beams, length_penalty=penalty, min_length=3, max_length=12, no_repeat_ngram=2
    )
    engine = FakeDecoderEngine(logits, capacity)
    candidate = _decode(engine, rules)
    tokens = (rules.start_token_id, *candidate.token_ids, END)
    assert tokens == _spelled_out(logits, rules)
    assert candidate.log_likelihood == pytest.approx(np.mean(_own_likelihood(logits, tokens)), abs=1e-5)
    assert tokens[:-1] in engine.seen, "the cache told the graph of another prefix than this"


@pytest.mark.parametrize("seed", range(20))
def test_one_beam_is_greedy(seed: int) -> None:
    logits = prefix_logits(12, seed, end_bias=1.0)
    rules = DecodingRules(method="beam", beams=1, min_length=3, max_length=12)
    beam = _decode(FakeDecoderEngine(logits), rules)
    greedy = _decode(FakeDecoderEngine(logits), rules.model_copy(update={"method": "greedy"}))
    assert beam.token_ids == greedy.token_ids
    assert beam.log_likelihood == pytest.approx(greedy.log_likelihood, abs=1e-6)


def test_more_beams_than_words() -> None:
    rules = DecodingRules(method="beam", beams=8, min_length=2, max_length=9, no_repeat_ngram=0)
    candidate = _decode(FakeDecoderEngine(prefix_logits(5, 0)), rules)
    assert np.isfinite(candidate.log_likelihood)
    assert END not in candidate.token_ids
