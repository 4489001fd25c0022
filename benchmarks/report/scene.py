"""The sound that all ways hear: windows of the demo scene."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from time import perf_counter
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from edge_aac.audio.sources.demo import synthesise_demo
from edge_aac.audio.windows import WINDOW_SAMPLES
from edge_aac.timebase import SAMPLE_RATE

Result = TypeVar("Result")

_SCENE_S, _STEP_SAMPLES = 40, SAMPLE_RATE // 10


@lru_cache(1)
def _scene() -> npt.NDArray[np.float32]:
    return synthesise_demo(_SCENE_S, 0)


def window_samples(index: int) -> npt.NDArray[np.float32]:
    """The samples of a window, (160 000,): each starts 0.1 s after the one before, from the scene's start again and
    again."""
    starts = (len(_scene()) - WINDOW_SAMPLES) // _STEP_SAMPLES
    start = index % starts * _STEP_SAMPLES
    return _scene()[start : start + WINDOW_SAMPLES]


def timed(work: Callable[[], Result]) -> tuple[float, Result]:
    """Milliseconds that it took, and what it gave."""
    begun = perf_counter()
    result = work()
    return 1e3 * (perf_counter() - begun), result
