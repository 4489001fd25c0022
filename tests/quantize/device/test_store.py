"""Where built engines go: whole or not at all, whoever kills, fills the disk, or builds at the same time."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from edge_aac.bundle import store as bundle_module
from edge_aac.bundle.manifest import MANIFEST, Graph, Manifest
from edge_aac.bundle.store import Bundle, check_all, open_bundle
from edge_aac.errors import DataError, DeviceError, InputMissingError
from quantize.device import places as build_places
from quantize.device import store as build_store
from quantize.device.places import open_for_build, output_folder
from quantize.device.store import BuildStore
from quantize.files import SCRATCH_PREFIX, TIMING_PREFIX
from tests.edge_aac.bundle.bundle_folder import FILES, manifest_table, write_bundle

ROOT = Path(__file__).parents[3]

BUILD = """
import os, signal, sys
from pathlib import Path
from quantize.device import store as build_store
from quantize.device.places import open_for_build, output_folder
from tests.quantize.device.test_store import add_form

folder, point = sys.argv[1:]

def killed(*_):
    os.kill(os.getpid(), signal.SIGKILL)

source = open_for_build(folder)
with build_store.build_store(source, output_folder(source, None), 0) as store:
    manifest = add_form(store, b"newer", "11")
    if point == "before":
        killed()
    if point == "wait":
        print("holding", flush=True)
        sys.stdin.readline()
    if point == "removing":
        build_store._remove = killed
    if point.isdecimal():
        moves, move = [], os.replace
        def replace(source, target):
            if len(moves) == int(point):
                killed()
            moves.append(target)
            move(source, target)
        build_store.os.replace = replace
    store.commit(manifest)
