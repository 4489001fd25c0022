"""Sound that an exported bundle of a student is compared with torch on."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from edge_aac.audio.sources.demo import synthesise_demo
from edge_aac.audio.windows import WINDOW_SAMPLES
from edge_aac.timebase import SAMPLE_RATE

_STARTS_S = (0.0, 1.5)


def check_sound() -> npt.NDArray[np.float32]:
    """Windows of a synthesised scene that differ, (2, samples)."""
    whole = synthesise_demo(12.0, 0).astype(np.float32)
    starts = [round(start * SAMPLE_RATE) for start in _STARTS_S]
    return np.stack([whole[start : start + WINDOW_SAMPLES] for start in starts])
