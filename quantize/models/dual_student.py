"""A small pair of towers in the place of CLAP's: sounds as filter banks of 10 s windows, texts in pruned tokens.

The sound tower is a :class:`quantize.models.patch_stem.PatchStem`, whose vector of a stretch depends on that stretch
alone, and over it a mean with learnt weights: on a stream each stretch is heard once. The text tower is a T5 encoder;
its token table begins as the teacher's, cut to the tokens that are left and to its first principal components.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from quantize.models.clap.laion import LaionClap
from quantize.models.clap.microsoft import Clap
from quantize.models.clap.microsoft_2022 import Clap2022
from quantize.models.config import BeatsConfig, TextEmbedderConfig, above_zero
from quantize.models.instructor import TextEmbedder
from quantize.models.patch_stem import PatchStem

AnyClap = Clap | Clap2022 | LaionClap

_FIRST_SCALE, _LARGEST_SCALE = 1 / 0.07, 100.0  # CLIP's (Radford et al., 2021, section 2.5)


@dataclass(frozen=True)
class SoundTowerConfig:
    """Sizes of the sound tower.

    Attributes:
        stem_width, stem_frames, stem_hop_frames, dropout: see :class:`quantize.models.config.BeatsConfig`.
        dim: of the vector of a patch.
    """

    stem_width: float = 0.7
    stem_frames: int = 98
    stem_hop_frames: int = 50
    dim: int = 384
    dropout: float = 0.0

    def __post_init__(self) -> None:
        above_zero(self, "stem_width")
        _ = self.stem

    @property
    def stem(self) -> BeatsConfig:
        """The same for the stem, which checks it."""
        return BeatsConfig(
            stem_width=self.stem_width,
            stem_frames=self.stem_frames,
            stem_hop_frames=self.stem_hop_frames,
            patch_embed_dim=self.dim,
            dropout=self.dropout,
        )


class PooledHead(nn.Module):
    """Vectors of a window's patches → its embedding: a layer for each, a weighted mean, a projection.

    Args:
        dim: of a patch's vector.
        embedding_dim: of the embedding.
    """

    def __init__(self, dim: int, embedding_dim: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(dim)
        self.layer = nn.Linear(dim, dim)
        self.score = nn.Linear(dim, 1)
        self.project = nn.Linear(dim, embedding_dim)

    def forward(self, vectors: Tensor) -> Tensor:
        """(B, P, dim) → (B, embedding_dim), of any length."""
        steps = nn.functional.gelu(self.layer(self.norm(vectors)))
        weights = self.score(steps).softmax(dim=1)
        pooled: Tensor = self.project((weights * steps).sum(dim=1))
        return pooled


class SoundTower(nn.Module):
    """fbank (B, 998, 128) → embeddings (B, E), of any length."""

    def __init__(self, config: SoundTowerConfig, embedding_dim: int) -> None:
        super().__init__()
        self.stem = PatchStem(config.stem)
        self.head = PooledHead(config.dim, embedding_dim)

    def vectors(self, fbank: Tensor) -> Tensor:
        """The vectors (B, P, dim) of windows' patches."""
        patches = self.stem.cut(fbank)
        return self.stem.vectors(patches.flatten(0, 1)).unflatten(0, patches.shape[:2])

    def forward(self, fbank: Tensor) -> Tensor:
        embedding: Tensor = self.head(self.vectors(fbank))
        return embedding


class PatchVectorGraph(nn.Module):
    """patches (P, frames, 128) → vectors (P, dim), of a sound tower's stem."""

    def __init__(self, stem: PatchStem) -> None:
        super().__init__()
        self.stem = stem

    def forward(self, patches: Tensor) -> Tensor:
        return self.stem.vectors(patches)


class DualStudent(nn.Module):
    """All that is trained.

    Args:
        sound, text: sizes; the embedding's is the text tower's.
        teacher_dim: of the teacher's embeddings. Where it is another, one linear map leads there from the student's
            space, for both towers: it is thrown away at export.
    """

    def __init__(self, sound: SoundTowerConfig, text: TextEmbedderConfig, teacher_dim: int) -> None:
        super().__init__()
        self.sound = SoundTower(sound, text.embedding_dim)
        self.text = TextEmbedder.from_config(text)
        same = teacher_dim == text.embedding_dim
        self.to_teacher = nn.Identity() if same else nn.Linear(text.embedding_dim, teacher_dim, bias=False)
        self.log_scale = nn.Parameter(torch.tensor(math.log(_FIRST_SCALE)))

    @property
    def scale(self) -> Tensor:
        """Factor of the cosines before a softmax, at most 100."""
        return self.log_scale.exp().clamp(max=_LARGEST_SCALE)

    @torch.no_grad()
    def take_table(self, table: Tensor) -> None:
        """Begin with a table of tokens, (V, width) with the width of the text tower or less; the rest stays random."""
        weight = self.text.transformer.get_input_embeddings().weight
        weight[:, : table.shape[1]] = table


def token_table(model: AnyClap) -> Tensor:
    """The vectors (V, W) of a CLAP's tokens."""
    if isinstance(model, LaionClap):
        return model.network.text_model.embeddings.word_embeddings.weight.detach()
    if isinstance(model, Clap2022):
        return model.network.caption_encoder.base.embeddings.word_embeddings.weight.detach()
    return model.network.caption_encoder.base.wte.weight.detach()


def narrowed(table: Tensor, width: int) -> Tensor:
    """The first principal components of vectors, with a standard deviation of 1 over all, as T5's tables begin.

    Args:
        table: (V, W).
        width: components that are kept, at most; never more than V or W.

    Returns:
        (V, min(width, V, W)).
    """
    centred = (table - table.mean(dim=0)).double()
    _, _, directions = torch.linalg.svd(centred, full_matrices=False)
    kept = centred @ directions[:width].T
    return (kept / kept.std().clamp(min=1e-12)).float()
