"""Help of verbs: each option stands under the heading of its section of the configuration."""

from __future__ import annotations

import re
from types import ModuleType

import pytest
import typer
from typer.testing import CliRunner

from edge_aac.commands import caption, config, doctor, stream, support_dump
from edge_aac.settings.sections import registered_sections


def _groups(app: typer.Typer) -> dict[str, set[str]]:
    """Heading of each group of the help, or the section's name in it → flags of the group."""
    text = CliRunner().invoke(app, ["--help"]).output
    groups: dict[str, set[str]] = {}
    flags: set[str] = set()
    for line in text.splitlines():
        if heading := re.match(r"\S.*:$", line):
            name = re.search(r"\[(\w+)\]", heading.group())
            flags = groups.setdefault(name.group(1) if name else line.rstrip(":"), set())
        elif option := re.match(r"  (--[\w-]+)(?: / (--[\w-]+))?", line):
            flags |= {flag for flag in option.groups() if flag}
    return groups


@pytest.mark.parametrize("verb", [stream, config, doctor, support_dump], ids=lambda verb: verb.__name__)
def test_options_stand_under_their_sections(verb: ModuleType) -> None:
    groups = _groups(verb.app)
    for name, section in registered_sections().items():
        flags = {flag for each in section.settings.values() for flag in (each.flag or "").split("/") if flag}
        # Rules for alerts are tables, which only a file can hold.
        assert groups.get(name, set()) == flags and (flags or name == "alerts"), name
    assert {"--config", "--help"} <= groups["Options"]
    assert list(groups)[:3] == ["Options", "sources", "sinks"], "what everybody needs comes first"


def test_arguments_come_before_all_options() -> None:
    groups = _groups(caption.app)
    assert list(groups)[:2] == ["Arguments", "Options"]
    assert groups.keys() == {"Arguments", "Options", "stream", "captioner", "privacy"}


def test_help_tells_units_and_choices() -> None:
    text = " ".join(CliRunner().invoke(stream.app, ["--help"]).output.split())
    assert "--speech publish|mark|suppress" in text
    assert "Default: 60 s." in text.partition("--clip-max ")[2].partition("EDGE_AAC_CLIP_MAX")[0]
    assert "<" not in text.partition("Settings of every source")[2], "names of Python's types"


def test_help_is_as_wide_as_its_terminal_to_a_limit(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    widths = []
    for columns in (70, 110, 300):
        monkeypatch.setenv("COLUMNS", str(columns))
        with pytest.raises(SystemExit):
            stream.app(args=["--help"], prog_name="edge-aac stream")
        text = capsys.readouterr().out.partition("Examples")[0]
        widths.append(max(len(line) for line in text.splitlines() if not line.endswith(":")))
    assert widths[0] <= 70 < widths[1] <= 110 < widths[2] <= 120
