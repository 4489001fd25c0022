"""Forms that build-engine added: they belong to a parent, and a user's own build of a built-in bundle comes first."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from edge_aac.bundle import store as bundle_module
from edge_aac.bundle.manifest import MANIFEST
from edge_aac.bundle.store import check_all, find_bundle, open_bundle
from edge_aac.errors import DataError, EdgeAacError, InputMissingError
from tests.edge_aac.bundle.bundle_folder import FILES, manifest_table, one_sentence, write_bundle

BUILT = b"a built encoder"
COMMAND = "`edge-aac build-engine --bundle "


def _built(table: dict[str, Any]) -> dict[str, Any]:
    """The manifest with an INT8 encoder in front."""
    (parent,) = table["graphs"]["encoder"]
    form = {
        **parent,
        "file": "encoder.int8.onnx",
        "sha256": hashlib.sha256(BUILT).hexdigest(),
        "precision": "int8",
        "parent_sha256": parent["sha256"],
    }
    table["graphs"]["encoder"] = [form, parent]
    return table


def _write_built(folder: Path) -> str:
    folder.mkdir(parents=True)
    (folder / "encoder.int8.onnx").write_bytes(BUILT)
    return write_bundle(folder, _built(manifest_table()))


@pytest.fixture
def homes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    """The bundle "tiny" as a built-in one, and where the user's own build of it would lie."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    built_in = tmp_path / "package" / "tiny"
    built_in.mkdir(parents=True)
    write_bundle(built_in, manifest_table())
    monkeypatch.setattr(bundle_module, "built_in_bundles", lambda: {"tiny": built_in})
    return built_in, tmp_path / "data" / "edge-aac" / "bundles" / "tiny"


def test_built_forms_are_vouched_for_and_come_in_their_order(tmp_path: Path) -> None:
    bundle = open_bundle(_write_built(tmp_path / "tiny"))
    assert [form.precision for form in bundle.manifest.graphs["encoder"]] == ["int8", "fp32"]
    assert "encoder.int8.onnx" in {file.file for file in bundle.manifest.files()}
    assert bundle.manifest.exported() == {
        role: [hashlib.sha256(FILES[name]).hexdigest()]
        for role, name in (("encoder", "encoder.onnx"), ("decoder", "decoder.onnx"), ("text_embedder", "embedder.onnx"))
    }


@pytest.mark.parametrize("content", [None, b"", BUILT[:-1], BUILT + b"!"])
def test_a_built_form_that_is_missing_truncated_or_tampered_is_built_again(
    tmp_path: Path, content: bytes | None
) -> None:
    folder = _write_built(tmp_path / "it's tiny")
    path = Path(folder) / "encoder.int8.onnx"
    path.unlink()
    if content is not None:
        path.write_bytes(content)
    with pytest.raises((DataError, InputMissingError)) as caught:
        check_all(open_bundle(folder))
    message = one_sentence(caught)
    assert "encoder.int8.onnx" in message
    # The command can be pasted, also with a path that a shell would take apart.
    assert COMMAND + "'" + folder.replace("'", "'\"'\"'") + "'`" in message


def test_what_was_exported_cannot_be_built_again(tmp_path: Path) -> None:
    folder = _write_built(tmp_path / "tiny")
    (tmp_path / "tiny" / "encoder.onnx").write_bytes(b"another")
    with pytest.raises(DataError, match="install or build the bundle again") as caught:
        check_all(open_bundle(folder))
    assert "build-engine" not in one_sentence(caught)


def test_a_form_of_another_graph_is_stale(tmp_path: Path) -> None:
    folder = _write_built(tmp_path / "tiny")
    table = json.loads((tmp_path / "tiny" / MANIFEST).read_text())
    table["graphs"]["encoder"][0]["parent_sha256"] = "0" * 64
    (tmp_path / "tiny" / MANIFEST).write_text(json.dumps(table))
    with pytest.raises(DataError, match="another graph") as caught:
        open_bundle(folder)
    assert COMMAND + folder in one_sentence(caught)


