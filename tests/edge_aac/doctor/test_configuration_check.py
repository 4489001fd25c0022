"""The doctor tells what the stream would refuse at its start, though each setting is one that may be."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from edge_aac.doctor.configuration import check
from edge_aac.doctor.contract import Context, Finding
from edge_aac.settings.layers import Layer
from edge_aac.settings.tree import load_settings


def _findings(table: dict[str, Any]) -> list[Finding]:
    (part,) = check(Context(load_settings(None, Layer(table))))
    return list(part.run())


@pytest.mark.parametrize(
    ("table", "text"),
    [
        ({"privacy": {"speech": "suppress"}}, "privacy.speech is 'suppress'"),
        ({"stream": {"hop_s": 0.123}}, "unusable"),
        ({"sources": [{"address": "stdin:"}, {"address": "stdin:?rate=8000", "name": "b"}]}, "two sources"),
    ],
)
def test_what_the_start_would_refuse(table: dict[str, Any], text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edge_aac.settings.tree.default_files", lambda: [])
    bundle = SimpleNamespace(manifest=SimpleNamespace(language="fr"))
    monkeypatch.setattr("edge_aac.service.opening.open_bundle", lambda _name: bundle)
    assert [finding.status for finding in _findings({})] == ["ok"]
    assert [finding.text for finding in _findings(table) if finding.status == "failed" and text in finding.text]


@pytest.mark.parametrize(
    ("sink", "open_to_all"),
    [
        ('kind = "webhook"\nurl = "https://ntfy.sh/long-secret-name"', True),
        ('kind = "mqtt"\nurl = "mqtt://broker"\ncredentials = "file:/run/password"', False),  # a place, no secret
        ('kind = "bridge"\nalerts = { smoke = "long" }', False),
    ],
)
def test_files_with_secrets_that_everybody_may_read(sink: str, open_to_all: bool, tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    path.write_text(f"[[sinks]]\n{sink}\n")
    for mode, told in ((0o644, open_to_all), (0o640, False)):
        path.chmod(mode)
        (part,) = check(Context(load_settings(path)))
        assert any("holds secrets" in finding.text for finding in part.run()) is told
