"""What a manifest says of a graph, beside what the graph itself declares."""

from __future__ import annotations

from edge_aac.bundle.manifest import MANIFEST, Graph, GraphRole
from edge_aac.bundle.onnx_file import FLOAT16, read_contents
from edge_aac.bundle.store import Bundle
from edge_aac.engines.contract import ONNX_RUNTIME, GraphDescription
from edge_aac.engines.processor import in_8_bit_blocks
from edge_aac.errors import DataError

_IN_BLOCKS = "MatMulNBits"
_QUANTISED = ("Quantize", "Dequantize", "Integer", "QLinear", "QGemm", "QAttention", _IN_BLOCKS)
"""Parts of the names of operators that compute with integers, or keep them, (ONNX, and com.microsoft's)."""


def check_form(bundle: Bundle, role: GraphRole, graph: Graph, description: GraphDescription) -> None:
    """Refuse a graph whose shapes or precision the manifest states otherwise than the file has them.

    A manifest without any shapes states nothing of them. Of the precision is seen whether there is arithmetic in
    integers, and whether there are FP16 numbers; what FP16 weights are computed in cannot be seen, nor anything of a
    TensorRT plan: hashes vouch for those.

    Args:
        bundle: bundle that holds the graph.
        role: role of the graph.
        graph: form that was loaded.
        description: what the loaded file declares.

    Raises:
        DataError: they contradict each other.
    """
    _check_shapes(bundle, role, graph, description)
    if graph.backend == ONNX_RUNTIME:
        _check_precision(bundle, role, graph)


def _check_shapes(bundle: Bundle, role: GraphRole, graph: Graph, description: GraphDescription) -> None:
    declared = {**description.inputs, **description.outputs}
    if graph.shapes:
        for name in sorted(graph.shapes.keys() - declared.keys()):
            raise _contradiction(bundle, role, graph, f"shapes names {name}", f"has no {name}")
        for name in sorted(declared.keys() - graph.shapes.keys()):
            raise _contradiction(bundle, role, graph, f"shapes has no {name}", f"has a {name}")
    for name, stated in graph.shapes.items():
        shape = declared[name].shape
        exact = graph.backend == ONNX_RUNTIME and name in description.inputs
        agree = _same if exact else _compatible
        if len(stated) != len(shape) or not all(map(agree, stated, shape)):
            raise _contradiction(bundle, role, graph, f"shapes.{name} is {stated}", f"has {list(shape)}")


def _same(stated: int | str, size: int | str | None) -> bool:
    """Whether an axis of an input is as stated: a manifest has what was in the ONNX file."""
    return stated == size or (stated == 0 and size is None)


def _compatible(stated: int | str, size: int | str | None) -> bool:
    """Whether an axis of an output, or of a plan, can be what is stated.

    ONNX Runtime infers sizes of outputs that the file leaves open, and a plan may be built for one size.
    """
    return not isinstance(size, int) or not isinstance(stated, int) or stated in {0, size}


def _check_precision(bundle: Bundle, role: GraphRole, graph: Graph) -> None:
    contents = read_contents(bundle.path(graph))
    integers = sorted(name for name in contents.operators if any(part in name for part in _QUANTISED))
    stated = f"precision is {graph.precision!r}"
    if integers and "int" not in graph.precision:
        raise _contradiction(bundle, role, graph, stated, f"computes with integers ({integers[0]})")
    if graph.in_int8 and not integers:
        raise _contradiction(bundle, role, graph, stated, "computes with no integers")
    if in_8_bit_blocks(graph) and _IN_BLOCKS not in contents.operators:
        raise _contradiction(bundle, role, graph, stated, "holds no weights in blocks")
    if "fp16" in graph.precision.split("+") and FLOAT16 not in contents.tensor_types:
        raise _contradiction(bundle, role, graph, stated, "holds no FP16 numbers")


def _contradiction(bundle: Bundle, role: GraphRole, graph: Graph, stated: str, found: str) -> DataError:
    mend = f"run `{bundle.build_command}`" if graph.parent_sha256 else "install or export the bundle again"
    return DataError(
        f"{MANIFEST} of the bundle {bundle.manifest.name!r} contradicts its graph {graph.file}: "
        f"graphs.{role} says that {stated}, the file {found}: {mend}"
    )
