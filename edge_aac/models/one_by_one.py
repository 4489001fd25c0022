"""Models that describe batches alike: those that draw nothing, and of these such as hear window after window."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence

import numpy as np

from edge_aac.audio.windows import Window
from edge_aac.errors import DataError
from edge_aac.models.contract import Description, Undecoded, Wanted, not_cancelled


class Undrawn(ABC):
    """A :class:`edge_aac.models.contract.SelectiveModel` in which nothing is random: ``rngs`` are not used."""

    def describe(
        self,
        windows: Sequence[Window],
        rngs: Sequence[np.random.Generator],
        cancelled: Callable[[], bool] = not_cancelled,
    ) -> list[Description | DataError]:
        """See :class:`edge_aac.models.contract.WindowModel`."""
        described = self.describe_wanted(windows, rngs, lambda _number, _embedding: True, cancelled)
        return [found for found in described if not isinstance(found, Undecoded)]

    @abstractmethod
    def describe_wanted(
        self,
        windows: Sequence[Window],
        rngs: Sequence[np.random.Generator],
        wanted: Wanted,
        cancelled: Callable[[], bool] = not_cancelled,
    ) -> list[Description | DataError | Undecoded]:
        """See :class:`edge_aac.models.contract.SelectiveModel`."""


class OneByOne(Undrawn):
    """Works on each window by itself: its description does not depend on the others of its batch."""

    def describe_wanted(
        self,
        windows: Sequence[Window],
        rngs: Sequence[np.random.Generator],
        wanted: Wanted,
        cancelled: Callable[[], bool] = not_cancelled,
    ) -> list[Description | DataError | Undecoded]:
        """See :class:`edge_aac.models.contract.SelectiveModel`."""
        return [self._described(window, number, wanted, cancelled) for number, window in enumerate(windows)]

    @abstractmethod
    def _described(
        self, window: Window, number: int, wanted: Wanted, cancelled: Callable[[], bool]
    ) -> Description | DataError | Undecoded:
        """Describe the window with this number of a batch, where it is wanted.

        Raises:
            CancelledError: ``cancelled`` returned True.
        """
