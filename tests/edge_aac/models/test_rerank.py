"""Choosing among candidates: merged by text, scored by the published formula, faulty sentences last."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from tokenizers import Encoding

from edge_aac.bundle.manifest import RerankWeights
from edge_aac.errors import DataError
from edge_aac.fluency.errors import FluencyError
from edge_aac.fluency.languages import FluencyCheck
from edge_aac.models.contract import ScoredCaption
from edge_aac.models.decoding import Candidate
from edge_aac.models.rerank import Reranker, remembering_pays
from tests.edge_aac.fake_engines import FakeTextEmbedder
from tests.edge_aac.fakes import word_tokenizer

_WORDS = ("rain", "falls", "a", "dog", "barks", "Rain", ".", "Represent", "it")
_AUDIO = np.array([3.0, 4.0], np.float32)
# Cosine with the audio: 1, 0.6, 0.8.
_VECTORS = {"rain falls": (0.6, 0.8), "a dog barks": (1.0, 0.0), "rain": (0.0, 1.0)}


def _ids(text: str) -> tuple[int, ...]:
    return tuple(word_tokenizer(_WORDS).encode(text).ids)


def _reranker(
    weights: RerankWeights | None = None, instruction: str = "", fluency_check: FluencyCheck | None = None
) -> tuple[Reranker, FakeTextEmbedder]:
    embedder = FakeTextEmbedder({_ids(instruction + text): vector for text, vector in _VECTORS.items()})
    tokenizer = word_tokenizer(_WORDS)
    return Reranker(embedder, tokenizer, tokenizer, weights or RerankWeights(), instruction, fluency_check), embedder


def _rank(reranker: Reranker, candidates: list[Candidate], audio: np.ndarray) -> list[ScoredCaption]:
    """The texts of one window; what is wrong with it is raised."""
    (ranked,) = reranker.rank([candidates], audio[np.newaxis])
    if isinstance(ranked, DataError):
        raise ranked
    return ranked


def test_hybrid_score_by_hand() -> None:
    reranker, _ = _reranker()
    ranked = _rank(
        reranker,
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
    reranker, _ = _reranker(RerankWeights(log_likelihood=2.0, similarity=1.0))
    ranked = _rank(reranker, [Candidate(_ids("rain falls"), -2.0), Candidate(_ids("a dog barks"), -0.1)], _AUDIO)
    assert [caption.hybrid for caption in ranked] == pytest.approx([-0.2 + 0.6, -4.0 + 1.0])


@pytest.mark.parametrize("audio", [_AUDIO, np.ones(7, np.float32), np.full(2, np.nan, np.float32)])
def test_a_similarity_without_weight_is_not_computed(audio: np.ndarray) -> None:
    reranker, embedder = _reranker(RerankWeights(log_likelihood=0.5, similarity=0.0))
    ranked = _rank(reranker, [Candidate(_ids("rain falls"), -2.0), Candidate(_ids("a dog barks"), -0.1)], audio)
    assert [(caption.text, caption.similarity) for caption in ranked] == [("a dog barks", None), ("rain falls", None)]
    assert [caption.hybrid for caption in ranked] == [-0.05, -1.0]
    # What events compare, their tracker embeds.
    assert ([caption.embedding for caption in ranked], embedder.calls) == ([None, None], 0)


@pytest.mark.parametrize("similarity", [0.0, 0.7])
def test_the_empty_caption_wins_only_where_there_is_no_other(similarity: float) -> None:
    embedder = FakeTextEmbedder({_ids("rain"): (0.0, 1.0), (): (1.0, 0.0)})
    tokenizer = word_tokenizer(_WORDS)
    reranker = Reranker(embedder, tokenizer, tokenizer, RerankWeights(similarity=similarity))
    silent, faulty = Candidate((0, 1), -0.01), Candidate(_ids("rain"), -9.0)
    assert [caption.text for caption in _rank(reranker, [silent, faulty], _AUDIO)] == ["rain", ""]
    assert [caption.text for caption in _rank(reranker, [silent], _AUDIO)] == [""]


@pytest.mark.parametrize("size", [1, 3])
def test_sizes_that_cannot_be_compared(size: int) -> None:
    reranker, _ = _reranker()
    with pytest.raises(DataError, match=f"texts in 2 dimensions and sounds in {size}.*weight to 0"):
        _rank(reranker, [Candidate(_ids("rain"), -1.0)], np.ones(size, np.float32))


class _KeepsTexts:
    """The text embedder's tokenizer, of which only its input matters."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    def encode_batch(self, texts: list[str]) -> list[Encoding]:
        self.texts += texts
        return word_tokenizer(_WORDS).encode_batch(["rain"] * len(texts))


