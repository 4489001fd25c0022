"""Credentials: where they stand, in which form, and what is wrong with them, without a word of them."""

from __future__ import annotations

import logging
import os
from pathlib import Path

import pytest

from edge_aac.audio.connection import PermanentDeviceError
from edge_aac.audio.sources.network.credentials import CredentialsPlace, Login
from edge_aac.errors import DeviceError


@pytest.mark.parametrize(
    ("text", "login"),
    [
        ("me:hunter2", Login("me", "hunter2")),
        ("\ufeffme:hunter2\r\n\n", Login("me", "hunter2")),
        ("me: a:b@/%41 ", Login("me", " a:b@/%41 ")),
        ("me:", Login("me", "")),
        ("?token=a b", Login(query="token=a%20b")),
    ],
)
def test_a_file(text: str, login: Login, tmp_path: Path) -> None:
    (path := tmp_path / "login").write_text(text, encoding="utf-8")
    assert CredentialsPlace("file", str(path)).read() == login


def test_a_file_is_read_again(tmp_path: Path) -> None:
    place = CredentialsPlace("file", str(path := tmp_path / "login"))
    with pytest.raises(DeviceError, match="cannot be read") as caught:
        place.read()
    assert not isinstance(caught.value, PermanentDeviceError), "it may come: it is waited for"
    path.write_text("me:1")
    assert place.read() == Login("me", "1")
    path.write_text("me:2")
    assert place.read() == Login("me", "2")


@pytest.mark.parametrize(
    "data",
    [b"", b"hunter2", b":hunter2", b"me:hunter2\nyou:hunter2", b"?hunter2", b"\xff\xfe", b"me:hunter2\x00"],
    ids=["empty", "word", "no user", "two lines", "no value", "not UTF-8", "control"],
)
def test_no_credentials(data: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (path := tmp_path / "login").write_bytes(data)
    with pytest.raises(DeviceError, match=r"holds no credentials|is no text") as caught:
        CredentialsPlace("file", str(path)).read()
    assert "hunter2" not in str(caught.value)
    if b"\x00" not in data:
        monkeypatch.setenv("LOGIN", os.fsdecode(data))
        with pytest.raises(PermanentDeviceError, match="holds no credentials") as caught:
            CredentialsPlace("env", "LOGIN").read()
        assert "hunter2" not in str(caught.value)


def test_a_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    place = CredentialsPlace("env", "LOGIN")
    monkeypatch.delenv("LOGIN", raising=False)
    with pytest.raises(PermanentDeviceError, match="set the variable LOGIN"):
        place.read()
    monkeypatch.setenv("LOGIN", "me:hunter2")
    assert place.read() == Login("me", "hunter2")


@pytest.mark.parametrize(("mode", "warned"), [(0o600, False), (0o640, False), (0o644, True), (0o602, True)])
def test_a_file_that_everybody_may_read(
    mode: int, warned: bool, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (path := tmp_path / "login").write_text("me:hunter2")
    path.chmod(mode)
    with caplog.at_level(logging.WARNING):
        CredentialsPlace("file", str(path)).warn_if_open()
    assert ("chmod o=" in caplog.text) is warned and "hunter2" not in caplog.text


def test_a_login_shows_nothing_and_fits() -> None:
    login = Login("me", "hunter2", "token=hunter2")
    assert "hunter2" not in repr(login)
    assert Login("me", "x" * 124).fits_rtsp and not Login("me", "x" * 125).fits_rtsp
