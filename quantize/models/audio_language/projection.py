"""The audio tower of CLAP and Pengi: HTSAT and the projection into the space that sound shares with text."""

from __future__ import annotations

from typing import cast

from torch import Tensor, nn
from torch.nn import functional

from quantize.models.htsat.config import HtsatConfig
from quantize.models.htsat.encoder import Htsat
from quantize.models.htsat.front_end import LogMel


class Projection(nn.Module):
    """``LN(a + b)`` with ``a = W1 x`` and ``b = W2 gelu(a)``, without biases (Elizalde et al., arXiv 2309.05767).

    Args:
        in_dim: width of the encoder.
        out_dim: width of the shared space.
    """

    def __init__(self, in_dim: int, out_dim: int) -> None:
        super().__init__()
        self.linear1 = nn.Linear(in_dim, out_dim, bias=False)
        self.linear2 = nn.Linear(out_dim, out_dim, bias=False)
        self.layer_norm = nn.LayerNorm(out_dim)

    def forward(self, x: Tensor) -> Tensor:
        """(…, in_dim) → (…, out_dim)."""
        first = self.linear1(x)
        return self.layer_norm(first + self.linear2(functional.gelu(first)))


class AudioTower(nn.Module):
    """Waveforms to embeddings, (B, N) → (B, D), not normalised.

    Args:
        config: sizes of HTSAT.
        dim: D.
    """

    def __init__(self, config: HtsatConfig, dim: int) -> None:
        super().__init__()
        self.base = nn.ModuleDict({"htsat": Htsat(config)})
        self.projection = Projection(config.out_dim, dim)

    @property
    def htsat(self) -> Htsat:
        """The encoder itself."""
        return cast("Htsat", self.base["htsat"])

    @property
    def front_end(self) -> LogMel:
        """What makes the log-mel."""
        return self.htsat

    def forward(self, waveform: Tensor) -> Tensor:
        """See above."""
        return self.projection(self.htsat(waveform))

    def stages(self, waveform: Tensor) -> dict[str, Tensor]:
        """HTSAT's stages (:meth:`quantize.models.htsat.encoder.Htsat.stages`) and ``embedding``."""
        found = self.htsat.stages(waveform)
        found["embedding"] = self.projection(found["latent"])
        return found
