"""Pengi's networks (Deshmukh et al., arXiv 2305.11834); attribute names are the published keys."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from transformers import CLIPTextConfig, GPT2Config

from quantize.models.audio_language.language_models import clip_text_model, writing_gpt2
from quantize.models.audio_language.mapper import Mapper
from quantize.models.audio_language.projection import AudioTower, Projection
from quantize.models.htsat.config import HtsatConfig


@dataclass(frozen=True)
class PromptTowerSizes:
    """Of the text tower of ``base.pth``.

    Attributes:
        clip: sizes of CLIP's text model.
        clip_dim: that it is projected to.
        dim: of the prompt's embedding.
    """

    clip: CLIPTextConfig
    clip_dim: int
    dim: int


@dataclass(frozen=True)
class PengiSizes:
    """Of the whole.

    Attributes:
        htsat: the audio encoder.
        dim: of its embedding.
        prompt: of the text tower; None where prompts are GPT-2's own embeddings.
        gpt2: the decoder.
        length: vectors that an embedding becomes before it is mapped.
        prefix: vectors of each mapper's prefix.
        layers: of each mapper.
    """

    htsat: HtsatConfig
    dim: int
    prompt: PromptTowerSizes | None
    gpt2: GPT2Config
    length: int
    prefix: int
    layers: int


class PromptTower(nn.Module):
    """CLIP's text model, its projection, and the projection into the space of the mappers."""

    def __init__(self, sizes: PromptTowerSizes) -> None:
        super().__init__()
        self.base = clip_text_model(sizes.clip)
        self.clip_text_projection = nn.Linear(sizes.clip.hidden_size, sizes.clip_dim, bias=False)
        self.projection = Projection(sizes.clip_dim, sizes.dim)

    def stages(self, token_ids: Tensor, attention_mask: Tensor) -> dict[str, Tensor]:
        """Read at the first token of the highest id, which is the end token: its id, not one of a configuration, tells.

        Args:
            token_ids, attention_mask: (N, S) int64.

        Returns:
            ``hidden`` (N, S, W) behind the final layer norm, ``pooled`` (N, W), ``clip_projected`` (N, C),
            ``embedding`` (N, D), not normalised.
        """
        hidden = self.base(input_ids=token_ids, attention_mask=attention_mask).last_hidden_state
        pooled = hidden[torch.arange(len(hidden)), token_ids.argmax(dim=-1)]
        projected = self.clip_text_projection(pooled)
        return {
            "hidden": hidden,
            "pooled": pooled,
            "clip_projected": projected,
            "embedding": self.projection(projected),
        }


class PrefixDecoder(nn.Module):
    """Two mappers and GPT-2."""

    def __init__(self, sizes: PengiSizes) -> None:
        super().__init__()

        def mapper(dim: int | None) -> Mapper:
            return Mapper(dim, sizes.length, sizes.prefix, sizes.gpt2.n_embd, sizes.layers)

        self.gpt = writing_gpt2(sizes.gpt2)
        self.audio_project = mapper(sizes.dim)
        self.text_project = mapper(sizes.prompt.dim if sizes.prompt else None)


class PengiNetwork(nn.Module):
    """Audio tower, the prompt's tower (None in ``base_no_text_enc.pth``), mappers and decoder."""

    def __init__(self, sizes: PengiSizes) -> None:
        super().__init__()
        self.audio_encoder = AudioTower(sizes.htsat, sizes.dim)
        self.caption_encoder = PromptTower(sizes.prompt) if sizes.prompt else None
        self.caption_decoder = PrefixDecoder(sizes)
