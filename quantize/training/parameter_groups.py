"""Which parameters decay."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from torch import nn


def parameter_groups(module: nn.Module, weight_decay: float) -> Iterator[dict[str, Any]]:
    """Weight decay for parameters of two dimensions and more; those of one, as most biases and gains, are left free.

    It acts on the biases and gains of more dimensions, too: BEATs' ``grep_a``, the Conformer's ``pos_bias_u`` and
    ``pos_bias_v``, weight norm's ``original0``. The shipped weights were trained so.
    """
    parameters = [p for p in module.parameters() if p.requires_grad]
    yield {"params": [p for p in parameters if p.ndim > 1], "weight_decay": weight_decay}
    yield {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0}
