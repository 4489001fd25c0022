"""What of a graph can be quantised: the products with constant weights that are large enough to gain by it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from onnx import NodeProto, TensorProto

from quantize.graphs.onnx_file import Array, OnnxFile, attribute, consumers

SMALLEST_SIDE = 32
"""Of a matrix that is worth INT8: tensor cores take 16 or 32 values at once, and conversions cost the same for any."""

Ranges = Mapping[str, tuple[float, float]]
"""Tensor of the fp32 graph → the least and the greatest value that it takes."""

Smoothing = Mapping[str, tuple[float, ...]]
"""Output of a layer norm → what each of its channels is divided by, and the rows of the weights multiplied with."""

FAMILIARITY = "familiarity"
"""Output of an encoder that has one, and how the names of its nodes begin."""

SURENESS = "sureness"
"""How the names of the nodes begin that tell how sure an encoder is of each sound."""

_MATRIX_AXES = 2
_LARGEST = 127.0

MIN_WORTHWHILE_GROUP = 1024
"""Values summed up by one output of a convolution in groups, from which INT8 pays on a processor."""

SMALLEST_SCALE = float(2.0**-20)
"""FP16 tells the scales above this apart to within a sixteenth."""


@dataclass(frozen=True)
class Layer:
    """A product with constant weights.

    Attributes:
        name: of the node.
        kind: "MatMul", "Gemm" or "Conv".
        activation: tensor that is multiplied.
        weight: name of the weights.
        axis: of the weights, along which each output channel has its own scale.
        inner, outer: how many values one output sums up, and how many output channels there are.
        result: the product; of a convolution that a ReLU follows, what the ReLU gives.
    """

    name: str
    kind: str
    activation: str
    weight: str
    axis: int
    inner: int
    outer: int
    result: str

    @property
    def size(self) -> int:
        return self.inner * self.outer


def quantisable_layers(file: OnnxFile, wide_groups: bool = False) -> list[Layer]:
    """Every MatMul, Gemm and Conv with constant float weights that is large enough, in the order of the graph.

    Convolutions of the raw spectrogram (one input channel) are left out: a hundredth of the arithmetic, and in INT8 the
    costliest in precision. So are products of two activations (attention), which stay in higher precision, and
    convolutions in groups; and the few products that decide on names: those of a familiarity amplify every rounding.

    Args:
        file: to look through.
        wide_groups: take convolutions in groups, too, where one output sums up enough values that a processor gains by
            INT8: the position embedding of the published BEATs (6144 values) takes a quarter of fp32's time.
    """
    floats = {t.name for t in file.graph.initializer if t.data_type == TensorProto.FLOAT}
    taken = consumers(file.graph)
    found = (_layer(file, node, floats, taken, wide_groups) for node in file.graph.node if len(node.input) > 1)
    return [layer for layer in found if layer is not None and min(layer.inner, layer.outer) >= SMALLEST_SIDE]


def node_name(node: NodeProto) -> str:
    """Its name; of one without, the tensor that it makes."""
    return node.name or node.output[0]


def decides_on_names(name: str) -> bool:
    """Whether a node of this name belongs to :class:`quantize.models.familiarity.Familiarity` or to
    :class:`quantize.models.sureness.Sureness`, whose results are held against a threshold."""
    return f"/{FAMILIARITY}/" in name or f"/{SURENESS}/" in name


def _layer(
    file: OnnxFile, node: NodeProto, floats: set[str], taken: Mapping[str, list[NodeProto]], wide_groups: bool
) -> Layer | None:
    activation, weight = node.input[:2]
    if weight not in floats or activation in file.weights or decides_on_names(node_name(node)):
        return None
    shape = file.shapes[weight]
    name, made = node_name(node), node.output[0]
    if node.op_type == "Conv":
        inner = int(np.prod(shape[1:]))
        wide = attribute(node, "group", 1) == 1 or (wide_groups and inner >= MIN_WORTHWHILE_GROUP)
        if not wide or shape[1] == 1:
            return None
        after = taken.get(made, [])
        result = after[0].output[0] if [n.op_type for n in after] == ["Relu"] else made
        return Layer(name, "Conv", activation, weight, 0, inner, shape[0], result)
    if node.op_type not in ("MatMul", "Gemm") or len(shape) != _MATRIX_AXES or attribute(node, "transA", 0):
        return None
    axis = 0 if attribute(node, "transB", 0) else 1
    return Layer(name, node.op_type, activation, weight, axis, shape[1 - axis], shape[axis], made)


def channel_scales(weight: Array, axis: int) -> Array:
    """Symmetric scale of each output channel, such that int8 without -128 holds it; FP16 numbers in float32."""
    others = tuple(a for a in range(weight.ndim) if a != axis)
    return exact_in_half(np.abs(weight).max(axis=others) / _LARGEST)


def exact_in_half(scale: Array | float) -> Array:
    """The next FP16 number that is not smaller, as float32: what is within the range stays within it."""
    wanted = np.maximum(np.asarray(scale, np.float32), np.float32(SMALLEST_SCALE))
    nearest = wanted.astype(np.float16)
    above = np.where(nearest.astype(np.float32) < wanted, np.nextafter(nearest, np.float16(np.inf)), nearest)
    return above.astype(np.float32)


def quantised(weight: Array, scales: Array, axis: int, largest: int = 127) -> Array:
    """int8 of a weight, symmetric."""
    shape = [1] * weight.ndim
    shape[axis] = -1
    return np.clip(np.rint(weight / scales.reshape(shape)), -largest, largest).astype(np.int8)
