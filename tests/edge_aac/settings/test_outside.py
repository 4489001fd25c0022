"""A package from outside brings a section, a kind of sink and a verb; nothing inside changes a line for it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

_MODULE = '''"""Rings a bell."""

from pathlib import Path

import typer
from pydantic import BaseModel, ConfigDict, Field

app = typer.Typer(add_completion=False)


class BellSettings(BaseModel):
    """When the bell rings."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    loudness_db: float = Field(
        default=60.0,
        ge=0.0,
        le=120.0,
        description="How loud.",
        json_schema_extra={"unit": "dB", "flag": "--bell-loudness", "env": "BELL_LOUDNESS"},
    )


class PaperSettings(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    path: Path = Field(description="The paper.", examples=["/tmp/paper"])

    @classmethod
    def parse(cls, rest):
        if not rest:
            raise ValueError("a paper needs a path: paper:PATH")
        return cls(path=rest)


class Paper:
    Settings = PaperSettings


class Shout:
    class Settings(BaseModel):
        model_config = ConfigDict(extra="forbid")


class NoSettings:
    pass


@app.command()
def ring() -> None:
    """Rings."""
    from edge_aac.settings.tree import load_settings
    from edge_aac.streaming.settings import SinkSettings

    settings = load_settings()
    typer.echo(f"{settings.get(BellSettings).loudness_db}")
    typer.echo(f"{[(each.kind, each.settings, each.factory is Paper) for each in settings.chosen(SinkSettings)]}")
'''
_ENTRY_POINTS = """\
[edge_aac.settings]
bell = edge_aac_bell:BellSettings

[edge_aac.sinks]
paper = edge_aac_bell:Paper
shout = edge_aac_bell:Shout

[edge_aac.commands]
ring = edge_aac_bell:app
"""


def _install(folder: Path, entry_points: str = _ENTRY_POINTS) -> Path:
    """A folder as pip would leave it."""
    (folder / "edge_aac_bell.py").write_text(_MODULE, encoding="utf-8")
    information = folder / "edge_aac_bell-1.0.dist-info"
    information.mkdir()
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: edge-aac-bell\nVersion: 1.0\n")
    (information / "entry_points.txt").write_text(entry_points)
    return folder


def _edge_aac(package: Path, *arguments: str | Path, **env: str) -> subprocess.CompletedProcess[str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("EDGE_AAC_")}
    path = os.pathsep.join([str(package), *filter(None, [os.environ.get("PYTHONPATH")])])
    return subprocess.run(
        [sys.executable, "-m", "edge_aac.cli", *map(str, arguments)],
        env={**kept, "PYTHONPATH": path, "XDG_CONFIG_HOME": str(package), **env},
        check=False,
        capture_output=True,
        text=True,
        timeout=120,
    )


@pytest.fixture
def package(tmp_path: Path) -> Path:
    return _install(tmp_path)


def test_the_section_in_a_file_is_read_by_the_verb(package: Path) -> None:
    folder = package / "edge-aac"
    folder.mkdir()
    (folder / "config.toml").write_text(
        "[bell]\nloudness_db = 12.5\n[[sinks]]\nkind = 'paper'\npath = '/x'\n[[sinks]]\nkind = 'shout'\n"
    )
    done = _edge_aac(package, "ring")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == [
        "12.5",
        "[('paper', PaperSettings(path=PosixPath('/x')), True), ('shout', Settings(), False)]",
    ]
    assert "Rings a bell." in _edge_aac(package, "--help").stdout


def test_flag_and_variable_of_the_section(package: Path) -> None:
    assert "--bell-loudness" in _edge_aac(package, "stream", "--help").stdout
    assert "--bell-loudness" not in _edge_aac(package, "caption", "--help").stdout
    done = _edge_aac(package, "config", "--show", "--bell-loudness", "3", BELL_LOUDNESS="4")
    assert "loudness_db = 3.0  # --bell-loudness\n" in done.stdout, done.stderr
    done = _edge_aac(package, "config", "--show", BELL_LOUDNESS="4")
    assert "loudness_db = 4.0  # BELL_LOUDNESS\n" in done.stdout, done.stderr
    done = _edge_aac(package, "stream", "--device", "demo:", "--bell-loudness", "121")
    assert done.returncode == 78
    assert "expected a number from 0 to 120 (dB), but it is 121.0" in done.stderr


def test_the_example_has_the_section_and_the_sinks(package: Path) -> None:
    text = _edge_aac(package, "config", "--example").stdout
    for line in ("#[bell]", "#loudness_db = 60.0", '#kind = "paper"', '#path = "/tmp/paper"', '#kind = "shout"'):
        assert line in text.splitlines()


def test_a_sink_as_one_text(package: Path) -> None:
    done = _edge_aac(package, "config", "--show", "--sink", "paper:/a:b", "--sink", "shout")
    assert 'kind = "paper"  # --sink\npath = "/a:b"  # --sink\n\n[[sinks]]\nkind = "shout"  # --sink\n' in done.stdout
    done = _edge_aac(package, "config", "--show", EDGE_AAC_SINK="shout\npaper:/c d")
    assert 'kind = "paper"  # EDGE_AAC_SINK\npath = "/c d"  # EDGE_AAC_SINK\n' in done.stdout


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("shout:loud", "'shout' takes nothing after a colon, but it is given 'loud'"),
        ("paper", "a paper needs a path: paper:PATH"),
        ("papper:/x", 'but it is "papper"'),
    ],
)
def test_a_sink_that_is_wrong(package: Path, text: str, problem: str) -> None:
    done = _edge_aac(package, "stream", "--device", "demo:", "--sink", text)
    assert (done.returncode, done.stdout) == (78, "")
    assert done.stderr.startswith("edge-aac: setting sinks[0]") and "(from --sink): " in done.stderr
    assert problem in done.stderr and done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("entry_point", "problem"),
    [
        ("[edge_aac.settings]\nbell = edge_aac_bell:Nothing\n", "cannot be loaded"),
        ("[edge_aac.settings]\nbell = edge_aac_gone:Nothing\n", "cannot be loaded"),
        ("[edge_aac.settings]\nbell = edge_aac_bell:Paper\n", "is no pydantic model"),
        ("[edge_aac.sinks]\nbell = edge_aac_bell:NoSettings\n", "has no pydantic model called Settings"),
    ],
)
def test_a_package_that_registers_what_cannot_be_used(tmp_path: Path, entry_point: str, problem: str) -> None:
    done = _edge_aac(_install(tmp_path, entry_point), "config", "--example")
    assert (done.returncode, done.stdout) == (78, "")
    assert "'bell' of edge_aac.s" in done.stderr and problem in done.stderr and done.stderr.count("\n") == 1
