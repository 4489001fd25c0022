"""Stands for a live source that is paused from the start: its device is not opened, not for a moment either."""

from __future__ import annotations

import threading

import numpy as np
import numpy.typing as npt

from edge_aac.audio.connection import SourceState


class PausedSource:
    """A :class:`~edge_aac.audio.sources.address.Source` that gives nothing until it is closed.

    Args:
        label: of the source that is paused.
    """

    live = True
    state: SourceState = "waiting"
    reconnects = 0

    def __init__(self, label: str) -> None:
        self.label = label
        self._closed = threading.Event()

    def read(self) -> npt.NDArray[np.float32] | None:
        """Wait for :meth:`close`."""
        self._closed.wait()
        return None

    def lost_samples(self) -> int:
        """Always 0: what is not to be heard is not lost."""
        return 0

    def close(self) -> None:
        """End a :meth:`read` that waits."""
        self._closed.set()
