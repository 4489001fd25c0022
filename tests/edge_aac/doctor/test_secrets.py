"""Secrets are hidden wherever they stand, and what is no secret stays readable."""

from __future__ import annotations

import json
from pathlib import Path
from urllib.parse import quote

import pytest

from edge_aac.doctor.contract import Context, Finding
from edge_aac.doctor.secrets import Scrubber
from edge_aac.settings.layers import Layer
from edge_aac.settings.tree import load_settings

SECRET = 'p@ss "wörd"/1'


@pytest.fixture(autouse=True)
def no_configuration(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", "/nonexistent")


@pytest.mark.parametrize(
    "form", [SECRET, quote(SECRET), quote(SECRET, safe=""), json.dumps(SECRET), json.dumps(SECRET, ensure_ascii=False)]
)
def test_a_known_secret_in_every_form(form: str) -> None:
    hidden = Scrubber([SECRET]).text(f"before {form} after")
    assert hidden.startswith("before ")
    assert hidden.endswith(" after")
    for part in ("p@ss", "p%40ss", "wörd", "w\\u00f6rd", "w%C3%B6rd"):
        assert part not in hidden


def test_short_secrets_hide_no_pieces_of_words() -> None:
    assert Scrubber(["cat", ""]).text("cat concatenates; 'cat'") == "******** concatenates; '********'"


@pytest.mark.parametrize(
    "text",
    [
        "opened rtsp://bob:hunter22@camera/x",
        "opened rtsp://bob:hun ter22@camera/x".replace(" ", "%20"),
        "GET /x?token=hunter22&y=1",
        'password = "hunter22"',
        "password: hunter22, user: bob",
        '{"token": "hunter22", "x": 1}',
        "Authorization: Bearer hunter22",
        "API_KEY=hunter22",
        "-----BEGIN RSA PRIVATE KEY-----\nhunter22\n-----END RSA PRIVATE KEY-----",
    ],
)
def test_what_looks_like_a_secret(text: str) -> None:
    hidden = Scrubber().text(text)
    assert "hunter22" not in hidden
    assert "hun%20ter22" not in hidden


def test_json_stays_json() -> None:
    line = json.dumps({"address": "rtsp://bob:x@camera/y?token=z", "token": "abc", "mail": "a@b", "text": "goes on"})
    table = json.loads(Scrubber().text(line))
    assert table == {
        "address": "rtsp://********@camera/y?token=********",
        "token": "********",
        "mail": "a@b",
        "text": "goes on",
    }


def test_users_in_paths_of_homes() -> None:
    text = "'/home/alice/x' and /home/bob; /var/home/carol/y, file:/home/dave/z but /srv/home/shared and /homework/x"
    assert Scrubber().text(text) == (
        "'/home/USER/x' and /home/USER; /var/home/USER/y, file:/home/USER/z but /srv/home/shared and /homework/x"
    )


def test_what_is_no_secret_stays() -> None:
    text = (
        "mic0 gives no sound for 30 s; 3 tokens of 5; keyboard; see /etc/edge-aac/config.toml:12 (author@example.org)"
    )
    assert Scrubber().text(text) == text
    finding = Finding("ok", text, text)
    assert Scrubber().finding(finding) == finding


def test_secrets_of_settings_environment_and_files(tmp_path: Path) -> None:
    file = tmp_path / "broken.toml"
    file.write_text('[mqtt]\npassword = "from-broken"\naddress = "mqtts://u:in-broken@h"\n= no toml\n')
    named = tmp_path / "password"
    named.write_text("user:from-named-file\n")
    login = tmp_path / "login"
    login.write_text("?key=from-query-file\n")
    other = tmp_path / "fine.toml"
    other.write_text('[mqtt]\ntoken = "fro\\u006d-escaped"\n[[x]]\nclient_key = ["in-a-list"]\n')
    context = Context(
        load_settings(None, Layer({"sources": [{"address": "rtsp://carl:of-source@h/?key=of-option"}]})),
        files=[file, other, tmp_path / "missing"],
        given={
            "sinks": ["mqtt://dora:of-flag@h"],
            "sources": [f"rtsp://h/x#credentials=file:{login}", "rtsp://h/y?credentials=env:GARDEN&z=1"],
        },
        environment={
            "CAMERA_PASSWORD": "from-environment",
            "MQTT_PASSWORD_FILE": str(named),
            "PROXY": "http://eve:of-proxy@h",
            "SSH_AUTH_SOCK": "/run/agent",
            "USE_TOKEN": "true",
            "GARDEN": "fred:from-login",
        },
    )
    secrets = ["from-broken", "in-broken", "from-named-file", "from-escaped", "in-a-list", "of-source", "of-option"]
    secrets += ["of-flag", "from-environment", "of-proxy", "carl", "dora"]
    secrets += ["from-query-file", "from-login"]
    hidden = Scrubber.of(context).text(" ".join(f"<{secret}>" for secret in secrets) + f" /run/agent true {login}")
    assert hidden == " ".join(["<********>"] * len(secrets)) + f" /run/agent true {login}"