@pytest.mark.parametrize(
    ("instruction", "before"),
    [("", ""), ("Represent it: ", "Represent it: "), (" \n Represent it: ", "Represent it: ")],
)
def test_the_instruction_stands_before_every_text(instruction: str, before: str) -> None:
    tokenizer: Any = _KeepsTexts()
    embedder = FakeTextEmbedder({_ids("rain"): (1.0, 0.0)})
    reranker = Reranker(embedder, word_tokenizer(_WORDS), tokenizer, RerankWeights(), instruction, False)
    reranker.embed(["rain falls ", " rain", "a  dog"])
    # White space is taken from the outside alone, as INSTRUCTOR does.
    inner = " rain" if before else "rain"
    assert tokenizer.texts == [f"{before}rain falls", f"{before}{inner}", f"{before}a  dog"]
    tokenizer.texts.clear()
    (caption,) = _rank(reranker, [Candidate(_ids("rain falls"), -1.0)], _AUDIO)
    assert (caption.text, tokenizer.texts) == ("rain falls", [f"{before}rain falls"])


def test_a_caption_does_not_show_the_instruction() -> None:
    reranker, _ = _reranker(instruction="Represent it ")
    ranked = _rank(reranker, [Candidate(_ids("rain falls"), -2.0), Candidate(_ids("rain"), -0.5)], _AUDIO)
    assert [(caption.text, caption.similarity) for caption in ranked] == [
        ("rain", pytest.approx(0.8)),
        ("rain falls", pytest.approx(1.0)),
    ]


def test_duplicates_are_merged_with_the_better_likelihood() -> None:
    reranker, embedder = _reranker()
    same = [Candidate(_ids("rain falls"), value) for value in (-1.5, -0.5, -1.0)]
    spelled_otherwise = [Candidate(_ids("Rain falls ."), -0.2), Candidate((0, *_ids("rain falls"), 1, 1), -3.0)]
    ranked = _rank(reranker, [*same, *spelled_otherwise], _AUDIO)
    assert [(caption.text, caption.log_likelihood) for caption in ranked] == [("rain falls", -0.2)]
    assert embedder.calls == 1


def test_the_order_of_the_candidates_does_not_matter() -> None:
    candidates = [Candidate(_ids(text), -1.0) for text in _VECTORS]
    reranker, _ = _reranker()
    forward, backward = _rank(reranker, candidates, _AUDIO), _rank(reranker, candidates[::-1], _AUDIO)
    assert [caption.text for caption in forward] == [caption.text for caption in backward]


def test_equals_are_ranked_by_likelihood_then_alphabet() -> None:
    reranker, _ = _reranker(RerankWeights(log_likelihood=0.0, similarity=0.0))
    texts = {"rain": -0.5, "a dog barks": -1.0, "rain falls": -0.5}
    ranked = _rank(reranker, [Candidate(_ids(text), value) for text, value in texts.items()], _AUDIO)
    assert [caption.text for caption in ranked] == ["rain", "rain falls", "a dog barks"]


def test_silence_in_the_embedding_is_no_fault() -> None:
    reranker, _ = _reranker()
    (caption,) = _rank(reranker, [Candidate(_ids("rain"), -1.0)], np.zeros(2, np.float32))
    assert caption.similarity == 0.0


def test_embed_pads_and_masks() -> None:
    reranker, _ = _reranker()
    embeddings = reranker.embed(["a dog barks", "rain"])
    assert embeddings.tolist() == [[1.0, 0.0], [0.0, 1.0]]


def _three() -> list[Candidate]:
    return [
        Candidate(_ids(text), value) for text, value in (("rain", -0.1), ("rain falls", -1.0), ("a dog barks", -2.0))
    ]


def test_faulty_sentences_come_last(monkeypatch: pytest.MonkeyPatch) -> None:
    fault = next(iter(FluencyError))

    def check(text: str) -> tuple[FluencyError, ...]:
        return () if text == "a dog barks" else (fault,)

    reranker, _ = _reranker(RerankWeights(log_likelihood=1.0, similarity=0.0), fluency_check=check)
    ranked = _rank(reranker, _three(), _AUDIO)
    assert [(caption.text, caption.errors) for caption in ranked] == [
        ("a dog barks", ()),
        ("rain", (fault,)),
        ("rain falls", (fault,)),
    ]
    # Where all are faulty the best of them is said.
    assert _rank(reranker, _three()[:2], _AUDIO)[0].text == "rain"


def test_without_a_check_nothing_is_found_at_fault() -> None:
    reranker, _ = _reranker(RerankWeights(log_likelihood=1.0, similarity=0.0))
    ranked = _rank(reranker, _three(), _AUDIO)
    assert [(caption.text, caption.errors) for caption in ranked] == [
        ("rain", ()),
        ("rain falls", ()),
        ("a dog barks", ()),
    ]


