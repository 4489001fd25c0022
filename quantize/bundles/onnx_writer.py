"""Torch module → ONNX file, weights and all, without ever holding a second copy of the weights.

The exporter writes the structure alone; the weights then go from the module's tensors into the file (or, above
:data:`EXTERNAL_DATA_BYTES`, into one beside it) one by one. With the weights left to the exporter, memory would peak at
several times their size, and ONNX's own file format ends at 2 GB.
"""

from __future__ import annotations

import ctypes
import gc
import math
import tempfile
import warnings
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import BinaryIO

import numpy as np
import onnx
import torch
from onnx import AttributeProto, GraphProto, ModelProto, TensorProto, helper, numpy_helper
from torch import Tensor

from edge_aac.errors import DataError
from quantize.bundles.traceable import traceable
from quantize.graphs.folding import fold_structure
from quantize.graphs.half import in_half
from quantize.graphs.onnx_file import HALF_SUFFIX, stored_tensor
from quantize.models.graph_modules import GraphSpec

OPSET = 17
"""The first with LayerNormalization. ONNX Runtime 1.23, the last for JetPack 6, runs it (tests on Python 3.10);
TensorRT has not been tried."""

EXTERNAL_DATA_BYTES = 64 << 20
"""From here on the weights lie in a file of their own: the runtime maps it instead of parsing and copying it."""

_WORTH_HALVING = 256  # numbers; smaller weights are left as they are
_M_MMAP_THRESHOLD = -3  # of mallopt, in malloc.h


def write_onnx(spec: GraphSpec, path: Path) -> list[Path]:
    """Export ``spec`` to ``path``.

    Returns:
        The files written: ``path``, and ``path`` + ".data" where the weights lie beside it.
    """
    model = _structure(spec)
    release_memory()
    _state_output_shapes(model.graph, spec)
    fold_structure(model)
    weights = _unique_state(spec.module)
    size = _bytes_of(weights)
    _undo_sharing(model.graph, weights)
    transposed = _fold_transposes(model.graph)
    if unexpected := {entry.name for entry in model.graph.input} - weights.keys() - spec.inputs.keys():
        raise DataError(f"the exporter made weights of its own ({min(unexpected)}): use another torch")
    data = path.with_name(f"{path.name}.data")
    if size < EXTERNAL_DATA_BYTES:
        _attach(model.graph, weights, transposed, None, data.name)
        if spec.halves:
            _store_halves(model.graph, weights.keys() | transposed.keys())
        onnx.save(model, str(path))
        written = [path]
    else:
        with data.open("wb") as stream:
            _set_beside(model.graph, stream, data.name)
            _attach(model.graph, weights, transposed, stream, data.name)
        path.write_bytes(model.SerializeToString())
        written = [path, data]
    onnx.checker.check_model(str(path))
    return written


def to_halves(module: torch.nn.Module) -> bool:
    """Round the weights of a module to what FP16 holds, so that they can be stored so and none is lost by it.

    Returns:
        False, with nothing changed, where the weights are so many that they lie beside the graph: a runtime maps
        them from there, which it could not if it had to convert them.

    Raises:
        DataError: a weight is too large for FP16.
    """
    weights = _unique_state(module)
    if _bytes_of(weights) >= EXTERNAL_DATA_BYTES:
        return False
    for name, tensor in weights.items():
        if tensor.dtype == torch.float32 and tensor.numel() >= _WORTH_HALVING:
            tensor.copy_(torch.from_numpy(in_half(tensor.numpy(), name).astype(np.float32)))
    return True


def release_memory() -> None:
    """Give freed memory back to the system, which glibc does not do by itself."""
    gc.collect()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # other C libraries have none
    if trim is not None:
        trim(0)


def keep_no_freed_tensors() -> None:
    """From now on, have glibc give every large block back when it is freed.

    Tracing holds all intermediate tensors; once glibc has seen some of them freed, it would keep the others for reuse.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_MMAP_THRESHOLD, 1 << 20)


def _structure(spec: GraphSpec) -> ModelProto:
    """The graph with every weight as an input, named as in the module's state dict."""
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings(), traceable(spec):
        # The exporter that traces is deprecated, but it writes opset 17 itself; its successor converts down to it.
        warnings.simplefilter("ignore")
        path = Path(folder) / "structure.onnx"
        torch.onnx.export(
            spec.module,
            tuple(spec.inputs.values()),
            str(path),
            export_params=False,
            # The exporter's folding would make new weights that no state dict has: ours leaves weights alone.
            do_constant_folding=False,
            training=torch.onnx.TrainingMode.PRESERVE,
            input_names=list(spec.inputs),
            output_names=list(spec.outputs),
            dynamic_axes={name: dict(axes) for name, axes in spec.dynamic_axes.items()},
            opset_version=OPSET,
            dynamo=False,
        )
        return onnx.load(str(path))


