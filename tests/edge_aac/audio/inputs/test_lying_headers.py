"""Headers that are wrong about their length: all is heard, or one sentence says that it was not."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.edge_aac.audio.inputs.cases import Tally
from tests.edge_aac.audio.inputs.headers import Container, tried_ways
from tests.edge_aac.audio.inputs.hearing import WAYS
from tests.edge_aac.audio.inputs.lies import cut, flacs, lying, stale_with_tags

pytestmark = pytest.mark.one_python

_every_container = pytest.mark.parametrize(
    "container, way", [pytest.param(item, way, id=f"{item.name}-{way}") for item, way in tried_ways()]
)
_USUAL = ("WAV", "RF64", "W64", "AIFF", "AU", "CAF")
_every_way = pytest.mark.parametrize("way", WAYS)


@_every_container
def test_complete_files_are_heard(tmp_path: Path, container: Container, way: str) -> None:
    # All lies are told to files of the usual containers, some to others and to pipes; the sweep tells all to all.
    few = way != "file" or container.name not in _USUAL
    Tally().try_all(lying(container, few=few), way, tmp_path).check()


@_every_container
def test_tags_behind_a_stale_header_are_not_heard(tmp_path: Path, container: Container, way: str) -> None:
    Tally().try_all(stale_with_tags(container), way, tmp_path).check()


@_every_container
def test_seconds_that_are_missing_are_told(tmp_path: Path, container: Container, way: str) -> None:
    Tally().try_all(cut(container), way, tmp_path).check()


@_every_way
def test_flac(tmp_path: Path, way: str) -> None:
    Tally().try_all(flacs(), way, tmp_path).check()
