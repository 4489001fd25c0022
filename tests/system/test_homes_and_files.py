"""Homes that cannot be looked into, and configuration files and recipes as editors save them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.system.command import noise, records, run_bound_by_permissions, run_edge_aac, write_wav

_FAST = ("--candidates", "1", "--format", "json")
_CONFIG = "[stream]\r\nnode = 'attic'\r\n"


@pytest.fixture
def sound(tmp_path: Path) -> Path:
    return write_wav(tmp_path / "noise.wav", noise(2))


@pytest.fixture
def closed(tmp_path: Path) -> Path:
    """A home with a configuration that nobody else may look into."""
    home = tmp_path / "home"
    (home / "edge-aac").mkdir(parents=True)
    (home / "edge-aac" / "config.toml").write_text("[stream]\nnode = 'hidden'\n")
    home.chmod(0)
    return home


def test_a_home_that_must_not_be_read_holds_nothing(sound: Path, closed: Path) -> None:
    for env in ({"XDG_CONFIG_HOME": str(closed)}, {"XDG_CONFIG_HOME": "", "HOME": str(closed)}):
        env["XDG_CACHE_HOME"] = env["XDG_DATA_HOME"] = str(closed)
        result = run_bound_by_permissions("caption", *_FAST, sound, env=env)
        assert result.returncode == 0, result.stderr
        assert [each["node"] for each in records(result.stdout)] != ["hidden"]
        (line,) = result.stderr.splitlines()
        assert line.startswith("edge-aac: no configuration is read from ") and "Permission denied" in line


def test_a_configuration_that_was_asked_for_must_be_readable(sound: Path, closed: Path, tmp_path: Path) -> None:
    secret = tmp_path / "secret.toml"
    secret.touch(mode=0)
    for path in (secret, closed / "edge-aac" / "config.toml"):
        for verb in (("caption", *_FAST, sound, "--config", path), ("config", "--check", path)):
            result = run_bound_by_permissions(*verb)
            assert (result.returncode, result.stdout, result.stderr.count("\n")) == (66, "", 1), result.stderr
            assert str(path) in result.stderr and "permissions" in result.stderr


@pytest.mark.parametrize("place", ["relative", "/dev/null", "/dev/zero", "/" + "x" * 300, "/nonexistent\n\x1b[2J"])
def test_odd_homes_are_no_error(place: str, sound: Path) -> None:
    env = {name: place for name in ("XDG_CONFIG_HOME", "XDG_CACHE_HOME", "XDG_DATA_HOME", "HOME")}
    result = run_edge_aac("caption", *_FAST, sound, env=env)
    assert result.returncode == 0, result.stderr
    assert len(records(result.stdout)) == 1 and "\x1b" not in result.stderr


def test_without_a_home(sound: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HOME", "XDG_CACHE_HOME", "XDG_DATA_HOME"):
        monkeypatch.delenv(name, raising=False)
    result = run_edge_aac("caption", *_FAST, sound, env={"XDG_CONFIG_HOME": ""})
    assert result.returncode == 0, result.stderr


def test_a_configuration_with_a_mark_is_read(sound: Path, tmp_path: Path) -> None:
    path = tmp_path / "bom.toml"
    path.write_bytes(_CONFIG.encode("utf-8-sig"))
    (record,) = records(run_edge_aac("caption", *_FAST, sound, "--config", path).stdout)
    assert record["node"] == "attic"
    checked = run_edge_aac("config", "--check", path)
    assert (checked.returncode, checked.stdout) == (0, f"{path}: no faults\n")
    fault = tmp_path / "fault.toml"
    fault.write_bytes("[stream]\nhop_s = 'often'\n".encode("utf-8-sig"))
    assert run_edge_aac("config", "--check", fault).stdout.startswith(f"{fault}:2: stream.hop_s: ")


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "latin-1"])
def test_a_configuration_in_another_encoding_is_one_sentence(encoding: str, sound: Path, tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    path.write_bytes(_CONFIG.replace("attic", "K\u00fcche").encode(encoding))
    result = run_edge_aac("caption", *_FAST, sound, "--config", path)
    assert (result.returncode, result.stdout, result.stderr.count("\n")) == (78, "", 1), result.stderr
    assert "save it as UTF-8" in result.stderr
    checked = run_edge_aac("config", "--check", path)
    assert checked.returncode == 78 and checked.stdout.count("\n") == 1 and "save it as UTF-8" in checked.stdout


def test_a_configuration_from_a_pipe(sound: Path) -> None:
    reader, writer = os.pipe()
    os.write(writer, _CONFIG.encode())
    os.close(writer)
    result = run_edge_aac("caption", *_FAST, sound, "--config", f"/proc/{os.getpid()}/fd/{reader}")
    os.close(reader)
    assert [each["node"] for each in records(result.stdout)] == ["attic"], result.stderr


@pytest.mark.parametrize("content", [b"a = " + b"[" * 50_000, b"[stream]\nhop_s = 1" + b"0" * 50_000])
def test_a_configuration_that_no_program_can_hold(content: bytes, sound: Path, tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    path.write_bytes(content)
    result = run_edge_aac("caption", *_FAST, sound, "--config", path)
    assert (result.returncode, result.stdout, result.stderr.count("\n")) == (78, "", 1), result.stderr


@pytest.mark.parametrize(
    ("device", "form"),
    [("hw:1,0", "alsa:hw:1,0"), ("-", "stdin:"), ("rtmp://me:secret@camera/1", "ffmpeg -i rtmp://c")],
)
def test_addresses_of_other_programs(device: str, form: str) -> None:
    result = run_edge_aac("stream", "--device", device)
    assert (result.returncode, result.stdout) == (69, "")
    assert form in result.stderr and "secret" not in result.stderr
