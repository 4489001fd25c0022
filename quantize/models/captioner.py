"""The captioner: BEATs → strided convolution → Conformer → BART decoder, and the audio-embedding head."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import Wav2Vec2ConformerConfig
from transformers.models.wav2vec2_conformer.modeling_wav2vec2_conformer import Wav2Vec2ConformerEncoder

from quantize.models.beats import Beats, pool_padding
from quantize.models.config import CaptionerConfig
from quantize.models.decoder import POSITION_OFFSET, BartDecoder

_ABSENT = -4.0
"""Logit of a sound of which nothing is known."""


class EmbeddingHead(nn.Module):
    """Mean of the memory → ``fc2(gelu(bn(fc1(x))))``: the audio embedding, trained to meet the text embedding."""

    def __init__(self, dim: int, ffn_dim: int, embedding_dim: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(dim, ffn_dim, bias=False)
        self.bn = nn.BatchNorm1d(ffn_dim)
        self.fc2 = nn.Linear(ffn_dim, embedding_dim, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(functional.gelu(self.bn(self.fc1(x))))


class AttentionPooling(nn.Module):
    """Mean over time with a learnt weight of each step: softmax over time of a linear score (Okabe, Koshinaka &
    Shinoda, *Attentive Statistics Pooling*, 2018, its mean)."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.score = nn.Linear(dim, 1)

    def forward(self, memory: Tensor, padding: Tensor | None) -> Tensor:
        """(B, T, D), padding mask (B, T) or None → (B, D)."""
        scores = self.score(memory)
        if padding is not None:
            scores = scores.masked_fill(padding.unsqueeze(-1), float("-inf"))
        return (scores.softmax(dim=1) * memory).sum(dim=1)


class Captioner(nn.Module):
    """See ``CaptionerConfig``; attribute names are those of the published weights."""

    def __init__(self, config: CaptionerConfig) -> None:
        super().__init__()
        self.config = config
        dim = config.beats.dim
        self.encoder = Beats(config.beats)
        self.downsample_conv = nn.Conv1d(dim, dim, config.downsample_kernel, stride=config.downsample_rate)
        self.postencoder = Wav2Vec2ConformerEncoder(_conformer_config(config))
        self.cross_embed_positions = nn.Embedding(config.max_memory_positions + POSITION_OFFSET, dim)
        self.decoder = BartDecoder(dim, config.decoder)
        self.lm_head = nn.Linear(dim, config.decoder.vocab_size, bias=False)
        self.register_buffer("final_logits_bias", torch.zeros(1, config.decoder.vocab_size))
        # The published mean has no weights: a checkpoint without any fits.
        self.audio_pooling = AttentionPooling(dim) if config.pooling == "attention" else None
        self.sound_head = nn.Linear(dim, config.sounds) if config.sounds else None
        self.encoder_embed_mlp = EmbeddingHead(dim, config.embedding_ffn_dim, config.embedding_dim)
        for embedding in (self.decoder.embed_tokens, self.decoder.embed_positions, self.cross_embed_positions):
            nn.init.normal_(embedding.weight, std=0.02)
        if self.sound_head is not None:
            # Of hundreds of sounds few are heard at a time: what is not yet learnt is taken to be absent.
            nn.init.constant_(self.sound_head.bias, _ABSENT)
        self.lm_head.weight = self.decoder.embed_tokens.weight

    def beats_hidden(self, fbank: Tensor, frame_padding: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
        """Hidden state ``run_layers`` of BEATs (B, T, D) for filter banks (B, frames, mel), and its padding mask."""
        return self.encoder(fbank, frame_padding)

    def memory(self, hidden: Tensor, padding: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
        """Convolution and Conformer over BEATs' hidden states.

        Returns:
            Memory (B, T', D) before cross positions; its padding mask (B, T') or None.
        """
        x = self.downsample_conv(hidden.transpose(1, 2)).transpose(1, 2)
        if padding is not None:
            padding = pool_padding(padding, x.shape[1])
        mask = None if padding is None else ~padding
        return self.postencoder(x, attention_mask=mask).last_hidden_state, padding

    def audio_embedding(self, memory: Tensor, padding: Tensor | None = None) -> Tensor:
        """(B, T', D) → (B, embedding_dim), not normalised.

        As published, padded steps take part in the mean's sum but not in its count; attention leaves them out.
        """
        if self.audio_pooling is not None:
            return self.encoder_embed_mlp(self.audio_pooling(memory, padding))
        if padding is None:
            return self.encoder_embed_mlp(memory.mean(dim=1))
        return self.encoder_embed_mlp(memory.sum(dim=1) / (~padding).sum(dim=1, keepdim=True))

    def sound_logits(self, memory: Tensor) -> Tensor:
        """Which sounds are heard when: logits (B, T', sounds) of a memory (B, T', D), each for a sigmoid of its own."""
        assert self.sound_head is not None, "the captioner has no classifier of sounds"
        return self.sound_head(memory)

    def encode(self, fbank: Tensor, frame_padding: Tensor | None = None) -> tuple[Tensor, Tensor | None, Tensor]:
        """(B, frames, mel) → memory (B, T', D), its padding mask or None, audio embedding (B, E)."""
        memory, padding = self.memory(*self.beats_hidden(fbank, frame_padding))
        return memory, padding, self.audio_embedding(memory, padding)

    def positioned(self, memory: Tensor) -> Tensor:
        """Memory as the decoder sees it: learned positions added."""
        return memory + self.cross_embed_positions.weight[POSITION_OFFSET : POSITION_OFFSET + memory.shape[1]]

    def logits(self, token_ids: Tensor, memory: Tensor, memory_padding: Tensor | None = None) -> Tensor:
        """Teacher-forced logits (N, S, V) for decoder inputs (N, S) over a memory (N, T', D) without positions."""
        hidden = self.decoder(token_ids, self.positioned(memory), memory_padding)
        return self.lm_head(hidden) + self.final_logits_bias


def _conformer_config(config: CaptionerConfig) -> Wav2Vec2ConformerConfig:
    conformer = config.conformer
    return Wav2Vec2ConformerConfig(
        hidden_size=config.beats.dim,
        num_hidden_layers=conformer.layers,
        num_attention_heads=conformer.heads,
        intermediate_size=conformer.ffn_dim,
        hidden_act="swish",
        conv_depthwise_kernel_size=conformer.depthwise_kernel,
        position_embeddings_type="relative",
        num_conv_pos_embeddings=conformer.conv_pos,
        num_conv_pos_embedding_groups=conformer.conv_pos_groups,
        layer_norm_eps=conformer.layer_norm_eps,
        max_source_positions=conformer.max_positions,
        hidden_dropout=conformer.dropout,
        attention_dropout=conformer.dropout,
        activation_dropout=conformer.dropout,
        conformer_conv_dropout=conformer.dropout,
        layerdrop=0.0,
    )
