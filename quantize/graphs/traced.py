"""An fp32 graph that shows what passes inside it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime
from onnx import ModelProto, NodeProto, TensorProto, helper

from edge_aac.errors import DataError
from quantize.graphs.onnx_file import load_structure

Arrays = Mapping[str, npt.NDArray[Any]]

_EXTERNAL_FOLDER = "session.model_external_initializers_file_folder_path"
_ERRORS_ONLY = 3


def session_of(model: ModelProto, folder: Path, *, optimised: bool = True) -> onnxruntime.InferenceSession:
    """A CPU session of a graph in memory whose weights may lie in ``folder``.

    Args:
        model: the graph.
        folder: folder of the file that holds the weights.
        optimised: whether operators are fused; unfused, Q/DQ round as they say, on every processor.

    Raises:
        DataError: ONNX Runtime cannot load it.
    """
    options = onnxruntime.SessionOptions()
    options.log_severity_level = _ERRORS_ONLY
    if not optimised:
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.add_session_config_entry(_EXTERNAL_FOLDER, str(folder.resolve()))
    # Packed weights are a second copy in memory, for speed that a few windows do not need.
    options.add_session_config_entry("session.disable_prepacking", "1")
    try:
        return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's own exceptions share no base class but this
        raise DataError(f"ONNX Runtime {onnxruntime.__version__} cannot load this graph: {error}") from error


class Traced:
    """Runs a graph and gives tensors of its inside.

    Args:
        path: file of the fp32 graph.
        tensors: float tensors to give.
        peaks: float tensors of which only the greatest magnitude is given: what a whole network computes in one run is
            gigabytes.
        added: nodes that are no part of the graph, whose results are among the tensors or peaks.
    """

    def __init__(
        self, path: Path, tensors: Iterable[str], peaks: Iterable[str] = (), added: Iterable[NodeProto] = ()
    ) -> None:
        model = load_structure(path)
        model.graph.node.extend(added)
        self._tensors, self._peaks = list(tensors), list(peaks)
        for name in self._peaks:
            model.graph.node.append(helper.make_node("Abs", [name], [f"{name}/abs"]))
            model.graph.node.append(helper.make_node("ReduceMax", [f"{name}/abs"], [f"{name}/peak"], keepdims=0))
        shown = [*self._tensors, *(f"{name}/peak" for name in self._peaks)]
        present = {entry.name for entry in model.graph.output} | {entry.name for entry in model.graph.input}
        for name in shown:
            if name not in present:
                model.graph.output.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, None))
        self._inputs = {entry.name for entry in model.graph.input}
        self._session = session_of(model, path.parent)

    def run(self, inputs: Arrays) -> dict[str, npt.NDArray[np.float32]]:
        """Tensor → its value, or its greatest magnitude."""
        names = [name for name in self._tensors if name not in self._inputs]
        peaks = [f"{name}/peak" for name in self._peaks]
        # Asked for no output, ONNX Runtime would give all.
        values = self._session.run([*names, *peaks], dict(inputs)) if names or peaks else []
        given = dict(zip([*names, *self._peaks], values, strict=True))
        return {**given, **{name: np.asarray(inputs[name]) for name in self._tensors if name in self._inputs}}