"""


def add_form(store: BuildStore, content: bytes, version: str = "10") -> Manifest:
    """A manifest with an INT8 encoder of this content, which lies in the scratch folder; earlier ones are dropped."""
    path = store.new_file("encoder.int8", ".onnx")
    path.write_bytes(content)
    manifest = store.source.manifest
    (parent,) = (form for form in manifest.graphs["encoder"] if not form.parent_sha256)
    form = Graph(
        file=path.name,
        sha256=hashlib.sha256(content).hexdigest(),
        backend="onnxruntime",
        precision="int8",
        shapes=parent.shapes,
        built_with={"onnxruntime": version},
        max_abs_difference=0.1,
        parent_sha256=parent.sha256,
    )
    return manifest.model_copy(update={"graphs": {**manifest.graphs, "encoder": [form, parent]}})


def _commit(folder: Path, content: bytes, output: Path | None = None) -> Bundle:
    source = open_for_build(str(folder))
    target = output_folder(source, output)
    with build_store.build_store(source, target, 0) as store:
        store.commit(add_form(store, content))
    return open_bundle(str(target))


def _first(bundle: Bundle) -> bytes:
    return bundle.path(bundle.manifest.graphs["encoder"][0]).read_bytes()


def _start(folder: Path, point: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", BUILD, str(folder), point],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_bundle(tmp_path / "tiny", manifest_table())
    return tmp_path / "tiny"


def test_forms_go_into_the_bundle_and_older_ones_away(folder: Path) -> None:
    names = {path.name for path in folder.iterdir()}
    for content in (b"one", b"two", b"two", b"three"):
        bundle = _commit(folder, content)
        assert _first(bundle) == content
        (added,) = {path.name for path in folder.iterdir()} - names
        assert added == bundle.manifest.graphs["encoder"][0].file


def test_what_a_manifest_says_otherwise_stays(folder: Path) -> None:
    before = json.loads((folder / MANIFEST).read_text())
    _commit(folder, b"one")
    after = json.loads((folder / MANIFEST).read_text())
    assert after["graphs"]["encoder"].pop(0)["parent_sha256"] == before["graphs"]["encoder"][0]["sha256"]
    assert after == before


@pytest.mark.parametrize("point", ["before", "0", "1", "removing"])
def test_a_killed_build_leaves_a_bundle_that_works_and_the_next_one_tidies_up(folder: Path, point: str) -> None:
    _commit(folder, b"old")
    kept = {path.name for path in folder.iterdir()}
    process = _start(folder, point)
    _, complaints = process.communicate(timeout=60)
    assert process.returncode == -signal.SIGKILL, complaints
    assert list(folder.glob(f"{SCRATCH_PREFIX}*")), "or nothing was interrupted"
    assert _first(open_bundle(str(folder))) == (b"newer" if point == "removing" else b"old")
    assert _first(_commit(folder, b"next")) == b"next"
    assert len({path.name for path in folder.iterdir()} ^ kept) in (0, 2)
    assert sum(path.name.startswith("encoder.int8") for path in folder.iterdir()) == 1


def test_the_second_of_two_builds_is_refused_and_the_first_ends_well(folder: Path) -> None:
    first = _start(folder, "wait")
    try:
        assert first.stdout is not None and first.stdin is not None
        assert first.stdout.readline() == "holding\n"
        second = _start(folder, "go")
        _, complaints = second.communicate(timeout=60)
        assert second.returncode == 1
        assert "another build-engine is at work" in complaints.splitlines()[-1]
        assert len(list(folder.glob(f"{SCRATCH_PREFIX}*"))) == 1, "the first one's is not swept"
        first.communicate("\n", timeout=60)
        assert first.returncode == 0
    finally:
        first.kill()
    assert _first(open_bundle(str(folder))) == b"newer"


def test_a_bundle_that_changes_meanwhile_is_not_overwritten(folder: Path) -> None:
    source = open_for_build(str(folder))
    with build_store.build_store(source, folder, 0) as store:
        manifest = add_form(store, b"one")
        table = manifest_table()
        write_bundle(folder, {**table, "version": "2"})
        with pytest.raises(DeviceError, match="was changed"):
            store.commit(manifest)
    assert open_bundle(str(folder)).manifest.version == "2"


def test_a_full_disk_is_seen_before_anything_is_made(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = shutil.disk_usage(folder)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=999_999))
    refused = pytest.raises(DeviceError, match="2 MB.*1 MB are free.*--output")
    with refused, build_store.build_store(open_for_build(str(folder)), folder, 2_000_000):
        pytest.fail("it began")
    assert not list(folder.glob(f"{SCRATCH_PREFIX}*"))


def test_a_disk_that_fills_meanwhile_is_one_sentence_and_changes_nothing(folder: Path) -> None:
    _commit(folder, b"old")
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    with (
        pytest.raises(DeviceError, match="no room"),
        build_store.build_store(open_for_build(str(folder)), folder, 0) as store,
    ):
        add_form(store, b"newer")
        raise OSError(28, "No space left on device")
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_a_build_that_fails_leaves_no_new_folder(folder: Path, tmp_path: Path) -> None:
    source = open_for_build(str(folder))
    output = output_folder(source, tmp_path / "other")
    with pytest.raises(DataError), build_store.build_store(source, output, 0) as store:
        add_form(store, b"one")
        raise DataError("not faithful")
    assert not output.exists()


def test_another_output_gets_the_whole_bundle(folder: Path, tmp_path: Path) -> None:
    (folder / "ATTRIBUTIONS.csv").write_text("file,label\n")
    output = tmp_path / "deep" / "other"
    bundle = _commit(folder, b"one", output)
    assert bundle.folder == output and _first(bundle) == b"one"
    assert {path.name for path in output.iterdir()} == {*FILES, MANIFEST, "ATTRIBUTIONS.csv", "encoder.int8.onnx"}
    assert [form.precision for form in open_bundle(str(folder)).manifest.graphs["encoder"]] == ["fp32"]
    assert _first(_commit(folder, b"two", output)) == b"two"


@pytest.mark.parametrize("content", [{"notes.txt": b"mine"}, {MANIFEST: b"{}"}, None])
def test_what_is_no_build_of_the_bundle_is_not_replaced(
    folder: Path, tmp_path: Path, content: dict[str, bytes] | None
) -> None:
    output = tmp_path / "other"
    if content is None:
        table = manifest_table()
        table["graphs"]["encoder"][0]["sha256"] = "0" * 64
        write_bundle(output, table)
    else:
        output.mkdir()
        for name, data in content.items():
            (output / name).write_bytes(data)
    before = {path.name: path.read_bytes() for path in output.iterdir()}
    with pytest.raises(DataError):
        output_folder(open_for_build(str(folder)), output)
    assert {path.name: path.read_bytes() for path in output.iterdir()} == before


def test_an_empty_folder_and_one_of_caches_can_be_written(folder: Path, tmp_path: Path) -> None:
    from quantize.bundles.staging import check_output  # here: the builds above run without torch

    output = tmp_path / "other"
    output.mkdir()
    (output / f"{TIMING_PREFIX}sm_87.cache").write_bytes(b"")
    assert _first(_commit(folder, b"one", output)) == b"one"
    (output / f"{SCRATCH_PREFIX}killed").mkdir()
    check_output(output)
    (output / "notes.txt").write_bytes(b"mine")
    with pytest.raises(DataError, match=r"notes\.txt"):
        check_output(output)


@pytest.fixture
def built_in(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The bundle as a built-in one; the folder of the user's own build of it."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    for module in (bundle_module, build_places):
        monkeypatch.setattr(module, "built_in_bundles", lambda: {"tiny": folder})
    return tmp_path / "data" / "edge-aac" / "bundles" / "tiny"


def _build_by_name(content: bytes) -> Bundle:
    source = open_for_build("tiny")
    with build_store.build_store(source, output_folder(source, None), 0) as store:
        store.commit(add_form(store, content))
    return open_bundle("tiny")


def test_a_built_in_bundle_is_built_among_the_users(built_in: Path, folder: Path) -> None:
    before = {path.name for path in folder.iterdir()}
    for content in (b"one", b"two"):
        bundle = _build_by_name(content)
        assert bundle.folder == built_in and _first(bundle) == content
    assert {path.name for path in folder.iterdir()} == before


def _renew(folder: Path) -> None:
    """Another version of the built-in bundle: its embedder and its tokenizer are new, the others are not."""
    table = manifest_table()
    table["graphs"]["text_embedder"][0]["sha256"] = hashlib.sha256(b"newer").hexdigest()
    table["tokenizers"]["text"]["sha256"] = hashlib.sha256(b"newer words").hexdigest()
    write_bundle(folder, {**table, "version": "2"})
    (folder / "embedder.onnx").write_bytes(b"newer")
    (folder / "text_tokenizer.json").write_bytes(b"newer words")


@pytest.mark.parametrize("damage", [None, "tokenizer.json", "encoder.int8.onnx"])
def test_a_users_build_of_an_older_version_or_a_broken_one_is_built_again(
    built_in: Path, folder: Path, damage: str | None
) -> None:
    _build_by_name(b"one")
    if damage:
        (built_in / damage).write_bytes(b"tampered")
    else:
        _renew(folder)
    with pytest.raises((DataError, InputMissingError), match="edge-aac build-engine --bundle tiny"):
        check_all(open_bundle("tiny"))
    bundle = _build_by_name(b"two")
    assert bundle.folder == built_in and _first(bundle) == b"two"
    assert bundle.manifest.version == ("1" if damage else "2")
    wanted = {file.file for file in bundle.manifest.files()} | {MANIFEST}
    assert {path.name for path in built_in.iterdir()} == wanted


def test_a_trained_bundle_that_bears_the_name_is_not_lost(built_in: Path) -> None:
    built_in.mkdir(parents=True)
    table = manifest_table()
    table["graphs"]["decoder"][0]["external_data"] = []
    table["graphs"]["encoder"][0]["sha256"] = hashlib.sha256(b"trained").hexdigest()
    write_bundle(built_in, table)
    (built_in / "encoder.onnx").write_bytes(b"trained")
    with pytest.raises(DataError, match="no build has made"):
        output_folder(open_for_build("tiny"), None)


def test_broken_forms_are_left_out_and_broken_exports_refused(folder: Path) -> None:
    _commit(folder, b"one")
    (folder / "encoder.int8.onnx").write_bytes(b"one, tampered")
    source = open_for_build(str(folder))
    assert [form.precision for form in source.manifest.graphs["encoder"]] == ["fp32"]
    (folder / "decoder.onnx").write_bytes(b"tampered")
    with pytest.raises(DataError, match="decoder"):
        open_for_build(str(folder))


def test_forms_of_earlier_builds_are_kept_as_far_as_they_are_whole(folder: Path, tmp_path: Path) -> None:
    def kept(output: Path) -> list[str]:
        source = open_for_build(str(folder))
        with build_store.build_store(source, output_folder(source, output), 0) as store:
            return [form.file for form in store.kept("encoder")]

    other = tmp_path / "other"
    _commit(folder, b"one", other)
    assert kept(other) == ["encoder.int8.onnx"]
    assert kept(folder) == []
    (other / "encoder.int8.onnx").write_bytes(b"tampered")
    assert kept(other) == []


def test_a_folder_that_cannot_be_written(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> int:
        raise PermissionError(13, "Permission denied")

    source = open_for_build(str(folder))
    monkeypatch.setattr(os, "open", refuse)  # as root every folder can be written
    with pytest.raises(DeviceError, match="--output"), build_store.build_store(source, tmp_path / "new", 0):
        pytest.fail("it began")
