"""The verb `config`: an example that is valid, every fault with its line, and what is set by what."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import ClassVar

import pytest
from pydantic import BaseModel, ConfigDict, Field, SecretStr
from typer.testing import CliRunner, Result

from edge_aac.commands.config import app
from edge_aac.errors import ConfigError, InputMissingError, UsageError
from edge_aac.settings.sections import Kind, Section, registered_sections
from edge_aac.settings.tree import load_settings

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


class _Jar(BaseModel):
    """Where a jar stands."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    path: Path = Field(description="The jar.", examples=["/tmp/jar"])
    sealed: bool = Field(default=False, description="Whether it is closed.")
    password: SecretStr | None = Field(default=None, description="Opens it.", min_length=8)

    @classmethod
    def parse(cls, rest: str) -> _Jar:
        """``jar:PATH``."""
        if not rest:
            raise ValueError("a jar needs a path: jar:PATH")
        return cls(path=Path(rest))


class _Lid(BaseModel):
    """Nothing to set."""

    model_config = ConfigDict(extra="forbid")


class _Outlet(BaseModel):
    """Where things go."""

    ARRAY: ClassVar[bool] = True
    KINDS: ClassVar[str] = "tests.outlets"

    kind: str = Field(description="Which.", json_schema_extra={"flag": "--outlet", "env": "OUTLETS"})


class _Door(BaseModel):
    """A door that opens outwards."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    code: int | None = Field(default=None, description="Digits.", json_schema_extra={"secret": True})
    camera: str = Field(default="rtsp://me:hunter2@porch/1", description="What sees it.")
    ratio: float = Field(default=0.5, gt=0.0, lt=1.0, description="Open by.")


@pytest.fixture(autouse=True)
def _nobodys_configuration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if Path("/etc/edge-aac/config.toml").exists():
        pytest.skip("this machine has an /etc/edge-aac/config.toml of its own")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "home"))


@pytest.fixture
def _more_sections(monkeypatch: pytest.MonkeyPatch) -> None:
    outlets = Section("outlets", _Outlet)
    kinds = {"jar": Kind("jar", "the factory of jars", _Jar), "lid": Kind("lid", "of lids", _Lid)}
    vars(outlets)["kinds"] = kinds
    sections = {**registered_sections(), "outlets": outlets, "door": Section("door", _Door)}
    for module in ("sections", "tree"):
        monkeypatch.setattr(f"edge_aac.settings.{module}.registered_sections", lambda: sections)


def _run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def _check(tmp_path: Path, text: str | bytes) -> list[str]:
    """What is found in a file, without the file's name: "LINE: KEY: PROBLEM"."""
    path = tmp_path / "config.toml"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    result = _run("--check", path)
    assert result.exit_code == ConfigError.exit_code
    lines = result.output.splitlines()
    assert all(line.startswith(f"{path}:") for line in lines)
    return [line.removeprefix(f"{path}:") for line in lines]


@pytest.mark.usefixtures("_more_sections")
def test_the_example_holds_every_setting_and_is_valid_when_uncommented(tmp_path: Path) -> None:
    result = _run("--example")
    assert result.exit_code == 0
    assert tomllib.loads(result.output) == {}, "as it is printed, it sets nothing"
    text = re.sub(r"^#(?=\S)", "", result.output, flags=re.MULTILINE)
    table = tomllib.loads(text)
    for name, section in registered_sections().items():
        if section.has_kinds:
            continue
        own = table[name][0] if section.array else table[name]
        assert set(own) == set(section.settings)
    assert [(each["kind"], set(each)) for each in table["outlets"]] == [
        ("jar", {"kind", "path", "sealed", "password"}),
        ("lid", {"kind"}),
    ]
    path = tmp_path / "config.toml"
    path.write_text(text, encoding="utf-8")
    line = load_settings(path).origins["stream", "hop_s"].line
    assert line is not None and line > text.splitlines().index("[stream]")
    assert text.splitlines()[line - 1] == "hop_s = 2.0"
    assert _run("--check", path).output == f"{path}: no faults\n"


@pytest.mark.usefixtures("_more_sections")
def test_the_example_says_what_is_right() -> None:
    lines = _run("--example").output.splitlines()
    place = lines.index("#[stream]")
    hop = lines.index("#hop_s = 2.0", place)
    assert lines[hop - 2] == "# Seconds from one 10 s window to the next."
    assert lines[hop - 1] == "# a number from 0.1 to 3600 (s); default 2.0; --hop; EDGE_AAC_HOP"
    assert "a number above 0 and below 1; default 0.5" in lines[lines.index("#ratio = 0.5") - 1]


