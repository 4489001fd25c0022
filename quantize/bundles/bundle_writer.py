"""A bundle on disk: written beside its place, each graph through the gate, moved there when all is well."""

from __future__ import annotations

import errno
import fcntl
import glob
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import onnx
import torch
import transformers
from pydantic import ValidationError
from tokenizers import Tokenizer

from edge_aac.bundle.hashes import file_sha256
from edge_aac.bundle.manifest import MANIFEST, SCHEMA, WINDOW_S, parse_manifest, read_manifest
from edge_aac.errors import DataError, DeviceError, first_complaint
from edge_aac.timebase import SAMPLE_RATE
from quantize.bundles.onnx_writer import OPSET, release_memory, write_onnx
from quantize.bundles.verify import gate, max_abs_difference, parent_outputs
from quantize.files import ATTRIBUTIONS, CARD, bundle_at
from quantize.models.graph_modules import GraphSpec
from quantize.progress import Log

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_OLD, _LOCK = ".old", ".lock"
"""How names end, in a scratch folder, of what lies there beside the new bundle."""


@contextmanager
def staged_bundle(output: Path) -> Iterator[Path]:
    """An empty folder that becomes ``output`` at the end of the block; if the block fails, nothing changes.

    Raises:
        DataError: something else than a bundle stands there.
        DeviceError: it cannot be written (a full disk, permissions).
    """
    output = output.resolve()  # a link stays one, and "." has a name
    with ExitStack() as stack:
        try:
            output.parent.mkdir(parents=True, exist_ok=True)
            _sweep(output)
            check_output(output)
            temporary = tempfile.TemporaryDirectory(dir=output.parent, prefix=f".{output.name}.")
            scratch = Path(stack.enter_context(temporary))
            stack.enter_context(_held(scratch / f"{output.name}{_LOCK}"))
        except OSError as error:
            raise DeviceError(f"cannot write in {output.parent} ({error.strerror}): give another --output") from error
        folder = scratch / output.name
        folder.mkdir()
        try:
            yield folder
        except OSError as error:
            if error.errno not in _FULL:
                raise
            raise DeviceError(f"no room for the bundle in {output.parent}: give another --output") from error
        _replace(output, folder, scratch / f"{output.name}{_OLD}")


def _replace(output: Path, folder: Path, old: Path) -> None:
    """Move a bundle to its place; what lies there is moved to ``old``, and back where that ends half way.

    Raises:
        DeviceError: what lies there cannot be moved (it is a mount point).
    """
    try:
        if output.exists():
            output.rename(old)
        folder.rename(output)
    except BaseException as error:
        _move_back(output, old)
        if isinstance(error, OSError):
            raise DeviceError(f"{output} cannot be replaced ({error.strerror}): give another --output") from error
        raise


def _move_back(output: Path, old: Path) -> None:
    if old.is_dir() and not output.exists():
        old.rename(output)


@contextmanager
def _held(lock: Path) -> Iterator[None]:
    """A lock that goes with the process that holds it; the file has its name once it is held."""
    with lock.with_name(f"{lock.name}.new").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        os.rename(file.name, lock)
        yield


def _sweep(output: Path) -> None:
    """Remove the scratch folders that killed processes left; a bundle that was about to be replaced goes back."""
    for lock in output.parent.glob(f".{glob.escape(output.name)}.*/{glob.escape(output.name)}{_LOCK}"):
        try:
            file = lock.open()
        except OSError:
            continue  # another user's
        with file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                continue
            _move_back(output, lock.with_name(f"{output.name}{_OLD}"))
            shutil.rmtree(lock.parent, ignore_errors=True)


def check_output(output: Path) -> None:
    """Refuse to replace anything but a bundle.

    Raises:
        DataError: something else stands there, or files that neither export nor build-engine writes lie in the bundle.
    """
    names = bundle_at(output)
    if not names:
        return
    written = {MANIFEST, CARD, ATTRIBUTIONS, *(file.file for file in read_manifest(output / MANIFEST).files())}
    if other_files := sorted(names - written):
        raise DataError(f"{output} holds {other_files[0]}, which is no part of its bundle: move it away first")


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
