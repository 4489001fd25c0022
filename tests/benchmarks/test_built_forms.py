"""Hops and windows of a bundle as exported and as built, measured in turn."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from benchmarks import built_forms
from edge_aac.bundle.manifest import MANIFEST
from edge_aac.bundle.store import DEFAULT_BUNDLE, open_bundle
from edge_aac.engines.processor import built_here


def test_it_tells_each_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """The "built" decoder is the exported one once more: every caption is equal."""
    folder = shutil.copytree(open_bundle(DEFAULT_BUNDLE).folder, tmp_path / "built")
    table = json.loads((folder / MANIFEST).read_text())
    (parent,) = (form for form in table["graphs"]["decoder"] if not form.get("parent_sha256"))
    shutil.copyfile(folder / parent["file"], folder / "decoder.again.onnx")
    again = {"file": "decoder.again.onnx", "parent_sha256": parent["sha256"], "built_with": built_here()}
    table["graphs"]["decoder"] = [{**parent, **again}, parent]
    (folder / MANIFEST).write_text(json.dumps(table))
    soundfile.write(tmp_path / "a.wav", 0.1 * np.random.default_rng(0).standard_normal(12 * 8000), 8000)
    monkeypatch.setattr(built_forms, "_WARM_UP", 1)
    monkeypatch.setattr(sys, "argv", ["built_forms", str(folder), str(tmp_path / "a.wav"), "--windows", "2"])
    built_forms.main()
    found = json.loads(capsys.readouterr().out)
    assert list(found) == ["hop of 1 s", "whole window"]
    for ways in found.values():
        assert list(ways) == ["exported", "decoder fp32", "all as built"]
        assert ways["exported"]["ratio"] == 1.0 and all(way["captions_equal"] == 1.0 for way in ways.values())
