"""Logins of servers: in which form they are written, and what is wrong with them, without a word of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge_aac.audio.connection import PermanentDeviceError
from edge_aac.audio.sources.network.credentials import Login, read_login
from edge_aac.credentials import SecretPlace
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
def test_a_login(text: str, login: Login, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (path := tmp_path / "login").write_text(text, encoding="utf-8")
    assert read_login(SecretPlace("file", str(path))) == login
    monkeypatch.setenv("LOGIN", text)
    assert read_login(SecretPlace("env", "LOGIN")) == login


def test_a_file_may_come_and_a_variable_may_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = SecretPlace("file", str(path := tmp_path / "login"))
    with pytest.raises(DeviceError, match="The credentials cannot be read from") as caught:
        read_login(place)
    assert not isinstance(caught.value, PermanentDeviceError), "it is waited for"
    path.write_text("me:1")
    assert read_login(place) == Login("me", "1")
    monkeypatch.delenv("LOGIN", raising=False)
    with pytest.raises(PermanentDeviceError, match="set the variable LOGIN to one line, USER:PASSWORD"):
        read_login(SecretPlace("env", "LOGIN"))


@pytest.mark.parametrize(
    "text",
    ["", "hunter2", ":hunter2", "me:hunter2\nyou:hunter2", "?hunter2"],
    ids=["empty", "word", "no user", "two lines", "no value"],
)
def test_no_login(text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (path := tmp_path / "login").write_text(text)
    monkeypatch.setenv("LOGIN", text)
    words = r"does not hold the credentials: it is to hold one line, USER:PASSWORD, or \?NAME=VALUE .*\.$"
    with pytest.raises(DeviceError, match=words) as caught:
        read_login(SecretPlace("file", str(path)))
    assert not isinstance(caught.value, PermanentDeviceError)
    with pytest.raises(PermanentDeviceError, match=words) as permanent:
        read_login(SecretPlace("env", "LOGIN"))
    assert "hunter2" not in f"{caught.value}{permanent.value}"


def test_a_login_shows_nothing_and_fits() -> None:
    login = Login("me", "hunter2", "token=hunter2")
    assert "hunter2" not in repr(login)
    assert Login("me", "x" * 124).fits_rtsp and not Login("me", "x" * 125).fits_rtsp
