"""Stands for a live source that cannot be opened yet, where its own factory does not wait for it."""

from __future__ import annotations

import threading

import numpy as np
import numpy.typing as npt

from edge_aac.audio.connection import SourceState
from edge_aac.errors import DeviceError


class AbsentSource:
    """A :class:`~edge_aac.audio.sources.address.Source` without sound: whoever reads it has to open the source anew.

    Args:
        label: of the source that is absent.
        failure: why it could not be opened.
    """

    live = True
    state: SourceState = "waiting"
    reconnects = 0

    def __init__(self, label: str, failure: DeviceError) -> None:
        self.label = label
        self._failure = failure
        self._closed = threading.Event()

    def read(self) -> npt.NDArray[np.float32] | None:
        """None once it is closed.

        Raises:
            DeviceError: why the source could not be opened.
        """
        if self._closed.is_set():
            return None
        raise self._failure

    def lost_samples(self) -> int:
        """Always 0: what was never there lost nothing."""
        return 0

    def close(self) -> None:
        """Nothing is open."""
        self._closed.set()
