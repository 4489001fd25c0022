"""How a graph is run, whatever runs it; and the only place where a backend is chosen."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
import numpy.typing as npt

from edge_aac.captioner.bundle import Bundle, Graph, GraphRole
from edge_aac.errors import DataError, DeviceError

Arrays = Mapping[str, npt.NDArray[np.generic]]
Backend = Literal["auto", "onnxruntime"]


@dataclass(frozen=True)
class EngineOptions:
    """What a user may decide about running graphs.

    Attributes:
        backend: "auto" takes the fastest form that the bundle holds and this machine can run.
        threads: CPU threads of one graph; 0 = as many as pay: one for a small graph, all cores for a large one.
    """

    backend: Backend = "auto"
    threads: int = 0


class Engine(Protocol):
    """A loaded graph. Stateless: two streams may share one."""

    def run(self, inputs: Arrays) -> dict[str, npt.NDArray[np.float32]]:
        """Named arrays in, named arrays out; shapes are those of the manifest."""

    @property
    def input_shapes(self) -> Mapping[str, tuple[int | str | None, ...]]:
        """Declared shape of every input; dynamic axes are names or None."""


def load_engine(bundle: Bundle, role: GraphRole, options: EngineOptions) -> tuple[Engine, Graph]:
    """Load one graph of a bundle.

    Raises:
        DataError: the bundle has no such graph.
        DeviceError: the bundle holds it in no form that the chosen backend runs.
    """
    from edge_aac.engines.onnx_runtime import OnnxRuntimeEngine

    forms = bundle.manifest.graphs.get(role, [])
    if not forms:
        raise DataError(f"bundle {bundle.manifest.name!r} has no {role} graph: build it again")
    for graph in forms:
        if graph.backend == "onnxruntime":
            return OnnxRuntimeEngine(bundle.path(graph), options.threads, bundle.size(graph)), graph
    raise DeviceError(
        f"bundle {bundle.manifest.name!r} holds its {role} for {', '.join(g.backend for g in forms)} only, "
        f"which --backend {options.backend} cannot run here"
    )
