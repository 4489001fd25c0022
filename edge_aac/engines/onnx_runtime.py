"""Graphs on the CPU through ONNX Runtime."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnxruntime

from edge_aac.engines.contract import Arrays
from edge_aac.errors import DataError

_ERRORS_ONLY = 3

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
        DataError: this ONNX Runtime cannot load the file.
    """

    def __init__(self, path: Path, threads: int, size_bytes: int | None = None) -> None:
        options = onnxruntime.SessionOptions()
        self._runs_at_once = 1
        if threads == 0 and (size_bytes or path.stat().st_size) < SMALL_GRAPH_BYTES:
            threads = 1
            self._runs_at_once = usable_cores()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = _ERRORS_ONLY
        # Threads may spin for each other within a run (a decoding step of the 217 M model takes 0.8 to 0.9 times as
        # long), but a device that listens all day must not burn its cores between windows.
        options.add_session_config_entry("session.force_spinning_stop", "1")
        try:
            self._session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        except Exception as error:  # onnxruntime's own exceptions share no base class but this
            raise DataError(f"ONNX Runtime {onnxruntime.__version__} cannot load {path}: {error}") from error
        self._outputs = [output.name for output in self._session.get_outputs()]
        self._input_shapes: dict[str, tuple[int | str | None, ...]] = {
            entry.name: tuple(entry.shape) for entry in self._session.get_inputs()
        }

    def run(self, inputs: Arrays) -> dict[str, npt.NDArray[np.float32]]:
        """See :class:`edge_aac.engines.choice.Engine`."""
        return dict(zip(self._outputs, self._session.run(self._outputs, dict(inputs)), strict=True))

    @property
    def runs_at_once(self) -> int:
        """See :class:`edge_aac.engines.steps.CoreEngine`; 1 where one run takes all the cores that it may."""
        return self._runs_at_once

    @property
    def input_shapes(self) -> Mapping[str, tuple[int | str | None, ...]]:
        """See :class:`edge_aac.engines.choice.Engine`."""
        return self._input_shapes


def usable_cores() -> int:
    """Cores that this process may run on."""
    affinity = getattr(os, "sched_getaffinity", None)  # of Linux alone
    return len(affinity(0)) if affinity else os.cpu_count() or 1
