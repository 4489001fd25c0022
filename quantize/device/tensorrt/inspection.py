"""What a TensorRT engine computes in which precision, as its inspector tells: the only proof that INT8 is used.

The inspector's JSON differs between versions and is documented by example only; of those examples this reads what all
have: a layer's name, its inputs with a format, and the ONNX nodes that it was made of ("Metadata", else the name).
Never tried on the output of a real engine.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from edge_aac.errors import DataError

LARGE_SIDE = 32
"""A product is large where both sides of its weights are: as for what is quantised (`quantize/graphs/layers.py`)."""

_MATRIX_AXES = 2
# Whatever stands between a constant and the product that takes it.
_BETWEEN = {"QUANTIZE", "DEQUANTIZE", "SHUFFLE", "CAST", "IDENTITY"}
# What the compiler behind TensorRT puts behind the names of the layers that it makes.
_NUMBERED = re.compile(r"_myl\d+_\d+")
_PRODUCTS = {"MATRIX_MULTIPLY", "CONVOLUTION"}
# In this order: "Int8" in a description of several types decides, and "Half" is in no other's name.
_PRECISIONS = (
    ("INT8", r"int8|\bi8\b"),
    ("FP8", r"fp8"),
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
    """

    precisions: dict[str, int]
    int8_matmuls: tuple[int, int]


def summary(information: str, large: Sequence[str]) -> PlanSummary:
    """Read the inspector's answer.

    Args:
        information: JSON of a whole engine, built with detailed profiling verbosity.
        large: ONNX names of the products that count, from :func:`large_products`.

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
    in_int8 = set().union(*(_made_of(layer, large) for layer in layers if _precision(layer) == "INT8"))
    return PlanSummary(dict(precisions.most_common()), (len(in_int8), len(large)))


def _precision(layer: dict[str, Any]) -> str:
    """Of what a layer takes: it decides which arithmetic is done; a layer without inputs is told by what it gives."""
    for side in ("Inputs", "Outputs"):
        text = " ".join(_formats(layer.get(side) or []))
        for precision, pattern in _PRECISIONS:
            if re.search(pattern, text, re.IGNORECASE):
                return precision
    return "unknown"


def _formats(tensors: Any) -> Iterator[str]:
    for tensor in tensors:
        if isinstance(tensor, dict):
            yield from (str(value) for key, value in tensor.items() if re.search("format|datatype", key, re.IGNORECASE))


def _made_of(layer: dict[str, Any], names: Sequence[str]) -> set[str]:
    """Which of these ONNX nodes a layer was made of: as whole words, for one name may begin another."""
    origin = str(layer.get("Metadata") or "") or str(layer.get("Name", ""))
    nodes = set(re.findall(r"\[ONNX Layer: ([^\]]*)\]", origin))
    if nodes:
        return nodes & set(names)
    origin = _NUMBERED.sub("", origin)
    return {name for name in names if re.search(rf"(?<![\w/.]){re.escape(name)}(?![\w/.])", origin)}


def large_products(network: Any) -> list[str]:
    """ONNX names of the matrix products and convolutions with large constant weights in an ``INetworkDefinition``."""
    layers = [network.get_layer(index) for index in range(network.num_layers)]
    made_by = {layer.get_output(index).name: layer for layer in layers for index in range(layer.num_outputs)}
    found = []
    for layer in layers:
        if layer.type.name in _PRODUCTS and any(_is_large(shape) for shape in _weights(layer, made_by)):
            found.append(_onnx_name(layer))
    return found


def _onnx_name(layer: Any) -> str:
    node = re.search(r"\[ONNX Layer: ([^\]]*)\]", layer.metadata or "")
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
