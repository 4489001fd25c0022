"""The verb `stream` in this process: what of the settings it cannot do is refused before anything is opened."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from edge_aac.commands.stream import app
from edge_aac.errors import ConfigError


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("[[sources]]\naddress = 'demo:'\nenabled = false\n", "no source is enabled"),
        ("[[sources]]\naddress = 'stdin:'\n[[sources]]\naddress = 'stdin:?rate=8000'\n", "two sources"),
    ],
)
def test_sources_that_cannot_be_streamed(
    text: str, problem: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "config.toml"
    path.write_text(text, encoding="utf-8")
    monkeypatch.setattr("signal.signal", lambda *_: None)
    result = CliRunner().invoke(app, ["--config", str(path)])
    assert isinstance(result.exception, ConfigError)
    assert problem in str(result.exception)
