"""Which attentions of a graph TensorRT fuses into one kernel, and what can be done so that it does.

TensorRT fuses softmax(Q · Kᵀ + mask) · V where Q or K was multiplied with the scale before the first product, nothing
but a mask stands between the products and the softmax, the products are FP16, and the head size is a multiple of 8 from
16 to 256 ("Fused Attention" in its documentation from 10.16 on, "Multi-Head Attention Fusion" before; the lists of
conditions agree). It may decide otherwise where another way is faster: the inspector tells, on the device.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from onnx import NodeProto, TensorProto, helper

from quantize.graphs.known_shapes import Inferred
from quantize.graphs.layers import node_name
from quantize.graphs.onnx_file import OnnxFile, attribute, consumers

_HEAD_SIZES = range(16, 257, 8)
_MASKS = ("Add", "Where")
_SCALES = ("Mul", "Div")
_SIZES_ONLY = ("Shape", "Size")
_AFTER = ("Slice", "Cast", "Identity", "QuantizeLinear", "DequantizeLinear")


@dataclass(frozen=True)
class Attention:
    """One softmax between two products of activations.

    Attributes:
        name: of the softmax.
        head_size: numbers of one head's query; None where the graph does not tell.
        reasons: what keeps TensorRT from fusing it; none where nothing does.
    """

    name: str
    head_size: int | None
    reasons: tuple[str, ...]

    @property
    def fuses(self) -> bool:
        """Whether it fits the documented pattern."""
        return not self.reasons

    @property
    def line(self) -> str:
        """For a report."""
        return f"{self.name}: {'fits the fused pattern' if self.fuses else 'not fused: ' + '; '.join(self.reasons)}"


def attentions(path: Path) -> list[Attention]:
    """Every attention of a graph, in its order.

    Raises:
        InputMissingError, DataError: the file is not there, or no ONNX.
    """
    file = OnnxFile(path)
    found = list(_found(file))
    inferred = Inferred(file.model) if found else None
    return [_judged(each, inferred) for each in found if inferred is not None]


@dataclass(frozen=True)
class _Found:
    """A softmax, the products around it, and the nodes between: each with the place of its input that leads back."""

    softmax: NodeProto
    first: NodeProto
    second: NodeProto
    before: tuple[tuple[NodeProto, int], ...]
    after: tuple[NodeProto, ...]


def _found(file: OnnxFile) -> Iterator[_Found]:
    makers = {output: node for node in file.graph.node for output in node.output}
    taken = consumers(file.graph)
    for softmax in file.graph.node:
        if softmax.op_type != "Softmax":
            continue
        forward = _forward(softmax.output[0], taken, file)
        back = _back(softmax, 0, makers, file) if forward else None
        if forward and back:
            yield _Found(softmax, back[0], forward[0], back[1], forward[1])


def _forward(
    tensor: str, taken: Mapping[str, list[NodeProto]], file: OnnxFile
) -> tuple[NodeProto, tuple[NodeProto, ...]] | None:
    """The product that takes a softmax's weights as its first factor, and what stands before it."""
    for node in taken.get(tensor, []):
        if node.op_type == "MatMul" and node.input[0] == tensor and node.input[1] not in file.weights:
            return node, ()
        if node.op_type in _AFTER and (further := _forward(node.output[0], taken, file)):
            return further[0], (node, *further[1])
    return None


def _back(
    taker: NodeProto, place: int, makers: Mapping[str, NodeProto], file: OnnxFile
) -> tuple[NodeProto, tuple[tuple[NodeProto, int], ...]] | None:
    """The product of two activations that a tensor comes from by what may stand between, and all that does."""
    node = makers.get(taker.input[place])
    if node is None:
        return None
    if node.op_type == "MatMul":
        return None if {*node.input} & file.weights.keys() else (node, ())
    if node.op_type not in (*_MASKS, *_SCALES, "Sub", "Concat", "Cast", "Identity"):
        return None
    for at in range(len(node.input)):
        if further := _back(node, at, makers, file):
            return further[0], ((node, at), *further[1])
    return None


