"""A batch of windows of which the silent ones need no model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

import numpy as np

from edge_aac.audio.windows import Window
from edge_aac.errors import DataError
from edge_aac.models.contract import Description, SelectiveModel, Undecoded, Wanted, WindowModel, not_cancelled

Outcome: TypeAlias = "Description | DataError | Undecoded | None"
"""What becomes of a window: its description, the error that it caused, that it sounds as before, or None of a silent
one."""


def describe_loud(
    model: WindowModel,
    batch: Sequence[tuple[Window, np.random.Generator | None]],
    cancelled: Callable[[], bool] = not_cancelled,
    wanted: Wanted | None = None,
) -> list[Outcome]:
    """Describe the windows of a batch that have a generator, in one run of the model.

    Args:
        model: see :meth:`edge_aac.models.contract.WindowModel.describe`, also for what it raises.
        batch: windows, each with its own generator, or None where it is silent.
        cancelled: asked before every decoding step.
        wanted: whether window ``number`` of the batch is to be decoded, by its audio embedding; None decodes all, as
            does a model that cannot encode without decoding.

    Returns:
        One entry a window, in order.
    """
    loud = [number for number, (_, rng) in enumerate(batch) if rng is not None]
    outcomes: list[Outcome] = [None] * len(batch)
    if not loud:
        return outcomes
    windows = [batch[number][0] for number in loud]
    rngs = [rng for _, rng in batch if rng is not None]
    described: Sequence[Outcome]
    if wanted is None or not isinstance(model, SelectiveModel):
        described = model.describe(windows, rngs, cancelled)
    else:
        of_batch = wanted
        described = model.describe_wanted(
            windows, rngs, lambda number, embedding: of_batch(loud[number], embedding), cancelled
        )
    for number, outcome in zip(loud, described, strict=True):
        outcomes[number] = outcome
    return outcomes