@pytest.mark.usefixtures("_more_sections")
def test_every_fault_with_its_line(tmp_path: Path) -> None:
    text = """\
seed = 3
[stream]
hop = 2
hop_s = 0.0
node = ""
familiar_only = "perhaps"
[captoiner]
[captioner]
backend = "abacus"
candidates = 0

[[sources]]
address = "mic0"
name = "a"
[[sources]]
name = "a"
hop_s = "often"
zebra = 1
[[outlets]]
kind = "jra"
[[outlets]]
kind = "jar"
sealde = true
[[outlets]]
path = "x"
"""
    assert _check(tmp_path, text) == [
        "1: seed: expected in a section: it belongs to [captioner]",
        "3: stream.hop: there is no such setting, the nearest is hop_s",
        "4: stream.hop_s: expected a number from 0.1 to 3600 (s), but it is 0.0",
        '5: stream.node: expected text of one character or more, but it is ""',
        '6: stream.familiar_only: expected true or false, but it is "perhaps"',
        "7: captoiner: there is no such section, the nearest is captioner",
        '9: captioner.backend: expected one of auto, tensorrt or onnxruntime, but it is "abacus"',
        "10: captioner.candidates: expected a whole number from 1 to 64, but it is 0",
        "15: sources[1].address: expected text of one character or more, but it is missing",
        '16: sources[1].name: expected one that no other table has, but it is "a"',
        '17: sources[1].hop_s: expected a number from 0.1 to 3600 (s), but it is "often"',
        "18: sources[1].zebra: there is no such setting: known are address, enabled, hop_s, name, silence_dbfs",
        '20: outlets[0].kind: expected one of jar, lid, but it is "jra"',
        "21: outlets[1].path: expected a path, but it is missing",
        "23: outlets[1].sealde: there is no such setting, the nearest is sealed",
        "24: outlets[2].kind: expected text, but it is missing",
    ]


@pytest.mark.parametrize(
    ("content", "line"),
    [
        (b"[stream]\nhop_s = \n", 2),
        (b"[stream]\n\n[stream]\n", 3),
        (b"[stream]\nnode = '\xff'\n", 2),
        (b'[stream]\nnode = """\n\n', 3),
        (b"[stream]\r\nnode = 1\r\nnode = 2\r\n", 3),
    ],
)
def test_a_file_that_is_not_toml(tmp_path: Path, content: bytes, line: int) -> None:
    (fault,) = _check(tmp_path, content)
    assert fault.startswith(f"{line}: TOML: ") and "line" not in fault.partition("TOML")[2]


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    result = _run("--check", tmp_path / "none.toml")
    assert isinstance(result.exception, InputMissingError)


@pytest.mark.usefixtures("_more_sections")
def test_what_is_wrong_with_a_secret_is_found_without_printing_it(tmp_path: Path) -> None:
    text = """\
[door]
code = "hunter2"
camera = ["rtsp://me:hunter2@porch/1?token=hunter2"]
ratio = {hunter = "hunter2"}
password = "hunter2"
[[outlets]]
kind = "jar"
path = "/jar"
password = "hunter2"
"""
    faults = _check(tmp_path, text)
    assert [fault.partition(":")[0] for fault in faults] == ["2", "3", "4", "5", "9"]
    assert "hunter2" not in "".join(faults)
    # What the loader says of one fault neither.
    with pytest.raises(ConfigError) as caught:
        load_settings(tmp_path / "config.toml")
    assert "hunter2" not in str(caught.value)


def test_show(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "config.toml"
    path.write_text("[stream]\nhop_s = 3\nsilence_dbfs = -50\n", encoding="utf-8")
    monkeypatch.setenv("EDGE_AAC_NODE", 'a "quoted" node')
    result = _run("--show", "--config", path, "--hop", "5", "--device", "rtsp://me:hunter2@porch/1")
    assert result.exit_code == 0, result.output
    lines = result.output.splitlines()
    for expected in (
        "hop_s = 5.0  # --hop",
        f"silence_dbfs = -50.0  # {path}:3",
        'node = "a \\"quoted\\" node"  # EDGE_AAC_NODE',
        'address = "rtsp://********@porch/1"  # --device',
        "# candidates: default: the bundle's own",
        "interval_s = 60.0  # default",
        "# [[sinks]]: none",
    ):
        assert expected in lines
    shown = tomllib.loads(result.output)
    assert shown["stream"]["node"] == 'a "quoted" node'
    assert "hunter2" not in result.output


@pytest.mark.usefixtures("_more_sections")
def test_show_hides_secrets_and_shows_kinds(tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    path.write_text(
        "[door]\ncode = 12345\n[[outlets]]\nkind = 'jar'\npath = '/jar'\npassword = 'hunter2hunter2'\n"
        "[[outlets]]\nkind = 'lid'\n",
        encoding="utf-8",
    )
    result = _run("--show", "--config", path)
    assert result.exit_code == 0, result.output
    assert "hunter2" not in result.output and "12345" not in result.output
    shown = tomllib.loads(result.output)
    assert shown["door"] == {"code": "********", "camera": "rtsp://********@porch/1", "ratio": 0.5}
    assert shown["outlets"] == [
        {"kind": "jar", "path": "/jar", "sealed": False, "password": "********"},
        {"kind": "lid"},
    ]
    assert f'password = "********"  # {path}:6' in result.output


@pytest.mark.parametrize("arguments", [[], ["--example", "--show"], ["--show", "--check", "x.toml"]])
def test_one_thing_at_a_time(arguments: list[str]) -> None:
    assert isinstance(_run(*arguments).exception, UsageError)
