"""BEATs-style audio encoder: a stem that makes tokens, then post-norm transformer layers with DeepNorm.

Facts from Chen et al., *BEATs: Audio Pre-Training with Acoustic Tokenizers* (ICML 2023) and the published
captioner; attribute names follow the published weights, so that their state dict loads as it is.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.parametrizations import weight_norm

from quantize.models.config import BeatsConfig
from quantize.models.patch_stem import PatchStem


class ConvStem(nn.Module):
    """Overlapping convolutions in place of patches: their locality is learnt from far fewer recordings."""

    def __init__(self, config: BeatsConfig) -> None:
        super().__init__()
        blocks: list[nn.Module] = []
        channels, mel_bins = 1, config.mel_bins
        shapes = zip(config.conv_stem, config.conv_stem_strides, config.stem_kernels, strict=True)
        for width, stride, kernel in shapes:
            blocks += [
                nn.Conv2d(channels, width, kernel, stride=stride, padding=kernel // 2, bias=False),
                nn.BatchNorm2d(width),
                nn.ReLU(inplace=True),
            ]
            channels, mel_bins = width, -(-mel_bins // stride[1])
        self.blocks = nn.Sequential(*blocks)
        self.dropout = nn.Dropout2d(config.dropout)
        self.fold = nn.Conv2d(channels, config.patch_embed_dim, (1, mel_bins), bias=False)

    def forward(self, fbank: Tensor) -> Tensor:
        """(B, 1, frames, mel) → (B, patch_embed_dim, steps, 1)."""
        return self.fold(self.dropout(self.blocks(fbank)))


class GatedRelativeAttention(nn.Module):
    """Multi-head self-attention whose bucketed relative position bias is gated by the query.

    The gate is that of WavLM (Chen et al., 2022, eq. 3–5): with ``s = grep_linear(q_head)`` summed in two groups
    of four, ``(a, b) = sigmoid(s)`` and ``gate = a · (b · grep_a − 1) + 2``.
    """

    def __init__(self, config: BeatsConfig) -> None:
        super().__init__()
        self.heads = config.heads
        self.head_dim = config.dim // config.heads
        self.q_proj = nn.Linear(config.dim, config.dim)
        self.k_proj = nn.Linear(config.dim, config.dim)
        self.v_proj = nn.Linear(config.dim, config.dim)
        self.out_proj = nn.Linear(config.dim, config.dim)
        self.grep_linear = nn.Linear(self.head_dim, 8)
        self.grep_a = nn.Parameter(torch.ones(1, config.heads, 1, 1))
        self.relative_attention_bias = nn.Embedding(config.relative_buckets, config.heads)
        self.dropout = nn.Dropout(config.dropout)

    def position_bias(self, buckets: Tensor) -> Tensor:
        """The bias of every head for token pairs in ``buckets`` (T, T) int64: (1, heads, T, T)."""
        return self.relative_attention_bias(buckets).permute(2, 0, 1).unsqueeze(0)

    def forward(self, x: Tensor, bias: Tensor, padding_bias: Tensor | None) -> Tensor:
        """Attend within (B, T, D); ``bias`` (1, heads, T, T); ``padding_bias`` (B, 1, 1, T), -inf where padding is."""
        q, k, v = (split_heads(p(x), self.heads) for p in (self.q_proj, self.k_proj, self.v_proj))
        batch, heads, steps, _ = q.shape
        a, b = self.grep_linear(q).view(batch, heads, steps, 2, 4).sum(-1).sigmoid().split(1, dim=-1)
        gate = a.squeeze(-1) * (b.squeeze(-1) * self.grep_a.squeeze(-1) - 1.0) + 2.0
        # The queries are scaled after the gate has read them, and before they become (T, T) scores: fewer numbers.
        scores = (q / math.sqrt(self.head_dim)) @ k.transpose(-1, -2)
        # In place: at the published size each such tensor is 12 MB, and training and tracing hold them all.
        scores += gate.unsqueeze(-1) * bias
        if padding_bias is not None:
            scores += padding_bias
        return self.out_proj(merge_heads(self.dropout(scores.softmax(dim=-1)) @ v))


class BeatsLayer(nn.Module):
    """One post-norm layer: ``x = LN(α·x + attention(x))``, ``x = LN(α·x + ffn(x))``."""

    def __init__(self, config: BeatsConfig) -> None:
        super().__init__()
        # DeepNet (Wang et al., 2022), encoder-only: α = (2L)^¼, and β = (8L)^-¼ scales the initialisation.
        self.alpha = (2.0 * config.layers) ** 0.25
        self.self_attn = GatedRelativeAttention(config)
        self.self_attn_layer_norm = nn.LayerNorm(config.dim)
        self.fc1 = nn.Linear(config.dim, config.ffn_dim)
        self.fc2 = nn.Linear(config.ffn_dim, config.dim)
        self.final_layer_norm = nn.LayerNorm(config.dim)
        self.dropout = nn.Dropout(config.dropout)
        beta = (8.0 * config.layers) ** -0.25
        attention = self.self_attn
        for linear, gain in (
            (attention.q_proj, 1.0),
            (attention.k_proj, 1.0),
            (attention.v_proj, beta),
            (attention.out_proj, beta),
            (self.fc1, beta),
            (self.fc2, beta),
        ):
            nn.init.xavier_normal_(linear.weight, gain=gain)
            nn.init.zeros_(linear.bias)

    def forward(self, x: Tensor, bias: Tensor, padding_bias: Tensor | None) -> Tensor:
        x = self.self_attn_layer_norm(self.alpha * x + self.dropout(self.self_attn(x, bias, padding_bias)))
        ffn = self.fc2(self.dropout(functional.gelu(self.fc1(x))))
        return self.final_layer_norm(self.alpha * x + self.dropout(ffn))


class TransformerLayers(nn.Module):
    """Convolutional positions, layer norm, then the layers that share one relative position table."""

    def __init__(self, config: BeatsConfig) -> None:
        super().__init__()
        self.config = config
        conv = nn.Conv1d(
            config.dim, config.dim, config.conv_pos, padding=config.conv_pos // 2, groups=config.conv_pos_groups
        )
        nn.init.normal_(conv.weight, std=math.sqrt(4.0 / (config.conv_pos * config.dim)))
        nn.init.zeros_(conv.bias)  # type: ignore[arg-type]
        self.pos_conv = nn.Sequential(weight_norm(conv, dim=2))
        self.layer_norm = nn.LayerNorm(config.dim)
        self.dropout = nn.Dropout(config.dropout)
        layers = [BeatsLayer(config) for _ in range(config.layers)]
        for layer in layers[1:]:
            layer.self_attn.relative_attention_bias = layers[0].self_attn.relative_attention_bias
        self.layers = nn.ModuleList(layers)

    def forward(self, x: Tensor, padding_mask: Tensor | None) -> Tensor:
        """(B, T, D) → hidden state ``run_layers`` of the same shape."""
        padding_bias = None
        if padding_mask is not None:
            x = x.masked_fill(padding_mask.unsqueeze(-1), 0.0)
            padding_bias = additive_mask(padding_mask, x.dtype)
        # An even kernel padded on both sides gives one step too many.
        positions = self.pos_conv(x.transpose(1, 2))[..., : x.shape[1]]
        x = self.dropout(self.layer_norm(x + functional.gelu(positions).transpose(1, 2)))
        # One table for all layers, so one bias: at the published size it is 12 MB.
        bias: Tensor | None = None
        for layer in self.layers[: self.config.run_layers]:
            assert isinstance(layer, BeatsLayer)
            if bias is None:
                bias = layer.self_attn.position_bias(relative_buckets(x.shape[1], self.config).to(x.device))
            x = layer(x, bias, padding_bias)
        return x


class Beats(nn.Module):
    """Filter bank in, hidden states out."""

    def __init__(self, config: BeatsConfig) -> None:
        super().__init__()
        self.config = config
        self.patch_embedding = _stem(config)
        self.layer_norm = nn.LayerNorm(config.patch_embed_dim)
        self.post_extract_proj: nn.Module = nn.Linear(config.patch_embed_dim, config.dim)
        self.encoder = TransformerLayers(config)
        self.predictor = nn.Linear(config.dim, config.classes)

    def forward(self, fbank: Tensor, frame_padding: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
        """Encode normalised filter banks.

        Args:
            fbank: (B, frames, mel).
            frame_padding: (B, frames), True = padding; None when nothing is padded.

        Returns:
            Hidden states (B, T, D), time-major tokens; their padding mask (B, T) or None.
        """
        maps = self.patch_embedding(fbank.unsqueeze(1))
        tokens = self.tokens(maps.flatten(2).transpose(1, 2))
        if frame_padding is None:
            padding = None
        elif self.patch_stem is not None:
            padding = self.patch_stem.padding(frame_padding)
        else:
            # As published, the mask is pooled over the flattened tokens as if they were all steps of time.
            padding = pool_padding(frame_padding, tokens.shape[1])
        return self.encoder(tokens, padding), padding

    @property
    def patch_stem(self) -> PatchStem | None:
        """The stem of a model that hears patches of time; None of another."""
        return self.patch_embedding if isinstance(self.patch_embedding, PatchStem) else None

    def hidden_of_vectors(self, vectors: Tensor) -> Tensor:
        """What :meth:`forward` gives, of the stem's vectors in place of filter banks: (B, T, patch_embed_dim)."""
        return self.encoder(self.tokens(vectors), None)

    def tokens(self, vectors: Tensor) -> Tensor:
        """What the layers read, of each of the stem's vectors by itself: (…, patch_embed_dim) → (…, D)."""
        return self.post_extract_proj(self.layer_norm(vectors))