def test_calibration_is_a_file_of_the_bundle(tmp_path: Path) -> None:
    calibration = b"{}"
    table = manifest_table()
    table["calibration"] = {"file": "calibration.json", "sha256": hashlib.sha256(calibration).hexdigest()}
    folder = write_bundle(tmp_path / "tiny", table)
    with pytest.raises(InputMissingError, match=r"calibration\.json"):
        open_bundle(folder)
    (tmp_path / "tiny" / "calibration.json").write_bytes(calibration)
    assert open_bundle(folder).manifest.calibration is not None
    (tmp_path / "tiny" / "calibration.json").write_bytes(b"{ }")
    with pytest.raises(DataError, match=r"calibration\.json"):
        check_all(open_bundle(folder))


def test_a_users_own_build_is_preferred(homes: tuple[Path, Path]) -> None:
    built_in, own = homes
    assert open_bundle("tiny").folder == built_in
    _write_built(own)
    bundle = open_bundle("tiny")
    assert bundle.folder == own
    assert bundle.build_command == "edge-aac build-engine --bundle tiny"
    assert open_bundle(str(built_in)).folder == built_in


def test_a_users_build_of_an_older_version_is_refused_until_it_is_built_again(homes: tuple[Path, Path]) -> None:
    built_in, own = homes
    _write_built(own)
    newer = manifest_table()
    newer["graphs"]["decoder"][0]["sha256"] = hashlib.sha256(b"newer").hexdigest()
    write_bundle(built_in, newer)
    (built_in / "decoder.onnx").write_bytes(b"newer")
    with pytest.raises(DataError, match="another tiny than is installed now") as caught:
        open_bundle("tiny")
    assert COMMAND + "tiny`" in one_sentence(caught)
    assert open_bundle(str(own)).folder == own


def test_every_file_of_a_users_build_can_be_built_again(homes: tuple[Path, Path]) -> None:
    _, own = homes
    _write_built(own)
    (own / "tokenizer.json").write_bytes(b"tampered")
    with pytest.raises(DataError, match="SHA-256") as caught:
        check_all(open_bundle("tiny"))
    assert COMMAND + "tiny`" in one_sentence(caught)


def test_a_users_build_that_cannot_be_read_is_one_sentence(homes: tuple[Path, Path]) -> None:
    _, own = homes
    _write_built(own)
    (own / MANIFEST).write_text("{")
    with pytest.raises(DataError, match="not JSON") as caught:
        find_bundle("tiny")
    assert "move it away" in one_sentence(caught)


def test_what_no_build_has_made_does_not_stand_before_a_built_in_bundle(homes: tuple[Path, Path]) -> None:
    built_in, own = homes
    own.mkdir(parents=True)
    write_bundle(own, {**manifest_table(), "version": "trained here"})
    assert open_bundle("tiny").folder == built_in
    assert open_bundle(str(own)).manifest.version == "trained here"


def test_a_build_that_ends_while_a_bundle_is_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The files of the manifest that was read first are gone; those of the new one are there."""
    folder = tmp_path / "tiny"
    name = _write_built(folder)
    newer = json.loads((folder / MANIFEST).read_text())
    newer["graphs"]["encoder"][0]["file"] = "encoder.int8.2.onnx"
    check = bundle_module._missing

    def build_first(*arguments: Any) -> EdgeAacError | None:
        monkeypatch.setattr(bundle_module, "_missing", check)
        (folder / "encoder.int8.onnx").rename(folder / "encoder.int8.2.onnx")
        (folder / MANIFEST).write_text(json.dumps(newer))
        return check(*arguments)

    monkeypatch.setattr(bundle_module, "_missing", build_first)
    assert open_bundle(name).manifest.graphs["encoder"][0].file == "encoder.int8.2.onnx"
