"""Choosing among candidates: 0.3 × log-likelihood + 0.7 × audio–text similarity, as published."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from tokenizers import Tokenizer

from edge_aac.captioner.bundle import RerankWeights
from edge_aac.captioner.decoding import Candidate
from edge_aac.captioner.tokens import to_arrays, to_text
from edge_aac.engines.engine import Engine


@dataclass(frozen=True)
class ScoredCaption:
    """A distinct candidate text with its scores.

    Attributes:
        text: lower-case, without punctuation.
        hybrid: what candidates are ranked by.
        log_likelihood: mean log-likelihood a token.
        similarity: cosine of audio embedding and text embedding.
        embedding: the text's, (E,) of unit length.
    """

    text: str
    hybrid: float
    log_likelihood: float
    similarity: float
    embedding: npt.NDArray[np.float32]


class Reranker:
    """Scores distinct texts.

    Args:
        text_embedder: graph: token_ids, attention_mask (N, S) → embedding (N, E) of unit length.
        decoder_tokenizer: ids → text.
        text_tokenizer: text → the embedder's ids.
        weights: of the two scores.
    """

    def __init__(
        self, text_embedder: Engine, decoder_tokenizer: Tokenizer, text_tokenizer: Tokenizer, weights: RerankWeights
    ) -> None:
        self._text_embedder = text_embedder
        self._decoder_tokenizer = decoder_tokenizer
        self._text_tokenizer = text_tokenizer
        self._weights = weights

    def rank(self, candidates: Sequence[Candidate], audio_embedding: npt.NDArray[np.float32]) -> list[ScoredCaption]:
        """Merge candidates with the same text and rank them, best first; of equals the likelier wins, then A to Z.

        Args:
            candidates: at least one.
            audio_embedding: (E,), any length.
        """
        likelihood: dict[str, float] = {}
        for candidate in candidates:
            text = to_text(self._decoder_tokenizer, candidate.token_ids)
            likelihood[text] = max(likelihood.get(text, -np.inf), candidate.log_likelihood)
        texts = sorted(likelihood)
        embeddings = self.embed(texts)
        similarity = embeddings @ (audio_embedding / max(float(np.linalg.norm(audio_embedding)), 1e-12))
        scored = [
            ScoredCaption(
                text,
                self._weights.log_likelihood * likelihood[text] + self._weights.similarity * float(similarity[index]),
                likelihood[text],
                float(similarity[index]),
                embeddings[index],
            )
            for index, text in enumerate(texts)
        ]
        return sorted(scored, key=lambda caption: (-caption.hybrid, -caption.log_likelihood, caption.text))

    def embed(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        """Text embeddings (N, E) of unit length."""
        token_ids, attention_mask = to_arrays(self._text_tokenizer, texts)
        return self._text_embedder.run({"token_ids": token_ids, "attention_mask": attention_mask})["embedding"]
