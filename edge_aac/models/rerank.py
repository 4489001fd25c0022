"""Choosing among candidates, as published: 0.3 × log-likelihood + 0.7 × similarity, then the fluency check."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt
from tokenizers import Tokenizer

from edge_aac.bundle.manifest import RerankWeights
from edge_aac.engines.contract import Engine
from edge_aac.errors import DataError
from edge_aac.fluency.languages import FluencyCheck
from edge_aac.models.contract import ScoredCaption
from edge_aac.models.decoding import Candidate
from edge_aac.models.tokens import to_arrays, to_text


class Reranker:
    """Scores distinct texts.

    Args:
        text_embedder: graph: token_ids, attention_mask (N, S) → embedding (N, E) of unit length.
        decoder_tokenizer: ids → text.
        text_tokenizer: text → the embedder's ids.
        weights: of the two scores.
        instruction: stands before every text, as the text embedder was trained with it.
        fluency_check: of the language; texts that it finds fault with are ranked behind all others. None = no check.
    """

    def __init__(
        self,
        text_embedder: Engine,
        decoder_tokenizer: Tokenizer,
        text_tokenizer: Tokenizer,
        weights: RerankWeights,
        instruction: str = "",
        fluency_check: FluencyCheck | None = None,
    ) -> None:
        self._text_embedder = text_embedder
        self._decoder_tokenizer = decoder_tokenizer
        self._text_tokenizer = text_tokenizer
        self._weights = weights
        self._instruction = instruction
        self._fluency_check = fluency_check

    def rank(self, candidates: Sequence[Candidate], audio_embedding: npt.NDArray[np.float32]) -> list[ScoredCaption]:
        """Merge candidates with the same text and rank them, best first; of equals the likelier wins, then A to Z.

        Texts that the fluency check rejects come last, so one of them is best only where it rejects them all; and
        behind them the empty one.

        Args:
            candidates: at least one.
            audio_embedding: (E,), any length.

        Raises:
            DataError: texts and sounds are embedded in different numbers of dimensions.
        """
        likelihood: dict[str, float] = {}
        for candidate in candidates:
            text = to_text(self._decoder_tokenizer, candidate.token_ids)
            likelihood[text] = max(likelihood.get(text, -np.inf), candidate.log_likelihood)
        texts = sorted(likelihood)
        errors = [self._fluency_check(text) if self._fluency_check else () for text in texts]
        embeddings: Sequence[npt.NDArray[np.float32] | None] = [None] * len(texts)
        similarity: Sequence[float | None] = [None] * len(texts)
        if self._weights.similarity:
            embedded = self.embed(texts)
            embeddings, similarity = list(embedded), self._similarity(embedded, audio_embedding)
        ranked = sorted(
            (
                ScoredCaption(text, self._hybrid(likelihood[text], alike), likelihood[text], alike, embedding, found)
                for text, alike, embedding, found in zip(texts, similarity, embeddings, errors, strict=True)
            ),
            key=_rank,
        )
        if ranked[0].embedding is None:
            # Nothing is compared with the sound; events alone compare the best ones with each other.
            ranked[0] = replace(ranked[0], embedding=self.embed([ranked[0].text])[0])
        return ranked

    def _similarity(self, embeddings: npt.NDArray[np.float32], audio_embedding: npt.NDArray[np.float32]) -> list[float]:
        if embeddings.shape[1] != len(audio_embedding):
            raise DataError(
                f"the bundle embeds texts in {embeddings.shape[1]} dimensions and sounds in {len(audio_embedding)}, "
                "which cannot be compared: set the similarity's weight to 0, or convert it with its own INSTRUCTOR"
            )
        direction = audio_embedding / max(float(np.linalg.norm(audio_embedding)), 1e-12)
        return [float(value) for value in embeddings @ direction]

    def _hybrid(self, log_likelihood: float, similarity: float | None) -> float:
        return self._weights.log_likelihood * log_likelihood + self._weights.similarity * (similarity or 0.0)

    def embed(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        """Text embeddings (N, E) of unit length."""
        token_ids, attention_mask = to_arrays(self._text_tokenizer, texts, self._instruction)
        return self._text_embedder.run({"token_ids": token_ids, "attention_mask": attention_mask})["embedding"]


def _rank(caption: ScoredCaption) -> tuple[bool, bool, float, float, str]:
    return not caption.text, bool(caption.errors), -caption.hybrid, -(caption.log_likelihood or 0.0), caption.text
