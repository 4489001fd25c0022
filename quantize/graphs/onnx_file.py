"""ONNX files on their way from one form to another: the graph in memory, each weight only while it is rewritten."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt
import onnx
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, helper, numpy_helper, shape_inference
from onnx.external_data_helper import uses_external_data

from edge_aac.errors import DataError, InputMissingError

Array = npt.NDArray[Any]
Weight = Callable[[], Array]
"""Gives a weight when it is asked for, so that one weight at a time is in memory."""

ALIGNMENT = 4096
"""Of each weight that lies beside the graph: what a page is on the machines that will map it."""

QDQ_OPSET = 19
"""The first in which QuantizeLinear and DequantizeLinear take FP16 scales."""

HALF_SUFFIX = "/half"
"""Ends the name of a weight that is stored in FP16 and computed with in FP32: half the bytes of a bundle."""

_QDQ_IR_VERSION = 9  # the one that came with opset 19
INLINE_BYTES = 1024  # small tensors stay in the graph: shapes and axes are read from them
_CHANGED_REDUCTIONS = (
    *("ReduceL1", "ReduceL2", "ReduceLogSum", "ReduceLogSumExp", "ReduceMax", "ReduceMean", "ReduceMin"),
    *("ReduceProd", "ReduceSumSquare"),
)
"""In opset 18, from axes as an attribute to axes as an input; ReduceSum changed before."""


def load_structure(path: Path) -> ModelProto:
    """A graph as if its weights were stored as they are computed with; those that lie beside it stay there."""
    model = onnx.load(str(path), load_external_data=False)
    _unpack_halves(model.graph)
    return model


def _unpack_halves(graph: GraphProto) -> None:
    """Make FP32 weights of those that :func:`quantize.bundles.onnx_writer.write_onnx` stored in FP16."""
    stored = {tensor.name: tensor for tensor in graph.initializer if tensor.name.endswith(HALF_SUFFIX)}
    if not stored:
        return
    for node in [node for node in graph.node if node.op_type == "Cast" and node.input[0] in stored]:
        tensor = stored[node.input[0]]
        tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor).astype(np.float32), node.output[0]))
        graph.node.remove(node)


class OnnxFile:
    """A graph and its weights, which stay in their file until they are asked for.

    Float constants are weights too here (the exporter writes them as nodes), so that there is one place to look.

    Attributes:
        model: everything but the weights; change it freely.
        weights: by name.
        beside: whether the weights lie in a file of their own.

    Raises:
        InputMissingError: there is no such file.
        DataError: it is not ONNX, or has branches or loops, which no graph of a bundle has.
    """

    def __init__(self, path: Path) -> None:
        if not path.is_file():
            raise InputMissingError(f"there is no {path}: install or build the bundle again")
        self.path = path
        try:
            self.model: ModelProto = load_structure(path)
        except Exception as error:  # protobuf's DecodeError is of another class in each of its implementations
            raise DataError(f"{path} is not an ONNX file ({error}): export the bundle again") from error
        if not self.model.graph.node:
            raise DataError(f"{path} is not an ONNX file (it holds no graph): export the bundle again")
        if nested := next((n for n in self.graph.node if any(a.HasField("g") for a in n.attribute)), None):
            raise DataError(f"{path} has a branch or loop ({nested.op_type} {nested.name}): export it as a plain graph")
        self.beside = any(uses_external_data(tensor) for tensor in self.graph.initializer)
        self.weights: dict[str, Weight] = {t.name: self._reader(t) for t in self.graph.initializer}
        self.shapes: dict[str, tuple[int, ...]] = {t.name: tuple(t.dims) for t in self.graph.initializer}
        self._constants_to_weights()

    @property
    def graph(self) -> GraphProto:
        return self.model.graph

    @property
    def opset(self) -> int:
        """Of ONNX's own operators."""
        return int(next((entry.version for entry in self.model.opset_import if entry.domain in ("", "ai.onnx")), 0))

    def element_types(self) -> dict[str, int]:
        """Tensor → ONNX element type, as far as ONNX can infer it."""
        bare = ModelProto()
        bare.CopyFrom(self.model)
        inferred = shape_inference.infer_shapes(bare, data_prop=False).graph
        types = {
            e.name: e.type.tensor_type.elem_type for e in (*inferred.value_info, *inferred.input, *inferred.output)
        }
        return {**types, **{tensor.name: tensor.data_type for tensor in self.graph.initializer}}

    def add_weight(self, name: str, array: Array) -> str:
        """A new small weight; a name that is taken already must mean the same weight."""
        if name not in self.weights:
            self.graph.initializer.append(numpy_helper.from_array(np.asarray(array), name))
            self.weights[name] = lambda: array
            self.shapes[name] = np.shape(array)
        return name

    def set_weight(self, name: str, shape: tuple[int, ...], dtype: npt.DTypeLike, weight: Weight) -> None:
        """Declare a weight, or replace one; its numbers are asked for when the file is written."""
        declared = TensorProto(
            name=name, dims=shape, data_type=helper.np_dtype_to_tensor_dtype(np.dtype(dtype)), data_location="EXTERNAL"
        )
        self._forget(name)
        self.graph.initializer.append(declared)
        self.weights[name] = weight
        self.shapes[name] = tuple(shape)

    def drop_unused(self) -> None:
        """Remove the weights that no node takes."""
        used = {name for node in self.graph.node for name in node.input} | {e.name for e in self.graph.output}
        for name in [name for name in self.weights if name not in used]:
            self._forget(name)
            del self.weights[name], self.shapes[name]

    def _forget(self, name: str) -> None:
        for tensor in self.graph.initializer:
            if tensor.name == name:
                self.graph.initializer.remove(tensor)
                return

    def _reader(self, tensor: TensorProto) -> Weight:
        if not uses_external_data(tensor):
            array = numpy_helper.to_array(tensor)
            return lambda: array
        entries = {entry.key: entry.value for entry in tensor.external_data}
        path = self.path.with_name(entries["location"])
        dtype = np.dtype(helper.tensor_dtype_to_np_dtype(tensor.data_type))
        shape, offset = tuple(tensor.dims), int(entries.get("offset", 0))
        if not path.is_file() or path.stat().st_size < offset + int(np.prod(shape)) * dtype.itemsize:
            raise DataError(f"{path} does not hold all weights of {self.path.name}: install or build the bundle again")
        return lambda: np.memmap(path, dtype, "r", offset, shape)

    def _constants_to_weights(self) -> None:
        """Also those that are cast: the exporter writes an epsilon as a double, and FP16 would make 0 of it."""
        known = {name: self.weights[name]() for name, shape in self.shapes.items() if int(np.prod(shape)) == 1}
        kept = []
        for node in self.graph.node:
            value = next((a.t for a in node.attribute if a.name == "value"), None)
            if node.op_type == "Constant" and value is not None:
                known[node.output[0]] = numpy_helper.to_array(value)
            elif node.op_type == "Cast" and node.input[0] in known:
                wanted = helper.tensor_dtype_to_np_dtype(attribute(node, "to", TensorProto.FLOAT))
                known[node.output[0]] = known[node.input[0]].astype(wanted)
            else:
                kept.append(node)
                continue
            if known[node.output[0]].dtype == np.float32:
                self.add_weight(node.output[0], known[node.output[0]])
            else:
                kept.append(node)
        self.replace_nodes(kept)

    def replace_nodes(self, nodes: list[NodeProto]) -> None:
        """Put other nodes in the place of the graph's."""
        copies = [NodeProto.FromString(node.SerializeToString()) for node in nodes]
        del self.graph.node[:]
        self.graph.node.extend(copies)

    def raise_opset(self, opset: int = QDQ_OPSET) -> None:
        """From opset 17 or 18 to 19: what changed on the way is where ``axes`` and the count of a split are stated.

        Raises:
            DataError: the graph is of an older opset, or has an operator that changed more than that.
        """
        if self.opset >= opset:
            return
        if self.opset < 17:  # noqa: PLR2004 - the exporter's
            raise DataError(f"{self.path} is of opset {self.opset}, older than 17: export the bundle again")
        if self.opset == 17:  # noqa: PLR2004
            for node in self.graph.node:
                self._to_18(node)
        for entry in self.model.opset_import:
            if entry.domain in ("", "ai.onnx"):
                entry.version = opset
        self.model.ir_version = max(self.model.ir_version, _QDQ_IR_VERSION)

    def _to_18(self, node: NodeProto) -> None:
        if node.op_type in _CHANGED_REDUCTIONS:
            for attribute in [a for a in node.attribute if a.name == "axes"]:
                axes = np.array(attribute.ints, np.int64)
                node.input.append(self.add_weight(f"{node.output[0]}/axes", axes))
                node.attribute.remove(attribute)
        elif node.op_type == "Split" and len(node.input) == 1:
            node.attribute.append(helper.make_attribute("num_outputs", len(node.output)))
        elif node.op_type == "Col2Im":  # Resize has new attributes, whose defaults are what it did before
            raise DataError(f"{self.path} has the operator {node.op_type}, which changed since opset 17")

    def in_memory(self) -> ModelProto:
        """The graph for a session whose folder is the parent's: weights that were replaced are in it."""
        for tensor in self.graph.initializer:
            if tensor.data_location == TensorProto.EXTERNAL and not tensor.external_data:
                tensor.CopyFrom(numpy_helper.from_array(np.ascontiguousarray(self.weights[tensor.name]()), tensor.name))
        return self.model

    def save(self, output: Path) -> list[Path]:
        """Write the graph, and beside it its weights where the parent's lay beside it.

        Returns:
            The files written: ``output``, and ``output`` + ".data" where the weights lie beside it.
        """
        self.drop_unused()
        del self.graph.value_info[:]
        data = output.with_name(f"{output.name}.data")
        if self.beside:
            with data.open("wb") as stream:
                self._fill(stream, data.name)
            written = [output, data]
        else:
            self._fill(None, "")
            written = [output]
        output.write_bytes(self.model.SerializeToString())
        onnx.checker.check_model(str(output))
        return written

    def _fill(self, stream: BinaryIO | None, location: str) -> None:
        for tensor in self.graph.initializer:
            array = np.ascontiguousarray(self.weights[tensor.name]()).reshape(tuple(tensor.dims))
            expected = helper.tensor_dtype_to_np_dtype(tensor.data_type)
            if array.dtype != expected:
                raise ValueError(f"the weight {tensor.name} is of {array.dtype}, declared as {expected}")
            tensor.CopyFrom(stored_tensor(array, tensor.name, stream, location))


