"""What a build must know of a kind of model: how it is heard out, compared, timed, calibrated, and for which shapes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

from edge_aac.bundle.manifest import Graph, GraphRole
from edge_aac.bundle.store import Bundle
from edge_aac.engines.contract import EngineOptions
from quantize.device.gate import CheckOutputs
from quantize.device.profiles import Profiles
from quantize.device.timing import RunSamples
from quantize.graphs.sound_inputs import HeardInputs

Sound: TypeAlias = npt.NDArray[np.float32]
"""What a model hears at once: the filter bank (998, 128) of a window, or a clip's waveform (samples,)."""


class CheckedKind(Protocol):
    """A bundle's model as a build sees it; one for each kind, in :mod:`quantize.device.kinds`."""

    def check_sounds(self) -> list[Sound]:
        """Sounds that every form is compared on: made here, the same on every machine."""

    def recorded(self, folder: Path, count: int) -> Iterator[Sound]:
        """Up to so many sounds of a user's recordings.

        Raises:
            InputMissingError, DataError: there are none that can be used.
        """

    def outputs(
        self, bundle: Bundle, sounds: Sequence[Sound], options: EngineOptions, reference: CheckOutputs | None
    ) -> CheckOutputs:
        """What the first forms of a bundle that can be run give for the sounds.

        Args:
            bundle: with its graphs in the forms to be tried.
            sounds: to be heard.
            options: backend and threads.
            reference: outputs of the exported graphs; None while these are made.

        Raises:
            DataError: a graph cannot be loaded, or gives numbers that are none.
        """

    def samples(
        self, bundle: Bundle, sounds: Sequence[Sound], options: EngineOptions, reference: CheckOutputs
    ) -> RunSamples:
        """What its graphs are given for a few sounds.

        Args:
            bundle: with the exported graphs.
            sounds: the first of those that ``reference`` is of.
            options: backend and threads.
            reference: what the exported graphs gave.
        """

    def heard(self, parents: Mapping[GraphRole, Path]) -> HeardInputs:
        """What the exported graphs that hear sound are given."""

    def profiles(
        self,
        role: GraphRole,
        parents: Mapping[GraphRole, Graph],
        samples: RunSamples,
        streams: int,
        rows: int | None,
    ) -> Profiles:
        """The shapes that a plan of a graph is built for.

        Args:
            role: role of the graph.
            parents: the exported graph of each role.
            samples: what :meth:`samples` gave.
            streams: windows that are encoded and decoded at once.
            rows: candidates, or beams, that are usually decoded at once; None = as many as the bundle says.

        Raises:
            DataError: a graph has an axis of unknown size.
        """

    def tuned_for(self, rows: int | None) -> str:
        """What plans are tuned for, in words."""
