"""Places of secrets: what they hold, and what is wrong with them, without a word of the secret."""

from __future__ import annotations

import logging
import os
from pathlib import Path

import pytest

from edge_aac.credentials import MAX_BYTES, Secret, SecretPlace
from edge_aac.errors import ConfigError, InputMissingError

_TOKEN = Secret("the token")


def _file(path: Path) -> SecretPlace:
    return SecretPlace.parse(f"file:{path}")


@pytest.mark.parametrize(
    "text", ["hunter2", "file:", "env:", "env:hunter2-x", "env:2", "file:a\0hunter2", "FILE:/x", ""]
)
def test_what_is_no_place_is_refused_without_a_word_of_it(text: str) -> None:
    with pytest.raises(ValueError, match=r'write "file:PATH" or "env:NAME"') as refused:
        SecretPlace.parse(text)
    assert "hunter2" not in str(refused.value)


def test_places() -> None:
    assert SecretPlace.parse("file:/a b:c") == SecretPlace("file", "/a b:c")
    assert SecretPlace.parse("env:LOGIN_2") == SecretPlace("env", "LOGIN_2")


@pytest.mark.parametrize(
    ("data", "line"),
    [
        (b"hunter2", "hunter2"),
        (b"\xef\xbb\xbfhunter2\r\n\n", "hunter2"),
        (b"\n  a: b@\xc3\xa4 \n", "  a: b@ä "),
        (b"x" * MAX_BYTES, "x" * MAX_BYTES),
    ],
    ids=["plain", "as Windows writes it", "blanks belong to it", "longest"],
)
def test_the_line_of_a_file_or_variable(
    data: bytes, line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (path := tmp_path / "token").write_bytes(data)
    assert _file(path).read(_TOKEN) == line
    monkeypatch.setenv("A_TOKEN", os.fsdecode(data))
    assert SecretPlace("env", "A_TOKEN").read(_TOKEN) == line


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "does not hold the token: it is to hold one line"),
        (b" \n\n", "does not hold the token: it is to hold one line"),
        (b"hunter2\nhunter2", "does not hold the token: it is to hold one line"),
        (b"hunter2\x1b", "does not hold the token: it is to hold one line"),
        (b"hunter2\xff", "is no text in UTF-8: it is to hold one line"),
        (b"hunter2" * MAX_BYTES, f"has more than {MAX_BYTES} bytes: it is to hold one line"),
    ],
    ids=["empty", "blank", "two lines", "control", "not UTF-8", "too long"],
)
def test_what_is_no_secret(data: bytes, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (path := tmp_path / "token").write_bytes(data)
    monkeypatch.setenv("A_TOKEN", os.fsdecode(data))
    for place, name in ((_file(path), f"'{path}'"), (SecretPlace("env", "A_TOKEN"), "the variable A_TOKEN")):
        with pytest.raises(ConfigError) as refused:
            place.read(_TOKEN)
        assert str(refused.value) == f"{name} {words}"


def test_a_place_that_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("A_TOKEN", raising=False)
    with pytest.raises(InputMissingError, match=r"^the token cannot be read: set the variable A_TOKEN to one line$"):
        SecretPlace("env", "A_TOKEN").read(_TOKEN)
    for path, reason in ((tmp_path / "none", "No such file"), (tmp_path, "Is a directory")):
        with pytest.raises(InputMissingError, match=rf"the token cannot be read from '{path}' \({reason}"):
            _file(path).read(_TOKEN)


def test_a_file_is_read_again_and_its_home_is_the_users(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    for text in ("one", "two"):
        (tmp_path / "token").write_text(text)
        assert SecretPlace.parse("file:~/token").read(_TOKEN) == text


def test_a_pipe_that_nobody_writes_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(pipe := tmp_path / "pipe")
    with pytest.raises(ConfigError, match="does not hold the token"):
        _file(pipe).read(_TOKEN)
    held = os.open(pipe, os.O_RDWR)
    try:
        with pytest.raises(ConfigError, match="does not hold the token"):
            _file(pipe).read(_TOKEN)
    finally:
        os.close(held)


@pytest.mark.parametrize(("mode", "warned"), [(0o600, False), (0o640, False), (0o644, True), (0o602, True)])
def test_a_file_that_everybody_may_read(
    mode: int, warned: bool, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (path := tmp_path / "token").write_text("hunter2")
    path.chmod(mode)
    with caplog.at_level(logging.WARNING):
        _file(path).warn_if_open(_TOKEN)
        _file(tmp_path / "none").warn_if_open(_TOKEN)
        SecretPlace("env", "PATH").warn_if_open(_TOKEN)
    wanted = f"'{path}' holds the token and every user of this machine may read or change it: `chmod o= '{path}'`"
    assert caplog.messages == ([wanted] if warned else [])
