"""Constant arithmetic done once: what of a graph follows from its constants, its weights and its fixed sizes alone.

TensorRT takes axes, and some other inputs, from constants only (:mod:`quantize.graphs.trt_operators`), and the exporter
computes them: ``x[..., :-1]`` becomes a Slice whose axis is an Unsqueeze of a number. ONNX Runtime folds all this when
it loads a graph; a graph that is folded already loads faster there and means the same.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from quantize.graphs.known_shapes import INTEGERS, Inferred, Sizes, constant_of, fixed_shape, sizes_of
from quantize.graphs.layers import node_name
from quantize.graphs.onnx_file import INLINE_BYTES, OnnxFile, Weight, attribute, consumers
from quantize.graphs.traced import session_of

LARGEST = 1 << 22
"""Numbers of a result that is still kept: 16 MiB in FP32. The published position bias, 12 × 496 × 496, is 3 million."""

SMALL = 16
"""The same where a graph is exported: shapes and axes, but no tables, which are cheaper computed than stored."""

_HALF_LARGEST = 65_504.0
_NOT_FOLDED = frozenset(("QuantizeLinear", "DequantizeLinear", "Constant", "RandomNormal", "RandomUniform"))


def fold_constants(file: OnnxFile) -> int:
    """Replace every node whose result is known by that result.

    Args:
        file: the graph, changed in place; tensors keep their names.

    Returns:
        How many nodes there are fewer.

    Raises:
        DataError: ONNX Runtime cannot compute a result.
    """
    before = len(file.graph.node)
    folding = _Folding(file.model, file.weights, LARGEST)
    folding.run()
    made = folding.made
    file.drop_unused()
    for name, array in made.items():
        if name not in folding.used:
            continue
        if array.dtype.kind == "f" and array.nbytes > INLINE_BYTES:
            file.set_weight(name, array.shape, array.dtype, _giving(array))
        else:  # in the graph, where sizes and types are inferred from it
            file.add_weight(name, array)
    return before - len(file.graph.node)


def fold_structure(model: ModelProto) -> int:
    """The same of a graph on its way out of the exporter, whose weights are inputs still.

    Results of more than 16 numbers are kept only where they are not larger than what they are computed from.

    Args:
        model: changed in place.

    Returns:
        How many nodes there are fewer.

    Raises:
        DataError: ONNX Runtime cannot compute a result.
    """
    before = len(model.graph.node)
    folding = _Folding(model, {}, SMALL)
    folding.run()
    for name, array in folding.made.items():
        if name in folding.used:
            model.graph.initializer.append(numpy_helper.from_array(array, name))
    return before - len(model.graph.node)


def constant_integers(file: OnnxFile) -> list[str]:
    """Names of the nodes that compute integers or truth values which follow from constants and fixed sizes alone."""
    folding = _Folding(file.model, file.weights, LARGEST)
    known = folding.look()
    wanted = (*INTEGERS, TensorProto.BOOL)
    return [
        node_name(node)
        for node in file.graph.node
        if node.op_type != "Constant" and node.output[0] in known and known[node.output[0]] in wanted
    ]


def drop_needless_casts(file: OnnxFile) -> None:
    """Remove each Cast to the type that its input has: a module's ``.float()`` of what is FP32 anyway.

    In FP16 it would stand between a softmax and its product, which TensorRT fuses otherwise.

    Args:
        file: changed in place.
    """
    types = file.element_types()
    outputs = {entry.name for entry in file.graph.output}
    same: dict[str, str] = {}
    kept = []
    for node in file.graph.node:
        for place, name in enumerate(node.input):
            node.input[place] = same.get(name, name)
        needless = node.op_type == "Cast" and types.get(node.input[0]) == attribute(node, "to", 0)
        if needless and node.output[0] not in outputs:
            same[node.output[0]] = node.input[0]
        else:
            kept.append(node)
    file.replace_nodes(kept)


def _giving(array: npt.NDArray[Any]) -> Weight:
    return lambda: array


@dataclass
class _Folding:
    """Rounds of looking for what is known, until nothing more is.

    Attributes:
        model: the graph, whose nodes are removed.
        weights: constants that are no nodes.
        largest: numbers of a result that is kept, if it is larger than what it is computed from.
        made: results.
        used: tensors that the nodes that are left take.
    """

    model: ModelProto
    weights: dict[str, Weight]
    largest: int
    made: dict[str, npt.NDArray[Any]] = field(default_factory=dict)
    used: set[str] = field(default_factory=set)

    def run(self) -> None:
        self._too_large: set[str] = set()
        while self._round():
            pass
        self._drop_dead()

    def look(self) -> dict[str, int]:
        """Tensors that are known without running the graph → their element types; changes nothing."""
        self._too_large = set()
        inferred = self._start()
        self._scan(inferred, {})
        return {name: inferred.types.get(name, 0) for name in (*self._nodes, *self._sizes)}

    def _start(self) -> Inferred:
        self._constants = constant_of(self.model.graph)
        self._outputs = {entry.name for entry in self.model.graph.output}
        self._nodes: dict[str, NodeProto] = {}  # tensor → node that gives it, of constants alone
        self._sizes: dict[str, npt.NDArray[Any]] = {}  # tensor → its value, of fixed sizes
        shown = ModelProto()
        shown.CopyFrom(self.model)
        shown.graph.initializer.extend(numpy_helper.from_array(array, name) for name, array in self._small())
        return Inferred(shown)

    def _small(self) -> list[tuple[str, npt.NDArray[Any]]]:
        present = {tensor.name for tensor in self.model.graph.initializer}
        return [(name, array) for name, array in self.made.items() if name not in present]

    def _round(self) -> bool:
        """Whether anything was found."""
        inferred = self._start()
        shapes: dict[str, list[int]] = {}
        self._scan(inferred, shapes)
        for node in self.model.graph.node:
            if node.op_type == "Reshape" and node.output[0] in shapes:
                node.input[1] = f"{node.output[0]}/shape"
                self.made[node.input[1]] = np.array(shapes[node.output[0]], np.int64)
        found = {**self._sizes, **self._evaluated(inferred)}
        self.made |= found
        kept = [node for node in self.model.graph.node if not (set(node.output) & found.keys())]
        changed = len(kept) < len(self.model.graph.node)
        self._replace(kept)
        return changed or bool(shapes)

    def _replace(self, kept: list[NodeProto]) -> None:
        copies = [NodeProto.FromString(node.SerializeToString()) for node in kept]
        del self.model.graph.node[:]
        self.model.graph.node.extend(copies)

    def _constant(self, name: str) -> npt.NDArray[Any] | None:
        if name in self.made:
            return self.made[name]
        if name in self._sizes:
            return self._sizes[name]
        if name in self._constants:
            return numpy_helper.to_array(self._constants[name])
        return self.weights[name]() if name in self.weights else None

    def _is_constant(self, name: str) -> bool:
        places = (self._nodes, self.made, self._sizes, self._constants, self.weights)
        return not name or any(name in place for place in places)

    def _scan(self, inferred: Inferred, shapes: dict[str, list[int]]) -> None:
        partial: dict[str, Sizes] = {}
        for node in self.model.graph.node:
            if set(node.output) & self._outputs or node.op_type in _NOT_FOLDED or node.domain not in ("", "ai.onnx"):
                continue
            if all(self._is_constant(name) for name in node.input) and node.input:
                if self._fits(node, inferred):
                    self._nodes.update(dict.fromkeys(node.output, node))
                continue
            if node.op_type == "Reshape" and node.input[1] in partial:
                shape = fixed_shape(node, partial[node.input[1]], inferred)
                if shape is not None:
                    shapes[node.output[0]] = shape
            sizes = sizes_of(node, inferred, self._constant, partial)
            if sizes is None:
                continue
            if any(isinstance(size, str) for size in sizes.reshape(-1)):
                partial[node.output[0]] = sizes
            else:
                kind = inferred.types.get(node.output[0], TensorProto.INT64)
                self._sizes[node.output[0]] = sizes.astype(helper.tensor_dtype_to_np_dtype(kind))

    def _fits(self, node: NodeProto, inferred: Inferred) -> bool:
        if any(not inferred.types.get(name) or name in self._too_large for name in node.output if name):
            return False
        numbers = [inferred.elements(name) for name in node.output if name]
        before = max((inferred.elements(name) or 0 for name in node.input if name), default=0)
        return all(size is None or size <= max(self.largest, before) for size in numbers)

    def _evaluated(self, inferred: Inferred) -> dict[str, npt.NDArray[Any]]:
        """Results of the constant nodes that others take, by ONNX Runtime: they are what it would compute itself."""
        inside = list({id(node): node for node in self._nodes.values()}.values())
        taken = consumers(self.model.graph)
        constant = {id(node) for node in inside}
        wanted = [
            name for name in self._nodes if name and any(id(taker) not in constant for taker in taken.get(name, []))
        ]
        if not wanted:
            return {}
        needed = _ancestors(wanted, self._nodes)
        nodes = [node for node in inside if set(node.output) & needed]
        given = dict.fromkeys(name for node in nodes for name in node.input if name and name not in self._nodes)
        weights = [numpy_helper.from_array(np.array(self._constant(name), order="C"), name) for name in given]
        graph = helper.make_graph(
            nodes,
            "constants",
            [],
            [helper.make_tensor_value_info(name, inferred.types[name], None) for name in wanted],
            weights,
        )
        model = helper.make_model(graph, opset_imports=self.model.opset_import, ir_version=self.model.ir_version)
        results = dict(zip(wanted, session_of(model, Path(), optimised=False).run(wanted, {}), strict=True))
        self._too_large |= {
            name for name, array in results.items() if array.size > self._limit(name, inferred) or _overflows(array)
        }
        return {name: array for name, array in results.items() if name not in self._too_large}

    def _limit(self, name: str, inferred: Inferred) -> int:
        return max(self.largest, *(inferred.elements(given) or 0 for given in self._nodes[name].input if given))

    def _drop_dead(self) -> None:
        """Remove nodes whose results nothing takes any more."""
        self.used = {entry.name for entry in self.model.graph.output}
        kept = []
        for node in reversed(self.model.graph.node):
            if self.used & set(node.output):
                kept.append(node)
                self.used |= set(node.input)
        self._replace(kept[::-1])


def _overflows(array: npt.NDArray[Any]) -> bool:
    """Whether an array of floats is a mask's "never" in places, which FP16 has a smaller number for if it stands alone.

    :func:`quantize.graphs.half.in_half` takes an array that FP16 cannot hold for a broken weight.
    """
    return array.dtype.kind == "f" and array.size > 1 and not bool((np.abs(array) <= _HALF_LARGEST).all())


def _ancestors(wanted: list[str], makers: dict[str, NodeProto]) -> set[str]:
    found: set[str] = set()
    ahead = list(wanted)
    while ahead:
        name = ahead.pop()
        if name in makers and name not in found:
            found.add(name)
            ahead += makers[name].input
    return found
