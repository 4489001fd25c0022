"""An fp32 graph made ready for TensorRT, before its types change: the function is the same, what is built of it faster.

Constants are folded, batch norms go into the products before them, one-dimensional convolutions become products or
two-dimensional, and attention is written as TensorRT fuses it. Tensors that others than these nodes know keep their
names; of the others, :class:`Prepared` says what they were.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from quantize.graphs.attention import scale_queries
from quantize.graphs.batch_norms import fold_batch_norms
from quantize.graphs.convolutions import reshape_convolutions
from quantize.graphs.folding import drop_needless_casts, fold_constants
from quantize.graphs.layers import Ranges
from quantize.graphs.onnx_file import OnnxFile


@dataclass(frozen=True)
class Prepared:
    """What a calibration of the graph as it was means for the graph as it is.

    Attributes:
        activations: tensor → tensor of the parent that holds the same numbers.
        nodes: node of the parent → nodes that give its result now.
    """

    activations: dict[str, str]
    nodes: dict[str, list[str]]

    def ranges(self, ranges: Ranges) -> Ranges:
        """Ranges of the parent's tensors → the same, and those of tensors that hold the same numbers."""
        known = dict(ranges)
        for name, origin in self.activations.items():
            if origin in known:
                known.setdefault(name, known[origin])
        return known

    def names(self, names: Collection[str]) -> set[str]:
        """Names of the parent's nodes → the same, and those of the nodes that came into their place."""
        known = set(names)
        for name, others in self.nodes.items():
            if name in known:
                known |= set(others)
        return known


def prepare(file: OnnxFile) -> Prepared:
    """Make a graph ready, in place.

    Raises:
        DataError: ONNX Runtime cannot compute a constant.
    """
    fold_constants(file)
    drop_needless_casts(file)
    merged = fold_batch_norms(file)
    reshaped = reshape_convolutions(file)
    scale_queries(file)
    return Prepared(reshaped.activations, {**merged, **reshaped.nodes})
