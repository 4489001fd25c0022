"""The wheel holds the runtime, the default bundle with its attributions, and the entry points."""

from __future__ import annotations

import csv
import subprocess
import sys
import zipfile
from collections import Counter
from pathlib import Path

import pytest

from edge_aac.audio.sources.demo import demo_programme
from edge_aac.bundle.store import DEFAULT_BUNDLE, Bundle, open_bundle

pytestmark = pytest.mark.one_python

ROOT = Path(__file__).parents[2]
CLIPS = ROOT.parent / "shared" / "data" / "esc10" / "clips.csv"
MAX_BYTES = 12_000_000
COMPUTED = ("edge-aac", "CC0-1.0")
"""Author and licence of sounds that have no other source than this tree."""
FACTS = ("label", "author", "license", "source_url")


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    return open_bundle(DEFAULT_BUNDLE)


def test_wheel_holds_the_bundle_and_the_recipes(tmp_path: Path, bundle: Bundle) -> None:
    command = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation", "-w", tmp_path, ROOT]
    subprocess.run([str(word) for word in command], check=True)
    (wheel,) = tmp_path.glob("edge_aac-*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    wanted = {"manifest.json", "README.md", "ATTRIBUTIONS.csv"} | {file.file for file in bundle.manifest.files()}
    packed = {name.rpartition("/") for name in names if name.startswith("edge_aac/bundles/")}
    assert {file for folder, _, file in packed if folder == f"edge_aac/bundles/{DEFAULT_BUNDLE}"} == wanted
    assert {folder.rpartition("/")[2] for folder, _, file in packed if file == "manifest.json"} == {DEFAULT_BUNDLE}
    assert {"quantize/recipes/esc10-tiny.toml", f"quantize/recipes/{DEFAULT_BUNDLE}.toml"} <= names
    recordings = {event.recording for event in demo_programme()}
    assert len(recordings) >= 4
    for recording in (*recordings, "ATTRIBUTIONS.csv"):
        assert f"edge_aac/audio/sources/demo/recordings/{recording}" in names
    assert not any(name.startswith("tests/") for name in names)


def test_bundle_is_small(bundle: Bundle) -> None:
    assert sum(file.stat().st_size for file in bundle.folder.iterdir()) <= MAX_BYTES


def test_every_recording_is_attributed(bundle: Bundle) -> None:
    with (bundle.folder / "ATTRIBUTIONS.csv").open(newline="", encoding="utf-8") as stream:
        attributed = list(csv.DictReader(stream))
    assert all(row["label"] and row["title"] and row["author"] and row["license"] for row in attributed)
    assert all(row["source_url"] or (row["author"], row["license"]) == COMPUTED for row in attributed)


def test_esc10_is_attributed_as_its_authors_have_it(bundle: Bundle) -> None:
    """Whole folds of it, and nothing of it under another name."""
    if not CLIPS.is_file():
        pytest.skip("the list of recordings is not beside this checkout")
    with CLIPS.open(newline="", encoding="utf-8") as stream:
        known = {row["file"]: row for row in csv.DictReader(stream)}
    with (bundle.folder / "ATTRIBUTIONS.csv").open(newline="", encoding="utf-8") as stream:
        heard = [row for row in csv.DictReader(stream) if row["file"] in known]
    for row in heard:
        assert {name: known[row["file"]][name] for name in FACTS} == {name: row[name] for name in FACTS}
    folds = Counter(known[row["file"]]["fold"] for row in heard)
    assert len(folds) >= 3
    assert folds.items() <= Counter(row["fold"] for row in known.values()).items()


def test_gate_let_every_graph_in(bundle: Bundle) -> None:
    for forms in bundle.manifest.graphs.values():
        for graph in forms:
            assert 0 < graph.max_abs_difference <= 1e-3
