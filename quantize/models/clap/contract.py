"""What all CLAPs can be asked."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Protocol

from torch import Tensor

from quantize.models.audio_language.clips import ClipLength, Waveforms

TEXT_BATCH = 64
"""Texts at once, so that ten thousand labels need no more memory."""


class SoundTextModel(Protocol):
    """Sounds and texts in one space.

    Attributes:
        clip_length: what is heard of a sound; its ``clip`` makes one of a recording of any rate.
    """

    clip_length: ClipLength

    def log_mel(self, waveform: Waveforms, rng: random.Random | None = None) -> Tensor:
        """Log-mel of waveforms at the model's rate, (B, 1, T, mel bins) in dB.

        Args:
            waveform: see :meth:`quantize.models.audio_language.clips.ClipLength.batch`.
            rng: draws where longer ones are cut; None cuts at the beginning.
        """

    def embed_audio(self, waveform: Waveforms, rng: random.Random | None = None) -> Tensor:
        """Embeddings (B, D) of waveforms; arguments as for :meth:`log_mel`."""

    def embed_text(self, texts: Sequence[str]) -> Tensor:
        """Embeddings (N, D) of texts.

        Raises:
            DataError: a text has more tokens than the model has positions.
        """

    def similarity(self, audio_embeddings: Tensor, text_embeddings: Tensor) -> Tensor:
        """Scaled cosines (B, N) of embeddings; a softmax over the texts is zero-shot naming."""
