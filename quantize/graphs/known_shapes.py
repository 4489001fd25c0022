"""What ONNX can tell of a graph's sizes before it runs, and the arithmetic of sizes that is done with it.

The exporter writes every size that a module asks for as Shape, Gather and Concat, also where the size is fixed. A size
here is a number, or the name of one that is only known when the graph runs: equal names are equal sizes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import count
from typing import Any

import numpy as np
import numpy.typing as npt
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, helper, numpy_helper, shape_inference

from quantize.graphs.onnx_file import attribute

Sizes = npt.NDArray[np.object_]
"""Integers, and names of such as are not known, as a tensor of sizes has them."""

Constant = Callable[[str], npt.NDArray[Any] | None]
"""The value of a tensor that is constant; None of another."""

INTEGERS = (TensorProto.INT64, TensorProto.INT32)

_SMALL_BYTES = 1024  # constants that sizes and axes are read from are no larger
_NUMBERS = ("Add", "Sub", "Mul", "Div")


class Inferred:
    """Types and sizes of all tensors of a graph, as far as ONNX infers them.

    Attributes:
        types: tensor → ONNX element type.
        sizes: tensor → its sizes along each axis; absent where not even their number is known.
    """

    def __init__(self, model: ModelProto) -> None:
        self._numbers = count()
        graph = shape_inference.infer_shapes(_without_weights(model), data_prop=True).graph
        self.types: dict[str, int] = {}
        self.sizes: dict[str, list[int | str]] = {}
        for entry in (*graph.value_info, *graph.input, *graph.output):
            tensor = entry.type.tensor_type
            self.types[entry.name] = tensor.elem_type
            if tensor.HasField("shape"):
                self.sizes[entry.name] = [
                    dim.dim_value if dim.HasField("dim_value") else dim.dim_param or self.unknown()
                    for dim in tensor.shape.dim
                ]
        for weight in model.graph.initializer:
            self.types[weight.name], self.sizes[weight.name] = weight.data_type, list(weight.dims)

    def unknown(self) -> str:
        """A name of a size that equals no other."""
        return f"?{next(self._numbers)}"

    def elements(self, name: str) -> int | None:
        """How many numbers a tensor has, where that is known."""
        sizes = self.sizes.get(name)
        if sizes is None or any(isinstance(size, str) for size in sizes):
            return None
        return int(np.prod([int(size) for size in sizes], dtype=np.int64))


def _without_weights(model: ModelProto) -> ModelProto:
    """The same graph with its large weights as inputs: their numbers say nothing of sizes, and take time to copy."""
    graph = model.graph
    bare = ModelProto(ir_version=model.ir_version, opset_import=model.opset_import)
    bare.graph.CopyFrom(GraphProto(name=graph.name or "graph", node=graph.node, input=graph.input, output=graph.output))
    present = {entry.name for entry in graph.input}
    for tensor in graph.initializer:
        if tensor.ByteSize() <= _SMALL_BYTES and not tensor.external_data and tensor.data_location == 0:
            bare.graph.initializer.append(tensor)
        elif tensor.name not in present:
            bare.graph.input.append(helper.make_tensor_value_info(tensor.name, tensor.data_type, list(tensor.dims)))
    return bare


def sizes_of(node: NodeProto, inferred: Inferred, constant: Constant, known: Mapping[str, Sizes]) -> Sizes | None:
    """What a node gives that computes with sizes; None of another node, or where nothing is known.

    Args:
        node: of the graph.
        inferred: of the graph.
        constant: gives values of constants.
        known: tensors of sizes that earlier nodes gave.
    """
    if node.op_type == "Shape":
        sizes = inferred.sizes.get(node.input[0])
        start, end = attribute(node, "start", 0), attribute(node, "end", None)
        return None if sizes is None else np.array(sizes, object)[start:end]

    def given(name: str) -> Sizes | None:
        if name in known:
            return known[name]
        value = constant(name)
        return None if value is None or value.dtype.kind != "i" else value.astype(object)

    if not node.input or (first := given(node.input[0])) is None:
        return None
    if node.op_type in _NUMBERS:
        second = given(node.input[1])
        return None if second is None else _computed(node.op_type, first, second, inferred)
    if node.op_type == "Concat":
        parts = [given(name) for name in node.input]
        return None if any(part is None for part in parts) else np.concatenate(parts)  # type: ignore[arg-type]
    if node.op_type in ("Identity", "Cast"):
        return first if node.op_type == "Identity" or attribute(node, "to", 0) in INTEGERS else None
    return _picked(node, first, constant)


def _picked(node: NodeProto, sizes: Sizes, constant: Constant) -> Sizes | None:
    """Some of the sizes, or all in another arrangement, as indices and axes say that are constant."""
    stated = [constant(name) for name in node.input[1:] if name]
    if any(value is None for value in stated):
        return None
    values = [np.asarray(value) for value in stated]
    picked: Any = None
    if node.op_type == "Gather" and attribute(node, "axis", 0) == 0:
        picked = np.take(sizes, values[0], axis=0)
    elif node.op_type == "Slice" and sizes.ndim == 1:
        start, end, step = (int(v.reshape(-1)[0]) for v in (*values[:2], values[3] if len(values) > 3 else np.ones(1)))  # noqa: PLR2004
        picked = sizes[start : min(end, len(sizes)) if step > 0 else end : step]
    elif node.op_type == "Unsqueeze":
        picked = np.expand_dims(sizes, tuple(int(axis) for axis in values[0].reshape(-1)))
    elif node.op_type == "Squeeze":
        picked = np.squeeze(sizes, tuple(int(axis) for axis in values[0].reshape(-1)) if values else None)
    elif node.op_type == "Reshape":
        picked = sizes.reshape([int(size) for size in values[0]])
    return None if picked is None else np.asarray(picked, object)


def _computed(kind: str, one: Sizes, other: Sizes, inferred: Inferred) -> Sizes:
    one, other = np.broadcast_arrays(one, other)
    result = np.empty(one.shape, object)
    for place in np.ndindex(one.shape):
        a: Any = one[place]
        b: Any = other[place]
        if isinstance(a, str) or isinstance(b, str):
            result[place] = inferred.unknown()
        elif kind == "Div":  # of integers ONNX cuts towards zero
            result[place] = inferred.unknown() if b == 0 else abs(a) // abs(b) * (1 if (a < 0) == (b < 0) else -1)
        else:
            result[place] = {"Add": a + b, "Sub": a - b, "Mul": a * b}[kind]
    return result


def fixed_shape(node: NodeProto, target: Sizes, inferred: Inferred) -> list[int] | None:
    """The constant that a Reshape can take in the place of a computed one; None where two of its sizes are unknown.

    Args:
        node: Reshape.
        target: what the sizes of its result are computed to.
        inferred: of the graph.
    """
    before = inferred.sizes.get(node.input[0], [])
    if attribute(node, "allowzero", 0):
        return None
    shape = []
    for axis, size in enumerate(target):
        if not isinstance(size, str):
            shape.append(int(size))
        else:
            # 0 keeps the size of the same axis, -1 stands for what is left.
            shape.append(0 if axis < len(before) and before[axis] == size else -1)
    return shape if shape.count(-1) <= 1 else None


def constant_of(graph: GraphProto) -> dict[str, TensorProto]:
    """Values that the graph's Constant nodes give."""
    found = {}
    for node in graph.node:
        if node.op_type == "Constant":
            value = next((a.t for a in node.attribute if a.name == "value"), None)
            if value is None:
                stated = next(iter(node.attribute), None)
                if stated is None:
                    continue
                value = numpy_helper.from_array(np.asarray(helper.get_attribute_value(stated)))
            found[node.output[0]] = value
    return found