def test_windows_share_one_run_and_nothing_else() -> None:
    reranker, embedder = _reranker()
    windows = [[Candidate(_ids("rain"), -0.1), Candidate(_ids("rain falls"), -1.0)], [Candidate(_ids("rain"), -2.0)]]
    audio = np.array([[3.0, 4.0], [1.0, 0.0]], np.float32)
    together = reranker.rank(windows, audio)
    assert embedder.calls == 1
    for ranked, candidates, embedding in zip(together, windows, audio, strict=True):
        alone = _rank(reranker, candidates, embedding)
        assert [(c.text, c.hybrid, c.log_likelihood, c.similarity) for c in ranked] == [
            (c.text, c.hybrid, c.log_likelihood, c.similarity) for c in alone
        ]


def test_a_window_of_rubbish_spoils_no_other() -> None:
    reranker, _ = _reranker()
    windows = [[Candidate(_ids("rain"), -0.1)]] * 3
    found = reranker.rank(windows, np.array([[3.0, 4.0], [np.nan, 1.0], [3.0, 4.0]], np.float32))
    assert isinstance(found[1], DataError)
    assert [ranked[0].text for ranked in (found[0], found[2]) if isinstance(ranked, list)] == ["rain", "rain"]


class _Bounded(FakeTextEmbedder):
    """An engine that was built for two texts at once."""

    largest_shapes: dict[str, tuple[int, ...]] = {"token_ids": (2, 9)}


def test_more_texts_than_one_run_takes() -> None:
    embedder = _Bounded({_ids(text): vector for text, vector in _VECTORS.items()})
    tokenizer = word_tokenizer(_WORDS)
    embeddings = Reranker(embedder, tokenizer, tokenizer, RerankWeights()).embed(list(_VECTORS))
    assert embedder.calls == 2
    assert embeddings.tolist() == [pytest.approx(vector) for vector in _VECTORS.values()]


class _SmallEmbedder(FakeTextEmbedder):
    """On a processor; writes down how many texts each run has."""

    runs_at_once = 1

    def __init__(self, small: bool = True) -> None:
        super().__init__({_ids(text): vector for text, vector in _VECTORS.items()})
        self.small = small
        self.rows: list[int] = []

    def run(self, inputs: dict[str, Any]) -> dict[str, Any]:
        self.rows.append(len(inputs["token_ids"]))
        return super().run(inputs)


def _remembering(embedder: FakeTextEmbedder, remembers: bool = True) -> Reranker:
    tokenizer = word_tokenizer(_WORDS)
    return Reranker(embedder, tokenizer, tokenizer, RerankWeights(), remembers=remembers)


def test_a_text_is_embedded_once_and_by_itself() -> None:
    embedder = _SmallEmbedder()
    reranker = _remembering(embedder)
    first = reranker.embed(["rain falls", "rain", "rain falls"])
    assert embedder.rows == [1, 1]
    first[:] = 7.0  # what is given belongs to its caller
    again = reranker.embed(["rain", "a dog barks", "rain falls"])
    assert embedder.rows == [1, 1, 1]
    expected = [_VECTORS[text] for text in ("rain", "a dog barks", "rain falls")]
    assert np.array_equal(again, np.array(expected, np.float32))
    _rank(reranker, [Candidate(_ids("rain falls"), -1.0), Candidate(_ids("rain"), -1.0)], _AUDIO)
    assert embedder.rows == [1, 1, 1]


def test_no_more_texts_are_remembered_than_there_is_room_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edge_aac.models.rerank.REMEMBERED_TEXTS", 2)
    embedder = _SmallEmbedder()
    reranker = _remembering(embedder)
    for text in ("rain", "rain falls", "rain", "a dog barks", "rain"):
        reranker.embed([text])
    assert len(embedder.rows) == 3, "the newest are kept"
    reranker.embed(["rain falls"])
    assert len(embedder.rows) == 4, "the one that was longest not asked for is gone"


def test_nothing_is_remembered_where_it_does_not_pay() -> None:
    embedder = _SmallEmbedder()
    reranker = _remembering(embedder, remembers=False)
    reranker.embed(["rain falls", "rain"])
    reranker.embed(["rain falls", "rain"])
    assert embedder.rows == [2, 2]


@pytest.mark.parametrize(("small", "candidates", "pays"), [(True, 2, True), (True, 6, False), (False, 2, False)])
def test_remembering_pays_for_few_texts_and_a_small_graph(small: bool, candidates: int, pays: bool) -> None:
    assert remembering_pays(_SmallEmbedder(small), candidates) is pays
    assert not remembering_pays(FakeTextEmbedder({}), candidates), "an accelerator's"
