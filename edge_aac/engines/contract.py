"""The contract of all engines, whatever they run a graph on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
import numpy.typing as npt

from edge_aac.errors import DataError

Logits = npt.NDArray[np.float32]
TokenIds = npt.NDArray[np.int64]
Arrays = Mapping[str, npt.NDArray[np.generic]]
Backend = Literal["auto", "tensorrt", "onnxruntime"]

ONNX_RUNTIME: Backend = "onnxruntime"
TENSORRT: Backend = "tensorrt"


class GraphError(DataError):
    """What runs graphs here refuses one.

    Attributes:
        why: what the engine says, without the mend.
    """

    def __init__(self, message: str, why: str) -> None:
        super().__init__(message)
        self.why = why


class GraphLoadError(GraphError):
    """It cannot be loaded, as where an operator is missing."""


class GraphRunError(GraphError):
    """It cannot compute with what it is given, as where an id lies beyond its table."""


@dataclass(frozen=True)
class EngineOptions:
    """Choices of the user about running graphs.

    Attributes:
        backend: "auto" takes of each graph the first form of the bundle that this machine can run.
        threads: CPU threads of one graph; 0 = as many as pay: one for a small graph, all cores for a large one.
        cuda_graphs: whether TensorRT's decoding steps are launched as CUDA graphs, where the GPU can do that.
    """

    backend: Backend = "auto"
    threads: int = 0
    cuda_graphs: bool = True


class Engine(Protocol):
    """A loaded graph. What :meth:`run` gives belongs to its caller, so that threads may share an engine.

    What an engine keeps on its device for the next graph is another matter: see
    :class:`edge_aac.engines.steps.ResidentEngine` and :class:`edge_aac.engines.steps.StepwiseEngine`.
    """

    def run(self, inputs: Arrays) -> dict[str, npt.NDArray[np.float32]]:
        """Named arrays in, named arrays out; shapes are those of the manifest."""

    @property
    def input_shapes(self) -> Mapping[str, tuple[int | str | None, ...]]:
        """Declared shape of every input; dynamic axes are names or None."""


@dataclass(frozen=True)
class TensorDescription:
    """An input or output as the graph declares it.

    Attributes:
        dtype: numpy's name of its number type ("float32", "int64", "bool"); of one that numpy does not know, the
            engine's own.
        shape: sizes; an axis that the graph leaves open is a name or None.
    """

    dtype: str
    shape: tuple[int | str | None, ...]


@dataclass(frozen=True)
class GraphDescription:
    """What a graph declares to take and to give, by name."""

    inputs: Mapping[str, TensorDescription]
    outputs: Mapping[str, TensorDescription]


class LoadedEngine(Engine, Protocol):
    """An engine that has read a graph's file, and tells what that declares, whatever a manifest says of it."""

    @property
    def description(self) -> GraphDescription:
        """Inputs and outputs with their types and shapes."""
