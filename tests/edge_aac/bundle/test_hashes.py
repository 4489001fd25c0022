"""Only what is loaded is hashed, and its hash is remembered while the file stays what it was."""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path

import pytest

from edge_aac.bundle import hashes
from edge_aac.bundle.hashes import cache_file, file_sha256, remembered_sha256
from edge_aac.bundle.store import check_all, open_bundle
from edge_aac.errors import DataError
from tests.edge_aac.bundle.bundle_folder import FILES, manifest_table, write_bundle


class _Opened:
    """Names of the files under a folder that this process opens; an audit hook cannot be taken away again."""

    def __init__(self) -> None:
        self.folder: str | None = None
        self.names: list[str] = []
        sys.addaudithook(self._note)

    def _note(self, event: str, arguments: tuple[object, ...]) -> None:
        if self.folder is not None and event == "open" and str(arguments[0]).startswith(self.folder):
            self.names.append(Path(str(arguments[0])).name)


_OPENED = _Opened()


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache, and files that settle at once."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(hashes, "SETTLED_NS", 0)
    return tmp_path / "cache" / "edge-aac" / "hashes.json"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "tiny"
    write_bundle(folder, manifest_table())
    monkeypatch.setattr(_OPENED, "folder", str(folder))
    monkeypatch.setattr(_OPENED, "names", [])
    return folder


def test_a_form_that_is_not_loaded_is_not_read(folder: Path, cache: Path) -> None:
    bundle = open_bundle(str(folder))
    assert set(_OPENED.names) == {"manifest.json"}
    (encoder,) = bundle.manifest.graphs["encoder"]
    assert bundle.checked(encoder) == folder / "encoder.onnx"
    assert set(_OPENED.names) == {"manifest.json", "encoder.onnx"}
    check_all(bundle)
    assert set(_OPENED.names) == {"manifest.json", *FILES}


def test_a_file_is_read_once_while_it_stays_the_same(folder: Path, cache: Path) -> None:
    for _ in range(2):
        bundle = open_bundle(str(folder))
        (decoder,) = bundle.manifest.graphs["decoder"]
        bundle.checked(decoder)
    # The graph itself is looked through each time for files that it refers to.
    assert sorted(name for name in _OPENED.names if name.startswith("decoder")) == [
        *["decoder.onnx"] * 3,
        "decoder.onnx.data",
        "decoder.onnx.more",
    ]
    assert cache.stat().st_mode & 0o777 == 0o600
    check_all(bundle)
    assert _OPENED.names.count("decoder.onnx") == 4, "check_all reads, whatever is remembered"


@pytest.mark.parametrize("name", ["decoder.onnx", "decoder.onnx.more"])
def test_a_tampered_file_is_refused_with_a_warm_cache(folder: Path, cache: Path, name: str) -> None:
    bundle = open_bundle(str(folder))
    (decoder,) = bundle.manifest.graphs["decoder"]
    bundle.checked(decoder)
    before = (folder / name).stat()
    (folder / name).write_bytes(bytes(len(FILES[name])))
    os.utime(folder / name, ns=(before.st_atime_ns, before.st_mtime_ns))
    after = (folder / name).stat()
    assert (after.st_size, after.st_mtime_ns, after.st_ino) == (before.st_size, before.st_mtime_ns, before.st_ino)
    with pytest.raises(DataError, match=f"{name} is not the file"):
        bundle.checked(decoder)


def test_what_has_just_changed_is_not_remembered(folder: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hashes, "SETTLED_NS", 3_600_000_000_000)
    assert remembered_sha256(folder / "encoder.onnx") == file_sha256(folder / "encoder.onnx")
    assert not cache.exists()


def test_a_file_from_the_future_is_not_remembered(folder: Path, cache: Path) -> None:
    ahead = time.time_ns() + 3_600_000_000_000
    os.utime(folder / "encoder.onnx", ns=(ahead, ahead))
    remembered_sha256(folder / "encoder.onnx")
    assert not cache.exists()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b"\xff\xfe",
        b"null",
        b'{"format": 1}',
        b'{"format": 1, "files": []}',
        b'{"format": 1, "files": {"a": 3}}',
        b'{"format": 2, "files": {}}',
        b"[" * 100_000,
    ],
)
def test_a_damaged_cache_is_written_anew(folder: Path, cache: Path, content: bytes) -> None:
    cache.parent.mkdir(parents=True)
    cache.write_bytes(content)
    path = folder / "encoder.onnx"
    assert remembered_sha256(path) == file_sha256(path)
    assert list(json.loads(cache.read_bytes())["files"]) == [str(path)]


def test_a_cache_that_others_may_write_is_not_believed(folder: Path, cache: Path) -> None:
    path = folder / "encoder.onnx"
    digest = remembered_sha256(path)
    cache.write_text(cache.read_text().replace(digest, "0" * 64))
    assert remembered_sha256(path) == "0" * 64, "or the test proves nothing"
    cache.chmod(0o622)
    assert remembered_sha256(path) == digest


def test_the_cache_does_not_grow_for_ever(folder: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hashes, "MAX_REMEMBERED", 2)
    for name in ("encoder.onnx", "decoder.onnx", "embedder.onnx"):
        remembered_sha256(folder / name)
    assert [Path(name).name for name in json.loads(cache.read_bytes())["files"]] == ["decoder.onnx", "embedder.onnx"]


def test_where_no_cache_can_be_files_are_hashed(folder: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = folder / "encoder.onnx"
    (cache.parent.parent).write_text("a file where the folder should be")
    assert remembered_sha256(path) == file_sha256(path)

    def nobody() -> Path:
        raise RuntimeError("no home")

    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setattr(Path, "home", nobody)
    assert cache_file() is None
    assert remembered_sha256(path) == file_sha256(path)
