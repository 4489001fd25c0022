"""What an INT8 form for ONNX Runtime is tied to: the kind of processor, and how large its weights may be there."""

from __future__ import annotations

import platform
from pathlib import Path

from edge_aac.bundle.manifest import Graph

LARGEST_WEIGHT, LARGEST_REDUCED_WEIGHT = 127, 63
"""Magnitudes of int8 weights; the smaller one is for processors that :func:`saturates` tells of."""

INT8_BLOCKS = "int8_blocks"
"""Precision of a graph for ONNX Runtime whose products read their weights in 8 bits, each block with a scale."""

_CPU_FLAGS = Path("/proc/cpuinfo")


def saturates() -> bool:
    """Whether int8 products saturate on this processor: x86 without VNNI."""
    try:
        flags = _CPU_FLAGS.read_text(encoding="ascii", errors="replace")
    except OSError:
        return True  # the safe choice
    return "avx" in flags and "vnni" not in flags


def largest_weight(reduced: bool | None = None) -> int:
    """Magnitude of an int8 weight; None looks at the processor that this runs on."""
    return LARGEST_REDUCED_WEIGHT if (saturates() if reduced is None else reduced) else LARGEST_WEIGHT


def built_here() -> dict[str, str]:
    """The processor's facts for the manifest of an INT8 form that is made and checked on it."""
    return {**kind_here(), "largest_weight": str(largest_weight())}


def kind_here() -> dict[str, str]:
    """The processor's kind, for the manifest of a form that saturates nowhere."""
    return {"machine": platform.machine()}


def in_8_bit_blocks(graph: Graph) -> bool:
    """Whether a graph's weights are in 8-bit blocks. Ranges of activations are found row by row, so that rows that
    share a run change nothing of one another: :attr:`edge_aac.bundle.manifest.Graph.in_int8` is of the others."""
    return graph.precision == INT8_BLOCKS


def unfit(graph: Graph) -> str | None:
    """Why a graph for ONNX Runtime, whose INT8 was proven on another processor, is not to be trusted on this one.

    What was exported runs everywhere alike. Products whose weights are in 8-bit blocks do not saturate without VNNI:
    ONNX Runtime's kernels for AVX2 add even and odd values apart, since two products are more than an int16 holds.
    """
    built = graph.built_with
    if not graph.parent_sha256:
        return None
    if "machine" not in built or ("largest_weight" not in built and not in_8_bit_blocks(graph)):
        return "does not say which processors it computes rightly on"
    if built["machine"] != platform.machine():
        return f"was built for processors of kind {built['machine']}, here is {platform.machine()}"
    if in_8_bit_blocks(graph):
        return None
    if built["largest_weight"] != str(LARGEST_REDUCED_WEIGHT) and saturates():
        return "was built for processors with VNNI, without which, as here, its INT8 sums saturate"
    return None
