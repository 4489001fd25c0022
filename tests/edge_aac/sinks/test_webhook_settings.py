"""Settings and secrets of the sink that posts records to an address on the web."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from edge_aac.errors import ConfigError, InputMissingError
from edge_aac.settings.tree import load_settings
from edge_aac.sinks.webhook.settings import WebhookSettings
from edge_aac.sinks.webhook.sink import WebhookSink


@pytest.fixture
def settings(tmp_path: Path) -> Callable[..., WebhookSettings]:
    def make(url: str, **keys: Any) -> WebhookSettings:
        return WebhookSettings(url=url, spool_path=tmp_path / "spool.sqlite", **keys)

    return make


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({"url": "ftp://x/hunter2"}, "https://HOST"),
        ({"url": "https://me:hunter2@x/"}, "user and password"),
        ({"url": "https://x:99999/hunter2"}, "no address"),
        ({"url": "https://x/ü"}, "plain ASCII"),
        ({"url": "https://x/\r\nHost: y"}, "plain ASCII"),
        ({"url": "https://x/{token}"}, "does not say where it is"),
        ({"url": "https://{token}/", "token": "env:A"}, "the host's name"),
        ({"token": "hunter2"}, "file:PATH"),
        ({"shape": "carrier pigeon"}, "there is no shape"),
        ({"shape": "telegram"}, "needs a chat"),
        ({"template": "{sentence.__class__}"}, "stands for nothing"),
        ({"headers": {"X": "a\r\nb"}}, "plain ASCII"),
        ({"headers": {"Content-Length": "0"}}, "cannot be set"),
    ],
)
def test_settings_that_cannot_be_meant(keys: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError) as refused:
        WebhookSettings(**{"url": "https://x/", **keys})
    assert words in refused.value.errors()[0]["msg"]
    assert "hunter2" not in refused.value.errors()[0]["msg"]


def test_secrets_that_are_not_there_are_told_at_the_start(settings: Any, tmp_path: Path) -> None:
    with pytest.raises(InputMissingError, match="the token cannot be read from"):
        WebhookSink.open(settings("https://x/", token=f"file:{tmp_path}/none"))
    with pytest.raises(InputMissingError, match="set the variable NOT_SET_AT_ALL"):
        WebhookSink.open(settings("https://x/", secret="env:NOT_SET_AT_ALL"))
    (tmp_path / "two").write_text("one\ntwo")
    with pytest.raises(ConfigError, match="does not hold the signing key: it is to hold one line"):
        WebhookSink.open(settings("https://x/", secret=f"file:{tmp_path}/two"))
    with pytest.raises(ConfigError, match="holds no certificates"):
        WebhookSink.open(settings("https://x/", ca=tmp_path / "two"))


def test_a_token_that_no_header_has_room_for_and_one_that_all_may_read(
    settings: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (path := tmp_path / "token").write_text("hunter2ä")
    with pytest.raises(ConfigError, match="does not hold the token: it is to hold one line of ASCII characters") as no:
        WebhookSink.open(settings("https://x/", token=f"file:{path}"))
    assert "hunter2" not in str(no.value)
    path.write_text(" hunter2\n")
    path.chmod(0o644)
    WebhookSink.open(settings("https://x/", token=f"file:{path}")).close()
    assert f"chmod o= '{path}'" in caplog.text and "hunter2" not in caplog.text


@pytest.mark.parametrize("key", ["token", "secret"])
def test_a_secret_in_the_settings_is_refused_and_not_shown(key: str, tmp_path: Path) -> None:
    (path := tmp_path / "config.toml").write_text(
        f'[[sinks]]\nkind = "webhook"\nurl = "https://x/"\n{key} = "hunter2"\n'
    )
    with pytest.raises(ConfigError, match="does not stand in the settings") as refused:
        load_settings(path)
    assert "hunter2" not in str(refused.value)
