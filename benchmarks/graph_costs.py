"""What one run of an ONNX graph costs: multiply-accumulates, weights read, numbers in and out.

Read off the graph itself, once the sizes of its inputs are fixed: no weight is loaded and nothing is run. The shape of
every tensor is inferred node by node; where a shape is computed by the graph (``Shape`` → ``Gather`` → ``Concat`` →
``Reshape``) the few numbers on that way are computed too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path

import onnx
from onnx import NodeProto, TensorProto, TypeProto, helper, numpy_helper, shape_inference
from onnx.defs import SchemaError, get_schema
from onnx.reference import ReferenceEvaluator

from edge_aac.errors import DataError, InputMissingError
from quantize.graphs.onnx_file import load_structure

_FLOATS = {TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.BFLOAT16, TensorProto.DOUBLE}
# A shape has few numbers; what is larger is data, and data is not computed here.
_MAX_NUMBERS = 64
# They multiply as well, in ways that are not counted here. None of them is in a graph that edge-aac exports in fp32.
_UNCOUNTED = {
    *("Attention", "MultiHeadAttention", "RNN", "LSTM", "GRU", "DeformConv", "Einsum"),
    *("MatMulInteger", "ConvInteger", "QLinearMatMul", "QLinearConv", "DynamicQuantizeMatMul", "MatMulNBits"),
}
_CONVOLUTIONS = ("Conv", "ConvTranspose")
# They read some rows of a table, not all of it.
_ROW_READERS = {"Gather", "Slice"}
# Another layout of a weight is still a weight; what is computed of weights (position scores, say) is not one.
_LAYOUTS = {"Transpose", "Reshape", "Identity", "Cast", "Squeeze", "Unsqueeze", "Flatten"}


@dataclass(frozen=True)
class GraphCosts:
    """One run of one graph. "Numbers" are those whose precision can be chosen (floats), whatever their size in bytes.

    Attributes:
        weight_macs: multiply-accumulates (MACs) of products with a weight that have more than one row: where 8-bit
            numbers pay.
        other_macs: MACs of all other products, as in attention, of single rows, and of convolutions in groups or of one
            input channel, which stay FP16 in every engine (:mod:`quantize.graphs.layers`).
        depthwise_macs: MACs of convolutions of each channel by itself: a tensor core has nothing to share there.
        folded_macs: MACs of products of weights alone, which an engine works out once, when it loads.
        product_weights: numbers of the weights of ``weight_macs``.
        stored: numbers of all weights.
        read: numbers of the weights that one run reads; of a table that is looked up, the rows alone, and no row twice.
        inputs: name → numbers of an input.
        outputs: name → numbers of an output.
        other_bytes: of inputs and outputs that are no floats (token ids, masks).
    """

    weight_macs: int
    other_macs: int
    depthwise_macs: int
    folded_macs: int
    product_weights: int
    stored: int
    read: int
    inputs: Mapping[str, int]
    outputs: Mapping[str, int]
    other_bytes: int

    @property
    def macs(self) -> int:
        """That every run has to do."""
        return self.weight_macs + self.other_macs + self.depthwise_macs


def graph_costs(path: Path, shapes: Mapping[str, Sequence[int | str]]) -> GraphCosts:
    """Count one run of a graph.

    Args:
        path: of the ONNX file; weights in a file beside it need not be there.
        shapes: of every input; others may be among them.

    Raises:
        InputMissingError: there is no such file.
        DataError: it is no ONNX graph, the size of an input is not given, or its products cannot be counted.
    """
    return shaped_graph(path, shapes).costs()


def shaped_graph(path: Path, shapes: Mapping[str, Sequence[int | str]]) -> ShapedGraph:
    """The graph with the shapes of all its tensors; arguments and errors are those of :func:`graph_costs`."""
    if not path.is_file():
        raise InputMissingError(f"there is no graph {path}: install or build its bundle again")
    try:
        model = load_structure(path)
    except Exception as error:  # protobuf's own error, of a class that differs between its implementations
        raise DataError(f"{path} is no ONNX file ({error}): install or build its bundle again") from error
    return ShapedGraph(model, shapes, path.name)


class ShapedGraph:
    """A graph whose tensors' shapes are known.

    Args:
        model: without its weights, if they lie in another file.
        shapes: of every input; others may be among them.
        name: of the graph in errors.

    Raises:
        DataError: the size of an input is not given, or the graph chooses what is run.
    """

    def __init__(self, model: onnx.ModelProto, shapes: Mapping[str, Sequence[int | str]], name: str) -> None:
        self._graph, self._opsets, self._ir_version = model.graph, list(model.opset_import), model.ir_version
        self._name = name
        self._versions = {opset.domain: opset.version for opset in self._opsets}
        self._types: dict[str, TypeProto] = {}
        self._values: dict[str, TensorProto] = {}
        self._weights: dict[str, int] = {}
        self._weight_layouts: set[str] = set()
        self._constants: set[str] = set()
        for tensor in self._graph.initializer:
            self._hold(tensor.name, tensor)
        declared = [entry for entry in self._graph.input if entry.name not in self._types]
        self._inputs = [entry.name for entry in declared]
        for entry in declared:
            shape = [size for size in shapes.get(entry.name, ()) if isinstance(size, int)]
            if entry.name not in shapes or len(shape) != len(shapes[entry.name]):
                raise DataError(f"{name}: nothing says how large its input {entry.name} is: export its bundle again")
            self._types[entry.name] = helper.make_tensor_type_proto(entry.type.tensor_type.elem_type, shape)
        for node in self._graph.node:
            self._visit(node)

    def shape(self, name: str) -> tuple[int, ...]:
        """Shape of a tensor.

        Raises:
            DataError: it depends on more than the inputs' shapes.
        """
        tensor = self._types[name].tensor_type if name in self._types else None
        if tensor is None or not tensor.HasField("shape"):
            raise DataError(f"{self._name}: the shape of {name} cannot be inferred, so its costs cannot be counted")
        if any(not dim.HasField("dim_value") for dim in tensor.shape.dim):
            raise DataError(f"{self._name}: the shape of {name} depends on more than the inputs' sizes")
        return tuple(dim.dim_value for dim in tensor.shape.dim)

    def costs(self) -> GraphCosts:
        """Count one run.

        Raises:
            DataError: a product's shape is not known, or there is an operator that is not counted.
        """
        weight_macs = other_macs = depthwise_macs = folded_macs = 0
        product_weights: dict[str, int] = {}
        for node in self._graph.node:
            if node.op_type in _UNCOUNTED:
                raise DataError(f"{self._name} multiplies in an operator that is not counted ({node.op_type})")
            if (product := self._product(node)) is None:
                continue
            macs, rows, operands = product
            weights = [name for name in operands if name in self._weight_layouts]
            if self._constants.issuperset(operands):
                folded_macs += macs
            elif self._is_depthwise(node):
                depthwise_macs += macs
            elif weights and rows > 1 and not self._has_few_channels(node):
                weight_macs += macs
                product_weights[weights[0]] = prod(self.shape(weights[0]))
            else:
                other_macs += macs
        names = [entry.name for entry in self._graph.output]
        return GraphCosts(
            weight_macs,
            other_macs,
            depthwise_macs,
            folded_macs,
            sum(product_weights.values()),
            sum(self._weights.values()),
            self._read(),
            {name: self._numbers(name) for name in self._inputs if self._is_float(name)},
            {name: self._numbers(name) for name in names if self._is_float(name)},
            sum(self._bytes(name) for name in (*self._inputs, *names) if not self._is_float(name)),
        )

    def _hold(self, name: str, tensor: TensorProto) -> None:
        """Note a tensor that the graph holds: a weight, or numbers that shapes are computed with."""
        self._types[name] = helper.make_tensor_type_proto(tensor.data_type, list(tensor.dims))
        self._constants.add(name)
        numbers = prod(tensor.dims)
        if tensor.data_type in _FLOATS and tensor.dims:
            self._weights[name] = numbers
            self._weight_layouts.add(name)
        if numbers <= _MAX_NUMBERS and tensor.data_location != TensorProto.EXTERNAL:
            self._values[name] = tensor

    def _visit(self, node: NodeProto) -> None:
        if any(attribute.HasField("g") for attribute in node.attribute):
            raise DataError(f"{self._name}: {node.op_type} chooses what is run, so its costs cannot be counted")
        given = [name for name in node.input if name]
        if node.op_type == "Constant":
            (attribute,) = node.attribute
            self._hold(node.output[0], _constant(attribute))
            return
        if all(name in self._constants for name in given):
            self._constants.update(node.output)
        if node.op_type in _LAYOUTS and node.input[0] in self._weight_layouts:
            self._weight_layouts.update(node.output)
        self._infer(node, given)
        if node.op_type == "Shape":
            shape = self._shape_value(node)
            self._values |= shape
            self._constants |= shape.keys()  # an engine that is built for these sizes knows it
        elif given and all(name in self._values for name in given):
            self._compute(node, given)

    def _infer(self, node: NodeProto, given: list[str]) -> None:
        if any(name not in self._types for name in given):
            return
        try:
            schema = get_schema(node.op_type, self._versions.get(node.domain, 1), node.domain)
            self._types |= shape_inference.infer_node_outputs(
                schema,
                node,
                {name: self._types[name] for name in given},
                {name: self._values[name] for name in given if name in self._values},
                opset_imports=self._opsets,
                ir_version=self._ir_version,
            )
        except (SchemaError, shape_inference.InferenceError):
            return  # where a product needs it, it is missed there

    def _shape_value(self, node: NodeProto) -> dict[str, TensorProto]:
        try:
            dims = self.shape(node.input[0])
        except DataError:
            return {}
        chosen = {attribute.name: attribute.i for attribute in node.attribute}
        dims = dims[chosen.get("start", 0) : chosen.get("end", len(dims))]
        return {node.output[0]: helper.make_tensor(node.output[0], TensorProto.INT64, [len(dims)], dims)}

    def _compute(self, node: NodeProto, given: list[str]) -> None:
        """The outputs' values, where they are few and known."""
        try:
            if any(prod(self.shape(name)) > _MAX_NUMBERS for name in node.output):
                return
        except DataError:
            return
        graph = helper.make_graph(
            [node],
            "node",
            [helper.make_value_info(name, self._types[name]) for name in dict.fromkeys(given)],
            [helper.make_value_info(name, self._types[name]) for name in node.output],
        )
        model = helper.make_model(graph, opset_imports=self._opsets, ir_version=self._ir_version)
        values = ReferenceEvaluator(model).run(
            None, {name: numpy_helper.to_array(self._values[name]) for name in given}
        )
        for name, value in zip(node.output, values, strict=True):
            self._values[name] = numpy_helper.from_array(value, name)

    def _product(self, node: NodeProto) -> tuple[int, int, tuple[str, str]] | None:
        """MACs, rows and the two operands of a product; None for what is none."""
        if node.op_type not in {"MatMul", "Gemm", *_CONVOLUTIONS} or node.domain not in {"", "ai.onnx"}:
            return None
        left, right = node.input[0], node.input[1]
        numbers = prod(self.shape(node.output[0]))
        if node.op_type == "Conv":
            kernel = self.shape(right)
            return numbers * prod(kernel[1:]), numbers // kernel[0], (left, right)
        if node.op_type == "ConvTranspose":
            kernel = self.shape(right)
            return prod(self.shape(left)) * prod(kernel[1:]), prod(self.shape(left)) // kernel[0], (left, right)
        inner, columns = self.shape(left)[-1], self.shape(right)[-1]
        if node.op_type == "Gemm":
            turned = {attribute.name for attribute in node.attribute if attribute.i}
            inner = self.shape(left)[0 if "transA" in turned else 1]
            columns = self.shape(right)[0 if "transB" in turned else 1]
        return numbers * inner, numbers // columns, (left, right)

    def _is_depthwise(self, node: NodeProto) -> bool:
        """Whether it is a convolution of each channel by itself."""
        if node.op_type not in _CONVOLUTIONS or _groups(node) == 1:
            return False
        return _groups(node) == self.shape(node.input[0])[1]

    def _has_few_channels(self, node: NodeProto) -> bool:
        """Whether it is a convolution of too few channels for 8-bit numbers: in groups, or of one input channel."""
        if node.op_type not in _CONVOLUTIONS:
            return False
        return _groups(node) > 1 or self.shape(node.input[0])[1] == 1

    def _read(self) -> int:
        whole: set[str] = set()
        rows: dict[str, int] = {}
        for node in self._graph.node:
            for position, name in enumerate(node.input):
                if name not in self._weights:
                    continue
                if position == 0 and node.op_type in _ROW_READERS:
                    rows[name] = rows.get(name, 0) + prod(self.shape(node.output[0]))
                else:
                    whole.add(name)
        looked_up = sum(min(count, self._weights[name]) for name, count in rows.items())
        return looked_up + sum(self._weights[name] for name in whole)

    def _is_float(self, name: str) -> bool:
        return self._types[name].tensor_type.elem_type in _FLOATS

    def _numbers(self, name: str) -> int:
        return prod(self.shape(name))

    def _bytes(self, name: str) -> int:
        kind = helper.tensor_dtype_to_np_dtype(self._types[name].tensor_type.elem_type)
        return int(self._numbers(name) * kind.itemsize)


def _groups(node: NodeProto) -> int:
    return next((attribute.i for attribute in node.attribute if attribute.name == "group"), 1)


def _constant(attribute: onnx.AttributeProto) -> TensorProto:
    value = helper.get_attribute_value(attribute)
    if isinstance(value, TensorProto):
        return value
    kind = TensorProto.FLOAT if attribute.name.startswith("value_float") else TensorProto.INT64
    listed = list(value) if isinstance(value, Sequence) else None
    return helper.make_tensor("", kind, [] if listed is None else [len(listed)], [value] if listed is None else listed)
