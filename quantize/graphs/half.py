"""FP32 graph → FP16 graph that holds its types everywhere: TensorRT builds a strongly typed network from it.

FP32 stay: what positions and masks are computed with (numbers above 2048 are not exact in FP16), sums of squares and
their roots (they overflow), what takes a constant too small for FP16, and what decides on names: a familiarity,
whose distances overflow, and confidences.
Layer norms stay FP32 between casts, and what follows them does not: ONNX defines that they compute in FP32, but a
strongly typed network lets nobody ask TensorRT for it, and their sums of squares overflow FP16.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field

import numpy as np
from onnx import NodeProto, TensorProto, defs, helper, numpy_helper

from edge_aac.errors import DataError
from quantize.graphs.inner_sums import result_is_small
from quantize.graphs.layers import decides_on_names, node_name
from quantize.graphs.onnx_file import Array, OnnxFile, Weight, consumers

FLOAT, HALF = TensorProto.FLOAT, TensorProto.FLOAT16

MASK = 30_000.0
"""What larger constants become: two of them, added, do not overflow FP16, and their exponential is 0 as before."""

SMALLEST_NEVER = 1e8
"""No weight is as great: what is, below zero, stands for "never" in a mask."""

_HALF_LARGEST = 65_504.0
_HALF_SMALLEST = 6.1e-5  # below it FP16 loses digits

_OVERFLOWING = frozenset(
    ("Pow", "ReduceMean", "ReduceSum", "ReduceL1", "ReduceL2", "ReduceSumSquare", "ReduceLogSumExp", "ReduceProd")
    + ("Exp", "Log", "Sqrt", "Reciprocal", "Range")
)
# With constants for their other inputs these only prepare what a sum or root gave for the division that uses it.
_FOLLOWING = frozenset(("Add", "Max", "Min", "Clip", "Expand", "Unsqueeze", "Squeeze", "Identity", "Div", "Mul"))
_USING = frozenset(("Div", "Mul"))
# The search for what computes positions ends here: this is the sound, not a position.
_SIGNAL = frozenset(("MatMul", "Gemm", "Conv", "LayerNormalization", "BatchNormalization", "Softmax", "Gather"))
_SHAPE_ONLY = frozenset(("Shape", "Size"))

HALF_INTERFACES = ("cross_", "self_", "new_")
"""How the names of the inputs and outputs begin that become FP16: what passes from the encoder to the decoder, and from
one decoding step to the next, without leaving the device. fbank, audio_embedding, logits and embedding stay FP32."""


def halve(file: OnnxFile, overflowing: Collection[str] = ()) -> None:
    """Turn the float tensors of a graph into FP16, with casts where FP32 stays.

    Args:
        file: of opset 19 where it holds QuantizeLinear; changed in place.
        overflowing: names of nodes whose results FP16 cannot hold; they and what takes these results stay FP32, in
            addition to what this module keeps.

    Raises:
        DataError: a weight is too large for FP16.
    """
    types = file.element_types()
    kept = nodes_in_fp32(file, types, overflowing)
    _Halving(file, types, kept).run()


def around(file: OnnxFile, overflowing: Collection[str]) -> set[str]:
    """Names of these nodes and of those that take their results: cast to FP16 on the way, these would be infinite.

    What takes the result of a norm or softmax is among them only where FP16 cannot hold the result itself.
    """
    taken = consumers(file.graph)
    makers = [node for node in file.graph.node if node_name(node) in overflowing]
    large = [maker for maker in makers if not result_is_small(file, maker)]
    takers = [node for maker in large for output in maker.output for node in taken.get(output, [])]
    return {node_name(node) for node in (*makers, *takers)}


def nodes_in_fp32(file: OnnxFile, types: dict[str, int], overflowing: Collection[str]) -> set[str]:
    """Names of the nodes that stay FP32."""
    summing = _OVERFLOWING | {"LayerNormalization"}
    kept = {node_name(n) for n in file.graph.node if n.op_type in summing} | around(file, overflowing)
    kept |= {node_name(n) for n in file.graph.node if _needs_fp32(file, n, types)}
    kept |= _position_nodes(file, types)
    kept |= {node_name(n) for n in file.graph.node if decides_on_names(node_name(n))}
    sums = {o for n in file.graph.node if n.op_type in _OVERFLOWING for o in n.output}
    for node in file.graph.node:  # in the order of the graph, which is topological
        changing = [name for name in node.input if types.get(name) == FLOAT and name not in file.weights]
        if node.op_type in _FOLLOWING and changing and set(changing) <= sums:
            sums.update(node.output)
            kept.add(node_name(node))
        elif node.op_type in _USING and sums & set(changing):
            kept.add(node_name(node))
    return kept


def _needs_fp32(file: OnnxFile, node: NodeProto, types: dict[str, int]) -> bool:
    """Whether FP16 is not among the types of the operator, or one of its constants would vanish in it."""
    for name in node.input:
        if name in file.weights and types.get(name) == FLOAT and np.prod(file.shapes[name]) == 1:
            value = abs(float(file.weights[name]().reshape(-1)[0]))
            if 0.0 < value < _HALF_SMALLEST:
                return True
    if node.domain not in ("", "ai.onnx"):
        return True
    schema = defs.get_schema(node.op_type, file.opset, "")
    allowed = {c.type_param_str: c.allowed_type_strs for c in schema.type_constraints}
    for position, name in enumerate(node.input):
        declared = schema.inputs[min(position, len(schema.inputs) - 1)].type_str
        if types.get(name) == FLOAT and "tensor(float16)" not in allowed.get(declared, [declared]):
            return True
    return False


def _position_nodes(file: OnnxFile, types: dict[str, int]) -> set[str]:
    """Float arithmetic whose result becomes an integer or a truth value."""
    makers = {output: node for node in file.graph.node for output in node.output}
    found: set[str] = set()

    def visit(name: str) -> None:
        node = makers.get(name)
        if node is None or types.get(name) != FLOAT or node_name(node) in found or node.op_type in _SIGNAL:
            return
        found.add(node_name(node))
        for earlier in node.input:
            visit(earlier)

    for node in file.graph.node:
        floats = [name for name in node.input if types.get(name) == FLOAT]
        if floats and node.op_type not in _SHAPE_ONLY and not any(types.get(o) in (FLOAT, HALF) for o in node.output):
            if node.op_type == "QuantizeLinear":
                continue
            found.add(node_name(node))
            for name in floats:
                visit(name)
    return found


@dataclass
class _Halving:
    """One rewriting: which form each float tensor exists in, and the nodes in their new order."""

    file: OnnxFile
    types: dict[str, int]
    kept: set[str]
    nodes: list[NodeProto] = field(default_factory=list)
    forms: dict[tuple[str, int], str] = field(default_factory=dict)  # (tensor, FLOAT or HALF) → its name there

    def run(self) -> None:
        graph = self.file.graph
        original: dict[str, tuple[tuple[int, ...], Weight]] = {
            t.name: (self.file.shapes[t.name], self.file.weights[t.name])
            for t in graph.initializer
            if t.data_type == FLOAT
        }
        self.float_weights = original
        outputs = {entry.name: _interface_type(entry.name) for entry in graph.output if self._is_float(entry.name)}
        for entry in graph.input:
            if entry.type.tensor_type.elem_type == FLOAT:
                entry.type.tensor_type.elem_type = _interface_type(entry.name)
                self.forms[entry.name, entry.type.tensor_type.elem_type] = entry.name
        for node in graph.node:
            self._rewrite(node, outputs)
        for entry in graph.output:
            if entry.name in outputs:
                entry.type.tensor_type.elem_type = outputs[entry.name]
                self._finish(entry.name, outputs[entry.name])
        self.file.replace_nodes(self.nodes)

    def _is_float(self, name: str) -> bool:
        return self.types.get(name) == FLOAT

    def _rewrite(self, node: NodeProto, outputs: dict[str, int]) -> None:
        wanted = FLOAT if node_name(node) in self.kept else HALF
        if node.op_type not in _SHAPE_ONLY:
            inputs = [self._in_form(name, wanted) if self._is_float(name) else name for name in node.input]
        else:
            inputs = [self._in_any_form(name) for name in node.input]
        node = NodeProto.FromString(node.SerializeToString())
        del node.input[:]
        node.input.extend(inputs)
        if wanted == HALF:
            _state_half(node)
        for position, name in enumerate(node.output):
            if self._is_float(name):
                taken = name in outputs and outputs[name] != wanted
                node.output[position] = _named(name, wanted) if taken else name
                self.forms[name, wanted] = node.output[position]
        self.nodes.append(node)

    def _in_any_form(self, name: str) -> str:
        if not self._is_float(name):
            return name
        return next((self.forms[name, t] for t in (HALF, FLOAT) if (name, t) in self.forms), None) or self._in_form(
            name, HALF
        )

    def _in_form(self, name: str, wanted: int) -> str:
        known = self.forms.get((name, wanted))
        if known is None:
            known = self._weight(name, wanted) if name in self.float_weights else self._cast(name, wanted)
            self.forms[name, wanted] = known
        return known

    def _cast(self, name: str, wanted: int) -> str:
        source = self.forms[name, FLOAT if wanted == HALF else HALF]
        made = _named(name, wanted)
        self.nodes.append(helper.make_node("Cast", [source], [made], name=f"{made}/Cast", to=wanted))
        return made

    def _finish(self, name: str, wanted: int) -> None:
        if (name, wanted) not in self.forms or self.forms[name, wanted] != name:
            source = self.forms[name, FLOAT if wanted == HALF else HALF]
            self.nodes.append(helper.make_node("Cast", [source], [name], name=f"{name}/Cast", to=wanted))

    def _weight(self, name: str, wanted: int) -> str:
        if wanted == FLOAT:
            return name
        shape, weight = self.float_weights[name]
        made = _named(name, HALF)
        self.file.set_weight(made, shape, np.float16, lambda: in_half(weight(), name))
        return made


def _interface_type(name: str) -> int:
    return HALF if name.startswith(HALF_INTERFACES) else FLOAT


def _named(name: str, wanted: int) -> str:
    return f"{name}/{'fp16' if wanted == HALF else 'fp32'}"


def _state_half(node: NodeProto) -> None:
    """What a node's attributes say of its type."""
    if node.op_type == "ConstantOfShape" and not node.attribute:  # zeros of FP32
        node.attribute.append(helper.make_attribute("value", numpy_helper.from_array(np.zeros(1, np.float16))))
    for stated in node.attribute:
        if node.op_type == "Cast" and stated.name == "to" and stated.i == FLOAT:
            stated.i = HALF
        elif node.op_type == "ConstantOfShape" and stated.name == "value" and stated.t.data_type == FLOAT:
            stated.t.CopyFrom(numpy_helper.from_array(in_half(numpy_helper.to_array(stated.t), node_name(node))))


def in_half(array: Array, name: str) -> Array:
    """FP16 of a weight; a constant that stands for "never" (a mask's -1e9) becomes one that FP16 holds, also where it
    is one of many, as in the table of a causal mask.

    Raises:
        DataError: a matrix holds a number that FP16 cannot, and that is no mask's.
    """
    if array.size == 1:
        return _masked(array).astype(np.float16)
    never = array <= -SMALLEST_NEVER
    array = np.where(never, _masked(array), array) if never.any() else array
    rest = array[~never]
    if rest.size and not float(np.abs(rest).max()) <= _HALF_LARGEST:
        raise DataError(f"the weight {name} holds numbers above {_HALF_LARGEST:g}, which FP16 cannot: train it again")
    return np.asarray(array).astype(np.float16)


def _masked(array: Array) -> Array:
    """Finite numbers within ± MASK; infinite ones stay."""
    return np.where(np.isfinite(array), np.clip(array, -MASK, MASK), array)
