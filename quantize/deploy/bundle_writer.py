"""A bundle on disk: written beside its place, each graph through the gate, moved there when all is well."""

from __future__ import annotations

import errno
import json
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import onnx
import torch
import transformers
from tokenizers import Tokenizer

from edge_aac.audio.source import SAMPLE_RATE
from edge_aac.captioner.bundle import file_sha256
from edge_aac.captioner.manifest import MANIFEST, SCHEMA, WINDOW_S, Manifest, read_manifest
from edge_aac.errors import DataError, DeviceError
from quantize.deploy.build_places import bundle_at
from quantize.deploy.card import ATTRIBUTIONS, CARD
from quantize.deploy.graphs import GraphSpec
from quantize.deploy.onnx_writer import OPSET, release_memory, write_onnx
from quantize.deploy.verify import gate, max_abs_difference, parent_outputs

Report = Callable[[str], None]

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


@contextmanager
def staged_bundle(output: Path) -> Iterator[Path]:
    """An empty folder that becomes ``output`` at the end of the block; if the block fails, nothing changes.

    Raises:
        DataError: something else than a bundle stands there.
        DeviceError: it cannot be written (a full disk, permissions).
    """
    output = output.resolve()  # a link stays one, and "." has a name
    check_output(output)
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        scratch = tempfile.TemporaryDirectory(dir=output.parent, prefix=f".{output.name}.")
    except OSError as error:
        raise DeviceError(f"cannot write in {output.parent} ({error.strerror}): give another --output") from error
    with scratch:
        folder = Path(scratch.name) / output.name
        folder.mkdir()
        try:
            yield folder
        except OSError as error:
            if error.errno not in _FULL:
                raise
            raise DeviceError(f"no room for the bundle in {output.parent}: give another --output") from error
        if output.exists():
            shutil.rmtree(output)
        folder.rename(output)


def check_output(output: Path) -> None:
    """Refuse to replace anything but a bundle.

    Raises:
        DataError: something else stands there, or files that neither export nor build-engine writes lie in the bundle.
    """
    names = bundle_at(output)
    if not names:
        return
    written = {MANIFEST, CARD, ATTRIBUTIONS, *(file.file for file in read_manifest(output / MANIFEST).files())}
    if strangers := sorted(names - written):
        raise DataError(f"{output} holds {strangers[0]}, which is no part of its bundle: move it away first")


def export_graph(role: str, make_spec: Callable[[], GraphSpec], folder: Path, report: Report) -> dict[str, Any]:
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
    report(f"{role}: max abs difference from torch {difference:.2e}, {size / 1e6:.2f} MB")
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
    """What every manifest says; writes the two tokenizers that it vouches for."""
    tokenizers = {}
    for role, name, tokenizer in (("decoder", "tokenizer.json", decoder), ("text", "text_tokenizer.json", text)):
        tokenizer.save(str(folder / name))
        tokenizers[role] = {"file": name, "sha256": file_sha256(folder / name)}
    return {"schema": SCHEMA, "sample_rate": SAMPLE_RATE, "window_s": WINDOW_S, "tokenizers": tokenizers}


def write_manifest(folder: Path, manifest: Mapping[str, Any]) -> None:
    """``manifest.json``, validated as the runtime will."""
    Manifest.model_validate(manifest)
    (folder / MANIFEST).write_text(json.dumps(manifest, indent=1) + "\n", encoding="utf-8")
