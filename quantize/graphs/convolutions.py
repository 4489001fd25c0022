"""One-dimensional convolutions as TensorRT has them: products where the kernel is one step, else two-dimensional.

TensorRT's importer makes a one-dimensional convolution two-dimensional itself, with shuffles between the
DequantizeLinear and the convolution, and such a convolution was not INT8 or did not build. Here what reshapes stands
before the pair.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from onnx import NodeProto, helper

from quantize.graphs.layers import node_name
from quantize.graphs.onnx_file import OnnxFile, Weight, attribute, consumers

_SWAP = [0, 2, 1]
_STEP_AXIS = 2
_WEIGHT_AXES = 3


@dataclass
class Reshaped:
    """What has another name now.

    Attributes:
        activations: tensor that a product takes → tensor of the parent that holds the same numbers.
        nodes: node of the parent → nodes that give its result.
    """

    activations: dict[str, str] = field(default_factory=dict)
    nodes: dict[str, list[str]] = field(default_factory=dict)


def reshape_convolutions(file: OnnxFile) -> Reshaped:
    """Rewrite every one-dimensional Conv with constant weights.

    Args:
        file: the fp32 graph, changed in place; what a convolution gave keeps its name, and its node becomes the
            product's.

    Returns:
        The new names.
    """
    reshaped = Reshaped()
    taken = consumers(file.graph)
    nodes: list[NodeProto] = []
    for node in file.graph.node:
        weight = node.input[1] if node.op_type == "Conv" else ""
        if len(file.shapes.get(weight, ())) != _WEIGHT_AXES or attribute(node, "auto_pad", b"NOTSET") != b"NOTSET":
            nodes.append(node)
        elif _is_product(file, node) and len(taken[weight]) == 1:
            nodes += _product(file, node, reshaped)
        else:
            nodes += _plane(file, node, reshaped)
    file.replace_nodes(nodes)
    _cancel_transposes(file, reshaped)
    return reshaped


def _is_product(file: OnnxFile, node: NodeProto) -> bool:
    return (
        file.shapes[node.input[1]][_STEP_AXIS] == 1
        and attribute(node, "group", 1) == 1
        and not any(attribute(node, "pads", []))
        and set(attribute(node, "strides", [1])) == {1}
    )


def _product(file: OnnxFile, node: NodeProto, reshaped: Reshaped) -> list[NodeProto]:
    """(B, C, T) → steps as rows, (B, T, C), by (C, outputs), plus the bias, and back."""
    name, (given, weight), made = node_name(node), node.input[:2], node.output[0]
    outer, inner, _ = file.shapes[weight]
    matrix, rows, product = f"{weight}/matrix", f"{made}/rows", f"{made}/product"
    file.set_weight(matrix, (inner, outer), np.float32, _matrix(file.weights[weight]))
    nodes = [
        helper.make_node("Transpose", [given], [rows], name=f"{name}/rows", perm=_SWAP),
        helper.make_node("MatMul", [rows, matrix], [product], name=name),
    ]
    reshaped.activations[rows] = given
    reshaped.nodes[name] = [name, f"{name}/columns"]
    if len(node.input) > 2 and node.input[2]:  # noqa: PLR2004 - its bias
        nodes.append(helper.make_node("Add", [product, node.input[2]], [f"{made}/sum"], name=f"{name}/sum"))
        reshaped.nodes[name].append(f"{name}/sum")
        product = f"{made}/sum"
    return [*nodes, helper.make_node("Transpose", [product], [made], name=f"{name}/columns", perm=_SWAP)]


def _matrix(weight: Weight) -> Weight:
    return lambda: np.ascontiguousarray(weight()[:, :, 0].T)


def _plane(file: OnnxFile, node: NodeProto, reshaped: Reshaped) -> list[NodeProto]:
    """(B, C, T) → (B, C, 1, T), and a kernel that is as high as that one row."""
    name, (given, weight), made = node_name(node), node.input[:2], node.output[0]
    outer, inner, steps = file.shapes[weight]
    flat, plane, kernel = f"{made}/flat", f"{made}/plane", f"{weight}/plane"
    file.set_weight(kernel, (outer, inner, 1, steps), np.float32, _planar(file.weights[weight]))
    axis = file.add_weight("plane/axis", np.array([_STEP_AXIS], np.int64))
    two = helper.make_node("Conv", [plane, kernel, *node.input[2:]], [flat], name=name)
    pads = attribute(node, "pads", [0, 0])
    stated = {
        "dilations": [1, *attribute(node, "dilations", [1])],
        "group": attribute(node, "group", 1),
        "kernel_shape": [1, steps],
        "pads": [0, pads[0], 0, pads[1]],
        "strides": [1, *attribute(node, "strides", [1])],
    }
    two.attribute.extend(helper.make_attribute(key, value) for key, value in stated.items())
    reshaped.activations[plane] = given
    reshaped.nodes[name] = [name, f"{name}/flat"]
    return [
        helper.make_node("Unsqueeze", [given, axis], [plane], name=f"{name}/plane"),
        two,
        helper.make_node("Squeeze", [flat, axis], [made], name=f"{name}/flat"),
    ]


def _planar(weight: Weight) -> Weight:
    return lambda: np.expand_dims(weight(), 2)


def _cancel_transposes(file: OnnxFile, reshaped: Reshaped) -> None:
    """Where one transposes what another one transposed, its takers take what both began with."""
    makers = {output: node for node in file.graph.node for output in node.output}
    outputs = {entry.name for entry in file.graph.output}
    same: dict[str, str] = {}
    for node in file.graph.node:
        for place, name in enumerate(node.input):
            node.input[place] = same.get(name, name)
        before = makers.get(node.input[0]) if node.op_type == "Transpose" and node.output[0] not in outputs else None
        if before is not None and before.op_type == "Transpose" and _inverse(before, node):
            same[node.output[0]] = before.input[0]
            reshaped.activations[before.input[0]] = node.output[0]
    taken = consumers(file.graph)
    kept = [n for n in file.graph.node if n.op_type != "Transpose" or n.output[0] in taken or n.output[0] in outputs]
    file.replace_nodes(kept)


def _inverse(one: NodeProto, other: NodeProto) -> bool:
    first, second = attribute(one, "perm", []), attribute(other, "perm", [])
    return len(first) == len(second) > 0 and [first[axis] for axis in second] == list(range(len(first)))
