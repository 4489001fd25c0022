"""What a bundle holds, written: each graph through the gate, its tokenizers and its manifest."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import onnx
import torch
import transformers
from pydantic import ValidationError
from tokenizers import Tokenizer

from edge_aac.bundle.hashes import file_sha256
from edge_aac.bundle.manifest import MANIFEST, SCHEMA, WINDOW_S, parse_manifest
from edge_aac.errors import DataError, first_complaint
from edge_aac.timebase import SAMPLE_RATE
from quantize.bundles.onnx_writer import OPSET, release_memory, write_onnx
from quantize.bundles.verify import gate, max_abs_difference, parent_outputs
from quantize.models.graph_modules import GraphSpec
from quantize.progress import Log


def export_graph(role: str, make_spec: Callable[[], GraphSpec], folder: Path, log: Log) -> dict[str, Any]:
    """Write one graph, gate it, and describe it for the manifest.

    The module is made here and dropped before ONNX Runtime loads the file, so the two are not in memory together.
    """
    path = folder / f"{role}.fp32.onnx"
    spec = make_spec()
    weights = write_onnx(spec, path)[1:]
    expected, checks = parent_outputs(spec), spec.checks
    del spec
    release_memory()
    difference = max_abs_difference(path, checks, expected)
    size = sum(file.stat().st_size for file in (path, *weights))
    log(f"{role}: max abs difference from torch {difference:.2e}, {size / 1e6:.2f} MB")
    gate(role, difference)
    release_memory()
    graph = onnx.load(str(path), load_external_data=False).graph
    return {
        "file": path.name,
        "sha256": file_sha256(path),
        "backend": "onnxruntime",
        "precision": "fp32",
        "shapes": {
            entry.name: [axis.dim_param or axis.dim_value for axis in entry.type.tensor_type.shape.dim]
            for entry in (*graph.input, *graph.output)
        },
        "built_with": {"torch": torch.__version__, "transformers": transformers.__version__, "opset": str(OPSET)},
        "max_abs_difference": float(f"{difference:.3g}"),
        "external_data": [{"file": file.name, "sha256": file_sha256(file)} for file in weights],
    }


def common_entries(folder: Path, decoder: Tokenizer, text: Tokenizer) -> dict[str, Any]:
    """The entries that every manifest has; writes the two tokenizers that it vouches for."""
    tokenizers = {}
    for role, name, tokenizer in (("decoder", "tokenizer.json", decoder), ("text", "text_tokenizer.json", text)):
        tokenizer.save(str(folder / name))
        tokenizers[role] = {"file": name, "sha256": file_sha256(folder / name)}
    return {"schema": SCHEMA, "sample_rate": SAMPLE_RATE, "window_s": WINDOW_S, "tokenizers": tokenizers}


def write_manifest(folder: Path, manifest: Mapping[str, Any]) -> None:
    """``manifest.json``, validated as the runtime will.

    Raises:
        DataError: the runtime would refuse it.
    """
    try:
        parse_manifest(manifest)
    except ValidationError as error:
        raise DataError(f"the bundle's manifest is unusable: {first_complaint(error)}") from error
    (folder / MANIFEST).write_text(json.dumps(manifest, indent=1) + "\n", encoding="utf-8")
