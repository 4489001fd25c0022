"""Windows that are captioned in batches, where every one of them must have its captions."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from itertools import islice

import numpy as np
import numpy.typing as npt

from edge_aac.audio.windows import WINDOW_SAMPLES, Window
from edge_aac.errors import DataError
from edge_aac.models.contract import Description, WindowModel

BATCH_WINDOWS = 8
"""Enough to use all cores, and few enough that the published size fits into the memory of a small machine."""


def heard(fbank: npt.NDArray[np.float32], start: int = 0, samples: int = WINDOW_SAMPLES) -> Window:
    """A window of which only the filter bank is known; its levels, which no model reads, are NaN.

    Args:
        fbank: (998, 128).
        start: position of the first sample, at 16 kHz.
        samples: how many samples of real sound it holds.
    """
    return Window(start, samples, fbank, math.nan, math.nan, math.nan)


def described(
    model: WindowModel, windows: Iterable[tuple[Window, np.random.Generator]], batch: int = BATCH_WINDOWS
) -> Iterator[Description]:
    """Describe windows, each with its generator, ``batch`` at a time.

    Raises:
        DataError: a window's numbers are none.
    """
    remaining = iter(windows)
    while taken := list(islice(remaining, batch)):
        for description in model.describe([window for window, _ in taken], [rng for _, rng in taken]):
            if isinstance(description, DataError):
                raise description
            yield description
