"""How sure a captioner is of each of its sounds in a window, as its encoder's graph tells it."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from quantize.models.captioner import Captioner


class Sureness(nn.Module):
    """The largest confidence of each sound over time: max over T' of sigmoid(scale · logit + bias).

    ``scale`` and ``bias`` calibrate: Platt scaling with the same two numbers for all sounds (Platt, *Probabilistic
    Outputs for Support Vector Machines*, 1999), whose scale alone is the inverse of a temperature (Guo et al., *On
    Calibration of Modern Neural Networks*, 2017). A sigmoid never falls, so the largest logit gives the largest
    confidence.

    Args:
        captioner: has a classifier of sounds.
        scale: above 0.
        bias: added to the scaled logits.
    """

    def __init__(self, captioner: Captioner, scale: float = 1.0, bias: float = 0.0) -> None:
        super().__init__()
        assert captioner.sound_head is not None, "the captioner has no classifier of sounds"
        self.head = captioner.sound_head
        self.scale, self.bias = scale, bias

    def forward(self, memory: Tensor) -> Tensor:
        """Memory (B, T', D) of a captioner → confidences (B, S), 0 to 1."""
        # Not by a call of the classifier: the product is to bear this module's name in the graph.
        logits = functional.linear(memory, self.head.weight, self.head.bias)
        return torch.sigmoid(logits.amax(dim=1) * self.scale + self.bias)
