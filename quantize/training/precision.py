"""In which precision a training computes: its forward pass as the recipe asks, the terms of its loss in fp32."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from edge_aac.errors import ConfigError


def in_fp32(like: Tensor) -> torch.autocast:
    """Context that computes in the precision of its inputs, on the device of a tensor, whatever autocast is around it.

    For terms of the loss, whose inputs are made ``.float()`` before.
    """
    return torch.autocast(like.device.type, enabled=False)


def wants_bf16(precision: str, device: torch.device) -> bool:
    """Whether a setting asks for bf16 on a device.

    Raises:
        ConfigError: no such setting.
    """
    known: Sequence[str] = ("auto", "fp32", "bf16")
    if precision not in known:
        raise ConfigError(f"precision {precision!r} is unknown: give one of {', '.join(known)}")
    if precision == "auto":
        return device.type == "cuda" and torch.cuda.is_bf16_supported()
    return precision == "bf16"
