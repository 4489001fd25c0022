"""Batch norms go into the products before them: a bundle exported today has none left, an older one has."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from onnx import NodeProto, helper

from quantize.graphs.known_shapes import Inferred
from quantize.graphs.layers import node_name
from quantize.graphs.onnx_file import Array, OnnxFile, Weight, attribute, consumers

_MATRIX_AXES = 2


def fold_batch_norms(file: OnnxFile) -> dict[str, list[str]]:
    """Scale the weights of each Conv or MatMul that only a BatchNormalization takes, and leave a bias of the norm.

    Args:
        file: the fp32 graph, changed in place; what a norm gave keeps its name.

    Returns:
        Name of a norm's node → names of the nodes that now give its result.
    """
    makers = {output: node for node in file.graph.node for output in node.output}
    taken = consumers(file.graph)
    outputs = {entry.name for entry in file.graph.output}
    norms = {node.output[0]: node for node in file.graph.node if node.op_type == "BatchNormalization"}
    inferred = Inferred(file.model) if norms else None
    replaced: dict[str, NodeProto | None] = {}
    merged: dict[str, list[str]] = {}
    for norm in norms.values():
        before = makers.get(norm.input[0])
        known = all(name in file.weights for name in norm.input[1:5])
        alone = len(taken.get(norm.input[0], [])) == 1 and norm.input[0] not in outputs
        if before is None or not known or not alone or not _own_weights(file, before, taken):
            continue
        scale, shift = _affine(file, norm)
        if before.op_type == "Conv":
            _into_convolution(file, before, norm.output[0], scale, shift)
            replaced[norm.output[0]] = None
            merged[node_name(norm)] = [node_name(before)]
        elif inferred and len(inferred.sizes.get(norm.input[0], ())) == _MATRIX_AXES:
            name = before.input[1]
            _scale(file, name, scale[None, :])
            bias = file.add_weight(f"{norm.output[0]}/bias", shift)
            replaced[norm.output[0]] = helper.make_node(
                "Add", [before.output[0], bias], [norm.output[0]], name=node_name(norm)
            )
            merged[node_name(norm)] = [node_name(before), node_name(norm)]
    nodes = [
        replaced.get(node.output[0], node) if node.op_type == "BatchNormalization" else node for node in file.graph.node
    ]
    file.replace_nodes([node for node in nodes if node is not None])
    return merged


def _own_weights(file: OnnxFile, node: NodeProto, taken: Mapping[str, list[NodeProto]]) -> bool:
    own = node.input[1:] if node.op_type in ("Conv", "MatMul") else []
    return bool(own) and all(name in file.weights and len(taken.get(name, [])) == 1 for name in own if name)


def _affine(file: OnnxFile, norm: NodeProto) -> tuple[Array, Array]:
    """Scale and shift of each channel: (x - mean) / √(variance + ε) · weight + bias."""
    weight, bias, mean, variance = (file.weights[name]().astype(np.float64) for name in norm.input[1:5])
    scale = weight / np.sqrt(variance + attribute(norm, "epsilon", 1e-5))
    return scale.astype(np.float32), (bias - mean * scale).astype(np.float32)


def _into_convolution(file: OnnxFile, conv: NodeProto, output: str, scale: Array, shift: Array) -> None:
    weight = conv.input[1]
    _scale(file, weight, scale.reshape(-1, *[1] * (len(file.shapes[weight]) - 1)))
    if len(conv.input) > 2 and conv.input[2]:  # noqa: PLR2004 - its bias
        shift = (file.weights[conv.input[2]]() * scale + shift).astype(np.float32)
    del conv.input[2:]
    conv.input.append(file.add_weight(f"{output}/bias", shift))
    conv.output[0] = output


def _scale(file: OnnxFile, name: str, factor: Array) -> None:
    file.set_weight(name, file.shapes[name], np.float32, _times(file.weights[name], factor))


def _times(weight: Weight, factor: Array) -> Weight:
    return lambda: (weight() * factor).astype(np.float32)