@torch.no_grad()
def _state_output_shapes(graph: GraphProto, spec: GraphSpec) -> None:
    """Sizes of the outputs' fixed axes, which the exporter gives names of its own where it cannot infer them."""
    outputs = spec.module(*spec.inputs.values())
    for entry, tensor in zip(graph.output, outputs if isinstance(outputs, tuple) else (outputs,), strict=True):
        named = spec.dynamic_axes.get(entry.name, {})
        for axis, (dim, size) in enumerate(zip(entry.type.tensor_type.shape.dim, tensor.shape, strict=True)):
            if axis not in named:
                dim.dim_value = size


def _bytes_of(weights: Mapping[str, Tensor]) -> int:
    return sum(tensor.nbytes for tensor in weights.values())


def _unique_state(module: torch.nn.Module) -> dict[str, Tensor]:
    """Name → tensor of parameters and buffers."""
    return {name: tensor.detach() for name, tensor in module.state_dict(keep_vars=True).items()}


def _undo_sharing(graph: GraphProto, weights: Mapping[str, Tensor]) -> None:
    """Give each node its own weight again: of equal ones (biases of 0) the exporter keeps one, and Identity for others.

    What rewrites the graph later looks for weights by the names of inputs. What the module itself shares stays shared.
    """
    inputs = {entry.name: entry for entry in graph.input}
    for node in [node for node in graph.node if node.op_type == "Identity"]:
        (kept,), (name,) = node.input, node.output
        both = kept in inputs and kept in weights and name in weights
        if both and weights[kept].data_ptr() != weights[name].data_ptr():
            own = graph.input.add()
            own.CopyFrom(inputs[kept])
            own.name = name
            graph.node.remove(node)


def _fold_transposes(graph: GraphProto) -> dict[str, str]:
    """Remove the transposes of weights that only feed matrix products: new name → name of the weight to transpose.

    Left in, each session would fold them itself when it loads, and hold both copies while it does.
    """
    weights = {entry.name for entry in graph.input}
    uses: dict[str, int] = {}
    for node in graph.node:
        for name in node.input:
            uses[name] = uses.get(name, 0) + 1
    folded: dict[str, str] = {}
    for node in list(graph.node):
        is_matrix_transpose = node.op_type == "Transpose" and _permutation(node.attribute) == [1, 0]
        if is_matrix_transpose and node.input[0] in weights and uses[node.input[0]] == 1:
            folded[node.output[0]] = node.input[0]
            graph.node.remove(node)
    return folded


def _permutation(attributes: list[AttributeProto]) -> list[int]:
    return next((list(attribute.ints) for attribute in attributes if attribute.name == "perm"), [])


def _attach(
    graph: GraphProto, weights: dict[str, Tensor], transposed: dict[str, str], stream: BinaryIO | None, location: str
) -> None:
    """Turn the inputs that are weights into initializers, whose data goes into the graph or to ``stream``."""
    new_names = {old: new for new, old in transposed.items()}
    for entry in list(graph.input):
        if entry.name not in weights:
            continue
        graph.input.remove(entry)
        name = new_names.get(entry.name, entry.name)
        tensor = weights[entry.name]
        array = np.ascontiguousarray((tensor.t() if entry.name in new_names else tensor).numpy())
        graph.initializer.append(stored_tensor(array, name, stream, location))


def _set_beside(graph: GraphProto, stream: BinaryIO, location: str) -> None:
    """Store what was folded as weights are: a table of positions may be as large as one."""
    folded = list(graph.initializer)
    del graph.initializer[:]
    for tensor in folded:
        array = np.asarray(numpy_helper.to_array(tensor), order="C")  # ascontiguousarray would give a scalar an axis
        graph.initializer.append(stored_tensor(array, tensor.name, stream, location))


def _store_halves(graph: GraphProto, names: Collection[str]) -> None:
    """Store weights of these names in FP16, each with a cast behind it, which a runtime folds when it loads the graph.

    Other constants were not rounded to what FP16 holds.
    """
    casts = []
    for tensor in graph.initializer:
        halved = tensor.name in names and tensor.data_type == TensorProto.FLOAT
        if halved and math.prod(tensor.dims) >= _WORTH_HALVING:
            name = tensor.name
            array = in_half(numpy_helper.to_array(tensor), name)
            tensor.CopyFrom(numpy_helper.from_array(array, name + HALF_SUFFIX))
            casts.append(helper.make_node("Cast", [name + HALF_SUFFIX], [name], name + "/Cast", to=TensorProto.FLOAT))
    nodes = [*casts, *graph.node]
    del graph.node[:]
    graph.node.extend(nodes)
