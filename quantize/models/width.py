"""Which axes of the captioner's tensors run over the same units, and which of a teacher's units a student keeps.

Structured pruning: a unit goes from all tensors at once. Units are ranked by their weights alone:

- feed-forward units and channels of a convolution by the product of the norms of what makes them and of what reads
  them (Li et al., *Pruning Filters for Efficient ConvNets*, ICLR 2017, ranks by the first alone; a unit that nothing
  reads is worth nothing either);
- heads (Michel et al., *Are Sixteen Heads Really Better than One?*, 2019) by the product of the norms of their value
  and output projections, and units within a head by that of queries and keys, or of values and outputs;
- residual channels by their mean magnitude over all tensors that hold them, each relative to the tensor's own mean
  (after Xia et al., *Structured Pruning Learns Compact and Accurate Models*, 2022, where one mask serves all layers).
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

RESIDUAL = "residual"
VOCABULARY = "vocabulary"
POSITION = "position"

Axes = tuple[str, ...]
"""A label for each axis of a tensor; "" for one that is no axis of units and must stay as long as it is."""

# Of the first pattern that the whole name matches; "{0}" is its first group, so the label belongs to that module alone.
_PATTERNS: tuple[tuple[str, Axes], ...] = (
    (r"(.+attn)\.(?:q_proj|k_proj|linear_q|linear_k|linear_pos)\.weight", ("{0}.qk", RESIDUAL)),
    (r"(.+attn)\.(?:q_proj|k_proj|linear_q|linear_k)\.bias", ("{0}.qk",)),
    (r"(.+attn)\.(?:v_proj|linear_v)\.weight", ("{0}.vo", RESIDUAL)),
    (r"(.+attn)\.(?:v_proj|linear_v)\.bias", ("{0}.vo",)),
    (r"(.+attn)\.(?:out_proj|linear_out)\.weight", (RESIDUAL, "{0}.vo")),
    (r"(.+attn)\.pos_bias_[uv]", ("{0}.qk",)),
    (r"(.+attn)\.grep_linear\.weight", ("", "{0}.unit")),
    (r"(.+attn)\.grep_linear\.bias", ("",)),
    (r"(.+attn)\.grep_a", ("", "{0}.head", "", "")),
    (r"(.+attn)\.relative_attention_bias\.weight", ("", "{0}.head")),
    (r"(encoder_embed_mlp)\.fc2\.weight", ("", "{0}.ffn")),
    (r"(encoder_embed_mlp)\.bn\..+", ("{0}.ffn",)),
    (r"(.+)\.(?:fc1|intermediate_dense)\.weight", ("{0}.ffn", RESIDUAL)),
    (r"(.+)\.(?:fc1|intermediate_dense)\.bias", ("{0}.ffn",)),
    (r"(.+)\.(?:fc2|output_dense)\.weight", (RESIDUAL, "{0}.ffn")),
    (r"(.+conv_module)\.pointwise_conv1\.weight", ("{0}.gated", RESIDUAL, "")),
    (r"(.+conv_module)\.depthwise_conv\.weight", ("{0}.channel", "", "")),
    (r"(.+conv_module)\.batch_norm\..+", ("{0}.channel",)),
    (r"(.+conv_module)\.pointwise_conv2\.weight", (RESIDUAL, "{0}.channel", "")),
    (r"(encoder)\.patch_embedding\.weight", ("{0}.patch", "", "", "")),
    (r"(encoder)\.layer_norm\.(?:weight|bias)", ("{0}.patch",)),
    (r"(encoder)\.post_extract_proj\.weight", (RESIDUAL, "{0}.patch")),
    (r"encoder\.predictor\.weight", ("", RESIDUAL)),
    (r"encoder\.predictor\.bias", ("",)),
    (r"downsample_conv\.weight", (RESIDUAL, RESIDUAL, "")),
    (r"(?:cross_embed_positions|decoder\.embed_positions)\.weight", (POSITION, RESIDUAL)),
    (r"decoder\.embed_tokens\.weight|lm_head\.weight", (VOCABULARY, RESIDUAL)),
    (r"audio_pooling\.score\.weight", ("", RESIDUAL)),
    (r"audio_pooling\.score\.bias", ("",)),
    (r"final_logits_bias", ("", VOCABULARY)),
    # Biases of whatever writes into the residual stream, and all layer norms.
    (r".+\.bias|.+norm(?:_embedding)?\.weight", (RESIDUAL,)),
)


def axes_of(name: str, stem_axes: Mapping[str, Axes]) -> Axes | None:
    """Labels of the axes of the tensor ``name``; None where this code knows none.

    Args:
        name: in the captioner's state dict.
        stem_axes: those of a convolutional stem's tensors, which are known from its modules.
    """
    if name in stem_axes:
        return stem_axes[name]
    for pattern, axes in _PATTERNS:
        if match := re.fullmatch(pattern, name):
            return tuple(label.format(*match.groups()) for label in axes)
    return None


@dataclass(frozen=True)
class Heads:
    """How many heads an attention has in teacher and student, and of what size.

    Attributes:
        teacher, student: (heads, head size).
        shared: all layers keep the same heads, and all heads the same units of queries and keys, because a table or
            projection is shared between them (BEATs' position bias and its gate).
    """

    teacher: tuple[int, int]
    student: tuple[int, int]
    shared: bool = False

    @property
    def fit(self) -> bool:
        """Whether the student's are a choice of the teacher's."""
        return self.student[0] <= self.teacher[0] and self.student[1] <= self.teacher[1]


@dataclass
class Units:
    """Kept teacher units by label, found when they are asked for.

    Attributes:
        state: the teacher's tensors.
        axes: labels of the axes of each of those that the student takes.
        sizes: label → (units in the teacher, units in the student).
        heads: by the name of the attention.
        blocks: into so many equal parts the residual channels fall, of which each keeps as many.
        kept: what is settled.
    """

    state: Mapping[str, Tensor]
    axes: Mapping[str, Axes]
    sizes: Mapping[str, tuple[int, int]]
    heads: Mapping[str, Heads]
    blocks: int = 1
    kept: dict[str, Tensor | None] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._carriers: dict[str, list[tuple[Tensor, int]]] = defaultdict(list)
        for name, labels in self.axes.items():
            for axis, label in enumerate(labels):
                self._carriers[label].append((self.state[name], axis))

    def of(self, label: str) -> Tensor | None:
        """Indices (K,) int64 of the kept units; None where the student's are not a choice of the teacher's."""
        if label not in self.kept:
            self.kept[label] = self._choose(label)
        return self.kept[label]

    def _choose(self, label: str) -> Tensor | None:
        module, _, kind = label.rpartition(".")
        if kind in ("qk", "vo", "head", "unit"):
            return self._attention(module, kind)
        have, want = self.sizes[label]
        if kind == "gated":  # the value's channels, then their gates
            channels = self.of(f"{module}.channel")
            return None if channels is None else torch.cat([channels, channels + have // 2])
        if want >= have:
            return torch.arange(have) if want == have else None
        if label == RESIDUAL:
            return _best(self._mean_magnitude(), want, self.blocks)
        return _best(self._product_of_norms(label), want)

    def _mean_magnitude(self) -> Tensor:
        shares = []
        for tensor, axis in self._carriers[RESIDUAL]:
            magnitude = _by_unit(tensor, axis).float().abs().mean(dim=1)
            if magnitude.any():
                shares.append(magnitude / magnitude.mean())
        return torch.stack(shares).mean(dim=0) if shares else torch.zeros(self.sizes[RESIDUAL][0])

    def _product_of_norms(self, label: str) -> Tensor:
        score = torch.ones(self.sizes[label][0])
        for tensor, axis in self._carriers[label]:
            if tensor.ndim > 1:
                score = score * _by_unit(tensor, axis).float().norm(dim=1)
        module = label.rpartition(".")[0]
        gated = self._carriers.get(f"{module}.gated")
        if gated:
            score = score * _by_unit(*gated[0]).float().norm(dim=1).view(2, -1).norm(dim=0)
        return score

    def _attention(self, module: str, kind: str) -> Tensor | None:
        heads = self.heads[module]
        if not heads.fit:
            return None
        chosen = self._heads(module)
        if kind == "head":
            return chosen
        (_, size), (_, want) = heads.teacher, heads.student
        score = self._per_head(module, "vo" if kind == "vo" else "qk")[chosen]
        if heads.shared and kind != "vo":
            score = score.sum(dim=0, keepdim=True)
        units = torch.stack([_best(row, want) for row in score])
        return units[0] if kind == "unit" else (chosen[:, None] * size + units).flatten()

    def _heads(self, module: str) -> Tensor:
        heads = self.heads[module]
        alike = [name for name, other in self.heads.items() if other.shared] if heads.shared else [module]
        scores = [self._per_head(name, "vo", whole=True) for name in alike]
        total = torch.stack([score / score.mean().clamp(min=torch.finfo(score.dtype).tiny) for score in scores]).sum(0)
        return _best(total, heads.student[0])

    def _per_head(self, module: str, kind: str, whole: bool = False) -> Tensor:
        """Product of the norms of the two projections: (heads, head size), or (heads,) of ``whole`` heads."""
        count, size = self.heads[module].teacher
        score = torch.ones(count, 1 if whole else size)
        for tensor, axis in self._carriers[f"{module}.{kind}"]:
            rows = _by_unit(tensor, axis).float() if tensor.ndim > 1 else None
            if rows is None or rows.shape[0] != count * size:
                continue
            score = score * (
                rows.reshape(count, -1).norm(dim=1, keepdim=True) if whole else rows.norm(dim=1).view(count, size)
            )
        return score[:, 0] if whole else score


def _by_unit(tensor: Tensor, axis: int) -> Tensor:
    """(units, numbers of each)."""
    return tensor.detach().movedim(axis, 0).flatten(1) if tensor.ndim > 1 else tensor.detach().unsqueeze(1)


def _best(score: Tensor, count: int, blocks: int = 1) -> Tensor:
    """Ascending indices of the best ``count`` units, as many of each block; of equal ones the first."""
    parts = score.view(blocks, -1)
    order = parts.argsort(dim=1, descending=True, stable=True)[:, : count // blocks].sort(dim=1).values
    return (order + torch.arange(blocks)[:, None] * parts.shape[1]).flatten()
