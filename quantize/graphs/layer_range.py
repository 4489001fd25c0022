"""Where inside a graph a form parts from its parent: both run side by side, and their layers' sums are compared."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from onnx import ModelProto, ValueInfoProto

from quantize.graphs.layers import node_name
from quantize.graphs.onnx_file import load_structure
from quantize.graphs.traced import session_of

Arrays = Mapping[str, npt.NDArray[Any]]
Run = Callable[[Arrays], Mapping[str, npt.NDArray[Any]]]

MAX_PROBES = 24
"""Tensors that are compared: each is copied out, and a TensorRT plan that shows more of them fuses less."""

LIKE = 0.99
"""Cosine from which on a tensor is like its parent's."""

_INPUT_TYPES = {"tensor(float16)": np.float16, "tensor(float)": np.float32}


def probes(parent: Path, form: Path) -> dict[str, str]:
    """Tensors that end a layer in both graphs → the node that makes them: residual sums and layer norms.

    Args:
        parent, form: ONNX files; forms keep the names of their parent's tensors.

    Returns:
        At most 24, evenly over the graph, in its order.
    """
    graph = load_structure(parent).graph
    constant = {tensor.name for tensor in graph.initializer}
    in_form = {output for node in load_structure(form).graph.node for output in node.output}
    found = {
        node.output[0]: node_name(node)
        for node in graph.node
        if node.op_type == "LayerNormalization" or (node.op_type == "Add" and not constant & set(node.input))
        if node.output[0] in in_form
    }
    names = list(found)
    chosen = sorted({round(place) for place in np.linspace(0, len(names) - 1, min(len(names), MAX_PROBES))})
    return {names[place]: found[names[place]] for place in chosen}


def exposed(path: Path, tensors: Iterable[str]) -> ModelProto:
    """A graph whose outputs are these tensors as well; its weights stay where they are."""
    model = load_structure(path)
    present = {entry.name for entry in model.graph.output}
    # Without a type: what is FP32 in the parent is FP16 in the form.
    model.graph.output.extend(ValueInfoProto(name=name) for name in tensors if name not in present)
    return model


def runs_onnx(path: Path, tensors: Sequence[str]) -> Run:
    """Runs a graph in ONNX Runtime and gives these tensors.

    Raises:
        DataError: ONNX Runtime cannot load it.
    """
    session = session_of(exposed(path, tensors), path.parent)
    types = {entry.name: _INPUT_TYPES.get(entry.type) for entry in session.get_inputs()}

    def run(inputs: Arrays) -> Mapping[str, npt.NDArray[Any]]:
        fitting = {name: array.astype(types[name] or array.dtype, copy=False) for name, array in inputs.items()}
        return dict(zip(tensors, session.run(list(tensors), fitting), strict=True))

    return run


def layer_range(tensors: Mapping[str, str], parent: Run, form: Run, inputs: Iterable[Arrays]) -> str:
    """Name the stretch of layers in which a form first loses its likeness to its parent.

    Where none of the tensors that are compared falls below a cosine of 0.99, it is the one with the lowest.

    Args:
        tensors: tensors to compare, from :func:`probes`.
        parent, form: run the graphs and give these tensors.
        inputs: inputs of a few runs.

    Returns:
        As "from NODE to NODE (cosine 0.9981 → 0.4312)".
    """
    lowest = dict.fromkeys(tensors, 1.0)
    for one in inputs:
        expected, given = parent(one), form(one)
        for name in tensors:
            lowest[name] = min(lowest[name], _cosine(expected[name], given[name]))
    if not lowest:
        return "the whole graph"
    names = list(tensors)
    cosines = [lowest[name] for name in names]
    worst = next((place for place, cosine in enumerate(cosines) if cosine < LIKE), int(np.argmin(cosines)))
    start, before = ("the input", 1.0) if worst == 0 else (tensors[names[worst - 1]], cosines[worst - 1])
    return f"from {start} to {tensors[names[worst]]} (cosine {before:.4f} → {cosines[worst]:.4f})"


def _cosine(expected: npt.NDArray[Any], given: npt.NDArray[Any]) -> float:
    """Of two tensors; -1 where the form's numbers are none. Where the parent masks with infinity, nothing is finite."""
    a, b = (np.asarray(array, np.float64).ravel() for array in (expected, given))
    finite = np.isfinite(a)
    a, b = a[finite], b[finite]
    if not np.isfinite(b).all():
        return -1.0
    lengths = float(np.linalg.norm(a) * np.linalg.norm(b))
    return float(a @ b) / lengths if lengths else float(not a.any() and not b.any())
