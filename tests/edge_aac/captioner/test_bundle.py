"""The bundle: nothing in it is used unless the manifest vouches for it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from edge_aac.captioner.bundle import DEFAULT_BUNDLE, MANIFEST, built_in_bundles, file_sha256, open_bundle
from edge_aac.errors import DataError, InputMissingError

_FILES = {
    name: f"this is {name}".encode()
    for name in ("encoder.onnx", "decoder.onnx", "embedder.onnx", "tokenizer.json", "text_tokenizer.json")
}


def _entry(name: str) -> dict[str, Any]:
    return {"file": name, "sha256": hashlib.sha256(_FILES[name]).hexdigest()}


def _graph(name: str) -> dict[str, Any]:
    return {
        **_entry(name),
        "backend": "onnxruntime",
        "precision": "fp32",
        "shapes": {"fbank": ["windows", 998, 128]},
        "built_with": {"opset": "17"},
        "max_abs_difference": 1e-6,
    }


def _manifest() -> dict[str, Any]:
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
            "decoder": [_graph("decoder.onnx")],
            "text_embedder": [_graph("embedder.onnx")],
        },
        "quality": {},
    }


def _write(folder: Path, manifest: Any) -> str:
    folder.mkdir(exist_ok=True)
    for name, content in _FILES.items():
        (folder / name).write_bytes(content)
    (folder / MANIFEST).write_text(manifest if isinstance(manifest, str) else json.dumps(manifest), encoding="utf-8")
    return str(folder)


def _one_sentence(error: pytest.ExceptionInfo[Exception]) -> str:
    message = str(error.value)
    assert message and "\n" not in message
    return message


def test_a_good_one_opens(tmp_path: Path) -> None:
    bundle = open_bundle(_write(tmp_path / "tiny", _manifest()))
    assert bundle.manifest.name == "tiny"
    assert bundle.manifest.decoding.candidates == 6
    assert (bundle.manifest.rerank.log_likelihood, bundle.manifest.rerank.similarity) == (0.3, 0.7)
    assert sorted(file.file for file in bundle.manifest.files()) == sorted(_FILES)
    assert all(file_sha256(bundle.path(file)) == file.sha256 for file in bundle.manifest.files())


@pytest.mark.parametrize("name", sorted(_FILES))
def test_tampered_file(tmp_path: Path, name: str) -> None:
    folder = _write(tmp_path / "tiny", _manifest())
    (tmp_path / "tiny" / name).write_bytes(_FILES[name] + b"!")
    with pytest.raises(DataError, match="SHA-256") as caught:
        open_bundle(folder)
    assert name in _one_sentence(caught)


@pytest.mark.parametrize("name", sorted(_FILES))
def test_missing_file(tmp_path: Path, name: str) -> None:
    folder = _write(tmp_path / "tiny", _manifest())
    (tmp_path / "tiny" / name).unlink()
    with pytest.raises(InputMissingError, match="lacks") as caught:
        open_bundle(folder)
    assert name in _one_sentence(caught)


def _with_file(name: str) -> Callable[[dict[str, Any]], None]:
    def change(manifest: dict[str, Any]) -> None:
        manifest["graphs"]["encoder"][0]["file"] = name

    return change


@pytest.mark.parametrize("name", ["../encoder.onnx", "/etc/passwd", "a/b", "a\\b", "", ".", ".."])
def test_a_path_in_a_file_name(tmp_path: Path, name: str) -> None:
    manifest = _manifest()
    _with_file(name)(manifest)
    with pytest.raises(DataError, match=r"graphs\.encoder.*no folders"):
        open_bundle(_write(tmp_path / "tiny", manifest))


def test_a_path_in_a_tokenizer_name(tmp_path: Path) -> None:
    manifest = _manifest()
    manifest["tokenizers"]["text"]["file"] = "../tokenizer.json"
    with pytest.raises(DataError, match="no folders"):
        open_bundle(_write(tmp_path / "tiny", manifest))


@pytest.mark.parametrize("schema", ["edge-aac/bundle/2", "", None, 1])
def test_unknown_schema(tmp_path: Path, schema: object) -> None:
    with pytest.raises(DataError, match="schema") as caught:
        open_bundle(_write(tmp_path / "tiny", {**_manifest(), "schema": schema}))
    assert "edge-aac/bundle/1" in _one_sentence(caught)


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "3"])
def test_not_a_manifest(tmp_path: Path, text: str) -> None:
    with pytest.raises(DataError):
        open_bundle(_write(tmp_path / "tiny", text))


def test_not_text(tmp_path: Path) -> None:
    folder = _write(tmp_path / "tiny", _manifest())
    (tmp_path / "tiny" / MANIFEST).write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DataError, match="not JSON"):
        open_bundle(folder)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("decoding", {"temperature": 0.0}),
        ("decoding", {"top_p": 1.5}),
        ("decoding", {"candidates": 0}),
        ("decoding", {"beams": 4}),
        ("graphs", {"vocoder": []}),
        ("tokenizers", {}),
        ("window_s", "long"),
        ("extra", 1),
    ],
)
def test_wrong_fields(tmp_path: Path, field: str, value: object) -> None:
    with pytest.raises(DataError, match=field) as caught:
        open_bundle(_write(tmp_path / "tiny", {**_manifest(), field: value}))
    _one_sentence(caught)


@pytest.mark.parametrize(("field", "value"), [("window_s", 5.0), ("sample_rate", 48_000)])
def test_a_bundle_for_other_windows(tmp_path: Path, field: str, value: float) -> None:
    with pytest.raises(DataError, match="hears") as caught:
        open_bundle(_write(tmp_path / "tiny", {**_manifest(), field: value}))
    _one_sentence(caught)


def test_a_field_is_missing(tmp_path: Path) -> None:
    manifest = _manifest()
    del manifest["vocabulary_size"]
    with pytest.raises(DataError, match="vocabulary_size"):
        open_bundle(_write(tmp_path / "tiny", manifest))


@pytest.mark.parametrize("name", ["no-such-bundle", "", "/nowhere/at/all", "x" * 300, "nul\0byte"])
def test_unknown_bundle(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputMissingError) as caught:
        open_bundle(name)
    _one_sentence(caught)


def test_a_folder_without_a_manifest(tmp_path: Path) -> None:
    with pytest.raises(InputMissingError, match=MANIFEST):
        open_bundle(str(tmp_path))


def test_not_permitted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = _write(tmp_path / "tiny", _manifest())

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)  # as root every file can be read
    with pytest.raises(InputMissingError, match="permissions"):
        open_bundle(folder)


def test_the_built_in_bundle_is_whole() -> None:
    assert DEFAULT_BUNDLE in built_in_bundles()
    manifest = open_bundle(DEFAULT_BUNDLE).manifest
    assert manifest.name == DEFAULT_BUNDLE
    assert set(manifest.graphs) == {"encoder", "decoder", "text_embedder"}
    assert (manifest.sample_rate, manifest.window_s) == (16_000, 10.0)
