"""Which bundle a name means: a built-in one, one that was pulled, or a folder."""

from __future__ import annotations

import pwd
from pathlib import Path

import pytest

from edge_aac.bundle.manifest import MANIFEST
from edge_aac.bundle.store import (
    ASKED_BUNDLE,
    DEFAULT_BUNDLE,
    built_in_bundles,
    check_all,
    open_bundle,
    user_bundles_folder,
)
from edge_aac.errors import DataError, InputMissingError
from tests.edge_aac.bundle.bundle_folder import manifest_table, one_sentence, write_bundle


@pytest.fixture(autouse=True)
def _no_pulled_bundles(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))


@pytest.mark.parametrize("name", ["no-such-bundle", "", "/nowhere/at/all", "x" * 300, "nul\0byte"])
def test_unknown_bundle(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputMissingError) as caught:
        open_bundle(name)
    one_sentence(caught)


def _pull(data: Path, name: str) -> Path:
    folder = data / "edge-aac" / "bundles" / name
    folder.parent.mkdir(parents=True, exist_ok=True)
    write_bundle(folder, {**manifest_table(), "version": "pulled"})
    return folder


def test_a_pulled_bundle_is_found_by_its_name(tmp_path: Path) -> None:
    folder = _pull(tmp_path / "data", "tiny")
    bundle = open_bundle("tiny")
    assert (bundle.folder, bundle.manifest.version) == (folder, "pulled")
    (folder / "decoder.onnx.data").write_bytes(b"tampered")
    with pytest.raises(DataError, match="SHA-256"):
        check_all(open_bundle("tiny"))


@pytest.mark.parametrize("data_home", [None, ""])
def test_pulled_bundles_lie_in_the_home_where_nothing_else_is_given(
    data_home: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("XDG_DATA_HOME")
    if data_home is not None:
        monkeypatch.setenv("XDG_DATA_HOME", data_home)
    monkeypatch.setenv("HOME", str(tmp_path / "somebody"))
    folder = _pull(tmp_path / "somebody" / ".local" / "share", "tiny")
    assert open_bundle("tiny").folder == folder


def test_a_built_in_bundle_wins_over_a_pulled_one_of_its_name(tmp_path: Path) -> None:
    folder = _pull(tmp_path / "data", DEFAULT_BUNDLE)
    assert open_bundle(DEFAULT_BUNDLE).folder == built_in_bundles()[DEFAULT_BUNDLE]
    assert open_bundle(str(folder)).manifest.version == "pulled"


def test_what_is_half_pulled_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    _pull(tmp_path / "data", "whole")
    _pull(tmp_path / "data", ".tiny.part")
    (_pull(tmp_path / "data", "no-manifest") / MANIFEST).unlink()
    for name in (".tiny.part", "no-manifest", "tiny"):
        with pytest.raises(InputMissingError, match=f"one of {DEFAULT_BUNDLE}, {ASKED_BUNDLE}, whole$"):
            open_bundle(name)


def test_without_a_home_the_built_in_bundles_are_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def nobody(user: int) -> pwd.struct_passwd:
        raise KeyError(user)

    # A container that runs as a user whom its /etc/passwd does not know.
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("XDG_DATA_HOME")
    monkeypatch.delenv("HOME")
    monkeypatch.setattr(pwd, "getpwuid", nobody)
    assert open_bundle(DEFAULT_BUNDLE).manifest.name == DEFAULT_BUNDLE
    with pytest.raises(InputMissingError, match=f"one of {DEFAULT_BUNDLE}"):
        open_bundle("tiny")
    with pytest.raises(InputMissingError, match="set XDG_DATA_HOME") as caught:
        user_bundles_folder()
    one_sentence(caught)


def test_a_folder_without_a_manifest(tmp_path: Path) -> None:
    with pytest.raises(InputMissingError, match=MANIFEST):
        open_bundle(str(tmp_path))
