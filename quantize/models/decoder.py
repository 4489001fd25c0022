"""BART's decoder (Lewis et al., 2020): teacher-forced for training, one cached step for the device.

``transformers``' own decoder gives the same numbers (a test compares them) but carries its cache in Python
objects that do not export as plain tensors of a fixed capacity; the attribute names are the same.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from quantize.models.beats import additive_mask, merge_heads, split_heads
from quantize.models.config import DecoderConfig

POSITION_OFFSET = 2
"""BART's learned positions start at row 2 of their table."""


class DecoderAttention(nn.Module):
    """Multi-head attention with separate projections; its callers decide what keys and values are."""

    def __init__(self, dim: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.scale = 1.0 / math.sqrt(dim // heads)
        self.q_proj = nn.Linear(dim, dim)
        self.k_proj = nn.Linear(dim, dim)
        self.v_proj = nn.Linear(dim, dim)
        self.out_proj = nn.Linear(dim, dim)
        self.dropout = nn.Dropout(dropout)

    def queries(self, x: Tensor) -> Tensor:
        """(B, T, D) → scaled (B, heads, T, head_dim)."""
        return split_heads(self.q_proj(x), self.heads) * self.scale

    def keys_values(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(B, T, D) → keys and values, (B, heads, T, head_dim) each."""
        return split_heads(self.k_proj(x), self.heads), split_heads(self.v_proj(x), self.heads)

    def attend(self, queries: Tensor, keys: Tensor, values: Tensor, bias: Tensor | None = None) -> Tensor:
        """Attention over given keys and values; ``bias`` is added to the scores. Returns (B, T, D)."""
        scores = queries @ keys.transpose(-1, -2)
        if bias is not None:
            scores = scores + bias
        return self.out_proj(merge_heads(self.dropout(scores.softmax(dim=-1)) @ values))


class DecoderLayer(nn.Module):
    """Self-attention, cross-attention, feed-forward; each followed by its layer norm."""

    def __init__(self, dim: int, config: DecoderConfig) -> None:
        super().__init__()
        self.self_attn = DecoderAttention(dim, config.heads, config.dropout)
        self.self_attn_layer_norm = nn.LayerNorm(dim)
        self.encoder_attn = DecoderAttention(dim, config.heads, config.dropout)
        self.encoder_attn_layer_norm = nn.LayerNorm(dim)
        self.fc1 = nn.Linear(dim, config.ffn_dim)
        self.fc2 = nn.Linear(config.ffn_dim, dim)
        self.final_layer_norm = nn.LayerNorm(dim)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, x: Tensor, causal: Tensor, memory: Tensor, memory_bias: Tensor | None) -> Tensor:
        """Teacher-forced: x (N, S, D), causal (S, S) and memory_bias (N, 1, 1, T) additive."""
        attention = self.self_attn
        attended = attention.attend(attention.queries(x), *attention.keys_values(x), causal)
        x = self.self_attn_layer_norm(x + self.dropout(attended))
        cross = self.encoder_attn
        attended = cross.attend(cross.queries(x), *cross.keys_values(memory), memory_bias)
        return self._feed_forward(self.encoder_attn_layer_norm(x + self.dropout(attended)))

    def step(
        self,
        x: Tensor,
        cache: tuple[Tensor, Tensor],
        cross: tuple[Tensor, Tensor],
        unwritten_bias: Tensor,
        memory_bias: Tensor,
    ) -> StepOutput:
        """One token for N candidates of each of W windows; row r belongs to window r // N.

        The new key and value are attended to beside the cache instead of being concatenated with it, so a step
        copies none of the cache; the caller writes them into their row.

        Args:
            x: (W * N, 1, D).
            cache: keys and values, (W * N, heads, capacity, head_dim) each.
            cross: keys and values that the candidates of a window share, (W, heads, T, head_dim) each.
            unwritten_bias: (capacity,) additive, -inf for the positions that are not yet written.
            memory_bias: (W, 1, 1, T) additive, -inf for the memory steps that are padding.
        """
        attention = self.self_attn
        queries = attention.queries(x)
        new_keys, new_values = attention.keys_values(x)
        past = queries @ cache[0].transpose(-1, -2) + unwritten_bias
        present = (queries * new_keys).sum(-1, keepdim=True)
        weights = torch.cat([past, present], dim=-1).softmax(dim=-1)
        attended = weights[..., :-1] @ cache[1] + weights[..., -1:] * new_values
        x = self.self_attn_layer_norm(x + attention.out_proj(merge_heads(attended)))
        # Candidates stand where time steps would: one (N × T) product a window and head, and no copies of the memory.
        shared = self.encoder_attn
        windows = cross[0].shape[0]
        queries = shared.queries(x)[:, :, 0]
        queries = queries.reshape(windows, -1, *queries.shape[1:]).transpose(1, 2)
        attended = (queries @ cross[0].transpose(-1, -2) + memory_bias).softmax(dim=-1) @ cross[1]
        attended = shared.out_proj(merge_heads(attended).flatten(0, 1)).unsqueeze(1)
        return self._feed_forward(self.encoder_attn_layer_norm(x + attended)), new_keys, new_values

    def _feed_forward(self, x: Tensor) -> Tensor:
        ffn = self.fc2(self.dropout(functional.gelu(self.fc1(x))))
        return self.final_layer_norm(x + self.dropout(ffn))


StepOutput = tuple[Tensor, Tensor, Tensor]
Layers = Sequence[Tensor] | Tensor
"""One tensor for each layer, or one whose first axis is the layers."""


class BartDecoder(nn.Module):
    """Token embedding, learned positions and the layers. The output projection belongs to the captioner."""

    def __init__(self, dim: int, config: DecoderConfig) -> None:
        super().__init__()
        self.config = config
        self.embed_tokens = nn.Embedding(config.vocab_size, dim, padding_idx=config.pad_token_id)
        self.embed_positions = nn.Embedding(config.max_positions + POSITION_OFFSET, dim)
        self.layernorm_embedding = nn.LayerNorm(dim)
        self.layers = nn.ModuleList(DecoderLayer(dim, config) for _ in range(config.layers))
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, token_ids: Tensor, memory: Tensor, memory_padding: Tensor | None = None) -> Tensor:
        """Teacher-forced hidden states.

        Args:
            token_ids: (N, S) decoder inputs.
            memory: (N, T, D), cross positions already added.
            memory_padding: (N, T), True = padding.

        Returns:
            (N, S, D).
        """
        length = token_ids.shape[1]
        positions = torch.arange(length, device=token_ids.device) + POSITION_OFFSET
        x = self.dropout(self.layernorm_embedding(self.embed_tokens(token_ids) + self.embed_positions(positions)))
        causal = torch.full((length, length), float("-inf"), device=x.device).triu(1)
        bias = None if memory_padding is None else additive_mask(memory_padding, x.dtype)
        for layer in self.layers:
            x = layer(x, causal, memory, bias)
        return x

    def cross_keys_values(self, memory: Tensor) -> tuple[Tensor, Tensor]:
        """What cross-attention needs of a window, computed once for all steps and candidates.

        Args:
            memory: (B, T, D), cross positions already added.

        Returns:
            Keys and values, (B, layers, heads, T, head_dim) each.
        """
        keys, values = zip(*(layer.encoder_attn.keys_values(memory) for layer in self.layers), strict=True)
        return torch.stack(keys, dim=1), torch.stack(values, dim=1)

    def step(
        self,
        token_ids: Tensor,
        step: Tensor,
        cache: tuple[Layers, Layers],
        cross: tuple[Layers, Layers],
        memory_padding: Tensor,
    ) -> StepOutput:
        """One token further, for N candidates of each of W windows; row r belongs to window r // N.

        Args:
            token_ids: (W * N, 1).
            step: (1,) int64, the position of these tokens; positions before it are filled in the cache.
            cache: self-attention keys and values, for each layer (W * N, heads, capacity, head_dim).
            cross: keys and values of the windows, for each layer (W, heads, T, head_dim).
            memory_padding: (W, T), True = padding.

        Returns:
            Hidden state (W * N, 1, D); new keys and values (layers, W * N, heads, 1, head_dim), position ``step`` of
            the cache.
        """
        x = self.embed_tokens(token_ids) + self.embed_positions(step + POSITION_OFFSET)
        x = self.layernorm_embedding(x)
        capacity = cache[0][0].shape[2]
        unwritten = torch.arange(capacity, device=x.device) >= step
        unwritten_bias = torch.zeros(capacity, device=x.device).masked_fill(unwritten, float("-inf"))
        memory_bias = additive_mask(memory_padding, x.dtype)
        new_keys, new_values = [], []
        for index, layer in enumerate(self.layers):
            own, shared = (cache[0][index], cache[1][index]), (cross[0][index], cross[1][index])
            x, keys, values = layer.step(x, own, shared, unwritten_bias, memory_bias)
            new_keys.append(keys)
            new_values.append(values)
        return x, torch.stack(new_keys), torch.stack(new_values)
