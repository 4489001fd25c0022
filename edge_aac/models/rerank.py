"""Choosing among candidates, as published: 0.3 × log-likelihood + 0.7 × similarity, then the fluency check."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import lru_cache, partial
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
from tokenizers import Tokenizer

from edge_aac.bundle.manifest import RerankWeights
from edge_aac.engines.contract import Engine
from edge_aac.engines.steps import CoreEngine, largest_rows
from edge_aac.errors import DataError
from edge_aac.fluency.errors import FluencyError
from edge_aac.fluency.languages import FluencyCheck
from edge_aac.fluency.sound_names import SoundNames
from edge_aac.models.contract import ScoredCaption
from edge_aac.models.decoding import Candidate
from edge_aac.models.tokens import to_arrays, to_text

Embeddings: TypeAlias = "npt.NDArray[np.float32]"

REMEMBERED_TEXTS = 512
"""Texts whose faults are remembered, and whose embeddings."""

MOST_REMEMBERED_CANDIDATES = 4
"""On one x86-64 core the text embedder of `everyday` takes as long for two texts in one run as in two, and for six in
one run half as long as in six; of the texts of a scene 16 % (sounds that change) to 88 % (one sound) come again."""


class Reranker:
    """Scores distinct texts.

    Attributes:
        weights, remembers: as given.

    Args:
        text_embedder: graph: token_ids, attention_mask (N, S) → embedding (N, E) of unit length.
        decoder_tokenizer: ids → text.
        text_tokenizer: text → the embedder's ids.
        weights: weights of the two scores.
        instruction: text before every text, as the text embedder was trained with it.
        fluency_check: check of the language; texts with faults are ranked behind all others. None checks nothing.
        remembers: whether the embeddings of the newest texts are kept, see :func:`remembering_pays`.
    """

    def __init__(
        self,
        text_embedder: Engine,
        decoder_tokenizer: Tokenizer,
        text_tokenizer: Tokenizer,
        weights: RerankWeights,
        instruction: str = "",
        fluency_check: FluencyCheck | None = None,
        remembers: bool = False,
    ) -> None:
        self._text_embedder = text_embedder
        self._decoder_tokenizer = decoder_tokenizer
        self._text_tokenizer = text_tokenizer
        self.weights = weights
        self._instruction = instruction
        # The same captions come again and again.
        self._fluency_check = lru_cache(REMEMBERED_TEXTS)(fluency_check) if fluency_check else None
        self.remembers = remembers
        alone = partial(_embedded, text_embedder, text_tokenizer, instruction)
        self._alone = lru_cache(REMEMBERED_TEXTS)(alone) if remembers else None

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

    def agreed(self, candidates: Sequence[Candidate], names: SoundNames | None) -> list[str]:
        """The texts of a window's candidates that no check rejects, where all candidates say the same; else none.

        Texts say the same where they name the same listed sounds in the same order; where nothing is listed, or none
        of it is named, where they have the same words.

        Args:
            candidates: of one window.
            names: the sounds that the bundle lists; None where it lists none.
        """
        texts = list(self._merged(candidates))
        if len({_said(text, names) for text in texts}) > 1:
            return []
        return [text for text in texts if text and not self._errors(text)]

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
        """Text embeddings (N, E) of unit length, of at least one text.

        Where texts are remembered, each is embedded by itself: the last bits of an embedding depend on what else is in
        its run, and what is known of a text must not depend on where it was met first.
        """
        if self._alone is not None:
            return np.stack([self._alone((text,))[0] for text in texts])
        at_once = largest_rows(self._text_embedder, "token_ids") or len(texts)
        whole = self._text_embedder, self._text_tokenizer, self._instruction
        parts = [_embedded(*whole, texts[start : start + at_once]) for start in range(0, len(texts), at_once)]
        return parts[0] if len(parts) == 1 else np.concatenate(parts)


def _embedded(embedder: Engine, tokenizer: Tokenizer, instruction: str, texts: Sequence[str]) -> Embeddings:
    token_ids, attention_mask = to_arrays(tokenizer, texts, instruction)
    return embedder.run({"token_ids": token_ids, "attention_mask": attention_mask})["embedding"]


def remembering_pays(text_embedder: Engine, candidates: int) -> bool:
    """Whether a run for each text that is not known costs less than one run for all texts of a window.

    That is so of few texts and a small graph on a processor. Where weights are read from memory, or on an accelerator,
    a run of many costs little more than a run of one.
    """
    small = isinstance(text_embedder, CoreEngine) and text_embedder.small
    return small and candidates <= MOST_REMEMBERED_CANDIDATES


def incomparable(texts: int, sounds: int) -> DataError:
    """The error of a bundle whose embeddings of texts and of sounds have different numbers of dimensions."""
    return DataError(
        f"the bundle embeds texts in {texts} dimensions and sounds in {sounds}, which cannot be compared: set the "
        "similarity's weight to 0, or convert it with its own INSTRUCTOR"
    )


def _said(text: str, names: SoundNames | None) -> tuple[str, ...] | frozenset[str]:
    """What a text says, whatever its wording; a tuple of sounds equals no set of words."""
    return (names.named(text) if names else ()) or frozenset(text.split())


def _rank(caption: ScoredCaption) -> tuple[bool, bool, float, float, str]:
    return not caption.text, bool(caption.errors), -caption.hybrid, -(caption.log_likelihood or 0.0), caption.text
