"""The INT8 form of a text tower that Hugging Face's optimum makes (`ORTQuantizer`): dynamic, a scale for each channel.

optimum stands on torch, which a board need not have: this module imports it when it is asked for the form, and where it
is missing says so. Ranges that are measured beforehand make its form slower and less alike (docs/performance.md), so
there is no static one.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import onnx

from edge_aac.bundle.manifest import GraphRole
from edge_aac.engines.processor import saturates

TEXT_TOWERS: frozenset[GraphRole] = frozenset({"text_embedder", "prompt_encoder"})
"""Graphs that are plain transformers over tokens."""


def optimum_version() -> str | None:
    """The version of optimum-onnx that is installed; None where it, or what it stands on, is not."""
    from importlib.metadata import PackageNotFoundError, version

    try:
        # Its packages import what they hold when that is asked for; older transformers raise RuntimeError then.
        from optimum.onnxruntime import ORTQuantizer  # noqa: F401

        return version("optimum-onnx")
    except (ImportError, RuntimeError, PackageNotFoundError):
        return None


def optimum_int8(parent: Path, output: Path) -> list[Path]:
    """Quantise the matrix products and token tables of a graph.

    Args:
        parent: the fp32 graph.
        output: the file to write.

    Returns:
        The files written: ``output``, and ``output`` + ".data" where the parent's weights lie beside it.

    Raises:
        ImportError: optimum is not installed.
    """
    from onnxruntime.quantization import QuantFormat, QuantizationMode, QuantType
    from optimum.onnxruntime import ORTQuantizer
    from optimum.onnxruntime.configuration import QuantizationConfig
    from transformers import PretrainedConfig

    settings = QuantizationConfig(
        is_static=False,
        format=QuantFormat.QOperator,
        mode=QuantizationMode.IntegerOps,
        activations_dtype=QuantType.QUInt8,
        weights_dtype=QuantType.QInt8,
        weights_symmetric=True,
        per_channel=True,
        reduce_range=saturates(),
        operators_to_quantize=["MatMul", "Gemm", "Gather"],
    )
    beside = parent.with_name(f"{parent.name}.data").is_file()
    with tempfile.TemporaryDirectory(dir=output.parent) as folder:
        # An empty configuration: the quantiser only copies it, and would look for one beside the graph.
        quantizer = ORTQuantizer(parent, config=PretrainedConfig())
        quantizer.quantize(settings, folder, file_suffix=None, use_external_data_format=beside)
        (made,) = Path(folder).glob("*.onnx")
        if not beside:
            made.replace(output)
            return [output]
        weights = output.with_name(f"{output.name}.data")
        _relocated(made, weights.name, output)
        made.with_name(f"{made.name}.data").replace(weights)
        return [output, weights]


def _relocated(path: Path, weights: str, output: Path) -> None:
    """Write a graph again with its weights in a file of another name beside it."""
    model = onnx.load(str(path), load_external_data=False)
    for tensor in _tensors(model.graph):
        for entry in tensor.external_data:
            if entry.key == "location":
                entry.value = weights
    output.write_bytes(model.SerializeToString())


def _tensors(graph: onnx.GraphProto) -> Iterator[onnx.TensorProto]:
    """Weights and constants; ONNX Runtime's quantiser puts large ones of both into the file beside the graph."""
    yield from graph.initializer
    for attribute in (attribute for node in graph.node for attribute in node.attribute):
        yield from (attribute.t, *attribute.tensors)
        for inner in (attribute.g, *attribute.graphs):
            yield from _tensors(inner)
