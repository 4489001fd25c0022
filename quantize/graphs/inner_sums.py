"""The sums inside norms and softmax, which no tensor of a graph shows and FP16 may not hold.

Where a kernel adds them up in FP16, a layer norm of 768 channels overflows from a standard deviation of 9.2 on. On the
gate's windows the sum of squares in the first norm of the published encoder exceeded 65 504 in 49 of 3024 rows.
"""

from __future__ import annotations

import numpy as np
from onnx import NodeProto, helper, numpy_helper

from quantize.graphs.layers import node_name
from quantize.graphs.onnx_file import OnnxFile, attribute

_HALF_LARGEST = 65_504.0
_AXES_AS_INPUT = 18
"""Opset from which on reductions take their axes as an input."""


def inner_sum(file: OnnxFile, node: NodeProto) -> tuple[list[NodeProto], str] | None:
    """Nodes that compute the sum inside a norm or softmax for each row, and the tensor of these sums.

    Of a layer norm it is Σ (x - mean)², of a softmax Σ exp(x - max), which is 1 over its greatest result.

    Args:
        file: the graph that the node is of, of opset 17 or later.
        node: any; of one that has no sum inside, None.
    """
    name = f"{node_name(node)}/inner_sum"
    if node.op_type == "LayerNormalization":
        axes = list(range(-len(file.shapes.get(node.input[1], (0,))), 0))
        mean = _reduction(file, "ReduceMean", node.input[0], f"{name}/mean", axes)
        centred = helper.make_node("Sub", [node.input[0], f"{name}/mean"], [f"{name}/centred"])
        return [*mean, centred, *_reduction(file, "ReduceSumSquare", f"{name}/centred", name, axes)], name
    if node.op_type == "Softmax":
        highest = _reduction(file, "ReduceMax", node.output[0], f"{name}/max", [attribute(node, "axis", -1)])
        return [*highest, helper.make_node("Reciprocal", [f"{name}/max"], [name])], name
    return None


def _reduction(file: OnnxFile, kind: str, given: str, made: str, axes: list[int]) -> list[NodeProto]:
    if file.opset < _AXES_AS_INPUT:
        return [helper.make_node(kind, [given], [made], axes=axes, keepdims=1)]
    value = numpy_helper.from_array(np.array(axes, np.int64))
    constant = helper.make_node("Constant", [], [f"{made}/axes"], value=value)
    return [constant, helper.make_node(kind, [given, f"{made}/axes"], [made], keepdims=1)]


def result_is_small(file: OnnxFile, node: NodeProto) -> bool:
    """Whether FP16 holds what a node gives, whatever it is given, so that only the sum inside it needs FP32.

    A softmax gives 1 at most, a layer norm of N channels at most √N times its weight and its bias.
    """
    if node.op_type == "Softmax":
        return True
    if node.op_type != "LayerNormalization" or node.input[1] not in file.weights:
        return False
    gain, shift = (
        float(np.abs(file.weights[name]()).max(initial=0.0)) if name else 0.0 for name in (*node.input[1:], "")[:2]
    )
    return gain * float(np.sqrt(np.prod(file.shapes[node.input[1]]))) + shift <= _HALF_LARGEST
