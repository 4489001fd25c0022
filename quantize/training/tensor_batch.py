"""Batches that move as a whole: to a device, or into memory that GPUs read directly."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields, is_dataclass, replace
from typing import Any, TypeVar

import torch
from torch import Tensor

Made = TypeVar("Made", bound="TensorBatch")


class TensorBatch:
    """Base of batches: dataclasses whose tensors, and those of the dataclasses within, move together."""

    def to(self: Made, device: torch.device, non_blocking: bool = False) -> Made:
        """The same batch with its tensors on another device."""
        moved: Made = _each_tensor(self, lambda tensor: tensor.to(device, non_blocking=non_blocking))
        return moved

    def pin_memory(self: Made) -> Made:
        """The same batch in memory that GPUs read directly; torch's loader calls it."""
        pinned: Made = _each_tensor(self, Tensor.pin_memory)
        return pinned


def _each_tensor(part: Any, change: Callable[[Tensor], Tensor]) -> Any:
    if isinstance(part, Tensor):
        return change(part)
    if not is_dataclass(part) or isinstance(part, type):
        return part
    return replace(part, **{entry.name: _each_tensor(getattr(part, entry.name), change) for entry in fields(part)})
