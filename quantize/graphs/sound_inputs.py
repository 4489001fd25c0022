"""What the graphs that hear sound are given of a window: the encoder, and the stem before it where there is one."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from edge_aac.bundle.manifest import GraphRole
from edge_aac.bundle.patches import STEM, PatchRule
from edge_aac.engines.onnx_runtime import OnnxRuntimeEngine
from edge_aac.models.patches import PATCHES, VECTORS, PatchStem, patches_of
from quantize.graphs.calibration_windows import encoder_inputs
from quantize.graphs.onnx_file import OnnxFile

Array = npt.NDArray[np.float32]
Inputs = Mapping[str, npt.NDArray[Any]]

ENCODER: GraphRole = "encoder"


class HeardInputs(Protocol):
    """What the graphs of a model that hear sound are given; :class:`SoundInputs` is that of models of windows."""

    @property
    def roles(self) -> tuple[GraphRole, ...]:
        """Roles of the graphs that hear sound, in the order of the data's way."""

    def of(self, role: GraphRole, sounds: Iterable[Array]) -> Iterator[Inputs]:
        """The inputs of a run of one of these graphs for each sound."""


class ClipInputs:
    """Of models that hear clips: one graph, one clip at a time.

    Args:
        name: of the encoder's input.
        made: makes it, without its first axis, of a waveform (samples,).
    """

    roles: tuple[GraphRole, ...] = (ENCODER,)

    def __init__(self, name: str, made: Callable[[Array], Array]) -> None:
        self._name = name
        self._made = made

    def of(self, role: GraphRole, sounds: Iterable[Array]) -> Iterator[Inputs]:
        """See :class:`HeardInputs`; sounds are waveforms (samples,)."""
        return ({self._name: self._made(clip)[np.newaxis]} for clip in sounds)


class SoundInputs:
    """Makes the inputs of these graphs.

    Args:
        takes: names of the encoder's inputs.
        patches: how a window is cut; None where there is no stem.
        stem: the exported stem, where there is one.
    """

    def __init__(self, takes: Collection[str], patches: PatchRule | None, stem: PatchStem | None) -> None:
        self._pads = "frame_padding" in takes
        self._patches = patches
        self._stem = stem

    @classmethod
    def of_files(cls, parents: Mapping[GraphRole, Path], patches: PatchRule | None) -> SoundInputs:
        """Of the exported graph of each role; see above."""
        takes = {entry.name for entry in OnnxFile(parents[ENCODER]).graph.input}
        return cls(takes, patches, PatchStem(OnnxRuntimeEngine(parents[STEM], 1)) if patches else None)

    @property
    def roles(self) -> tuple[GraphRole, ...]:
        """Roles of the graphs that hear sound, in the order of the data's way."""
        return (STEM, ENCODER) if self._patches else (ENCODER,)

    def of(self, role: GraphRole, windows: Iterable[Array]) -> Iterator[Inputs]:
        """The inputs of a run of a graph for each window: of the stem, all patches of the window.

        Args:
            role: one of :attr:`roles`.
            windows: filter banks (998, 128).
        """
        if self._patches is None or self._stem is None:
            yield from encoder_inputs(iter(windows), self._pads)
            return
        for fbank in windows:
            patches = np.ascontiguousarray(patches_of(fbank, self._patches))
            if role == STEM:
                yield {PATCHES: patches}
            else:
                yield {VECTORS: np.stack(self._stem.run(list(patches)))[None]}
