"""Explicit INT8 → explicit FP8 (E4M3), for GPUs whose tensor cores multiply it: Ada, Hopper, Blackwell, Thor.

The pairs stay where INT8 has them; only their numbers change. E4M3 has a sign, 4 bits of exponent and 3 of mantissa and
ends at 448 (ONNX's FLOAT8E4M3FN, opset 19), so a range that INT8 spreads over 127 steps is spread over 448 here. No
TensorRT was at hand to try; ONNX Runtime gives the numbers.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import onnx
from onnx import NodeProto, TensorProto, helper, numpy_helper

from edge_aac.engines.tensor_rt.engine import GpuIdentity
from quantize.graphs.layers import exact_in_half
from quantize.graphs.onnx_file import OnnxFile

FP8_SINCE = (8, 9)
"""Compute capability from which tensor cores take E4M3: Ada's. Orin has 8.7, Thor 11.0 (10.1 until CUDA 13)."""

E4M3_LARGEST = 448.0
_INT8_LARGEST = 127.0
_PAIR = ("QuantizeLinear", "DequantizeLinear")


def has_fp8(gpu: GpuIdentity) -> bool:
    """Whether the GPU multiplies E4M3, by its architecture ("sm_87": 8.7, "sm_110": 11.0)."""
    numbers = re.fullmatch(r"sm_(\d+)(\d)", gpu.architecture)
    return numbers is not None and (int(numbers[1]), int(numbers[2])) >= FP8_SINCE


def to_fp8(path: Path) -> int:
    """Turn the pairs of a file that :func:`quantize.graphs.int8.explicit_int8` wrote into E4M3, in its place.

    Every scale becomes one number, scale × 127 / 448, of weights that of the widest channel: TensorRT's notes name
    scales for each channel for FP8 products of Hopper (10.6) and Ada (10.7) alone, and E4M3, a floating-point format,
    loses little by one scale.

    Args:
        path: the file; its weights may lie beside it.

    Returns:
        The number of tensors that are quantised.
    """
    scales = OnnxFile(path).weights
    model = onnx.load(str(path), load_external_data=False)
    added: dict[str, TensorProto] = {}
    for node in model.graph.node:
        if node.op_type in _PAIR:
            _rewrite(node, np.asarray(scales[node.input[1]]()), added)
    used = {name for node in model.graph.node for name in node.input}
    kept = [tensor for tensor in model.graph.initializer if tensor.name in used]
    del model.graph.initializer[:]
    model.graph.initializer.extend([*kept, *added.values()])
    path.write_bytes(model.SerializeToString())
    onnx.checker.check_model(str(path))
    return sum(name.endswith(_ZERO) for name in added)


_SCALE, _ZERO = "/e4m3_scale", "/e4m3_zero_point"


def _rewrite(node: NodeProto, scale: np.ndarray, added: dict[str, TensorProto]) -> None:
    whole = exact_in_half(float(scale.max()) * _INT8_LARGEST / E4M3_LARGEST).astype(scale.dtype)
    scale_name, zero_name = f"{node.input[1]}{_SCALE}", f"{node.input[1]}{_ZERO}"
    added[scale_name] = numpy_helper.from_array(whole.reshape(()), scale_name)
    # Raw, for older versions of onnx have no NumPy type for it; 0 is 0 in it.
    added[zero_name] = helper.make_tensor(zero_name, TensorProto.FLOAT8E4M3FN, [], b"\0", raw=True)
    del node.input[1:]
    node.input.extend([scale_name, zero_name])
    for stated in [each for each in node.attribute if each.name == "axis"]:
        node.attribute.remove(stated)
