"""Graphs on the CPU through ONNX Runtime."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime

from edge_aac.engines.contract import Arrays, GraphDescription, GraphLoadError, GraphRunError, TensorDescription

_SHOWN = 300  # characters of a message of ONNX Runtime
_ERRORS_ONLY, _FATAL_ONLY = 3, 4

# By their names in ONNX Runtime; what is missing here, numpy has no type for.
_DTYPES = {"float": "float32", "double": "float64"}

SMALL_GRAPH_BYTES = 16_000_000
"""Below this a second thread does not pay: on two cores the encoder of esc10-tiny takes 0.7 times as long, its decoder
1.1 times, and a window as long as on one (benchmarks/latency.py)."""


class OnnxRuntimeEngine:
    """A graph in an inference session of ONNX Runtime.

    Args:
        path: ONNX file whose hash was checked.
        threads: CPU threads of the session; 0 = one for a small graph, all cores for a large one.
        size_bytes: size of the graph and its weights; None where ``path`` holds all of them.

    Raises:
        GraphLoadError: this ONNX Runtime cannot load the file.
    """

    def __init__(self, path: Path, threads: int, size_bytes: int | None = None) -> None:
        options = onnxruntime.SessionOptions()
        self._runs_at_once = 1
        self._small = small = (size_bytes or path.stat().st_size) < SMALL_GRAPH_BYTES
        # The arena keeps what the largest batch ever took, in pieces that fit no other batch: over days a stream grows.
        # Without it a small graph is no slower (measured: the same processor time), and what is free can be given back.
        options.enable_cpu_mem_arena = not small
        if threads == 0 and small:
            threads = 1
            self._runs_at_once = usable_cores()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = _ERRORS_ONLY
        # The file is what the bundle names and what was looked at, whatever it may be besides.
        options.add_session_config_entry("session.load_model_format", "ONNX")
        # Threads may spin for each other within a run (a decoding step of the 217 M model takes 0.8 to 0.9 times as
        # long), but a device that listens all day must not burn its cores between windows.
        options.add_session_config_entry("session.force_spinning_stop", "1")
        try:
            self._session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        except Exception as error:  # onnxruntime's own exceptions share no base class but this
            why = _first_line(error)
            raise GraphLoadError(
                f"ONNX Runtime {onnxruntime.__version__} cannot load {path} ({why}): install or build the bundle again",
                why,
            ) from error
        self._path = path
        self._outputs = [output.name for output in self._session.get_outputs()]
        self._description = GraphDescription(
            {entry.name: _described(entry) for entry in self._session.get_inputs()},
            {entry.name: _described(entry) for entry in self._session.get_outputs()},
        )
        self._input_shapes = {name: tensor.shape for name, tensor in self._description.inputs.items()}
        # What goes wrong in a run is raised; the library would write it to standard error as well.
        self._run_options = onnxruntime.RunOptions()
        self._run_options.log_severity_level = _FATAL_ONLY

    def run(self, inputs: Arrays) -> dict[str, npt.NDArray[np.float32]]:
        """See :class:`edge_aac.engines.contract.Engine`.

        Raises:
            GraphRunError: the graph cannot compute with these inputs.
        """
        try:
            found = self._session.run(self._outputs, dict(inputs), self._run_options)
        except Exception as error:  # as above
            why = _first_line(error)
            raise GraphRunError(
                f"{self._path} cannot compute with what it is given ({why}): build the bundle again", why
            ) from error
        return dict(zip(self._outputs, found, strict=True))

    @property
    def description(self) -> GraphDescription:
        """See :class:`edge_aac.engines.contract.LoadedEngine`."""
        return self._description

    @property
    def runs_at_once(self) -> int:
        """See :class:`edge_aac.engines.steps.CoreEngine`; 1 where one run takes all the cores that it may."""
        return self._runs_at_once

    @property
    def small(self) -> bool:
        """See :class:`edge_aac.engines.steps.CoreEngine`."""
        return self._small

    @property
    def input_shapes(self) -> Mapping[str, tuple[int | str | None, ...]]:
        """See :class:`edge_aac.engines.choice.Engine`."""
        return self._input_shapes


def _described(entry: Any) -> TensorDescription:
    """An input or output of a session; its type is written "tensor(float)"."""
    kind = entry.type.removeprefix("tensor(").removesuffix(")")
    return TensorDescription(_DTYPES.get(kind, kind), tuple(entry.shape))


def _first_line(error: Exception) -> str:
    """What ONNX Runtime says, as a part of a sentence."""
    line = " ".join(str(error).partition("\n")[0].split())
    return line if len(line) <= _SHOWN else f"{line[:_SHOWN]}…"


def usable_cores() -> int:
    """Cores that this process may run on."""
    affinity = getattr(os, "sched_getaffinity", None)  # of Linux alone
    return len(affinity(0)) if affinity else os.cpu_count() or 1
