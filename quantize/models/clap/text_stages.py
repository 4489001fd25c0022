"""The text side of Microsoft's CLAPs, without gradients, and how alike sounds and texts are."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor, nn

from quantize.models.audio_language.audio_stages import AudioStages, unit
from quantize.models.audio_language.projection import Projection
from quantize.models.clap.contract import TEXT_BATCH


class ReadingTower(Protocol):
    """Tokens of texts → their embeddings."""

    projection: Projection

    def __call__(self, token_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """(N, S) int64 each → (N, D), not normalised."""

    def stages(self, token_ids: Tensor, attention_mask: Tensor) -> dict[str, Tensor]:
        """What lies between, by the names of the published code, and ``embedding``."""


class TwoTowers(Protocol):
    """Both towers; attribute names are the published keys."""

    logit_scale: nn.Parameter

    @property
    def caption_encoder(self) -> ReadingTower:
        """That of texts."""


class ClapStages(AudioStages, ABC):
    """Both sides of a CLAP; see :class:`quantize.models.clap.contract.SoundTextModel`."""

    network: TwoTowers

    @abstractmethod
    def tokens(self, texts: Sequence[str]) -> tuple[Tensor, Tensor]:
        """Token ids and attention mask, (N, S) int64.

        Raises:
            DataError: a text has more tokens than the model has positions.
        """

    @torch.no_grad()
    def embed_text(self, texts: Sequence[str]) -> Tensor:
        """See :meth:`SoundTextModel.embed_text`."""
        tower = self.network.caption_encoder
        batches = [texts[start : start + TEXT_BATCH] for start in range(0, len(texts), TEXT_BATCH)]
        rows = [tower(*self.tokens(batch)) for batch in batches]
        return torch.cat(rows) if rows else torch.zeros(0, tower.projection.linear2.out_features)

    def similarity(self, audio_embeddings: Tensor, text_embeddings: Tensor) -> Tensor:
        """See :meth:`SoundTextModel.similarity`: ``exp(logit_scale)`` times the cosines."""
        return self.network.logit_scale.detach().exp() * unit(audio_embeddings) @ unit(text_embeddings).T

    @torch.no_grad()
    def text_stages(self, texts: Sequence[str]) -> dict[str, Tensor]:
        """``input_ids``, ``attention_mask`` (N, S), and the stages of the text tower."""
        ids, mask = self.tokens(texts)
        return {"input_ids": ids, "attention_mask": mask, **self.network.caption_encoder.stages(ids, mask)}
