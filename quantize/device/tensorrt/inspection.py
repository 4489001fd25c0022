"""What a TensorRT engine computes in which precision, as its inspector tells: the only proof that INT8 is used.

The inspector's JSON differs between versions and is documented by example only; of those examples this reads what all
have: a layer's name, its inputs with a format, and the ONNX nodes that it was made of ("Metadata", else the name).
Never tried on the output of a real engine.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from edge_aac.errors import DataError

LARGE_SIDE = 32
"""A product is large where both sides of its weights are: as for what is quantised (`quantize/graphs/layers.py`)."""

_MATRIX_AXES = 2
# Whatever stands between a constant and the product that takes it.
_BETWEEN = {"QUANTIZE", "DEQUANTIZE", "SHUFFLE", "SQUEEZE", "UNSQUEEZE", "CAST", "IDENTITY"}
# Newer importers name the product's node in the metadata of what they put around it, too; these only move numbers.
_MOVES = re.compile(r"reformat|shuffle|squeeze|transpose|copy|cast|no_?op|constant|identity", re.IGNORECASE)
# What the compiler behind TensorRT puts behind the names of the layers that it makes.
_NUMBERED = re.compile(r"_myl\d+_\d+")
_ONNX_NODE = r"\[ONNX Layer: ([^\]]*)\]"
_PRODUCTS = {"MATRIX_MULTIPLY", "CONVOLUTION"}
# How kernels are named that multiply INT8 or FP8, whatever their first input is stored as.
_TACTICS = {
    "INT8": re.compile(r"(?<![a-z0-9])(?:int8|[is]8)(?![a-z0-9])|[is]8[is]8|imma", re.IGNORECASE),
    "FP8": re.compile(r"fp8|e4m3|qgmma", re.IGNORECASE),
}
# In this order: "Int8" in a description of several types decides, and "Half" is in no other's name.
_PRECISIONS = (
    ("INT8", r"int8|\bi8\b"),
    ("FP8", r"fp8|float8|e4m3"),
    ("BF16", r"bf16|bfloat16"),
    ("FP16", r"fp16|half"),
    ("FP32", r"fp32|float"),
    ("INT64", r"int64"),
    ("INT32", r"int32"),
    ("BOOL", r"bool"),
)


@dataclass(frozen=True)
class PlanSummary:
    """What an engine's layers are.

    Attributes:
        precisions: precision → number of layers.
        int8_matmuls: large matrix products and convolutions that run in INT8, and how many there are.
        fp8_matmuls: the same in FP8.
    """

    precisions: dict[str, int]
    int8_matmuls: tuple[int, int]
    fp8_matmuls: tuple[int, int] = (0, 0)


def summary(information: str, large: Mapping[str, Collection[str]]) -> PlanSummary:
    """Read the inspector's answer.

    Args:
        information: JSON of a whole engine, built with detailed profiling verbosity.
        large: ONNX names of the products that count, with the names of their layers, from :func:`large_products`.

    Raises:
        DataError: it is not what any known version gives.
    """
    try:
        layers = json.loads(information)["Layers"]
    except (json.JSONDecodeError, KeyError, TypeError) as error:
        raise DataError("TensorRT's inspector gave no list of layers: report its version with the log") from error
    if not all(isinstance(layer, dict) for layer in layers):
        raise DataError("TensorRT's inspector gave names alone: the engine was built without detailed profiling")
    precisions = Counter(_precision(layer) for layer in layers)
    narrow = {
        precision: set().union(*(_made_of(layer, large) for layer in layers if _multiplies_in(layer, precision)))
        for precision in _TACTICS
    }
    return PlanSummary(
        dict(precisions.most_common()), (len(narrow["INT8"]), len(large)), (len(narrow["FP8"]), len(large))
    )


def _precision(layer: dict[str, Any]) -> str:
    """Of what a layer takes: it decides which arithmetic is done; a layer without inputs is told by what it gives."""
    for side in ("Inputs", "Weights", "Outputs"):
        text = " ".join(_formats(layer.get(side) or []))
        for precision, pattern in _PRECISIONS:
            if re.search(pattern, text, re.IGNORECASE):
                return precision
    return "unknown"


def _multiplies_in(layer: dict[str, Any], precision: str) -> bool:
    """Whether a layer may be a product in INT8 or FP8: by what it takes, its weights, or its kernel's name.

    What it gives proves nothing: an FP16 product may end with the quantisation that the next one wants.
    """
    if _MOVES.search(str(layer.get("LayerType", ""))):
        return False
    pattern = dict(_PRECISIONS)[precision]
    taken = " ".join([*_formats(layer.get("Inputs") or []), *_formats(layer.get("Weights") or [])])
    if re.search(pattern, taken, re.IGNORECASE):
        return True
    return _TACTICS[precision].search(str(layer.get("TacticName", ""))) is not None


def _formats(tensors: Any) -> Iterator[str]:
    """Formats and types of tensors; weights that a layer holds are a table of their own, with a "Type"."""
    if isinstance(tensors, dict):
        yield str(tensors.get("Type", ""))
        return
    for tensor in tensors:
        if isinstance(tensor, dict):
            yield from (str(value) for key, value in tensor.items() if re.search("format|datatype", key, re.IGNORECASE))


def _made_of(layer: dict[str, Any], names: Mapping[str, Collection[str]]) -> set[str]:
    """Which of these ONNX nodes a layer was made of: by the nodes that its metadata name, else by the names in it.

    Names count as whole words, for one may begin another, and a layer that was renamed on the way is looked for by its
    name in the network as well.
    """
    metadata = str(layer.get("Metadata") or "")
    if nodes := set(re.findall(_ONNX_NODE, metadata)) & set(names):
        return nodes
    origin = _NUMBERED.sub("", f"{metadata} {layer.get('Name', '')}")
    return {
        name
        for name, others in names.items()
        if any(re.search(rf"(?<![\w/.]){re.escape(known)}(?![\w/.])", origin) for known in {name, *others} if known)
    }


def large_products(network: Any) -> dict[str, list[str]]:
    """The matrix products and convolutions with large constant weights in an ``INetworkDefinition``.

    Returns:
        ONNX name → names of the layers that the importer made of it.
    """
    layers = [network.get_layer(index) for index in range(network.num_layers)]
    made_by = {layer.get_output(index).name: layer for layer in layers for index in range(layer.num_outputs)}
    found: dict[str, list[str]] = {}
    for layer in layers:
        if layer.type.name in _PRODUCTS and any(_is_large(shape) for shape in _weights(layer, made_by)):
            found.setdefault(_onnx_name(layer), []).append(str(layer.name))
    return found


def _onnx_name(layer: Any) -> str:
    node = re.search(_ONNX_NODE, layer.metadata or "")
    return node[1] if node else str(layer.name)


def _weights(layer: Any, made_by: dict[str, Any]) -> Iterator[tuple[int, ...]]:
    """Shapes of the constants that a product takes; TensorRT keeps a convolution's as an input where it has Q/DQ."""
    for index in range(layer.num_inputs):
        tensor = layer.get_input(index)
        while tensor is not None and (maker := made_by.get(tensor.name)) is not None:
            if maker.type.name == "CONSTANT":
                yield tuple(tensor.shape)
            tensor = maker.get_input(0) if maker.type.name in _BETWEEN else None


def _is_large(shape: tuple[int, ...]) -> bool:
    if len(shape) < _MATRIX_AXES:
        return False
    whole = 1
    for size in shape:
        whole *= size
    # A matrix may come with leading axes of 1; a convolution has its output channels first.
    channels = shape[0] if len(shape) > _MATRIX_AXES and shape[0] > 1 else shape[-1]
    return min(channels, whole // max(channels, 1)) >= LARGE_SIDE
