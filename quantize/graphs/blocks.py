"""The CPU's form whose products read their weights in 8 bits, in blocks that each have a scale of their own.

For steps of few rows, which read their weights and compute little. ONNX Runtime has the operator (MatMulNBits of
com.microsoft) and the quantiser; this puts the one into a graph with the numbers of the other. Activations become int8
row by row (``accuracy_level`` 4), so that rows that share a run change nothing of one another.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import onnxruntime
from onnx import NodeProto, helper

from edge_aac.errors import DataError
from quantize.graphs.layers import Layer, node_name, quantisable_layers
from quantize.graphs.onnx_file import Array, OnnxFile

BLOCKS = (128, 32)
"""Values that share a scale: the larger is the faster, though it fills up sums that it does not divide; the smaller is
the closer."""

INT8_ACTIVATIONS = 4
"""``accuracy_level`` of MatMulNBits: products of int8; 0 makes fp32 of the weights at each run."""

_BITS = 8
_DOMAIN = "com.microsoft"

Quantiser: TypeAlias = Callable[[Array], tuple[Array, Array]]
"""(inner, outer) fp32 → (outer, blocks, size of a block) uint8 about 128, and (outer, blocks) scales."""


def block_layers(file: OnnxFile, keep: Collection[str] = ()) -> list[Layer]:
    """The products whose weights :func:`weights_in_blocks` quantises, in the order of the graph.

    Args:
        file: the fp32 graph.
        keep: names of nodes that stay fp32.
    """
    return [layer for layer in quantisable_layers(file) if layer.kind != "Conv" and layer.name not in keep]


def missing_quantiser() -> str | None:
    """Why ONNX Runtime's quantiser cannot be used here, in words; None where it can."""
    try:
        _quantiser(BLOCKS[0])
    except ImportError as error:
        return f"ONNX Runtime {onnxruntime.__version__} has no quantiser for them here ({error})"
    return None


def weights_in_blocks(
    parent: Path,
    output: Path,
    keep: Collection[str] = (),
    block: int = BLOCKS[0],
    accuracy_level: int = INT8_ACTIVATIONS,
) -> list[Path]:
    """Write a graph whose matrix products with constant weights read them in 8 bits.

    Args:
        parent: the fp32 graph.
        output: the file to write.
        keep: names of nodes that stay fp32.
        block: values that share a scale; a power of two, 16 at least.
        accuracy_level: see :data:`INT8_ACTIVATIONS`.

    Returns:
        The files written: ``output``, and ``output`` + ".data" where the parent's weights lie beside it.

    Raises:
        DataError: the parent cannot be converted, or there is no quantiser here.
    """
    if missing := missing_quantiser():
        raise DataError(f"weights in 8-bit blocks cannot be made: {missing}: install a newer one, or onnx-ir")
    file = OnnxFile(parent)
    form = _BlockForm(file, _quantiser(block), {"block_size": block, "accuracy_level": accuracy_level})
    layers = {layer.name: layer for layer in block_layers(file, keep)}
    nodes: list[NodeProto] = []
    for node in file.graph.node:
        layer = layers.get(node_name(node))
        nodes += [node] if layer is None else form.product(node, layer)
    file.replace_nodes(nodes)
    if _DOMAIN not in {entry.domain for entry in file.model.opset_import}:
        file.model.opset_import.append(helper.make_opsetid(_DOMAIN, 1))
    return file.save(output)


class _BlockForm:
    """Products of a graph with their weights in blocks.

    Args:
        file: the fp32 graph; gets the new weights.
        quantise: ONNX Runtime's quantiser.
        stated: attributes of the operator.
    """

    def __init__(self, file: OnnxFile, quantise: Quantiser, stated: dict[str, int]) -> None:
        self._file = file
        self._quantise = quantise
        self._stated = stated

    def product(self, node: NodeProto, layer: Layer) -> list[NodeProto]:
        """MatMul or Gemm → MatMulNBits, and an Add where there is a bias."""
        bias = node.input[2:]
        made = f"{layer.result}/product" if bias else layer.result
        inputs = [layer.activation, *self._weight(layer)]
        stated: dict[str, Any] = {"K": layer.inner, "N": layer.outer, "bits": _BITS, **self._stated}
        product = helper.make_node("MatMulNBits", inputs, [made], f"{made}/MatMulNBits", domain=_DOMAIN, **stated)
        return [product, helper.make_node("Add", [made, *bias], [layer.result])] if bias else [product]

    def _weight(self, layer: Layer) -> tuple[str, str]:
        """Names of the weights in blocks, and of their scales."""
        name, scales = (f"{layer.weight}/{part}{layer.axis}" for part in ("blocks", "scales"))
        if name not in self._file.weights:
            read = self._file.weights[layer.weight]

            def quantised() -> tuple[Array, Array]:
                weight = read()
                return self._quantise(np.ascontiguousarray(weight if layer.axis else weight.T, np.float32))

            # Quantised once for the scales and once when the file is written: one weight at a time is in memory.
            whole, found = quantised()
            self._file.add_weight(scales, found.reshape(-1))
            self._file.set_weight(name, whole.shape, np.uint8, lambda: quantised()[0])
        return name, scales


def _quantiser(block: int) -> Quantiser:
    """ONNX Runtime's own.

    Raises:
        ImportError: this ONNX Runtime has none for 8 bits, or what its tools stand on is not installed.
    """
    with _untouched_logging():
        from onnxruntime.quantization.matmul_nbits_quantizer import (
            DefaultWeightOnlyQuantConfig,
            DefaultWeightOnlyQuantizer,
        )
    # Symmetric: a step has no zero points to read.
    settings: Any = DefaultWeightOnlyQuantConfig(block_size=block, is_symmetric=True, bits=_BITS)
    quantizer: Any = DefaultWeightOnlyQuantizer(settings)

    def quantise(weight: Array) -> tuple[Array, Array]:
        whole, scales, _ = quantizer.qbits_block_quant(weight)
        return whole, scales

    return quantise


@contextmanager
def _untouched_logging() -> Iterator[None]:
    """The tool's module sets up the root logger when it is imported: a program's own log is none of its business."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    try:
        yield
    finally:
        root.handlers[:] = handlers
        root.setLevel(level)
