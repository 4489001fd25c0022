"""Choosing among candidates, as published: 0.3 × log-likelihood + 0.7 × similarity, then the fluency check."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import lru_cache

import numpy as np
import numpy.typing as npt
from tokenizers import Tokenizer

from edge_aac.bundle.manifest import RerankWeights
from edge_aac.engines.contract import Engine
from edge_aac.engines.steps import largest_rows
from edge_aac.errors import DataError
from edge_aac.fluency.errors import FluencyError
from edge_aac.fluency.languages import FluencyCheck
from edge_aac.models.contract import ScoredCaption
from edge_aac.models.decoding import Candidate
from edge_aac.models.tokens import to_arrays, to_text

REMEMBERED_TEXTS = 512
"""Texts whose faults are remembered."""


class Reranker:
    """Scores distinct texts.

    Attributes:
        weights: as given.

    Args:
        text_embedder: graph: token_ids, attention_mask (N, S) → embedding (N, E) of unit length.
        decoder_tokenizer: ids → text.
        text_tokenizer: text → the embedder's ids.
        weights: weights of the two scores.
        instruction: text before every text, as the text embedder was trained with it.
        fluency_check: check of the language; texts with faults are ranked behind all others. None checks nothing.
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
        self.weights = weights
        self._instruction = instruction
        # The same captions come again and again.
        self._fluency_check = lru_cache(REMEMBERED_TEXTS)(fluency_check) if fluency_check else None

    def rank(
        self, candidates: Sequence[Sequence[Candidate]], audio_embeddings: npt.NDArray[np.float32]
    ) -> list[list[ScoredCaption] | DataError]:
        """Merge the candidates of each window that have the same text, and rank them.

        The best comes first; of equals the likelier wins, then A to Z. Texts that the fluency check rejects come last,
        so one of them is best only where it rejects them all; and behind them the empty one.

        Args:
            candidates: lists of candidates, one a window, none empty.
            audio_embeddings: (W, E), any length.

        Returns:
            One entry a window: its texts, or what is wrong with its numbers.

        Raises:
            DataError: texts and sounds are embedded in different numbers of dimensions.
        """
        likelihoods = self.merge(candidates)
        return self.order(self.score(likelihoods, audio_embeddings))

    def merge(self, candidates: Sequence[Sequence[Candidate]]) -> list[dict[str, float]]:
        """For each window text → log-likelihood of the likeliest candidate with that text."""
        return [self._merged(of_window) for of_window in candidates]

    def score(
        self, likelihoods: Sequence[Mapping[str, float]], audio_embeddings: npt.NDArray[np.float32]
    ) -> list[list[ScoredCaption]]:
        """Score the texts of each window.

        Args:
            likelihoods: for each window text → log-likelihood, at least one text.
            audio_embeddings: (W, E), any length.

        Returns:
            For each window its texts with their scores, from A to Z.

        Raises:
            DataError: texts and sounds are embedded in different numbers of dimensions.
        """
        texts = sorted({text for of_window in likelihoods for text in of_window})
        embeddings: dict[str, npt.NDArray[np.float32]] = {}
        if self.weights.similarity:
            embeddings = dict(zip(texts, self.embed(texts), strict=True))
        return [
            self._scored(likelihood, embeddings, audio_embedding)
            for likelihood, audio_embedding in zip(likelihoods, audio_embeddings, strict=True)
        ]

    def order(self, scored: Sequence[Sequence[ScoredCaption]]) -> list[list[ScoredCaption] | DataError]:
        """Check the sentences of each window and rank its texts, as :meth:`rank` does."""
        ranked: list[list[ScoredCaption] | DataError] = []
        for captions in scored:
            if all(np.isfinite(caption.hybrid) for caption in captions):
                checked = [replace(caption, errors=self._errors(caption.text)) for caption in captions]
                ranked.append(sorted(checked, key=_rank))
            else:
                ranked.append(DataError("a score is no number: check the sound's level, or build the bundle again"))
        return ranked

    def _errors(self, text: str) -> tuple[FluencyError, ...]:
        return tuple(self._fluency_check(text)) if self._fluency_check else ()

    def _merged(self, candidates: Sequence[Candidate]) -> dict[str, float]:
        """Text → the log-likelihood of the likeliest candidate with that text."""
        likelihood: dict[str, float] = {}
        for candidate in candidates:
            text = to_text(self._decoder_tokenizer, candidate.token_ids)
            likelihood[text] = max(likelihood.get(text, -np.inf), candidate.log_likelihood)
        return likelihood

    def _scored(
        self,
        likelihood: Mapping[str, float],
        embeddings: Mapping[str, npt.NDArray[np.float32]],
        audio_embedding: npt.NDArray[np.float32],
    ) -> list[ScoredCaption]:
        """The texts of one window with their scores, unranked."""
        weights, texts = self.weights, sorted(likelihood)
        if not embeddings:
            return [ScoredCaption(t, weights.log_likelihood * likelihood[t], likelihood[t], None) for t in texts]
        of_texts = np.stack([embeddings[text] for text in texts])
        similarities = self._similarity(of_texts, audio_embedding)
        return [
            ScoredCaption(
                text,
                weights.log_likelihood * likelihood[text] + weights.similarity * similarity,
                likelihood[text],
                similarity,
                embedding,
            )
            for text, similarity, embedding in zip(texts, similarities, of_texts, strict=True)
        ]

    @staticmethod
    def _similarity(embeddings: npt.NDArray[np.float32], audio_embedding: npt.NDArray[np.float32]) -> list[float]:
        if embeddings.shape[1] != len(audio_embedding):
            raise incomparable(embeddings.shape[1], len(audio_embedding))
        direction = audio_embedding / max(float(np.linalg.norm(audio_embedding)), 1e-12)
        return [float(value) for value in embeddings @ direction]

    def embed(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        """Text embeddings (N, E) of unit length, of at least one text."""
        at_once = largest_rows(self._text_embedder, "token_ids") or len(texts)
        parts = [self._embedded(texts[start : start + at_once]) for start in range(0, len(texts), at_once)]
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    def _embedded(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        token_ids, attention_mask = to_arrays(self._text_tokenizer, texts, self._instruction)
        return self._text_embedder.run({"token_ids": token_ids, "attention_mask": attention_mask})["embedding"]


def incomparable(texts: int, sounds: int) -> DataError:
    """The error of a bundle whose embeddings of texts and of sounds have different numbers of dimensions."""
    return DataError(
        f"the bundle embeds texts in {texts} dimensions and sounds in {sounds}, which cannot be compared: set the "
        "similarity's weight to 0, or convert it with its own INSTRUCTOR"
    )


def _rank(caption: ScoredCaption) -> tuple[bool, bool, float, float, str]:
    return not caption.text, bool(caption.errors), -caption.hybrid, -(caption.log_likelihood or 0.0), caption.text
