"""One fp32 graph → the forms that are fast: INT8 for a CPU, explicit INT8 with FP16 for TensorRT, FP16 alone.

Each function reads an ONNX file and writes one, with one weight at a time in memory and without torch, so that a
device does it too. TensorRT has not been tried on what they write: the explicit form follows its documentation, and
ONNX Runtime gives its numbers. ONNX Runtime 1.23 cuts where it should round when it quantises FP16 on a CPU (1.31
rounds), and so gives worse numbers of the explicit form than it deserves: outputs of the encoder of esc10-tiny had a
cosine of 0.988 there and 0.999 in 1.31.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Any

import numpy as np
from onnx import NodeProto, helper

from edge_aac.engines.processor import largest_weight
from quantize.graphs.cpu_int8 import CpuForm
from quantize.graphs.half import around, halve
from quantize.graphs.layers import (
    Layer,
    Ranges,
    Smoothing,
    channel_scales,
    exact_in_half,
    node_name,
    quantisable_layers,
)
from quantize.graphs.onnx_file import OnnxFile
from quantize.graphs.prepared import prepare
from quantize.graphs.smoothing import fold


def explicit_int8(
    parent: Path,
    output: Path,
    ranges: Ranges,
    keep: Collection[str] = (),
    smoothing: Smoothing | None = None,
    overflowing: Collection[str] = (),
) -> list[Path]:
    """INT8 with explicit Q/DQ and FP16 elsewhere: what a TensorRT plan is built from.

    Q/DQ stand on the inputs of each quantised product, of activations per tensor and of weights per output channel,
    both symmetric; none on outputs. Residuals are not quantised: in these models they go into layer norms, which stay
    FP16.
    Inputs and outputs become FP16 as :data:`quantize.graphs.half.HALF_INTERFACES` says.

    Args:
        parent: the fp32 graph.
        output: the file to write.
        ranges: of the activations; a layer whose activation has none stays FP16 (calibration gives none to products of
            a single row).
        keep: names of nodes that stay FP16 all the same.
        smoothing: see :func:`quantize.graphs.smoothing.fold`; ``ranges`` are those after it.
        overflowing: names of nodes that overflow FP16 (:func:`quantize.graphs.calibration.overflowing_nodes`): they and
            what takes their results stay FP32, for a product's DequantizeLinear would overflow as well.

    Returns:
        The files written: ``output``, and ``output`` + ".data" where the parent's weights lie beside it.

    Raises:
        DataError: the parent cannot be converted.
    """
    file = OnnxFile(parent)
    prepared = prepare(file)
    ranges, overflowing = prepared.ranges(ranges), prepared.names(overflowing)
    kept = {*keep, *around(file, overflowing)}
    layers = [layer for layer in quantisable_layers(file) if layer.activation in ranges and layer.name not in kept]
    if smoothing:
        fold(file, smoothing)
    file.raise_opset()
    insert_pairs(file, ranges, layers)
    halve(file, overflowing)
    return file.save(output)


def half(parent: Path, output: Path, overflowing: Collection[str] = ()) -> list[Path]:
    """FP16 alone: for the decoding step, which is bound by reading weights and gains nothing from INT8 arithmetic.

    Args:
        parent: the fp32 graph.
        output: the file to write.
        overflowing: names of nodes that overflow FP16 (:func:`quantize.graphs.calibration.overflowing_nodes`): they and
            what takes their results stay FP32.

    Returns:
        The files written.

    Raises:
        DataError: the parent cannot be converted.
    """
    file = OnnxFile(parent)
    overflowing = prepare(file).names(overflowing)
    file.raise_opset()
    halve(file, overflowing)
    return file.save(output)


def insert_pairs(file: OnnxFile, ranges: Ranges, layers: Iterable[Layer]) -> None:
    """Put Q/DQ pairs in front of the layers of a graph of opset 19; all else stays as it is."""
    _Pairs(file, ranges).insert(layers)


class _Pairs:
    """Q/DQ pairs in front of layers; one for all that take the same tensor."""

    def __init__(self, file: OnnxFile, ranges: Ranges) -> None:
        self._file = file
        self._ranges = ranges
        self._made: dict[str, str] = {}

    def insert(self, layers: Iterable[Layer]) -> None:
        wanted = {layer.name: layer for layer in layers}
        nodes: list[NodeProto] = []
        for node in self._file.graph.node:
            if layer := wanted.get(node_name(node)):
                node.input[0] = self._activation(layer.activation, nodes)
                node.input[1] = self._weight(layer, nodes)
            nodes.append(node)
        self._file.replace_nodes(nodes)

    def _activation(self, tensor: str, nodes: list[NodeProto]) -> str:
        if tensor not in self._made:
            low, high = self._ranges[tensor]
            scale = exact_in_half(max(-low, high) / 127.0)
            self._made[tensor] = self._pair(tensor, scale.reshape(()), None, nodes)
        return self._made[tensor]

    def _weight(self, layer: Layer, nodes: list[NodeProto]) -> str:
        key = f"{layer.weight}/{layer.axis}"
        if key not in self._made:
            scales = channel_scales(self._file.weights[layer.weight](), layer.axis)
            self._made[key] = self._pair(layer.weight, scales, layer.axis, nodes)
        return self._made[key]

    def _pair(self, tensor: str, scale: np.ndarray, axis: int | None, nodes: list[NodeProto]) -> str:
        where = tensor if axis is None else f"{tensor}/axis{axis}"
        scale_name = self._file.add_weight(f"{where}/scale", scale)
        zero_name = self._file.add_weight(f"{where}/zero_point", np.zeros(scale.shape, np.int8))
        stated: dict[str, Any] = {} if axis is None else {"axis": axis}
        integer, result = f"{where}/int8", f"{where}/dequantized"
        inputs = [scale_name, zero_name]
        nodes.append(helper.make_node("QuantizeLinear", [tensor, *inputs], [integer], name=f"{where}/Q", **stated))
        nodes.append(helper.make_node("DequantizeLinear", [integer, *inputs], [result], name=f"{where}/DQ", **stated))
        return result


def dynamic_int8(
    parent: Path,
    output: Path,
    keep: Collection[str] = (),
    ranges: Ranges | None = None,
    reduce_range: bool | None = None,
) -> list[Path]:
    """The INT8 form for ONNX Runtime on a CPU.

    Matrix products find the range of their activations at each run and add up int8 products (MatMulInteger).
    Convolutions have no fast operator of that kind; those whose input and result have ``ranges`` are quantised with
    these (QLinearConv, which ONNX Runtime makes of the pairs when it loads the file), the others stay fp32.

    Args:
        parent: the fp32 graph.
        output: the file to write.
        keep: names of nodes that stay fp32.
        ranges: of the convolutions' inputs and results.
        reduce_range: one bit fewer in the weights, for x86 processors without VNNI, whose int16 sums would saturate;
            None looks at the processor that this runs on.

    Returns:
        The files written.

    Raises:
        DataError: the parent cannot be converted.
    """
    file = OnnxFile(parent)
    CpuForm(file, ranges or {}, largest_weight(reduce_range)).rewrite(keep)
    return file.save(output)
