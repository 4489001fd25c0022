"""No secret leaves by the settings that are shown, by what doctor and support-dump say, or by a fault."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge_aac.doctor.contract import Context
from edge_aac.doctor.secrets import Scrubber
from edge_aac.errors import ConfigError
from edge_aac.settings.show import show
from edge_aac.settings.tree import load_settings

PASSWORD, TOKEN = "hunter2 :@/#%41", "s3cr3t-of-a-variable"


def configured(tmp_path: Path, lines: str) -> Path:
    path = tmp_path / "config.toml"
    path.write_text(f'[[sinks]]\nkind = "mqtt"\n{lines}\n')
    return path


def test_what_is_read_from_files_and_variables_is_hidden(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BROKER_LOGIN", f"kitchen:{TOKEN}")
    login, key = tmp_path / "login", tmp_path / "client.key"
    login.write_text(f"kitchen:{PASSWORD}\n")
    key.write_text("-----BEGIN PRIVATE KEY-----\nMIGHAgEAMBMGByqGSM49\n-----END PRIVATE KEY-----\n")
    for lines, secret in (
        (f'url = "mqtt://host"\ncredentials = "file:{login}"', PASSWORD),
        ('url = "mqtt://host"\ncredentials = "env:BROKER_LOGIN"', TOKEN),
        (f'url = "mqtts://host"\ncertificate = "/c.pem"\nkey = "{key}"', "MIGHAgEAMBMGByqGSM49"),
    ):
        path = configured(tmp_path, lines)
        settings = load_settings(path)
        context = Context(settings, files=[path])
        assert secret not in Scrubber.of(context).text(f"the broker said {secret}."), lines
        assert secret not in show(settings)
        assert "host" in show(settings)


@pytest.mark.parametrize(
    "lines", [f'url = "mqtt://kitchen:{TOKEN}@host"', f'url = "mqtt://h"\ncredentials = "a:{TOKEN}"']
)
def test_a_fault_of_the_settings_shows_no_password(lines: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as error:
        load_settings(configured(tmp_path, lines))
    assert TOKEN not in str(error.value)
