"""How familiar a window is: whether the encoder hears in it what it heard of the known classes, or something else.

Two things are added. One is how surely the loudest class is heard, the encoder's own logit; that alone takes a bark for
a sneeze where no dog was ever heard. The other is how near the encoder's state comes to those of training scenes with
the same sounds: the Mahalanobis distance of Lee et al., *A Simple Unified Framework for Detecting Out-of-Distribution
Samples and Adversarial Attacks*, 2018, here of a stretch's mean state, to the nearest set of one or two classes.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class Stretches:
    """Into which pieces a window is cut.

    Attributes:
        tokens: of one stretch; a shorter window is one stretch.
        hop: tokens from one to the next.
        loudest: a class is as active in a stretch as in the mean of so many tokens at which it is most active.
    """

    tokens: int = 30
    hop: int = 10
    loudest: int = 6

    def starts(self, count: int) -> range:
        """Where those of ``count`` tokens begin."""
        return range(0, max(count - self.tokens, 0) + 1, self.hop)


class Familiarity(nn.Module):
    """The score of a window; 0 for a typical training scene, -1 for the least of ten by either part alone.

    Args:
        dim: D, of the encoder's states.
        rank: R, directions in which distances are measured.
        sets: K, of classes.
        stretches: how a window is cut.
    """

    whitening: Tensor
    centres: Tensor
    middle: Tensor
    spread: Tensor

    def __init__(self, dim: int, rank: int, sets: int, stretches: Stretches) -> None:
        super().__init__()
        self.stretches = stretches
        self.register_buffer("whitening", torch.zeros(dim, rank))
        self.register_buffer("centres", torch.zeros(sets, rank))
        self.register_buffer("middle", torch.zeros(2))
        self.register_buffer("spread", torch.ones(2))

    def forward(self, hidden: Tensor, logits: Tensor) -> Tensor:
        """Score of each window, (B,).

        Args:
            hidden: (B, T, D) states of the encoder.
            logits: (B, T, C) of its predictor.
        """
        parts = torch.stack(self.parts(hidden, logits), dim=1)
        return ((parts - self.middle) / self.spread).sum(dim=1)

    def parts(self, hidden: Tensor, logits: Tensor) -> tuple[Tensor, Tensor]:
        """Logit of the most active class in the stretch where it is most active, and minus that stretch's squared
        distance to the nearest centre; both (B,)."""
        activity = self.activities(logits).amax(dim=2)
        place = activity.argmax(dim=1, keepdim=True)
        states = self.states(hidden) @ self.whitening
        distances = (states.unsqueeze(2) - self.centres).square().sum(dim=3).amin(dim=2)
        return activity.gather(1, place)[:, 0], -distances.gather(1, place)[:, 0]

    def states(self, hidden: Tensor) -> Tensor:
        """Mean state of each stretch, (B, S, D)."""
        return torch.cat([piece.mean(dim=1, keepdim=True) for piece in self.cut(hidden)], dim=1)

    def activities(self, logits: Tensor) -> Tensor:
        """How active each class is in each stretch, (B, S, C)."""
        loudest = min(self.stretches.loudest, logits.shape[1])
        heard = [piece.topk(loudest, dim=1)[0].mean(dim=1, keepdim=True) for piece in self.cut(logits)]
        return torch.cat(heard, dim=1)

    def cut(self, tokens: Tensor) -> list[Tensor]:
        """(B, T, …) → its stretches."""
        length = min(self.stretches.tokens, tokens.shape[1])
        return [tokens.narrow(1, start, length) for start in self.stretches.starts(tokens.shape[1])]
