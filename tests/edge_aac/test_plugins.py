"""Entry points of the installed packages."""

from __future__ import annotations

from importlib import metadata
from pathlib import Path

import pytest

from edge_aac import plugins


def _install(folder: Path, name: str, entry: str) -> None:
    information = folder / f"{name}-1.dist-info"
    information.mkdir()
    (information / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1\n")
    (information / "entry_points.txt").write_text(f"[edge_aac.try_plugins]\n{entry} = nowhere:nothing\n")


def test_packages_are_read_once_and_again_where_one_is_installed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[object] = []
    entry_points = metadata.entry_points

    def counted() -> object:
        read.append(None)
        return entry_points()

    monkeypatch.setattr(metadata, "entry_points", counted)
    monkeypatch.syspath_prepend(str(tmp_path))
    assert plugins.registered("edge_aac.try_plugins") == {}
    assert "stdout" in plugins.registered("edge_aac.sinks")
    assert "en" in plugins.registered("edge_aac.languages")
    assert len(read) == 1
    _install(tmp_path, "first", "one")
    assert set(plugins.registered("edge_aac.try_plugins")) == {"one"}
    _install(tmp_path, "second", "another")
    assert list(plugins.registered("edge_aac.try_plugins")) == ["another", "one"]
    assert len(read) == 3
