"""The cost of a hop: what is timed is a whole window and a hop's new patches, and nothing else is promised here."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.patches import bundle_graphs, measure
from edge_aac.errors import UsageError
from tests.edge_aac.models.tiny_bundle import Tiny, captioner_table, write


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("bundles") / "patched"
    return write(path, captioner_table(path, Tiny(patches=(98, 50))))


def test_a_hop_is_timed_against_a_whole_window(folder: str) -> None:
    found = measure(*bundle_graphs(folder, 1), 1.5, 5)
    assert (found["patches_of_a_window"], found["new_patches_of_a_hop"], found["windows"]) == (19, 3, 5)
    for name in ("whole_window_ms", "hop_ms", "encoder_alone_ms", "ratio", "ratio_of_the_fastest"):
        assert found[name] > 0


@pytest.mark.parametrize("hop_s", [0.7, 0.0, 9.5, 12.0])
def test_hops_that_share_no_patches_are_refused(folder: str, hop_s: float) -> None:
    with pytest.raises(UsageError, match="share no patches"):
        measure(*bundle_graphs(folder, 1), hop_s, 5)


def test_a_bundle_that_hears_whole_windows_is_refused(tmp_path: Path) -> None:
    plain = write(tmp_path / "plain", captioner_table(tmp_path / "plain"))
    with pytest.raises(UsageError, match="hears whole windows"):
        bundle_graphs(plain, 1)
