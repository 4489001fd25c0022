"""Choosing among candidates: merged by text, scored by the published formula."""

from __future__ import annotations

import numpy as np
import pytest

from edge_aac.captioner.bundle import RerankWeights
from edge_aac.captioner.decoding import Candidate
from edge_aac.captioner.rerank import Reranker
from tests.edge_aac.fakes import FakeTextEmbedder, word_tokenizer

_WORDS = ("rain", "falls", "a", "dog", "barks", "Rain", ".")
_AUDIO = np.array([3.0, 4.0], np.float32)
# Cosine with the audio: 1, 0.6, 0.8.
_VECTORS = {"rain falls": (0.6, 0.8), "a dog barks": (1.0, 0.0), "rain": (0.0, 1.0)}


def _ids(text: str) -> tuple[int, ...]:
    return tuple(word_tokenizer(_WORDS).encode(text).ids)


def _reranker(weights: RerankWeights | None = None) -> tuple[Reranker, FakeTextEmbedder]:
    embedder = FakeTextEmbedder({_ids(text): vector for text, vector in _VECTORS.items()})
    tokenizer = word_tokenizer(_WORDS)
    return Reranker(embedder, tokenizer, tokenizer, weights or RerankWeights()), embedder


def test_hybrid_score_by_hand() -> None:
    reranker, _ = _reranker()
    ranked = reranker.rank(
        [Candidate(_ids("a dog barks"), -0.1), Candidate(_ids("rain falls"), -2.0), Candidate(_ids("rain"), -0.5)],
        _AUDIO,
    )
    scores = {caption.text: caption for caption in ranked}
    assert scores["rain falls"].hybrid == pytest.approx(0.3 * -2.0 + 0.7 * 1.0)
    assert scores["a dog barks"].hybrid == pytest.approx(0.3 * -0.1 + 0.7 * 0.6)
    assert scores["rain"].hybrid == pytest.approx(0.3 * -0.5 + 0.7 * 0.8)
    assert [caption.text for caption in ranked] == ["rain", "a dog barks", "rain falls"]
    assert (scores["rain"].log_likelihood, scores["rain"].similarity) == (-0.5, pytest.approx(0.8))
    assert scores["rain falls"].embedding.tolist() == pytest.approx([0.6, 0.8])


def test_weights_are_those_of_the_bundle() -> None:
    reranker, _ = _reranker(RerankWeights(log_likelihood=1.0, similarity=0.0))
    ranked = reranker.rank([Candidate(_ids("rain falls"), -2.0), Candidate(_ids("a dog barks"), -0.1)], _AUDIO)
    assert [caption.hybrid for caption in ranked] == pytest.approx([-0.1, -2.0])


def test_duplicates_are_merged_with_the_better_likelihood() -> None:
    reranker, embedder = _reranker()
    same = [Candidate(_ids("rain falls"), value) for value in (-1.5, -0.5, -1.0)]
    spelled_otherwise = [Candidate(_ids("Rain falls ."), -0.2), Candidate((0, *_ids("rain falls"), 1, 1), -3.0)]
    ranked = reranker.rank([*same, *spelled_otherwise], _AUDIO)
    assert [(caption.text, caption.log_likelihood) for caption in ranked] == [("rain falls", -0.2)]
    assert embedder.calls == 1


def test_the_order_of_the_candidates_does_not_matter() -> None:
    candidates = [Candidate(_ids(text), -1.0) for text in _VECTORS]
    reranker, _ = _reranker()
    forward, backward = reranker.rank(candidates, _AUDIO), reranker.rank(candidates[::-1], _AUDIO)
    assert [caption.text for caption in forward] == [caption.text for caption in backward]


def test_equals_are_ranked_by_likelihood_then_alphabet() -> None:
    reranker, _ = _reranker(RerankWeights(log_likelihood=0.0, similarity=0.0))
    texts = {"rain": -0.5, "a dog barks": -1.0, "rain falls": -0.5}
    ranked = reranker.rank([Candidate(_ids(text), value) for text, value in texts.items()], _AUDIO)
    assert [caption.text for caption in ranked] == ["rain", "rain falls", "a dog barks"]


def test_silence_in_the_embedding_is_no_fault() -> None:
    reranker, _ = _reranker()
    (caption,) = reranker.rank([Candidate(_ids("rain"), -1.0)], np.zeros(2, np.float32))
    assert caption.similarity == 0.0


def test_embed_pads_and_masks() -> None:
    reranker, _ = _reranker()
    embeddings = reranker.embed(["a dog barks", "rain"])
    assert embeddings.tolist() == [[1.0, 0.0], [0.0, 1.0]]
