"""The wheel holds the runtime, the default bundle with its attributions, and the entry points."""

from __future__ import annotations

import csv
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from edge_aac.audio.sources.demo import demo_programme
from edge_aac.bundle.store import Bundle, open_bundle

pytestmark = pytest.mark.one_python

ROOT = Path(__file__).parents[2]
CLIPS = ROOT.parent / "shared" / "data" / "esc10" / "clips.csv"
MAX_BYTES = 20_000_000


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    return open_bundle("esc10-tiny")


def test_wheel_holds_the_bundle_and_the_recipes(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation", "-w", tmp_path, ROOT]
    subprocess.run([str(word) for word in command], check=True)
    (wheel,) = tmp_path.glob("edge_aac-*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    for name in ("manifest.json", "encoder.fp32.onnx", "decoder.fp32.onnx", "text_embedder.fp32.onnx"):
        assert f"edge_aac/bundles/esc10-tiny/{name}" in names
    for name in ("README.md", "ATTRIBUTIONS.csv", "tokenizer.json", "text_tokenizer.json"):
        assert f"edge_aac/bundles/esc10-tiny/{name}" in names
    assert "quantize/recipes/esc10-tiny.toml" in names
    recordings = {event.recording for event in demo_programme() if event.recording is not None}
    assert len(recordings) >= 4
    for recording in (*recordings, "ATTRIBUTIONS.csv"):
        assert f"edge_aac/audio/sources/demo/recordings/{recording}" in names
    assert not any(name.startswith("tests/") for name in names)


def test_bundle_is_small(bundle: Bundle) -> None:
    assert sum(file.stat().st_size for file in bundle.folder.iterdir()) <= MAX_BYTES


def test_every_recording_is_attributed(bundle: Bundle) -> None:
    with (bundle.folder / "ATTRIBUTIONS.csv").open(newline="", encoding="utf-8") as stream:
        attributed = list(csv.DictReader(stream))
    assert all(row["title"] and row["author"] and row["license"] and row["source_url"] for row in attributed)
    if not CLIPS.is_file():
        pytest.skip("the list of recordings is not beside this checkout")
    with CLIPS.open(newline="", encoding="utf-8") as stream:
        known = {row["file"]: row for row in csv.DictReader(stream)}
    named, others = ([row for row in attributed if (row["label"] == "unknown") is other] for other in (False, True))
    assert len(named) == 320 and all(row["source_url"].startswith("Debian package ") for row in others)
    for row in named:
        assert {name: known[row["file"]][name] for name in row} == row


def test_gate_let_every_graph_in(bundle: Bundle) -> None:
    for forms in bundle.manifest.graphs.values():
        for graph in forms:
            assert 0 < graph.max_abs_difference <= 1e-3
