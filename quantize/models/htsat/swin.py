"""Stages of a Swin transformer (Liu et al., 2021), attribute names as in HTSAT's published weights."""

from __future__ import annotations

import torch
from torch import Tensor, nn

_OTHER_REGION = -100.0
"""Added to the scores between tokens that a shift made neighbours."""


class WindowAttention(nn.Module):
    """Self-attention within windows, with a learned bias for each offset.

    Args:
        dim: width.
        window: side of the window, in tokens.
        heads: attention heads.
    """

    relative_position_index: Tensor

    def __init__(self, dim: int, window: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.scale = float(dim // heads) ** -0.5
        self.relative_position_bias_table = nn.Parameter(torch.zeros((2 * window - 1) ** 2, heads))
        self.register_buffer("relative_position_index", position_index(window), persistent=False)
        self.qkv = nn.Linear(dim, 3 * dim)
        self.proj = nn.Linear(dim, dim)

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        """Attend.

        Args:
            x: (B · windows, tokens, D), windows of one image together.
            mask: (windows, tokens, tokens), added to the scores; None where nothing was shifted.
        """
        # No number of rows stands in it, so that graphs take any.
        queries, keys, values = self.qkv(x).unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        bias = self.relative_position_bias_table[self.relative_position_index].permute(2, 0, 1)
        scores = (queries * self.scale) @ keys.transpose(-1, -2) + bias
        if mask is not None:
            scores = (scores.unflatten(0, (-1, len(mask))) + mask[:, None]).flatten(0, 1)
        return self.proj((scores.softmax(dim=-1) @ values).transpose(1, 2).flatten(2))


class SwinBlock(nn.Module):
    """Attention in windows, then an MLP, each behind a layer norm and beside a residual connection.

    Args:
        dim: width.
        grid: side of the square of tokens.
        window: side of a window; the whole grid is one window where it is no larger.
        heads: attention heads.
        shifted: whether windows are shifted by half their side.
        mlp_dim: width within the MLP.
    """

    attn_mask: Tensor | None

    def __init__(self, dim: int, grid: int, window: int, heads: int, shifted: bool, mlp_dim: int) -> None:
        super().__init__()
        self.grid, self.window = grid, min(window, grid)
        self.shift = self.window // 2 if shifted and grid > window else 0
        self.norm1 = nn.LayerNorm(dim)
        self.attn = WindowAttention(dim, self.window, heads)
        self.norm2 = nn.LayerNorm(dim)
        self.mlp = nn.ModuleDict({"fc1": nn.Linear(dim, mlp_dim), "fc2": nn.Linear(mlp_dim, dim)})
        mask = shift_mask(grid, self.window, self.shift) if self.shift else None
        self.register_buffer("attn_mask", mask, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """(B, grid², D) → the same."""
        x = x + self._attended(self.norm1(x))
        hidden = nn.functional.gelu(self.mlp["fc1"](self.norm2(x)))
        return x + self.mlp["fc2"](hidden)

    def _attended(self, x: Tensor) -> Tensor:
        square = x.unflatten(1, (self.grid, self.grid))
        if self.shift:
            square = square.roll((-self.shift, -self.shift), (1, 2))
        windows = self.attn(cut_windows(square, self.window), self.attn_mask)
        square = join_windows(windows, self.grid, self.window)
        if self.shift:
            square = square.roll((self.shift, self.shift), (1, 2))
        return square.flatten(1, 2)


class PatchMerging(nn.Module):
    """Four neighbours become one token of twice the width.

    Args:
        dim: width before.
        grid: side of the square of tokens before.
    """

    def __init__(self, dim: int, grid: int) -> None:
        super().__init__()
        self.grid = grid
        self.norm = nn.LayerNorm(4 * dim)
        self.reduction = nn.Linear(4 * dim, 2 * dim, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """(B, grid², D) → (B, grid² / 4, 2 D)."""
        square = x.unflatten(1, (self.grid, self.grid))
        # In the published order (row, column): (0, 0), (1, 0), (0, 1), (1, 1).
        neighbours = [square[:, row::2, column::2] for column in (0, 1) for row in (0, 1)]
        return self.reduction(self.norm(torch.cat(neighbours, dim=-1).flatten(1, 2)))


class Stage(nn.Module):
    """Blocks, every second one shifted, and the merging behind all stages but the last.

    Args:
        dim: width.
        grid: side of the square of tokens.
        window: side of a window.
        depth: number of blocks.
        heads: attention heads.
        mlp_dim: width within the MLPs.
        merges: whether neighbours are merged at the end.
    """

    def __init__(self, dim: int, grid: int, window: int, depth: int, heads: int, mlp_dim: int, merges: bool) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(
            SwinBlock(dim, grid, window, heads, bool(number % 2), mlp_dim) for number in range(depth)
        )
        self.downsample = PatchMerging(dim, grid) if merges else None


def cut_windows(square: Tensor, window: int) -> Tensor:
    """(B, H, W, D) → (B · windows, window², D), windows in reading order."""
    cut = square.unflatten(2, (-1, window)).unflatten(1, (-1, window))
    return cut.transpose(2, 3).flatten(3, 4).flatten(0, 2)


def join_windows(windows: Tensor, grid: int, window: int) -> Tensor:
    """The square (B, grid, grid, D) that :func:`cut_windows` cut."""
    side = grid // window
    cut = windows.view(-1, side, side, window, window, windows.shape[-1])
    return cut.transpose(2, 3).flatten(3, 4).flatten(1, 2)


def position_index(window: int) -> Tensor:
    """Row of the bias table for each pair of a window's tokens, (window², window²) int64.

    It is ``(dy + w - 1)(2w - 1) + (dx + w - 1)``, the offset taken from query to key. Always on the CPU, so that a
    module that is built without memory for its weights has it.
    """
    side = torch.arange(window, device="cpu")
    rows, columns = (axis.flatten() for axis in torch.meshgrid(side, side, indexing="ij"))
    down = rows[:, None] - rows + window - 1
    right = columns[:, None] - columns + window - 1
    return down * (2 * window - 1) + right


def shift_mask(grid: int, window: int, shift: int) -> Tensor:
    """What is added to the scores of shifted windows, (windows, window², window²): −100 between regions, else 0.

    Regions are cut at ``grid - window`` and ``grid - shift`` on each axis. On the CPU, as above.
    """
    side = torch.arange(grid, device="cpu")
    band = (side >= grid - window).long() + (side >= grid - shift).long()
    region = (3 * band[:, None] + band)[None, :, :, None]
    of_window = cut_windows(region, window)[..., 0]
    return (of_window[:, None] != of_window[:, :, None]) * _OTHER_REGION
