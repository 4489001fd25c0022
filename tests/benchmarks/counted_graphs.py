"""Small graphs whose costs are counted; importing it needs onnx."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from benchmarks.graph_costs import GraphCosts, graph_costs


def counted(
    folder: Path,
    nodes: Sequence[Any],
    inputs: Mapping[str, Sequence[int]],
    weights: Mapping[str, np.ndarray],
    output: str,
    declared: Mapping[str, Sequence[int | str]] | None = None,
) -> GraphCosts:
    """Costs of a graph of these nodes; the weights are named arrays."""
    shapes = declared or inputs
    graph = helper.make_graph(
        list(nodes),
        "by hand",
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, list(shape)) for name, shape in shapes.items()],
        [helper.make_tensor_value_info(output, TensorProto.FLOAT, None)],
        [numpy_helper.from_array(array, name) for name, array in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    path = folder / "graph.onnx"
    onnx.save(model, str(path))
    return graph_costs(path, inputs)


def zeros(*shape: int) -> np.ndarray:
    return np.zeros(shape, np.float32)
