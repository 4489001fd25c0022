"""Which rules of TensorRT's explicit quantisation an ONNX graph breaks, and how many of its products are INT8.

TensorRT says nothing where a rule is broken: it builds an engine that is slower than FP16. The rules are those of its
documentation; whether an engine keeps them is told by its inspector, on the device.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from onnx import NodeProto, TensorProto, helper

from edge_aac.errors import ConfigError, DataError
from quantize.graphs.layers import SMALLEST_SIDE, decides_on_names, node_name
from quantize.graphs.onnx_file import QDQ_OPSET, OnnxFile, attribute, consumers, load_structure
from quantize.graphs.traced import session_of
from quantize.graphs.trt_operators import (
    COMPUTED_SLICE_TYPES,
    CONSTANT_INPUTS,
    EINSUM_ELLIPSIS_SINCE,
    GROUP_NORM_21_SINCE,
    PARSED,
)

_PRODUCTS = ("MatMul", "Gemm", "Conv")
_PASSES_THROUGH = ("Cast", "Transpose", "Reshape", "Identity")
_OTHER_AXES = 8  # size given to dynamic axes but the first, which counts windows or candidates
_GROUP_NORM_OPSET = 21
_ONE_DIMENSIONAL = 3  # axes of such a convolution's weights


@dataclass(frozen=True)
class Finding:
    """One rule that a node breaks.

    Attributes:
        rule: short name of it, see :func:`lint`.
        node: its name.
        message: what is wrong.
    """

    rule: str
    node: str
    message: str


@dataclass(frozen=True)
class ProductCount:
    """Products with constant weights that are INT8, of those that should be."""

    int8: int
    expected: int


def lint(path: Path, tensorrt: str = "10.3", keep: Collection[str] = ()) -> list[Finding]:
    """Every rule that is broken.

    Rules: ``asymmetric`` (a zero point that is not int8 0), ``per-tensor-weight``, ``weight-axis`` (scales along
    another axis than the output channels), ``cast-after-dequantize``, ``unquantized`` (a large product of more than one
    row with constant weights and no Q/DQ), ``one-sided`` (Q/DQ on one of its two inputs only), ``single-row`` (Q/DQ
    where one row is multiplied), ``one-dimensional`` (Q/DQ before a convolution of one dimension), ``needless-pair``
    (Q/DQ on what no product takes), ``unsupported-operator``, ``computed-input`` (axes, or what else must be a
    constant, is computed; see :data:`quantize.graphs.trt_operators.CONSTANT_INPUTS`), ``axes-type`` (it may be
    computed, but not of this type), ``group-norm``, ``einsum-ellipsis``, ``fp32-scale`` (in a graph that is FP16
    elsewhere), ``opset`` (too old for FP16 scales) and ``does-not-run`` (ONNX Runtime refuses the graph, so that rows
    cannot be counted). Which attentions fuse is told by :func:`quantize.graphs.attention.attentions`.

    Args:
        path: of an ONNX file.
        tensorrt: version that is to parse it.
        keep: nodes that are meant to stay in higher precision.

    Raises:
        ConfigError: the version is no number.
        InputMissingError, DataError: the file is not there, or no ONNX.
    """
    return _Linter(path, keep).findings(_version(tensorrt))


def int8_products(path: Path, keep: Collection[str] = ()) -> ProductCount:
    """How many products are INT8, and how many should be."""
    return _Linter(path, keep).count()


def _version(text: str) -> tuple[int, int]:
    major, _, rest = text.partition(".")
    minor = rest.partition(".")[0]
    if not (major.isdecimal() and minor.isdecimal()):
        raise ConfigError(f"{text!r} is no version of TensorRT: write 10.3")
    return int(major), int(minor)


class _Linter:
    def __init__(self, path: Path, keep: Collection[str]) -> None:
        self._file = OnnxFile(path)
        self._keep = set(keep)
        self._types = self._file.element_types()
        self._makers = {output: node for node in self._file.graph.node for output in node.output}
        self._taken = consumers(self._file.graph)
        self._products = [n for n in self._file.graph.node if n.op_type in _PRODUCTS and self._weight_of(n)]
        self._refusal = ""
        try:
            self._rows = _rows(path, self._products)
        except DataError as error:
            self._rows, self._refusal = {}, str(error)

    def findings(self, version: tuple[int, int]) -> list[Finding]:
        found = [*self._operators(version), *self._pairs()]
        for node in self._products:
            found += self._product(node)
        if self._refusal:
            found.append(Finding("does-not-run", "", self._refusal))
        return found

    def count(self) -> ProductCount:
        fit = [node for node in self._products if self._should_be_int8(node)]
        return ProductCount(sum(self._is_int8(node) for node in self._products), len(fit))

    def _operators(self, version: tuple[int, int]) -> Iterator[Finding]:
        for node in self._file.graph.node:
            name, kind = node_name(node), node.op_type
            if node.domain not in ("", "ai.onnx") or kind not in PARSED:
                label = f"{node.domain}.{kind}" if node.domain else kind
                yield Finding("unsupported-operator", name, f"TensorRT does not parse {label}")
            yield from self._inputs(node, version)
            if kind == "GroupNormalization" and self._file.opset >= _GROUP_NORM_OPSET and version < GROUP_NORM_21_SINCE:
                yield Finding("group-norm", name, "GroupNormalization of opset 21 is parsed since TensorRT 10.9")
            if kind == "Einsum" and "..." in _equation(node) and version < EINSUM_ELLIPSIS_SINCE:
                yield Finding("einsum-ellipsis", name, "Einsum with an ellipsis is parsed since TensorRT 10.12")

    def _inputs(self, node: NodeProto, version: tuple[int, int]) -> Iterator[Finding]:
        for place, given in enumerate(node.input):
            label, since = CONSTANT_INPUTS.get((node.op_type, place), ("", None))
            if not label or not given or self._is_constant(given):
                continue
            name = node_name(node)
            if since is None or version < since:
                when = "in no version" if since is None else f"since TensorRT {since[0]}.{since[1]}"
                yield Finding("computed-input", name, f"{label} of {node.op_type} may be computed {when}")
            elif node.op_type == "Slice" and version < COMPUTED_SLICE_TYPES[0]:
                kind = TensorProto.DataType.Name(self._types.get(given, 0))
                if kind != COMPUTED_SLICE_TYPES[1]:
                    message = (
                        f"{label} of {node.op_type} that are computed must be {COMPUTED_SLICE_TYPES[1]}, not {kind}"
                    )
                    yield Finding("axes-type", name, message)

    def _is_constant(self, name: str) -> bool:
        maker = self._makers.get(name)
        return name in self._file.weights or (maker is not None and maker.op_type == "Constant")

    def _pairs(self) -> Iterator[Finding]:
        halved = any(t.data_type == TensorProto.FLOAT16 for t in self._file.graph.initializer)
        for node in self._file.graph.node:
            if node.op_type not in ("QuantizeLinear", "DequantizeLinear"):
                continue
            name = node_name(node)
            if not self._symmetric(node):
                yield Finding("asymmetric", name, "the zero point is not int8 0")
            scale = self._types.get(node.input[1])
            if halved and scale == TensorProto.FLOAT:
                yield Finding("fp32-scale", name, "the scale is FP32 in a graph of FP16: casts will follow")
            if scale == TensorProto.FLOAT16 and self._file.opset < QDQ_OPSET:
                yield Finding("opset", name, f"FP16 scales need opset {QDQ_OPSET}, this is {self._file.opset}")
            if node.op_type == "DequantizeLinear":
                yield from self._after(node, name)

    def _after(self, node: NodeProto, name: str) -> Iterator[Finding]:
        following = self._taken.get(node.output[0], [])
        for cast in (n for n in following if n.op_type == "Cast"):
            if any(n.op_type in _PRODUCTS for n in self._taken.get(cast.output[0], [])):
                yield Finding("cast-after-dequantize", name, f"{node_name(cast)} stands between it and the product")
        if not any(n.op_type in (*_PRODUCTS, "Cast", *_PASSES_THROUGH, "Add") for n in following):
            yield Finding("needless-pair", name, "no product takes what it gives")

    def _product(self, node: NodeProto) -> Iterator[Finding]:
        name = node_name(node)
        activation, weight = self._dequantizer(node.input[0]), self._dequantizer(node.input[1])
        if activation is None and weight is None:
            if self._should_be_int8(node):
                rows = self._rows.get(name)
                yield Finding("unquantized", name, f"{node.op_type} of {rows or 'unknown'} rows has no Q/DQ")
            return
        if activation is None or weight is None:
            side = "activation" if activation is None else "weight"
            yield Finding("one-sided", name, f"its {side} has no Q/DQ: it will not be INT8")
        if self._one_dimensional(node):
            yield Finding("one-dimensional", name, "TensorRT puts shuffles between its pair and the convolution")
        if self._rows.get(name) == 1:
            yield Finding("single-row", name, "one row is multiplied, which INT8 makes no faster")
        if weight is not None:
            yield from self._weight_scales(node, weight, name)

    def _one_dimensional(self, node: NodeProto) -> bool:
        return node.op_type == "Conv" and len(self._file.shapes[self._weight_of(node)]) == _ONE_DIMENSIONAL

    def _weight_scales(self, node: NodeProto, dequantizer: NodeProto, name: str) -> Iterator[Finding]:
        scale = self._file.shapes.get(dequantizer.input[1], ())
        channel_axis = 0 if node.op_type == "Conv" or attribute(node, "transB", 0) else 1
        shape = self._file.shapes[self._weight_of(node)]
        if int(np.prod(scale)) == 1 and shape[channel_axis] > 1:
            yield Finding("per-tensor-weight", name, "its weights have one scale, not one for each output channel")
        elif attribute(dequantizer, "axis", 1) % len(shape) != channel_axis:
            yield Finding("weight-axis", name, "its weights' scales do not lie along the output channels")

    def _symmetric(self, node: NodeProto) -> bool:
        if len(node.input) < 3 or not node.input[2]:  # noqa: PLR2004 - without a zero point it is uint8 0
            return attribute(node, "output_dtype", 0) == TensorProto.INT8 or self._types.get(node.input[0]) in (
                TensorProto.INT8,
                TensorProto.INT32,
            )
        zero = self._file.weights.get(node.input[2])
        integer = self._types.get(node.input[2]) in (TensorProto.INT8, TensorProto.INT32)
        return integer and zero is not None and not np.any(zero())

    def _is_int8(self, node: NodeProto) -> bool:
        pairs = [self._dequantizer(name) for name in node.input[:2]]
        return all(p is not None and self._types.get(p.input[0]) == TensorProto.INT8 for p in pairs)

    def _should_be_int8(self, node: NodeProto) -> bool:
        shape, name = self._file.shapes[self._weight_of(node)], node_name(node)
        outer = 0 if node.op_type == "Conv" or attribute(node, "transB", 0) else 1
        sides = shape[outer], int(np.prod(shape)) // max(shape[outer], 1)
        if node.op_type == "Conv" and (attribute(node, "group", 1) != 1 or shape[1] == 1):
            return False
        kept = name in self._keep or decides_on_names(name)
        return min(sides) >= SMALLEST_SIDE and self._rows.get(name) != 1 and not kept

    def _dequantizer(self, name: str) -> NodeProto | None:
        """The DequantizeLinear that a tensor comes from, at once or through what changes no number."""
        node = self._makers.get(name)
        while node is not None and node.op_type in _PASSES_THROUGH:
            node = self._makers.get(node.input[0])
        return node if node is not None and node.op_type == "DequantizeLinear" else None

    def _weight_of(self, node: NodeProto) -> str:
        """The constant matrix behind the second input; empty where it is computed from an activation."""
        name = node.input[1]
        while name not in self._file.weights:
            maker = self._makers.get(name)
            if maker is None or maker.op_type not in (*_PASSES_THROUGH, "QuantizeLinear", "DequantizeLinear"):
                return ""
            name = maker.input[0]
        return name if len(self._file.shapes[name]) > 1 else ""


def _equation(node: NodeProto) -> str:
    return bytes(attribute(node, "equation", b"")).decode("utf-8", "replace")


def _rows(path: Path, products: list[NodeProto]) -> dict[str, int]:
    """How many rows each product multiplies for one window, found by running the graph on nothing in particular.

    Raises:
        DataError: ONNX Runtime cannot run it.
    """
    model = load_structure(path)
    del model.graph.output[:]
    for number, node in enumerate(products):
        model.graph.node.append(helper.make_node("Shape", [node.input[0]], [f"rows/{number}"]))
        model.graph.output.append(helper.make_tensor_value_info(f"rows/{number}", TensorProto.INT64, None))
    if not products:
        return {}
    session = session_of(model, path.parent, optimised=False)
    inputs = {}
    for entry in model.graph.input:
        sizes = [
            d.dim_value or (1 if axis == 0 else _OTHER_AXES) for axis, d in enumerate(entry.type.tensor_type.shape.dim)
        ]
        dtype = helper.tensor_dtype_to_np_dtype(entry.type.tensor_type.elem_type)
        # Token and step 1 exist everywhere; False pads nothing.
        inputs[entry.name] = (np.ones if np.issubdtype(dtype, np.integer) else np.zeros)(sizes, dtype)
    try:
        shapes = session.run(None, inputs)
    except Exception as error:  # onnxruntime's own exceptions share no base class but this
        raise DataError(f"ONNX Runtime cannot run {path}: {error}") from error
    return {
        node_name(node): _rows_of(node, [int(size) for size in shape])
        for node, shape in zip(products, shapes, strict=True)
    }


def _rows_of(node: NodeProto, shape: list[int]) -> int:
    if node.op_type == "Conv":
        return int(np.prod(shape[2:]))
    return int(np.prod(shape[:-1]))
