"""Sinks that deliver to others, as a user runs them: what they could not deliver goes out at the next start."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.edge_aac.sinks.web_server import WebServer, answer
from tests.system.command import noise, records, run_edge_aac, write_wav

pytestmark = pytest.mark.one_python


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_wav(tmp_path_factory.mktemp("sound") / "noise.wav", noise(17))


@pytest.fixture
def server() -> Iterator[WebServer]:
    server = WebServer()
    yield server
    server.close()


def _config(folder: Path, url: str) -> Path:
    taken = folder / "taken"
    program = f"import sys\nfor line in sys.stdin: open({str(taken)!r}, 'a').write(line)\n"
    (folder / "program.py").write_text(program)
    (folder / "key").write_text("hunter2-key")
    path = folder / "config.toml"
    path.write_text(
        f"""
[[sinks]]
kind = "stdout"

[[sinks]]
kind = "webhook"
url = "{url}"
token = "env:HOOK"
secret = "file:{folder}/key"
records = ["caption"]

[[sinks]]
kind = "exec"
command = ["{sys.executable}", "{folder}/program.py"]
"""
    )
    return path


def test_what_is_printed_is_posted_and_given_to_a_program_and_what_fails_goes_out_later(
    sound: Path, server: WebServer, tmp_path: Path
) -> None:
    server.plan += [answer(401)]
    config = _config(tmp_path, server.url("/hunter2-path"))
    printed, logged = [], ""
    for run in range(2):
        result = run_edge_aac(
            *("stream", "--config", config, "--device", f"file:{sound}", "--hop", "2", "--threads", "1"),
            "--every-window",
            env={"XDG_STATE_HOME": str(tmp_path / "state"), "HOOK": "hunter2-token"},
        )
        assert result.returncode == 0, result.stderr
        printed += records(result.stdout)
        logged += result.stderr
        if run == 0:
            assert len(server.requests) == 1
            assert "answers 401 Unauthorized: correct the token" in result.stderr
            assert "messages wait on disk for the next start" in result.stderr
            server.requests.clear()
    assert len(printed) > 2
    assert [request.table for request in server.requests] == printed
    assert server.requests[0].headers["authorization"] == "Bearer hunter2-token"
    given = [json.loads(line) for line in (tmp_path / "taken").read_text().splitlines()]
    assert given == printed
    stored = b"".join(path.read_bytes() for path in (tmp_path / "state").rglob("*") if path.is_file())
    assert "hunter2" not in logged + stored.decode("latin-1")


def test_what_leaves_the_device_is_told_without_secrets(tmp_path: Path) -> None:
    config = _config(tmp_path, "https://hooks.example/hunter2-path")
    result = run_edge_aac("config", "--show", "--config", config, env={"HOOK": "hunter2-token"})
    assert result.returncode == 0, result.stderr
    assert "Caption records are sent to hooks.example" in result.stdout
    assert "hunter2" not in result.stdout + result.stderr
