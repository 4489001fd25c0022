"""Where each tensor of a student comes from, so that nothing starts afresh unseen."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Origin = Literal["copied", "cut", "extended", "fresh"]
ORIGINS: tuple[Origin, ...] = ("copied", "cut", "extended", "fresh")


@dataclass(frozen=True)
class TensorOrigin:
    """Where one tensor of the student comes from.

    Attributes:
        name: in the student; a tensor with several names has its first.
        source: name in the teacher; None where fresh.
        origin: copied whole; cut (some units of the teacher's); extended (positions beyond the teacher's are fresh);
            fresh (as the module initialises itself).
        numbers: how many the tensor holds.
        taken: how many of them are the teacher's.
        factor: by which those were multiplied.
        trained: a parameter, not a buffer.
    """

    name: str
    source: str | None
    origin: Origin
    numbers: int
    taken: int
    factor: float
    trained: bool


@dataclass(frozen=True)
class StudentReport:
    """Every tensor of a student, in its own order."""

    tensors: tuple[TensorOrigin, ...]

    @property
    def parameters(self) -> int:
        return sum(tensor.numbers for tensor in self.tensors if tensor.trained)

    @property
    def taken(self) -> int:
        """Parameters that the teacher gave."""
        return sum(tensor.taken for tensor in self.tensors if tensor.trained)

    def counts(self) -> dict[Origin, tuple[int, int]]:
        """Origin → (tensors, parameters), buffers left out."""
        return {
            origin: (len(kind), sum(tensor.numbers for tensor in kind))
            for origin in ORIGINS
            for kind in [[tensor for tensor in self.tensors if tensor.trained and tensor.origin == origin]]
        }

    def totals(self) -> list[str]:
        """For a person: how much is copied, cut, extended and fresh."""
        return [
            f"{name}: {numbers:,} parameters in {count} tensors" for name, (count, numbers) in self.counts().items()
        ]
