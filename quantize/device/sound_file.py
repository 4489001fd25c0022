"""Sounds that a build hears again and again, in a file: hundreds of clips of a user's recordings fill no memory."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import overload

import numpy as np

from quantize.device.checked_kind import Sound


class SoundFile(Sequence[Sound]):
    """Sounds of one shape, each read when it is asked for.

    Args:
        path: of the file: float32, one sound behind the other.
        shape: of each sound.
        numbers: which of the file's sounds, in order.
    """

    def __init__(self, path: Path, shape: tuple[int, ...], numbers: range) -> None:
        self._path, self._shape, self._numbers = path, shape, numbers

    @classmethod
    def written(cls, path: Path, sounds: Iterable[Sound]) -> SoundFile:
        """Write sounds into a new file, one at a time.

        Args:
            path: of the file.
            sounds: at least one; all of one shape.

        Raises:
            ValueError: there is none, or one has another shape than the first.
            OSError: the file cannot be written.
        """
        shape: tuple[int, ...] | None = None
        count = 0
        with path.open("wb") as file:
            for sound in sounds:
                shape = sound.shape if shape is None else shape
                if sound.shape != shape:
                    raise ValueError(f"sounds of the shapes {shape} and {sound.shape}")
                np.ascontiguousarray(sound, np.float32).tofile(file)
                count += 1
        if shape is None:
            raise ValueError("no sound was given")
        return cls(path, shape, range(count))

    def __len__(self) -> int:
        return len(self._numbers)

    @overload
    def __getitem__(self, place: int) -> Sound: ...

    @overload
    def __getitem__(self, place: slice) -> SoundFile: ...

    def __getitem__(self, place: int | slice) -> Sound | SoundFile:
        if isinstance(place, slice):
            return SoundFile(self._path, self._shape, self._numbers[place])
        size = int(np.prod(self._shape))
        offset = self._numbers[place] * size * np.dtype(np.float32).itemsize
        return np.fromfile(self._path, np.float32, size, offset=offset).reshape(self._shape)