def _judged(found: _Found, inferred: Inferred) -> Attention:
    sizes = inferred.sizes.get(found.first.input[0], [])
    size = sizes[-1] if sizes and not isinstance(sizes[-1], str) else None
    kinds = {node.op_type for node, _ in found.before}
    reasons = []
    types = {inferred.types.get(node.input[0], 0) for node in (found.first, found.second)}
    if types - {TensorProto.FLOAT16, TensorProto.BFLOAT16}:
        reasons.append("its products are FP32")
    if kinds & {*_SCALES}:
        reasons.append("the scores are scaled after the product, not the queries before it")
    if "Concat" in kinds:
        reasons.append("scores of two products are joined before the softmax, so that no keys are copied")
    if "Cast" in kinds | {node.op_type for node in found.after}:
        reasons.append("its softmax is of another type than its products")
    if "Sub" in kinds:
        reasons.append("something else than a mask changes the scores")
    if size not in _HEAD_SIZES:
        reasons.append(f"its head size is {size or 'unknown'}, no multiple of 8 from 16 to 256")
    return Attention(node_name(found.softmax), size, tuple(reasons))


def scale_queries(file: OnnxFile) -> int:
    """Multiply queries with the scale that an attention's scores are multiplied with or divided by.

    Queries are fewer numbers, TensorRT fuses the attention then, and FP16 holds its scores.

    Args:
        file: the fp32 graph, changed in place.

    Returns:
        How many attentions were changed.
    """
    changed = 0
    for softmax in [each.softmax for each in _found(file)]:
        # What one changes, the next must see.
        found = next(each for each in _found(file) if each.softmax.output[0] == softmax.output[0])
        for node, at in found.before:
            factor = _factor(file, node, at)
            if factor is not None and _scale(file, node, at, factor):
                changed += 1
    return changed


def _factor(file: OnnxFile, node: NodeProto, at: int) -> float | None:
    """What a node multiplies scores with; None where it does something else."""
    if node.op_type not in _SCALES or (node.op_type == "Div" and at):
        return None
    other = node.input[1 - at]
    if other not in file.weights or int(np.prod(file.shapes[other])) != 1:
        return None
    value = float(file.weights[other]().reshape(-1)[0])
    return 1.0 / value if node.op_type == "Div" else value


def _scale(file: OnnxFile, node: NodeProto, at: int, factor: float) -> bool:
    """Take a scale away, and put it where the plan says."""
    taken = consumers(file.graph)
    if node.output[0] in {entry.name for entry in file.graph.output}:
        return False
    places = list(_places(file, node, at, taken))
    label = file.add_weight(f"{node.output[0]}/factor", np.array(factor, np.float32))
    made: dict[str, NodeProto] = {}
    for taker, place in places:
        given = taker.input[place]
        scaled = f"{given}/scaled"
        made.setdefault(
            given, helper.make_node("Mul", [given, label], [scaled], name=f"{node_name(taker)}/{place}/scaled")
        )
        taker.input[place] = scaled
    for taker in taken.get(node.output[0], []):
        for place, name in enumerate(taker.input):
            if name == node.output[0]:
                taker.input[place] = node.input[at]
    _put(file, node, made)
    return True


def _put(file: OnnxFile, gone: NodeProto, made: dict[str, NodeProto]) -> None:
    """The graph's nodes without one, and each new one before the first that takes what it gives."""
    nodes: list[NodeProto] = []
    waiting = {node.output[0]: node for node in made.values()}
    for node in file.graph.node:
        for name in node.input:
            if name in waiting:
                nodes.append(waiting.pop(name))
        if node.output[0] != gone.output[0]:
            nodes.append(node)
    file.replace_nodes(nodes)


def _places(
    file: OnnxFile, taker: NodeProto, place: int, taken: Mapping[str, list[NodeProto]]
) -> Iterator[tuple[NodeProto, int]]:
    """Inputs that are to be scaled so that this one is: as far back as the tensors between have no other taker."""
    tensor = taker.input[place]
    node = next((node for node in file.graph.node if tensor in node.output), None)
    takers = [each for each in taken.get(tensor, []) if each.op_type not in _SIZES_ONLY]
    if node is None or len(takers) > 1 or tensor in {entry.name for entry in file.graph.output}:
        yield taker, place
    elif node.op_type == "MatMul":
        yield node, 0
    elif node.op_type in ("Add", "Concat"):
        for at in range(len(node.input)):
            yield from _places(file, node, at, taken)
    elif node.op_type in ("Reshape", "Slice", "Transpose"):
        yield from _places(file, node, 0, taken)
    elif node.op_type != "ConstantOfShape" or _filled(node):
        yield taker, place


def _filled(node: NodeProto) -> bool:
    """Whether a ConstantOfShape holds anything but zeros, which no factor changes."""
    value = attribute(node, "value", None)
    return value is not None and any(value.raw_data)
