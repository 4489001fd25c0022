"""Tags, chunks and garbage around the sound are not heard; joined files are heard, or refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.edge_aac.audio.inputs.cases import Tally
from tests.edge_aac.audio.inputs.headers import Container, tried_ways
from tests.edge_aac.audio.inputs.hearing import REDIRECTED, WAYS
from tests.edge_aac.audio.inputs.others import (
    joined,
    odd_sounds,
    unsized_with_trailers,
    with_chunks,
    with_trailers,
)

pytestmark = pytest.mark.one_python

_every_container = pytest.mark.parametrize(
    "container, way", [pytest.param(item, way, id=f"{item.name}-{way}") for item, way in tried_ways()]
)
_every_way = pytest.mark.parametrize("way", WAYS)


@_every_container
def test_tags_and_garbage(tmp_path: Path, container: Container, way: str) -> None:
    Tally().try_all(with_trailers(container), way, tmp_path).check()


@pytest.mark.parametrize(
    "container, way",
    [pytest.param(item, way, id=f"{item.name}-{way}") for item, way in tried_ways() if any(with_chunks(item))],
)
def test_chunks(tmp_path: Path, container: Container, way: str) -> None:
    Tally().try_all(with_chunks(container), way, tmp_path).check()


@_every_way
def test_an_odd_number_of_bytes(tmp_path: Path, way: str) -> None:
    Tally().try_all(odd_sounds(), way, tmp_path).check()


@_every_way
def test_containers_without_a_length(tmp_path: Path, way: str) -> None:
    Tally().try_all(unsized_with_trailers(), way, tmp_path).check()


@pytest.mark.parametrize("way", [*WAYS, REDIRECTED])
def test_joined_files(tmp_path: Path, way: str) -> None:
    Tally().try_all(joined(), way, tmp_path).check()
