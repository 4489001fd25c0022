"""The bundle: nothing in it is used unless the manifest vouches for it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from edge_aac.bundle.hashes import file_sha256
from edge_aac.bundle.manifest import MANIFEST, DecodingRules, Seq2SeqManifest
from edge_aac.bundle.store import DEFAULT_BUNDLE, built_in_bundles, check_all, open_bundle
from edge_aac.errors import DataError, InputMissingError
from tests.edge_aac.bundle.bundle_folder import FILES, manifest_table, one_sentence, write_bundle


def test_a_good_one_opens(tmp_path: Path) -> None:
    bundle = open_bundle(write_bundle(tmp_path / "tiny", manifest_table()))
    assert bundle.manifest.name == "tiny"
    assert bundle.manifest.decoding.candidates == 6
    assert (bundle.manifest.rerank.log_likelihood, bundle.manifest.rerank.similarity) == (0.3, 0.7)
    assert sorted(file.file for file in bundle.manifest.files()) == sorted(FILES)
    assert all(file_sha256(bundle.path(file)) == file.sha256 for file in bundle.manifest.files())


@pytest.mark.parametrize("name", sorted(FILES))
def test_tampered_file(tmp_path: Path, name: str) -> None:
    folder = write_bundle(tmp_path / "tiny", manifest_table())
    (tmp_path / "tiny" / name).write_bytes(FILES[name] + b"!")
    with pytest.raises(DataError, match="SHA-256") as caught:
        check_all(open_bundle(folder))
    assert name in one_sentence(caught)


@pytest.mark.parametrize("name", sorted(FILES))
def test_missing_file(tmp_path: Path, name: str) -> None:
    folder = write_bundle(tmp_path / "tiny", manifest_table())
    (tmp_path / "tiny" / name).unlink()
    with pytest.raises(InputMissingError, match="lacks") as caught:
        open_bundle(folder)
    assert name in one_sentence(caught)


def _with_file(name: str) -> Callable[[dict[str, Any]], None]:
    def change(manifest: dict[str, Any]) -> None:
        manifest["graphs"]["encoder"][0]["file"] = name

    return change


@pytest.mark.parametrize("name", ["../encoder.onnx", "/etc/passwd", "a/b", "a\\b", "", ".", ".."])
def test_a_path_in_a_file_name(tmp_path: Path, name: str) -> None:
    manifest = manifest_table()
    _with_file(name)(manifest)
    with pytest.raises(DataError, match=r"graphs\.encoder.*no folders"):
        open_bundle(write_bundle(tmp_path / "tiny", manifest))


def test_a_path_in_the_name_of_external_data(tmp_path: Path) -> None:
    manifest = manifest_table()
    manifest["graphs"]["decoder"][0]["external_data"][1]["file"] = "../decoder.onnx.more"
    with pytest.raises(DataError, match="no folders"):
        open_bundle(write_bundle(tmp_path / "tiny", manifest))


def test_a_graph_is_as_large_as_all_its_files(tmp_path: Path) -> None:
    bundle = open_bundle(write_bundle(tmp_path / "tiny", manifest_table()))
    (decoder,), (encoder,) = bundle.manifest.graphs["decoder"], bundle.manifest.graphs["encoder"]
    weights = ("decoder.onnx", "decoder.onnx.data", "decoder.onnx.more")
    assert [file.file for file in decoder.external_data] == list(weights[1:])
    assert bundle.size(decoder) == sum(len(FILES[name]) for name in weights)
    assert (encoder.external_data, bundle.size(encoder)) == ((), len(FILES["encoder.onnx"]))


def test_what_is_new_in_a_manifest_comes_back_and_may_be_absent(tmp_path: Path) -> None:
    decoding = {"method": "beam", "beams": 3, "length_penalty": -0.5, "max_positions": 64, "max_length": 40}
    manifest = open_bundle(
        write_bundle(
            tmp_path / "new", {**manifest_table(), "decoding": decoding, "instruction": "Represent the caption: "}
        )
    ).manifest
    again = open_bundle(write_bundle(tmp_path / "again", manifest.model_dump_json(by_alias=True))).manifest
    assert again == manifest
    assert again.instruction == "Represent the caption: "
    assert again.decoding.model_dump(include=set(decoding)) == decoding
    assert [file.file for file in again.files()] == [file.file for file in manifest.files()]
    older = open_bundle(write_bundle(tmp_path / "older", manifest_table())).manifest
    assert older.instruction == ""
    assert older.decoding == DecodingRules()
    assert (older.decoding.method, older.decoding.max_positions) == ("nucleus", 128)
    assert Seq2SeqManifest.model_validate(older.model_dump(by_alias=True)) == older


def test_a_path_in_a_tokenizer_name(tmp_path: Path) -> None:
    manifest = manifest_table()
    manifest["tokenizers"]["text"]["file"] = "../tokenizer.json"
    with pytest.raises(DataError, match="no folders"):
        open_bundle(write_bundle(tmp_path / "tiny", manifest))


@pytest.mark.parametrize("schema", ["edge-aac/bundle/2", "", None, 1])
def test_unknown_schema(tmp_path: Path, schema: object) -> None:
    with pytest.raises(DataError, match="schema") as caught:
        open_bundle(write_bundle(tmp_path / "tiny", {**manifest_table(), "schema": schema}))
    assert "edge-aac/bundle/1" in one_sentence(caught)


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "3"])
def test_not_a_manifest(tmp_path: Path, text: str) -> None:
    with pytest.raises(DataError):
        open_bundle(write_bundle(tmp_path / "tiny", text))


def test_not_text(tmp_path: Path) -> None:
    folder = write_bundle(tmp_path / "tiny", manifest_table())
    (tmp_path / "tiny" / MANIFEST).write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DataError, match="not JSON"):
        open_bundle(folder)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("decoding", {"temperature": 0.0}),
        ("decoding", {"top_p": 1.5}),
        ("decoding", {"candidates": 0}),
        ("decoding", {"beams": 0}),
        ("decoding", {"beam": 4}),
        ("decoding", {"method": "sampling"}),
        ("decoding", {"length_penalty": "long"}),
        ("decoding", {"max_positions": 1}),
        ("instruction", 3),
        ("graphs", {"vocoder": []}),
        ("tokenizers", {}),
        ("window_s", "long"),
        ("extra", 1),
    ],
)
def test_wrong_fields(tmp_path: Path, field: str, value: object) -> None:
    with pytest.raises(DataError, match=field) as caught:
        open_bundle(write_bundle(tmp_path / "tiny", {**manifest_table(), field: value}))
    one_sentence(caught)


@pytest.mark.parametrize(("field", "value"), [("window_s", 5.0), ("sample_rate", 48_000)])
def test_a_bundle_for_other_windows(tmp_path: Path, field: str, value: float) -> None:
    with pytest.raises(DataError, match="hears") as caught:
        open_bundle(write_bundle(tmp_path / "tiny", {**manifest_table(), field: value}))
    one_sentence(caught)


def test_a_field_is_missing(tmp_path: Path) -> None:
    manifest = manifest_table()
    del manifest["vocabulary_size"]
    with pytest.raises(DataError, match="vocabulary_size"):
        open_bundle(write_bundle(tmp_path / "tiny", manifest))


def test_not_permitted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write_bundle(tmp_path / "tiny", manifest_table())

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)  # as root every file can be read
    with pytest.raises(InputMissingError, match="permissions"):
        open_bundle(folder)


def test_the_built_in_bundle_is_whole() -> None:
    assert DEFAULT_BUNDLE in built_in_bundles()
    check_all(open_bundle(DEFAULT_BUNDLE))
    manifest = open_bundle(DEFAULT_BUNDLE).manifest
    assert manifest.name == DEFAULT_BUNDLE
    assert set(manifest.graphs) - {"stem"} == {"encoder", "decoder", "text_embedder"}
    assert (manifest.sample_rate, manifest.window_s) == (16_000, 10.0)
