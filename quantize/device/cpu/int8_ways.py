"""What of a graph may become INT8 on a processor, and in which order less of it is tried."""

from __future__ import annotations

from pathlib import Path

from quantize.graphs.calibration import GraphCalibration
from quantize.graphs.cpu_int8 import convolutions_in_int8
from quantize.graphs.front_end import front_end
from quantize.graphs.layers import quantisable_layers
from quantize.graphs.onnx_file import OnnxFile


def has_products(path: Path, known: GraphCalibration | None) -> bool:
    """Whether the INT8 form of a graph would compute anything in integers."""
    file = OnnxFile(path)
    keep = {*front_end(file), *(known.keep if known else ())}
    if known and convolutions_in_int8(file, known.ranges, keep):
        return True
    return any(layer.kind != "Conv" and layer.name not in keep for layer in quantisable_layers(file))


def int8_ways(path: Path, known: GraphCalibration | None) -> list[tuple[GraphCalibration | None, str]]:
    """How a graph is quantised, the fastest way first, and what the way leaves in fp32.

    The first convolution computes least and its noise goes through all others, so it is the first to be left out; then
    twice as many each time.
    """
    if known is None or not known.ranges:
        return [(None, "its convolutions")]
    taken = [layer.activation for layer in convolutions_in_int8(OnnxFile(path), known.ranges, known.keep)]
    ways: list[tuple[GraphCalibration | None, str]] = [(known, "nothing")]
    count = 1
    while count < len(taken):
        others = {tensor: limits for tensor, limits in known.ranges.items() if tensor not in taken[:count]}
        left = "the first" if count == 1 else f"the first {count}"
        ways.append((known.model_copy(update={"ranges": others}), f"{left} of its convolutions"))
        count *= 2
    return [*ways, (None, "its convolutions")]
