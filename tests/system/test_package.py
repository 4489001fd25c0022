"""The wheel holds the runtime, the bundles that ship with their attributions, and the entry points."""

from __future__ import annotations

import csv
import subprocess
import sys
import zipfile
from collections import Counter
from pathlib import Path

import pytest

from edge_aac.audio.sources.demo import demo_programme
from edge_aac.bundle.store import ASKED_BUNDLE, DEFAULT_BUNDLE, Bundle, open_bundle
from edge_aac.models.prompted_manifest import PROMPT_ENCODER

pytestmark = pytest.mark.one_python

ROOT = Path(__file__).parents[2]
CLIPS = ROOT.parent / "shared" / "data" / "esc10" / "clips.csv"
MAX_BYTES, MAX_WHEEL_BYTES = 12_000_000, 25_000_000
SHIPPED = (DEFAULT_BUNDLE, ASKED_BUNDLE)
COMPUTED = ("edge-aac", "CC0-1.0")
"""Author and licence of sounds that have no other source than this tree."""
FACTS = ("label", "author", "license", "source_url")


@pytest.fixture(scope="module", params=SHIPPED)
def bundle(request: pytest.FixtureRequest) -> Bundle:
    return open_bundle(request.param)


def test_wheel_holds_the_bundles_and_the_recipes(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation", "-w", tmp_path, ROOT]
    subprocess.run([str(word) for word in command], check=True)
    (wheel,) = tmp_path.glob("edge_aac-*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    assert wheel.stat().st_size <= MAX_WHEEL_BYTES
    packed = {name.rpartition("/") for name in names if name.startswith("edge_aac/bundles/")}
    for name in SHIPPED:
        files = {file.file for file in open_bundle(name).manifest.files()}
        wanted = {"manifest.json", "README.md", "ATTRIBUTIONS.csv"} | files
        assert {file for folder, _, file in packed if folder == f"edge_aac/bundles/{name}"} == wanted
    assert {folder.rpartition("/")[2] for folder, _, file in packed if file == "manifest.json"} == set(SHIPPED)
    recipes = "esc10-tiny", DEFAULT_BUNDLE, f"prompted/{ASKED_BUNDLE}"
    assert {f"quantize/recipes/{recipe}.toml" for recipe in recipes} <= names
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
    for role, forms in bundle.manifest.graphs.items():
        for graph in forms:
            # Rows of a table are the same wherever they are looked up; nothing else is to the last bit.
            assert graph.max_abs_difference <= 1e-3 and (graph.max_abs_difference > 0 or role == PROMPT_ENCODER)
