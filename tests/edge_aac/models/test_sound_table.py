"""The file of a bundle that lists its sounds."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from edge_aac.errors import DataError, InputMissingError
from edge_aac.fluency.sound_names import Say, SoundNames, SoundWords
from edge_aac.models.sound_table import read_sounds, sounds_table

_NAMES = SoundNames(
    {
        "dog": SoundWords((), (Say(("dog", "dogs"), ("makes a noise",)),)),
        "bark": SoundWords(("dog",), (Say(("dog",), ("barks", "barking")),), ("barking",)),
    },
    ("and",),
)


def _write(tmp_path: Path, table: Any) -> Path:
    path = tmp_path / "sounds.json"
    path.write_text(table if isinstance(table, str) else json.dumps(table), encoding="utf-8")
    return path


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    names = read_sounds(_write(tmp_path, sounds_table(_NAMES)))
    assert names.sounds == _NAMES.sounds and names.connectives == _NAMES.connectives
    assert names.named("a dog barks and dogs") == ("bark", "dog")


@pytest.mark.parametrize(
    "changes",
    [
        {"schema": "edge-aac/sounds/2"},
        {"sounds": {"bark": {"parents": ["cat"]}}},
        {"sounds": {"a": {"parents": ["b"]}, "b": {"parents": ["a"]}}},
        {"sounds": {"bark": {"colour": "red"}}},
        {"sounds": {"bark": {"nouns": "barking"}}},
        {"sounds": {f"s{i}": {"parents": [f"s{i + 1}"]} for i in range(2000)} | {"s2000": {}}},
        {"connectives": None},
        {"more": 1},
    ],
)
def test_what_lists_no_sounds_is_refused_in_one_sentence(tmp_path: Path, changes: dict[str, Any]) -> None:
    with pytest.raises(DataError, match="install the bundle again") as error:
        read_sounds(_write(tmp_path, {**sounds_table(_NAMES), **changes}))
    assert "\n" not in str(error.value)


def test_many_lines_of_parents_are_followed_once(tmp_path: Path) -> None:
    """Each of 60 floors has two sounds above each of the one below: 2^60 ways up."""
    floors = {f"{side}{i}": {"parents": [f"a{i + 1}", f"b{i + 1}"]} for i in range(60) for side in "ab"}
    table = {**sounds_table(_NAMES), "sounds": {**floors, "a60": {}, "b60": {}}}
    names = read_sounds(_write(tmp_path, table))
    assert len(names.ancestors("a0")) == 120
    assert names.ancestors("a0")[:2] in (("a1", "b1"), ("b1", "a1"))


def test_what_is_no_json_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="not JSON"):
        read_sounds(_write(tmp_path, "{"))


def test_what_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(InputMissingError, match="install the bundle again"):
        read_sounds(tmp_path / "none.json")
