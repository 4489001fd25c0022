"""The mapper that makes a prefix for GPT-2 of one embedding (ClipCap's: Mokady et al., arXiv 2111.09734)."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

HEADS = 8
"""Fixed in the published code."""
_MLP_RATIO = 2


class MapperAttention(nn.Module):
    """Self-attention without a mask and without biases of queries, keys and values."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.scale = float(dim // HEADS) ** -0.5
        self.to_queries = nn.Linear(dim, dim, bias=False)
        self.to_keys_values = nn.Linear(dim, 2 * dim, bias=False)
        self.project = nn.Linear(dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, D) → the same."""
        batch, length, dim = x.shape
        queries = self.to_queries(x).view(batch, length, HEADS, -1).transpose(1, 2)
        keys, values = self.to_keys_values(x).view(batch, length, 2, HEADS, -1).permute(2, 0, 3, 1, 4)
        weights = (self.scale * queries @ keys.transpose(-1, -2)).softmax(dim=-1)
        return self.project((weights @ values).transpose(1, 2).reshape(batch, length, dim))


class MapperLayer(nn.Module):
    """Attention and a ReLU MLP, each behind a layer norm and beside a residual connection."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(dim)
        self.attn = MapperAttention(dim)
        self.norm2 = nn.LayerNorm(dim)
        self.mlp = nn.ModuleDict({"fc1": nn.Linear(dim, _MLP_RATIO * dim), "fc2": nn.Linear(_MLP_RATIO * dim, dim)})

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, D) → the same."""
        x = x + self.attn(self.norm1(x))
        return x + self.mlp["fc2"](functional.relu(self.mlp["fc1"](self.norm2(x))))


class Mapper(nn.Module):
    """An embedding, or vectors in its place, to a prefix.

    Args:
        in_dim: width of the embedding; None where the vectors are given as they are.
        length: how many vectors the embedding becomes.
        prefix: vectors of the prefix, P.
        dim: their width, that of the language model.
        layers: of the transformer.
    """

    def __init__(self, in_dim: int | None, length: int, prefix: int, dim: int, layers: int) -> None:
        super().__init__()
        self.dim = dim
        if in_dim is not None:
            self.linear = nn.Linear(in_dim, length * dim)
        self.prefix_const = nn.Parameter(torch.zeros(prefix, dim))
        self.transformer = nn.ModuleDict({"layers": nn.ModuleList(MapperLayer(dim) for _ in range(layers))})

    def forward(self, x: Tensor) -> Tensor:
        """Map.

        Args:
            x: embeddings (B, in_dim), or vectors (B, length, D).

        Returns:
            (B, P, D).
        """
        return self.stages(x)["prefix"]

    def stages(self, x: Tensor) -> dict[str, Tensor]:
        """``linear`` (B, length · D) where there is one, ``layerN`` (B, length + P, D) and ``prefix`` (B, P, D)."""
        found: dict[str, Tensor] = {}
        if hasattr(self, "linear"):
            found["linear"] = x = self.linear(x)
        vectors = x.view(len(x), -1, self.dim)
        vectors = torch.cat([vectors, self.prefix_const.expand(len(x), -1, -1)], dim=1)
        for number, layer in enumerate(cast("nn.ModuleList", self.transformer["layers"])):
            vectors = found[f"layer{number}"] = layer(vectors)
        found["prefix"] = vectors[:, -len(self.prefix_const) :]
        return found
