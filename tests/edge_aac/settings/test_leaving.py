"""What leaves the device, told from the settings alone."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from edge_aac.commands.config import app
from edge_aac.settings.layers import Layer
from edge_aac.settings.leaving import leaving
from edge_aac.settings.tree import load_settings
from tests.edge_aac.outside_package import NAME, OutsidePackage

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


@pytest.fixture(autouse=True)
def _nobodys_configuration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if Path("/etc/edge-aac/config.toml").exists():
        pytest.skip("this machine has an /etc/edge-aac/config.toml of its own")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "home"))


def _told(**table: Any) -> str:
    return "\n".join(leaving(load_settings(given=Layer(table))))


def test_by_default_text_to_standard_output() -> None:
    told = _told(stream={"node": "kitchen"})
    assert "Caption and alert records go to standard output" in told
    assert "No sound is written." in told
    assert "published as all others" in told
    assert '"kitchen"' in told and "Nothing is downloaded" in told
    assert "network" not in told


def test_answers_are_told_of_where_something_is_asked() -> None:
    assert "Answers" not in _told()
    told = _told(captioner={"ask": ["is a baby crying?"]})
    assert "Answers to what is asked hold their question" in told and "standard output where" in told


def test_each_sink_and_what_it_gets(tmp_path: Path) -> None:
    path = tmp_path / "heard.jsonl"
    told = _told(
        sinks=[{"kind": "jsonl", "path": str(path), "records": ["caption", "event"], "keep": 2}, {"kind": "stdout"}]
    )
    assert f'Caption and event records are kept in the file "{path}", with 2 older files at most.' in told
    assert "Caption and alert records go to standard output" in told
    assert "standard output" not in _told(sinks=[{"kind": "jsonl", "path": str(path)}])


def test_sources_on_the_network_without_their_secrets() -> None:
    sources = [
        {"address": "rtsp://me:hunter2@porch/1?token=hunter2"},
        {"address": "mic0"},
        {"address": "file:a.wav"},
        {"address": "http://radio/x", "enabled": False},
    ]
    told = _told(sources=sources)
    assert told.count("over the network") == 1 and '"rtsp://porch/1"' in told and "hunter2" not in told
    assert "over the network" in _told(stream={"device": "https://radio/stream"})


def test_devices_that_send_to_an_address_of_this_machine_are_told_once() -> None:
    address = "udp://0.0.0.0:5005"
    told = _told(sources=[{"address": address}, {"address": f"{address}?device=5", "name": "nursery"}])
    assert told.count("over the network") == 1 and f'not encrypted, to "{address}"' in told
    assert "who runs that" not in told


def test_clips_and_privacy(tmp_path: Path) -> None:
    told = _told(
        clips={"enabled": True, "folder": str(tmp_path), "max_total_mb": 200, "max_age_days": 7, "match": ["dog*"]},
        privacy={"speech": "suppress", "suppress": ["radio"]},
    )
    assert f'"{tmp_path}", 200 MB and 7 days at most' in told and '"dog*"' in told
    assert "No sound is written" not in told
    assert "talking are not published" in told and '"radio"' in told
    assert '"speech": true' in _told(privacy={"speech": "mark"})
    assert "days" not in _told(clips={"enabled": True, "max_age_days": 0})


_OUTSIDE = """
from pydantic import BaseModel, ConfigDict
from edge_aac.sinks.contract import SinkSettings

class Mute(SinkSettings):
    pass

class Open(SinkSettings):
    def leaves(self):
        return f"{self.records_in_words} are sent to\\nsmtp://me:hunter2@mail.\\x1b[31m"

class MuteSink:
    Settings = Mute

class OpenSink:
    Settings = Open

class MuteSection(BaseModel):
    '''Nothing is known of it.'''
    model_config = ConfigDict(frozen=True, extra="forbid")

class OpenSection(BaseModel):
    '''Figures for others.'''
    model_config = ConfigDict(frozen=True, extra="forbid")

    def leaves(self):
        return "Figures can be read by anybody on this device."
"""


def test_what_other_packages_bring(outside_package: OutsidePackage) -> None:
    outside_package.install(
        _OUTSIDE,
        {
            "edge_aac.sinks": {"mute": f"{NAME}:MuteSink", "open": f"{NAME}:OpenSink"},
            "edge_aac.settings": {"mute": f"{NAME}:MuteSection", "open": f"{NAME}:OpenSection"},
        },
    )
    told = leaving(load_settings(given=Layer({"sinks": [{"kind": "mute"}, {"kind": "open"}]})))
    assert "Caption and alert records go to sinks of kind 'mute', which does not say what it does with them." in told
    assert "Caption and alert records are sent to smtp://********@mail.\\x1b[31m" in told
    assert "Figures can be read by anybody on this device." in told
    assert any("[mute] is of another package" in sentence for sentence in told)


def test_show_ends_with_it_and_stays_toml(tmp_path: Path) -> None:
    arguments = ["--show", "--save-clips", "--clip-folder", str(tmp_path / ("x" * 200)), "--speech", "suppress"]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    shown = tomllib.loads(result.output)
    assert shown["clips"]["enabled"] is True and shown["privacy"]["speech"] == "suppress"
    _, _, told = result.output.partition("# What is written and what leaves the device:\n")
    assert told and all(line.startswith(("# - ", "#   ")) for line in told.splitlines())
    assert "x" * 200 in told