def stored_tensor(array: Array, name: str, stream: BinaryIO | None, location: str) -> TensorProto:
    """A weight as the graph's file holds it: with its numbers, or with the place where they lie beside it.

    Args:
        array: contiguous.
        name: of the weight.
        stream: the file beside the graph, which gets the numbers; None = there is none. Small weights never go there.
        location: that file's name.
    """
    if stream is None or array.nbytes < INLINE_BYTES:
        return numpy_helper.from_array(array, name)
    stream.write(b"\0" * (-stream.tell() % ALIGNMENT))
    tensor = TensorProto(
        name=name, dims=array.shape, data_type=helper.np_dtype_to_tensor_dtype(array.dtype), data_location="EXTERNAL"
    )
    for key, value in (("location", location), ("offset", stream.tell()), ("length", array.nbytes)):
        tensor.external_data.add(key=key, value=str(value))
    stream.write(memoryview(array).cast("B"))  # type: ignore[arg-type]  # an array is a buffer
    return tensor


def consumers(graph: GraphProto) -> Mapping[str, list[NodeProto]]:
    """Tensor → the nodes that take it."""
    taken: dict[str, list[NodeProto]] = {}
    for node in graph.node:
        for name in dict.fromkeys(node.input):
            taken.setdefault(name, []).append(node)
    return taken


def attribute(node: NodeProto, name: str, default: Any) -> Any:
    """Value of a node's attribute."""
    return next((helper.get_attribute_value(a) for a in node.attribute if a.name == name), default)
