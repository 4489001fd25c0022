"""Bundles whose files are no graphs: enough for all that is checked before one is loaded."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from edge_aac.bundle.manifest import MANIFEST, BundleFile
from edge_aac.bundle.store import Bundle

FILES = {
    name: f"this is {name}".encode()
    for name in (
        "encoder.onnx",
        "decoder.onnx",
        "decoder.onnx.data",
        "decoder.onnx.more",
        "embedder.onnx",
        "tokenizer.json",
        "text_tokenizer.json",
    )
}


def _entry(name: str) -> dict[str, Any]:
    return {"file": name, "sha256": hashlib.sha256(FILES[name]).hexdigest()}


def _graph(name: str, *weights: str) -> dict[str, Any]:
    return {
        **_entry(name),
        **({"external_data": [_entry(weight) for weight in weights]} if weights else {}),
        "backend": "onnxruntime",
        "precision": "fp32",
        "shapes": {"fbank": ["windows", 998, 128]},
        "built_with": {"opset": "17"},
        "max_abs_difference": 1e-6,
    }


def manifest_table() -> dict[str, Any]:
    """A manifest that vouches for all of FILES."""
    return {
        "schema": "edge-aac/bundle/1",
        "name": "tiny",
        "version": "1",
        "license": "Apache-2.0",
        "attributions": [],
        "sample_rate": 16000,
        "window_s": 10.0,
        "embedding_size": 2,
        "vocabulary_size": 9,
        "decoding": {},
        "rerank": {},
        "tokenizers": {"decoder": _entry("tokenizer.json"), "text": _entry("text_tokenizer.json")},
        "graphs": {
            "encoder": [_graph("encoder.onnx")],
            "decoder": [_graph("decoder.onnx", "decoder.onnx.data", "decoder.onnx.more")],
            "text_embedder": [_graph("embedder.onnx")],
        },
        "quality": {},
    }


def write_bundle(folder: Path, manifest: Any) -> str:
    """All files and the manifest, a table or a text as it is; the folder's name."""
    folder.mkdir(exist_ok=True)
    for name, content in FILES.items():
        (folder / name).write_bytes(content)
    (folder / MANIFEST).write_text(manifest if isinstance(manifest, str) else json.dumps(manifest), encoding="utf-8")
    return str(folder)


def one_sentence(error: pytest.ExceptionInfo[Exception]) -> str:
    """The message, which must be one line."""
    message = str(error.value)
    assert message and "\n" not in message
    return message


class UncheckedBundle(Bundle):
    """A bundle with forms whose hashes are made up, for what is decided before a form is loaded."""

    def checked(self, file: BundleFile) -> Path:
        return self.path(file)