def _stem(config: BeatsConfig) -> nn.Module:
    if config.stem_width:
        return PatchStem(config)
    if config.conv_stem:
        return ConvStem(config)
    return nn.Conv2d(1, config.patch_embed_dim, config.patch_size, stride=config.patch_size, bias=False)


def relative_buckets(steps: int, config: BeatsConfig) -> Tensor:
    """T5's bidirectional buckets of the offset j − i for all token pairs (Raffel et al., 2020).

    Returns:
        (steps, steps) int64: half the buckets for positive offsets; in each half the first half exact, the rest
        logarithmic up to ``relative_max_distance``.
    """
    half = config.relative_buckets // 2
    exact = half // 2
    position = torch.arange(steps)
    offset = position[None, :] - position[:, None]
    distance = offset.abs()
    # The clamp keeps log(0) out of the branch that torch.where throws away.
    logarithm = torch.log(distance.clamp(min=1).float() / exact) / math.log(config.relative_max_distance / exact)
    far = (exact + (logarithm * (half - exact)).long()).clamp(max=half - 1)
    return torch.where(distance < exact, distance, far) + (offset > 0).long() * half


def pool_padding(mask: Tensor, steps: int) -> Tensor:
    """Follow a padding mask through a reduction of time: a step is padding when all that it covers is.

    Args:
        mask: (B, T), True = padding.
        steps: the shorter length; a remainder of T that fills no step is dropped first.
    """
    covered = mask.shape[1] - mask.shape[1] % steps
    return mask[:, :covered].view(mask.shape[0], steps, -1).all(dim=-1)


def additive_mask(padding_mask: Tensor, dtype: torch.dtype) -> Tensor:
    """(B, T), True = padding → (B, 1, 1, T) to add to attention scores: -inf where padding is, else 0."""
    bias = torch.zeros_like(padding_mask, dtype=dtype).masked_fill(padding_mask, float("-inf"))
    return bias[:, None, None, :]


def split_heads(x: Tensor, heads: int) -> Tensor:
    """(B, T, D) → (B, heads, T, D / heads)."""
    return x.view(x.shape[0], x.shape[1], heads, -1).transpose(1, 2)


def merge_heads(x: Tensor) -> Tensor:
    """(B, heads, T, head_dim) → (B, T, D)."""
    return x.transpose(1, 2).flatten(2)
