"""Two reports compared."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

pytest.importorskip("torch", reason="the build-time side needs torch: pip install 'edge-aac[train]'")

from benchmarks.agreement import agreement  # noqa: E402
from edge_aac.errors import DataError, InputMissingError  # noqa: E402


def report(folder: Path, captions: list[tuple[str, str, str]]) -> Path:
    folder.mkdir()
    with (folder / "captions.csv").open("w", newline="") as stream:
        rows = csv.writer(stream)
        rows.writerow(["kind", "source", "relation", "truth", "caption", "names"])
        rows.writerows([kind, "a.wav", "single", "rain", caption, names] for kind, caption, names in captions)
    return folder


def test_share_of_windows_with_the_same_caption(tmp_path: Path) -> None:
    one = report(tmp_path / "a", [("single", "rain falls", "rain"), ("scene", "a dog barks", "dog_bark")])
    other = report(tmp_path / "b", [("single", "rain falls", "rain"), ("scene", "the dog barks", "dog_bark")])
    shares = agreement(one, other)
    assert shares["all"]["same_caption"] == 0.5 and shares["all"]["same_events_named"] == 1.0
    assert shares["single"]["same_caption"] == 1.0 and shares["scene"]["same_caption"] == 0.0
    assert shares["all"]["same_caption_from"] < 0.5 < shares["all"]["same_caption_to"]


def test_other_windows_are_not_compared(tmp_path: Path) -> None:
    one = report(tmp_path / "a", [("single", "rain falls", "rain")])
    other = report(tmp_path / "b", [("scene", "rain falls", "rain")])
    with pytest.raises(DataError, match="same windows"):
        agreement(one, other)
    with pytest.raises(InputMissingError, match="evaluate --output"):
        agreement(one, tmp_path)
