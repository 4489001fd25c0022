"""The CPU's INT8 form: operators that ONNX Runtime fuses into its integer kernels.

Measured on a virtual machine with AVX512-VNNI that other work shared (ONNX Runtime 1.31, one thread, forms in turn):
the encoder of esc10-tiny is 1.2 times as fast as in fp32 with its matrix products in INT8, 1.5 times with its
convolutions, 1.8 times with both; the first convolution, of one input channel, is slower in INT8 (0.8 ms instead of
0.16 ms) and stays fp32. The encoder of the published size, whose stem is small, is 2.3 to 2.7 times as fast, and no
faster with its convolutions in INT8. Ranges measured beforehand make matrix products no faster than ranges found at
each run, and int8 activations (not uint8) make convolutions slower.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import numpy as np
from onnx import NodeProto, TensorProto, helper

from quantize.graphs.layers import Layer, Ranges, node_name, quantisable_layers, quantised
from quantize.graphs.onnx_file import Array, OnnxFile

_STEPS = 255.0  # of an activation, uint8
_LARGEST_BIAS = 2.0**30  # of an int32 to which products are added
_MIN_SCALE = 1e-30  # of a bias; far above what threads of torch or ONNX Runtime take for zero


def convolutions_in_int8(file: OnnxFile, ranges: Ranges, keep: Collection[str]) -> list[Layer]:
    """Those that :class:`CpuForm` quantises, in the order of the graph: what goes in and what comes out is known."""
    known = set(ranges) - {entry.name for entry in file.graph.output}
    return [
        layer
        for layer in quantisable_layers(file, wide_groups=True)
        if layer.kind == "Conv" and layer.name not in keep and {layer.activation, layer.result} <= known
    ]


class CpuForm:
    """Rewrites a graph in place.

    Args:
        file: the fp32 graph.
        ranges: ranges of the inputs and results of convolutions.
        largest: magnitude of an int8 weight.
    """

    def __init__(self, file: OnnxFile, ranges: Ranges, largest: int) -> None:
        self._file = file
        self._ranges = ranges
        self._largest = largest
        self._nodes: list[NodeProto] = []
        self._made: dict[str, str] = {}  # tensor → what is made of it for quantised layers
        self._results: dict[str, str] = {}  # fp32 tensor → its dequantised form

    def rewrite(self, keep: Collection[str]) -> None:
        """Quantise every layer that is not in ``keep``."""
        found = quantisable_layers(self._file, wide_groups=True)
        layers = {layer.name: layer for layer in found if layer.name not in keep}
        convolutions = {layer.result: layer for layer in convolutions_in_int8(self._file, self._ranges, keep)}
        for node in self._file.graph.node:
            for position, name in enumerate(node.input):
                node.input[position] = self._results.get(name, name)
            layer = layers.get(node_name(node))
            if layer is None:
                self._nodes.append(node)
            elif layer.kind != "Conv":
                self._product(node, layer)
            elif layer.result in convolutions:
                self._convolution(node, layer)
            else:
                self._nodes.append(node)
            for name in set(node.output) & set(convolutions):
                self._results[name] = self._pair(name)
        self._file.replace_nodes(self._nodes)

    def _product(self, node: NodeProto, layer: Layer) -> None:
        """MatMul or Gemm → DynamicQuantizeLinear, MatMulInteger, and the scales; in the order that is fused."""
        source, made = node.input[0], node.output[0]
        if source not in self._made:
            self._made[source] = f"{source}/dynamic"
            parts = [f"{source}/uint8", f"{source}/scale", f"{source}/zero_point"]
            self._add("DynamicQuantizeLinear", [source], parts)
        weight, scales = self._weight(layer, transpose=layer.axis == 0)
        zeros = self._file.add_weight(f"{layer.weight}/zeros", np.zeros(layer.outer, np.int8))
        bias = node.input[2] if len(node.input) > 2 else ""  # noqa: PLR2004 - Gemm's third input
        product = f"{made}/product" if bias else made
        inputs = [f"{source}/uint8", weight, f"{source}/zero_point", zeros]
        self._add("MatMulInteger", inputs, [f"{made}/int32"])
        self._add("Cast", [f"{made}/int32"], [f"{made}/float"], to=TensorProto.FLOAT)
        self._add("Mul", [f"{source}/scale", scales], [f"{made}/product_scale"])
        self._add("Mul", [f"{made}/float", f"{made}/product_scale"], [product])
        if bias:
            self._add("Add", [product, bias], [made])

    def _convolution(self, node: NodeProto, layer: Layer) -> None:
        source = node.input[0]
        # The pair behind an earlier convolution serves this one too.
        node.input[0] = source if source in self._results.values() else self._pair(layer.activation)
        bias = node.input[2] if len(node.input) > 2 else ""  # noqa: PLR2004 - a convolution's third input
        weight, scales = self._weight(layer, transpose=False, min_scales=self._min_scales(bias, layer) if bias else 0.0)
        zeros = self._file.add_weight(f"{layer.weight}/zeros", np.zeros(layer.outer, np.int8))
        dequantised = f"{layer.weight}/dequantized"
        self._add("DequantizeLinear", [weight, scales, zeros], [dequantised], axis=0)
        node.input[1] = dequantised
        if bias:
            node.input[2] = self._bias(bias, layer, scales)
        self._nodes.append(node)

    def _min_scales(self, bias: str, layer: Layer) -> Array:
        """Of weights, such that int32 holds the bias: a channel whose weights are all but zero gives little else."""
        step, _ = self._step(layer.activation)
        return np.maximum(np.abs(self._file.weights[bias]()) / _LARGEST_BIAS, _MIN_SCALE) / step

    def _bias(self, bias: str, layer: Layer, scales: str) -> str:
        step, _ = self._step(layer.activation)
        both = (self._file.weights[scales]() * step).astype(np.float32)
        whole = np.rint(self._file.weights[bias]() / both).astype(np.int32)
        inputs = [
            self._file.add_weight(f"{bias}/int32", whole),
            self._file.add_weight(f"{bias}/scale", both),
            self._file.add_weight(f"{bias}/zeros", np.zeros(whole.shape, np.int32)),
        ]
        self._add("DequantizeLinear", inputs, [f"{bias}/dequantized"], axis=0)
        return f"{bias}/dequantized"

    def _pair(self, tensor: str) -> str:
        """uint8 and back, with the measured range."""
        key = f"{tensor}/pair"
        if key not in self._made:
            step, zero = self._step(tensor)
            inputs = [
                self._file.add_weight(f"{tensor}/static_scale", np.array(step, np.float32)),
                self._file.add_weight(f"{tensor}/static_zero_point", np.array(zero, np.uint8)),
            ]
            self._add("QuantizeLinear", [tensor, *inputs], [f"{tensor}/static_uint8"])
            self._add("DequantizeLinear", [f"{tensor}/static_uint8", *inputs], [key])
            self._made[key] = key
        return key

    def _step(self, tensor: str) -> tuple[float, int]:
        """Scale and zero point of uint8 values that hold the range and 0."""
        low, high = min(0.0, self._ranges[tensor][0]), max(0.0, self._ranges[tensor][1])
        step = max((high - low) / _STEPS, float(np.finfo(np.float32).tiny))
        return step, round(-low / step)

    def _weight(self, layer: Layer, *, transpose: bool, min_scales: Array | float = 0.0) -> tuple[str, str]:
        """Names of the int8 weights, outputs last (first in a convolution), and of their scales, at least so large."""
        name = f"{layer.weight}/int8"
        array = self._file.weights[layer.weight]
        others = tuple(axis for axis in range(len(self._file.shapes[layer.weight])) if axis != layer.axis)
        peaks = np.abs(array()).max(axis=others)
        scales = np.maximum(peaks / self._largest, np.maximum(min_scales, np.finfo(np.float32).tiny))

        def integers() -> Array:
            whole = quantised(array(), scales, layer.axis, self._largest)
            return np.ascontiguousarray(whole.T) if transpose else whole

        shape = self._file.shapes[layer.weight]
        if name not in self._file.weights:
            self._file.set_weight(name, shape[::-1] if transpose else shape, np.int8, integers)
        return name, self._file.add_weight(f"{layer.weight}/scales", scales.astype(np.float32))

    def _add(self, kind: str, inputs: list[str], outputs: list[str], **stated: Any) -> None:
        self._nodes.append(helper.make_node(kind, inputs, outputs, name=f"{outputs[0]}/{kind}", **stated))
