"""A batch of windows of which the silent ones need no model."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from edge_aac.audio.windows import Window
from edge_aac.errors import DataError
from edge_aac.models.contract import Description, WindowModel, not_cancelled


def describe_loud(
    model: WindowModel,
    batch: Sequence[tuple[Window, np.random.Generator | None]],
    cancelled: Callable[[], bool] = not_cancelled,
) -> list[Description | DataError | None]:
    """Describe the windows of a batch that have a generator, in one run of the model.

    Args:
        model: see :meth:`edge_aac.models.contract.WindowModel.describe`, also for what it raises.
        batch: windows, each with its own generator, or None where it is silent.
        cancelled: asked before every decoding step.

    Returns:
        One entry a window, in order: its description, the error that it caused, or None of a silent one.
    """
    loud = [(window, rng) for window, rng in batch if rng is not None]
    described: Sequence[Description | DataError] = ()
    if loud:
        described = model.describe([window for window, _ in loud], [rng for _, rng in loud], cancelled)
    descriptions = iter(described)
    return [None if rng is None else next(descriptions) for _, rng in batch]
