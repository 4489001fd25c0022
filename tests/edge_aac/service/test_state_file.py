"""The state file: whole whenever it is read, only where there is a place for it, and judged by its age."""

from __future__ import annotations

import json
import logging
import os
import time
from pathlib import Path
from typing import Any

import pytest

from edge_aac.errors import DataError, InputMissingError
from edge_aac.service.state_file import StateFile, path_of_environment, read_state


def _state(**changes: Any) -> dict[str, Any]:
    state = {
        "node": "kitchen",
        "version": "1",
        "pid": 7,
        "phase": "running",
        "status": "listening to mic0; 1 caption",
        "missing": [],
        "written_s": time.time(),
        "monotonic_s": time.monotonic(),
        "captions": 1,
        "sources": {"mic0": {"state": "listening"}},
        "sinks": {},
        "health": {},
    }
    return {**state, **changes}


@pytest.mark.parametrize(
    ("environment", "path"),
    [
        ({}, None),
        ({"XDG_RUNTIME_DIR": "/run/user/0"}, None),
        ({"RUNTIME_DIRECTORY": "/run/edge-aac"}, Path("/run/edge-aac/health.json")),
        ({"RUNTIME_DIRECTORY": "/run/a:/run/b"}, Path("/run/a/health.json")),
        ({"RUNTIME_DIRECTORY": "/run/a", "EDGE_AAC_STATE_FILE": "/tmp/x.json"}, Path("/tmp/x.json")),
    ],
)
def test_it_is_only_where_there_is_a_place_for_it(environment: dict[str, str], path: Path | None) -> None:
    assert path_of_environment(environment) == path


def test_what_is_written_is_read_and_leaves_nothing_beside_it(tmp_path: Path) -> None:
    file = StateFile(tmp_path / "health.json")
    file.write(_state())
    file.write(_state(captions=2, status="a\nb"))
    state = read_state(tmp_path / "health.json")
    assert (state.captions, state.status, state.faults()) == (2, "a\nb", [])
    assert [path.name for path in tmp_path.iterdir()] == ["health.json"]
    assert (tmp_path / "health.json").stat().st_mode & 0o777 == 0o644
    file.remove()
    file.remove()
    assert not list(tmp_path.iterdir())


def test_every_user_may_ask_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        StateFile(tmp_path / "health.json").write({})
    finally:
        os.umask(before)
    assert (tmp_path / "health.json").stat().st_mode & 0o777 == 0o644


def test_faults_are_what_does_not_move_and_a_state_that_is_old(tmp_path: Path) -> None:
    file = StateFile(tmp_path / "health.json")
    file.write(_state(missing=["describing has not come to an end for 31 s"]))
    state = read_state(tmp_path / "health.json")
    assert state.faults() == ["describing has not come to an end for 31 s"]
    assert "the process 7 hangs or has gone" in state.faults(state.monotonic_s + 31.0)[0]
    assert "has gone" in state.faults(state.monotonic_s - 1.0)[0], "of before the machine was started anew"
    file.write(_state(written_s=0.0))
    assert read_state(tmp_path / "health.json").faults() == [], "the wall clock may be set as one likes"


def test_a_folder_that_is_away_disturbs_nobody(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    file = StateFile(tmp_path / "away" / "health.json")
    with caplog.at_level(logging.WARNING):
        file.write(_state())
        file.write(_state())
    assert len(caplog.messages) == 1
    (tmp_path / "away").mkdir()
    file.write(_state())
    assert read_state(tmp_path / "away" / "health.json").captions == 1


@pytest.mark.parametrize("text", ["", "[]", "{}", "null", json.dumps(_state(pid="x")), json.dumps(_state(missing=5))])
def test_something_else_is_no_state(tmp_path: Path, text: str) -> None:
    path = tmp_path / "health.json"
    path.write_text(text)
    with pytest.raises(DataError, match="holds no state"):
        read_state(path)


def test_no_file_is_no_service(tmp_path: Path) -> None:
    with pytest.raises(InputMissingError, match="is the service running"):
        read_state(tmp_path / "health.json")


def test_a_path_that_names_no_file_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    file = StateFile(Path("/"))
    with caplog.at_level(logging.WARNING):
        file.write(_state())
        file.write(_state())
    (message,) = caplog.messages
    assert message.startswith("the state file '/' cannot be written")
