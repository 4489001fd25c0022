"""Questions to one bundle about the windows that another one captions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from edge_aac import records
from edge_aac.audio.windows import Window
from edge_aac.errors import ConfigError, DataError
from edge_aac.fluency.sound_names import SoundNames
from edge_aac.models.contract import (
    Description,
    NamingModel,
    SelectiveModel,
    SharedWork,
    Undecoded,
    Wanted,
    WindowModel,
    not_cancelled,
    shared_work,
)
from edge_aac.models.prompted import Prompted

Found = TypeVar("Found", bound="Description | DataError | Undecoded")


class AskedBeside:
    """A captioner; of each window that it describes another bundle can be asked.

    Args:
        captioner: describes the windows.
        asked: answers the questions that it was opened with. It hears a window only when it is asked about it.

    Raises:
        ConfigError: the two are of different languages.
    """

    hears_sound = True
    """See :class:`edge_aac.models.contract.SoundModel`."""

    def __init__(self, captioner: WindowModel, asked: Prompted) -> None:
        self._captioner, self._asked = captioner, asked
        if captioner.language.lower() != asked.language.lower():
            raise ConfigError(
                f"{captioner.identity.bundle} captions in {captioner.language!r}, {asked.identity.bundle} answers in "
                f"{asked.language!r}: give an ask_bundle of the same language"
            )

    @property
    def identity(self) -> records.Model:
        """See :class:`edge_aac.models.contract.WindowModel`."""
        return self._captioner.identity

    @property
    def language(self) -> str:
        """See :class:`edge_aac.models.contract.WindowModel`."""
        return self._captioner.language

    @property
    def same_similarity(self) -> float:
        """See :class:`edge_aac.models.contract.WindowModel`."""
        return self._captioner.same_similarity

    @property
    def sound_names(self) -> SoundNames | None:
        """See :class:`edge_aac.models.contract.NamingModel`."""
        return self._captioner.sound_names if isinstance(self._captioner, NamingModel) else None

    @property
    def shared_work(self) -> SharedWork | None:
        """See :class:`edge_aac.models.contract.SharingModel`."""
        return shared_work(self._captioner)

    def embed(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        """See :class:`edge_aac.models.contract.WindowModel`."""
        return self._captioner.embed(texts)

    def describe(
        self,
        windows: Sequence[Window],
        rngs: Sequence[np.random.Generator],
        cancelled: Callable[[], bool] = not_cancelled,
    ) -> list[Description | DataError]:
        """See :class:`edge_aac.models.contract.WindowModel`."""
        return self._askable(windows, self._captioner.describe(windows, rngs, cancelled), cancelled)

    def _askable(self, windows: Sequence[Window], found: Sequence[Found], cancelled: Callable[[], bool]) -> list[Found]:
        return [
            replace(each, ask=partial(self._asked.answers, window, cancelled))
            if isinstance(each, Description)
            else each
            for window, each in zip(windows, found, strict=True)
        ]


class SelectiveAskedBeside(AskedBeside):
    """The same beside a :class:`edge_aac.models.contract.SelectiveModel`."""

    _captioner: SelectiveModel  # type: ignore[assignment]

    def describe_wanted(
        self,
        windows: Sequence[Window],
        rngs: Sequence[np.random.Generator],
        wanted: Wanted,
        cancelled: Callable[[], bool] = not_cancelled,
    ) -> list[Description | DataError | Undecoded]:
        """See :class:`edge_aac.models.contract.SelectiveModel`."""
        found = self._captioner.describe_wanted(windows, rngs, wanted, cancelled)
        return self._askable(windows, found, cancelled)


def asked_beside(captioner: WindowModel, asked: Prompted) -> AskedBeside:
    """A captioner with a bundle beside it that is asked; see :class:`AskedBeside`."""
    return (SelectiveAskedBeside if isinstance(captioner, SelectiveModel) else AskedBeside)(captioner, asked)
