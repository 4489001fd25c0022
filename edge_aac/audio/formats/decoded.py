"""What every decoder of a container promises."""

from __future__ import annotations

from typing import Protocol

import numpy as np
import numpy.typing as npt

Frames = npt.NDArray[np.float32]


class Decoded(Protocol):
    """One sound file, or one of several that follow each other, as frames.

    Attributes:
        rate: rate in Hz.
        channels: number of channels.
        is_float: whether the sound is written as plain float samples, whose scale is the writer's.
    """

    rate: int
    channels: int
    is_float: bool

    @property
    def followed_by_file(self) -> bool:
        """Whether, at the end, another sound file follows: the stream then stands at its first byte."""

    def read(self) -> Frames:
        """Gives the next frames, float32, shape (n, channels), full scale 1; n is 0 at the end.

        Raises:
            DataError: the sound is damaged.
            StreamClosedError: the input was closed meanwhile.
        """

    def finish(self) -> None:
        """Judges, at the end, whether all that the input promised was given.

        Raises:
            DataError: a part is missing.
        """

    def close(self) -> None:
        """Lets go of what the decoder holds beside the stream. May be called again."""


def no_frames(channels: int) -> Frames:
    """An empty block, float32, shape (0, channels)."""
    return np.zeros((0, channels), np.float32)
